/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of a worker host, the registrations of a gateway, and the journals under both. */
#include "tests/control/check.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/admission_store.h"
#include "control/journal.h"
#include "control/registration_rules.h"
#include "control/registrations.h"
#include "control/revision.h"
#include "control/worker_links.h"
#include "control/worker_registry.h"

enum { PATH_SIZE_BYTES = 512, ADDRESS = 0x0a000005, HOST = 0x0a640002, OTHER_HOST = 0x0a640003 };

struct fixture {
	char directory[64];
	struct worker_registry *registry;
	struct problems problems, warnings;
	char seen[512];
};

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	if (!fixture)
		return -1;
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/postern-workers-test-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	return worker_registry_open(&fixture->registry) == STATUS_OK ? 0 : -1;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];
	DIR *directory = opendir(fixture->directory);
	const struct dirent *entry;

	while ((entry = readdir(directory)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", fixture->directory, entry->d_name);
		remove(path);
	}
	closedir(directory);
	rmdir(fixture->directory);
	worker_registry_close(fixture->registry);
	problems_clear(&fixture->problems);
	problems_clear(&fixture->warnings);
	free(fixture);
	return 0;
}

/* ---- the journal ---- */

static bool see(void *context, const char *record)
{
	struct fixture *fixture = context;

	strcat(fixture->seen, record);
	strcat(fixture->seen, "|");
	return strcmp(record, "nonsense") != 0;
}

static struct journal *journal(struct fixture *fixture, bool *ret_discard)
{
	struct journal *opened = NULL;

	fixture->seen[0] = '\0';
	*ret_discard = false;
	assert_int_equal(journal_open(fixture->directory, "j", see, fixture, &opened, ret_discard, &fixture->problems,
				 &fixture->warnings),
		STATUS_OK);
	return opened;
}

static void commit(struct fixture *fixture, struct journal *opened, const char *record)
{
	journal_add(opened, record);
	assert_int_equal(journal_commit(opened, &fixture->problems), STATUS_OK);
}

static void edit(struct fixture *fixture, const char *name, long offset, const char *bytes)
{
	char path[PATH_SIZE_BYTES];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, offset < 0 ? 0 : offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
	assert_true(fputs(bytes, file) >= 0);
	fclose(file);
}

static void what_was_committed_is_read_back_also_behind_half_a_line(void **state)
{
	struct fixture *fixture = *state;
	bool discard;
	struct journal *opened = journal(fixture, &discard);

	commit(fixture, opened, "one");
	commit(fixture, opened, "two");
	journal_add(opened, "never committed");
	journal_close(opened);
	edit(fixture, "j", -1, "1234abcd thr");
	opened = journal(fixture, &discard);
	assert_string_equal(fixture->seen, "one|two|");
	assert_false(discard);
	commit(fixture, opened, "three");
	journal_close(opened);
	opened = journal(fixture, &discard);
	assert_string_equal(fixture->seen, "one|two|three|");
	assert_int_equal(journal_record_count(opened), 3);
	journal_rewrite(opened);
	commit(fixture, opened, "all");
	commit(fixture, opened, "more");
	journal_close(opened);
	journal_close(journal(fixture, &discard));
	assert_string_equal(fixture->seen, "all|more|");
	assert_int_equal(fixture->warnings.count, 0);
}

static void damaged_line_makes_the_whole_journal_count_for_nothing(void **state)
{
	struct fixture *fixture = *state;
	bool discard;
	struct journal *opened = journal(fixture, &discard);

	commit(fixture, opened, "one");
	commit(fixture, opened, "two");
	journal_close(opened);
	edit(fixture, "j", 10, "X");
	opened = journal(fixture, &discard);
	assert_string_equal(fixture->seen, "");
	assert_int_equal(fixture->warnings.count, 1);
	assert_non_null(strstr(fixture->warnings.lines[0], "a line is damaged"));
	commit(fixture, opened, "nonsense");
	journal_close(opened);
	journal_close(journal(fixture, &discard));
	assert_true(discard);
	assert_int_equal(fixture->warnings.count, 2);
}

/* ---- aliases ---- */

static void alias_is_taken_to_the_letter_or_not_at_all(void **state)
{
	static const char *const bad[] = {"postern:", "postern:acme", "postern:acme/main", "postern:acme/main/",
		"postern:acme/main/10.0.0.5/", "postern:acme/main/10.0.0.5 ", "postern:acme/main/10.0.0.256",
		"postern:acme/main/0.0.0.0", "postern:Acme/main/10.0.0.5", "postern:/main/10.0.0.5",
		"postern:acme//10.0.0.5", "postern:acme/main/10.0.0.5/01:00:00:00:00:05",
		"postern:acme/main/10.0.0.5/02:00:00:00:00:05/x", "postern: acme/main/10.0.0.5",
		"postern:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/main/10.0.0.5"};
	struct worker_spec spec = {.address = 1};
	const char *why = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (worker_alias_parse("w1", bad[i], &spec, &why) != WORKER_ALIAS_INVALID)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(spec.address, 1);
	}
	assert_int_equal(worker_alias_parse("w1", "Postern:acme/main/10.0.0.5", &spec, &why), WORKER_ALIAS_NONE);
	assert_int_equal(worker_alias_parse("w1", "", &spec, &why), WORKER_ALIAS_NONE);
	assert_int_equal(worker_alias_parse("w1", "postern:acme/main/10.0.0.5", &spec, &why), WORKER_ALIAS_VALID);
	assert_string_equal(spec.workspace, "acme");
	assert_string_equal(spec.interface, "w1");
	assert_int_equal(spec.address, ADDRESS);
	assert_false(spec.mac_present);
	assert_int_equal(
		worker_alias_parse("w1", "postern:a/b/10.0.0.5/02:00:00:00:00:05", &spec, &why), WORKER_ALIAS_VALID);
	assert_true(spec.mac_present);
}

/* ---- the registry ---- */

static uint32_t place(void *context, const struct worker_spec *spec, char ret_why[WORKER_WHY_SIZE_BYTES])
{
	(void)context;
	snprintf(ret_why, WORKER_WHY_SIZE_BYTES, "nowhere");
	return strcmp(spec->workspace, "acme") == 0 ? 7001 : strcmp(spec->workspace, "globex") == 0 ? 7002 : 0;
}

static struct worker *put(struct fixture *fixture, enum worker_source source, const char *interface,
	const char *workspace, uint32_t address)
{
	struct worker_spec spec = {.address = address};
	struct worker *worker = NULL;

	strcpy(spec.interface, interface);
	strcpy(spec.workspace, workspace);
	strcpy(spec.vpc, "main");
	assert_int_equal(worker_registry_put(fixture->registry, source, &spec, 0, &worker), STATUS_OK);
	return worker;
}

static void file_wins_over_api_and_that_over_netlink(void **state)
{
	struct fixture *fixture = *state;
	struct worker *netlink, *api, *file;

	worker_registry_place_all(fixture->registry, place, NULL);
	netlink = put(fixture, WORKER_SOURCE_NETLINK, "w1", "acme", ADDRESS);
	assert_true(netlink->active);
	api = put(fixture, WORKER_SOURCE_API, "w1", "globex", ADDRESS);
	assert_true(api->active && !netlink->active);
	assert_int_equal(netlink->state, WORKER_CONFLICT);
	file = put(fixture, WORKER_SOURCE_FILE, "w1", "acme", ADDRESS + 1);
	assert_true(file->active && !api->active && !netlink->active);
	assert_ptr_equal(worker_registry_find(fixture->registry, "w1"), file);
	assert_true(worker_registry_remove(fixture->registry, WORKER_SOURCE_FILE, "w1"));
	assert_true(api->active && !netlink->active);
	assert_true(worker_registry_remove(fixture->registry, WORKER_SOURCE_API, "w1"));
	assert_true(netlink->active);
	assert_false(worker_registry_remove(fixture->registry, WORKER_SOURCE_API, "w1"));
}

static void address_of_a_vpc_has_one_worker_and_the_next_takes_over(void **state)
{
	struct fixture *fixture = *state;
	struct worker *first, *second, *foreign, *unknown;

	worker_registry_place_all(fixture->registry, place, NULL);
	first = put(fixture, WORKER_SOURCE_API, "w1", "acme", ADDRESS);
	second = put(fixture, WORKER_SOURCE_API, "w2", "acme", ADDRESS);
	foreign = put(fixture, WORKER_SOURCE_API, "w3", "globex", ADDRESS);
	unknown = put(fixture, WORKER_SOURCE_API, "w4", "initech", ADDRESS);
	assert_true(first->active && !second->active && foreign->active && !unknown->active);
	assert_int_equal(second->state, WORKER_CONFLICT);
	assert_int_equal(unknown->state, WORKER_UNPLACED);
	assert_string_equal(unknown->why, "nowhere");
	assert_true(worker_registry_remove(fixture->registry, WORKER_SOURCE_API, "w1"));
	assert_true(second->active);
	assert_ptr_equal(worker_registry_by_address(fixture->registry, 7001, ADDRESS), second);
}

/* What the kernel and the gateways know of it is taken back before anything comes in its place. */
static void interface_made_anew_is_another_worker(void **state)
{
	struct fixture *fixture = *state;
	struct worker *worker;
	struct worker_gone *gone;
	uint64_t epoch;

	worker_registry_place_all(fixture->registry, place, NULL);
	worker = put(fixture, WORKER_SOURCE_API, "w1", "acme", ADDRESS);
	worker_registry_set_ifindex(fixture->registry, worker, 7);
	worker->acknowledged = 1;
	worker->claimed = true;
	worker_set_state(worker, WORKER_OPEN, "%s", "");
	epoch = worker_epoch(worker);
	worker_registry_set_ifindex(fixture->registry, worker, 8);
	assert_int_not_equal(worker->state, WORKER_OPEN);
	assert_int_not_equal(worker_epoch(worker), epoch);
	assert_int_equal(worker->acknowledged, 0);
	assert_false(worker->claimed);
	gone = worker_registry_take_gone(fixture->registry);
	assert_non_null(gone);
	assert_int_equal(gone->ifindex, 7);
	assert_int_equal(gone->vni, 7001);
	free(gone);
	assert_null(worker_registry_by_ifindex(fixture->registry, 7));
	assert_ptr_equal(worker_registry_by_ifindex(fixture->registry, 8), worker);
	assert_ptr_equal(worker_registry_take_queued(fixture->registry), worker);
	assert_null(worker_registry_take_queued(fixture->registry));
	/* The same word again changes nothing; another workspace does. */
	assert_ptr_equal(put(fixture, WORKER_SOURCE_API, "w1", "acme", ADDRESS), worker);
	assert_false(worker_registry_has_work(fixture->registry));
	worker = put(fixture, WORKER_SOURCE_API, "w1", "globex", ADDRESS);
	assert_int_equal(worker->vni, 7002);
	gone = worker_registry_take_gone(fixture->registry);
	assert_non_null(gone);
	assert_int_equal(gone->ifindex, 8);
	free(gone);
}

static void source_that_says_all_it_has_leaves_out_who_is_gone(void **state)
{
	struct fixture *fixture = *state;

	worker_registry_place_all(fixture->registry, place, NULL);
	put(fixture, WORKER_SOURCE_FILE, "w1", "acme", ADDRESS);
	put(fixture, WORKER_SOURCE_FILE, "w2", "acme", ADDRESS + 1);
	put(fixture, WORKER_SOURCE_API, "w3", "acme", ADDRESS + 2);
	worker_registry_begin(fixture->registry, WORKER_SOURCE_FILE);
	put(fixture, WORKER_SOURCE_FILE, "w2", "acme", ADDRESS + 1);
	worker_registry_end(fixture->registry, WORKER_SOURCE_FILE);
	assert_null(worker_registry_find(fixture->registry, "w1"));
	assert_non_null(worker_registry_find(fixture->registry, "w2"));
	assert_non_null(worker_registry_find(fixture->registry, "w3"));
}

static void workers_of_the_api_are_there_after_a_restart(void **state)
{
	struct fixture *fixture = *state;
	struct worker_spec spec = {.interface = "w1", .workspace = "acme", .vpc = "main", .address = ADDRESS};
	struct admission_store *store = NULL;
	struct worker *worker = NULL;
	uint32_t sequence;

	assert_int_equal(admission_store_open(
				 fixture->directory, fixture->registry, &store, &fixture->problems, &fixture->warnings),
		STATUS_OK);
	assert_int_equal(admission_store_add(store, &spec, &worker, &fixture->problems), STATUS_OK);
	assert_int_equal(admission_store_remove(store, "w1", &fixture->problems), STATUS_OK);
	assert_int_equal(admission_store_remove(store, "w1", &fixture->problems), STATUS_UNREACHABLE);
	assert_int_equal(admission_store_add(store, &spec, &worker, &fixture->problems), STATUS_OK);
	sequence = worker->sequence;
	assert_int_equal(sequence, 2);
	admission_store_close(store);
	worker_registry_close(fixture->registry);
	assert_int_equal(worker_registry_open(&fixture->registry), STATUS_OK);
	assert_int_equal(admission_store_open(
				 fixture->directory, fixture->registry, &store, &fixture->problems, &fixture->warnings),
		STATUS_OK);
	worker = worker_registry_find(fixture->registry, "w1");
	assert_non_null(worker);
	assert_int_equal(worker->sequence, sequence);
	assert_int_equal(worker->spec.address, ADDRESS);
	admission_store_close(store);
}

/* No file can grow as long as this holds. */
static void disk_set_full(bool full)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void removal_that_could_not_be_written_is_written_by_the_next_change(void **state)
{
	struct fixture *fixture = *state;
	struct worker_spec spec = {.interface = "w1", .workspace = "acme", .vpc = "main", .address = ADDRESS};
	struct worker_spec other = {.interface = "w2", .workspace = "acme", .vpc = "main", .address = ADDRESS + 1};
	struct admission_store *store = NULL;
	struct worker *worker = NULL;
	enum status status, again;

	assert_int_equal(admission_store_open(
				 fixture->directory, fixture->registry, &store, &fixture->problems, &fixture->warnings),
		STATUS_OK);
	assert_int_equal(admission_store_add(store, &spec, &worker, &fixture->problems), STATUS_OK);
	disk_set_full(true);
	status = admission_store_remove(store, "w1", &fixture->problems);
	again = admission_store_remove(store, "w1", &fixture->problems);
	disk_set_full(false);
	assert_int_equal(status, STATUS_SYSTEM);
	assert_int_equal(again, STATUS_SYSTEM);
	assert_null(worker_registry_find(fixture->registry, "w1"));
	assert_int_equal(admission_store_add(store, &other, &worker, &fixture->problems), STATUS_OK);
	assert_int_equal(admission_store_remove(store, "w1", &fixture->problems), STATUS_UNREACHABLE);
	admission_store_close(store);
	worker_registry_close(fixture->registry);
	assert_int_equal(worker_registry_open(&fixture->registry), STATUS_OK);
	assert_int_equal(admission_store_open(
				 fixture->directory, fixture->registry, &store, &fixture->problems, &fixture->warnings),
		STATUS_OK);
	assert_null(worker_registry_find(fixture->registry, "w1"));
	assert_non_null(worker_registry_find(fixture->registry, "w2"));
	admission_store_close(store);
}

/* ---- registrations ---- */

static struct registrations *registrations(struct fixture *fixture)
{
	struct registrations *opened = NULL;

	assert_int_equal(
		registrations_open(fixture->directory, &opened, &fixture->problems, &fixture->warnings), STATUS_OK);
	return opened;
}

static enum status register_worker(
	struct registrations *opened, uint32_t vtep, uint64_t epoch, uint64_t sync, uint32_t address)
{
	const struct model_registered_worker worker = {.vni = 7001, .address = address, .vtep = vtep, .epoch = epoch};
	uint32_t owner = 0;

	return registrations_put(opened, &worker, sync, &owner);
}

static uint64_t only_incarnation(const struct registrations *opened)
{
	const struct model_registered_worker *workers;

	assert_int_equal(registrations_all(opened, &workers), 1);
	return workers[0].incarnation;
}

static void address_is_its_hosts_and_each_owner_is_another_one(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);
	uint64_t first, version;

	assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS), STATUS_OK);
	first = only_incarnation(opened);
	version = registrations_version(opened);
	assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS), STATUS_OK);
	assert_int_equal(registrations_version(opened), version);
	assert_int_equal(register_worker(opened, OTHER_HOST, 1, 0, ADDRESS), STATUS_REFUSED);
	registrations_remove(opened, OTHER_HOST, 7001, ADDRESS);
	assert_int_equal(only_incarnation(opened), first);
	assert_int_equal(register_worker(opened, HOST, 2, 0, ADDRESS), STATUS_OK);
	assert_true(only_incarnation(opened) > first);
	registrations_remove(opened, HOST, 7001, ADDRESS);
	assert_int_equal(registrations_count_of(opened, HOST), 0);
	assert_int_equal(register_worker(opened, OTHER_HOST, 1, 0, ADDRESS), STATUS_OK);
	assert_true(only_incarnation(opened) > first + 1);
	registrations_close(opened);
}

static void registrations_are_the_same_after_a_restart(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);
	char name[64];
	uint64_t incarnation;

	snprintf(name, sizeof(name), "%s", registrations_name(opened));
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS + i), STATUS_OK);
	for (uint32_t i = 1; i < 100; i++)
		registrations_remove(opened, HOST, 7001, ADDRESS + i);
	incarnation = only_incarnation(opened);
	assert_int_equal(registrations_commit(opened, &fixture->problems), STATUS_OK);
	registrations_close(opened);
	opened = registrations(fixture);
	assert_string_equal(registrations_name(opened), name);
	assert_int_equal(only_incarnation(opened), incarnation);
	assert_int_equal(registrations_count_of(opened, HOST), 1);
	registrations_close(opened);
	edit(fixture, "registrations.journal", 12, "~");
	opened = registrations(fixture);
	assert_string_not_equal(registrations_name(opened), name);
	assert_int_equal(registrations_count_of(opened, HOST), 0);
	assert_int_equal(fixture->warnings.count, 1);
	assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS), STATUS_OK);
	assert_true(only_incarnation(opened) > incarnation);
	registrations_close(opened);
}

static void change_that_could_not_be_written_is_there_after_a_restart_once_the_next_one_was(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);
	enum status status;
	char name[64];

	snprintf(name, sizeof(name), "%s", registrations_name(opened));
	assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS), STATUS_OK);
	assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS + 1), STATUS_OK);
	assert_int_equal(registrations_commit(opened, &fixture->problems), STATUS_OK);
	registrations_remove(opened, HOST, 7001, ADDRESS);
	registrations_remove(opened, HOST, 7001, ADDRESS + 1);
	disk_set_full(true);
	status = registrations_commit(opened, &fixture->problems);
	disk_set_full(false);
	assert_int_equal(status, STATUS_SYSTEM);
	assert_int_equal(register_worker(opened, OTHER_HOST, 1, 0, ADDRESS), STATUS_OK);
	assert_int_equal(registrations_commit(opened, &fixture->problems), STATUS_OK);
	registrations_close(opened);
	opened = registrations(fixture);
	assert_string_equal(registrations_name(opened), name);
	assert_int_equal(registrations_count_of(opened, HOST), 0);
	assert_int_equal(registrations_count_of(opened, OTHER_HOST), 1);
	registrations_close(opened);
}

static void sync_takes_away_what_the_host_does_not_name(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);

	for (uint32_t i = 0; i < 50; i++) {
		assert_int_equal(register_worker(opened, HOST, 1, 0, ADDRESS + i), STATUS_OK);
		assert_int_equal(register_worker(opened, OTHER_HOST, 1, 0, ADDRESS + 100 + i), STATUS_OK);
	}
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(register_worker(opened, HOST, 1, 9, ADDRESS + 2 * i), STATUS_OK);
	registrations_sweep(opened, HOST, 9);
	assert_int_equal(registrations_count_of(opened, HOST), 10);
	assert_int_equal(registrations_count_of(opened, OTHER_HOST), 50);
	registrations_close(opened);
}

/* ---- what a gateway takes ---- */

enum { PER_HOST = 3, PER_WORKSPACE = 5 };

static struct model_cidr allowed_cidr = {.address = 0x0a000000, .prefix_length_bits = 16};
static struct model_vpc allowed_vpcs[] = {
	{.id = "main", .vni = 7001, .cidrs = &allowed_cidr, .cidr_count = 1},
	{.id = "other", .vni = 7002, .cidrs = &allowed_cidr, .cidr_count = 1},
};
static struct model_workspace allowed_workspace = {
	.id = "acme", .vpcs = allowed_vpcs, .vpc_count = 2, .worker_count_max = PER_WORKSPACE};
static struct model allowed_model = {
	.workspaces = &allowed_workspace, .workspace_count = 1, .gateway.registered_per_host_max = PER_HOST};
static struct revision_vni allowed_vnis[] = {{7001, 0}, {7002, 0}};
static const struct revision allowed = {.model = &allowed_model, .vnis = allowed_vnis, .vni_count = 2};

/* REGISTRATION_REFUSAL_COUNT: it was taken. */
static enum registration_refusal take(
	struct registrations *opened, const struct revision *desired, struct model_registered_worker worker)
{
	struct registration_refusals refusals = {0};
	char why[REGISTRATION_WHY_SIZE_BYTES] = "";

	if (registration_take(opened, desired, &worker, 0, &refusals, why))
		return REGISTRATION_REFUSAL_COUNT;
	assert_string_not_equal(why, "");
	for (unsigned refusal = 0; refusal < REGISTRATION_REFUSAL_COUNT; refusal++) {
		if (refusals.counts[refusal] == 1)
			return refusal;
	}
	fail_msg("a refusal that was not counted");
	return REGISTRATION_REFUSAL_COUNT;
}

static struct model_registered_worker at(uint32_t vtep, uint32_t vni, uint32_t address)
{
	return (struct model_registered_worker){.vtep = vtep, .vni = vni, .address = address, .epoch = 1};
}

static void host_and_workspace_register_as_many_workers_as_they_may_and_no_more(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);

	for (uint32_t i = 0; i < PER_HOST; i++)
		assert_int_equal(take(opened, &allowed, at(HOST, 7001, ADDRESS + i)), REGISTRATION_REFUSAL_COUNT);
	assert_int_equal(take(opened, &allowed, at(HOST, 7002, ADDRESS)), REGISTRATION_HOST_LIMIT);
	assert_int_equal(registrations_count_of(opened, HOST), PER_HOST);
	for (uint32_t i = 0; i < PER_WORKSPACE - PER_HOST; i++)
		assert_int_equal(take(opened, &allowed, at(OTHER_HOST, 7002, ADDRESS + i)), REGISTRATION_REFUSAL_COUNT);
	assert_int_equal(take(opened, &allowed, at(OTHER_HOST, 7002, ADDRESS + 9)), REGISTRATION_WORKSPACE_LIMIT);
	registrations_remove(opened, HOST, 7001, ADDRESS);
	assert_int_equal(registrations_count_in(opened, 7001), PER_HOST - 1);
	assert_int_equal(take(opened, &allowed, at(HOST, 7001, ADDRESS + 20)), REGISTRATION_REFUSAL_COUNT);
	registrations_close(opened);
	opened = registrations(fixture); /* nothing was committed: all of it is forgotten, counts too */
	assert_int_equal(registrations_count_in(opened, 7001) + registrations_count_of(opened, HOST), 0);
	registrations_close(opened);
}

static void lowered_limit_cuts_nobody_off_and_who_is_there_can_be_registered_again(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);
	struct model lowered_model = allowed_model;
	struct revision lowered = allowed;
	struct model_registered_worker again = at(HOST, 7001, ADDRESS);

	lowered_model.gateway.registered_per_host_max = 1;
	lowered.model = &lowered_model;
	for (uint32_t i = 0; i < PER_HOST; i++)
		assert_int_equal(take(opened, &allowed, at(HOST, 7001, ADDRESS + i)), REGISTRATION_REFUSAL_COUNT);
	again.epoch = 2;
	assert_int_equal(take(opened, &lowered, at(HOST, 7001, ADDRESS + 1)), REGISTRATION_REFUSAL_COUNT);
	assert_int_equal(take(opened, &lowered, again), REGISTRATION_REFUSAL_COUNT);
	assert_int_equal(registrations_count_of(opened, HOST), PER_HOST);
	assert_int_equal(take(opened, &lowered, at(HOST, 7001, ADDRESS + 9)), REGISTRATION_HOST_LIMIT);
	registrations_close(opened);
}

static void worker_of_no_vpc_or_at_the_address_of_another_host_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct registrations *opened = registrations(fixture);

	assert_int_equal(take(opened, &allowed, at(HOST, 7003, ADDRESS)), REGISTRATION_UNKNOWN_VPC);
	assert_int_equal(take(opened, &allowed, at(HOST, 7001, 0x0a010001)), REGISTRATION_OUTSIDE_VPC);
	assert_int_equal(take(opened, &allowed, at(HOST, 7001, ADDRESS)), REGISTRATION_REFUSAL_COUNT);
	assert_int_equal(take(opened, &allowed, at(OTHER_HOST, 7001, ADDRESS)), REGISTRATION_OTHER_HOST);
	assert_int_equal(registrations_count_of(opened, OTHER_HOST), 0);
	registrations_close(opened);
}

#define workers_unit_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		workers_unit_test(what_was_committed_is_read_back_also_behind_half_a_line),
		workers_unit_test(damaged_line_makes_the_whole_journal_count_for_nothing),
		workers_unit_test(alias_is_taken_to_the_letter_or_not_at_all),
		workers_unit_test(file_wins_over_api_and_that_over_netlink),
		workers_unit_test(address_of_a_vpc_has_one_worker_and_the_next_takes_over),
		workers_unit_test(interface_made_anew_is_another_worker),
		workers_unit_test(source_that_says_all_it_has_leaves_out_who_is_gone),
		workers_unit_test(workers_of_the_api_are_there_after_a_restart),
		workers_unit_test(removal_that_could_not_be_written_is_written_by_the_next_change),
		workers_unit_test(address_is_its_hosts_and_each_owner_is_another_one),
		workers_unit_test(registrations_are_the_same_after_a_restart),
		workers_unit_test(change_that_could_not_be_written_is_there_after_a_restart_once_the_next_one_was),
		workers_unit_test(sync_takes_away_what_the_host_does_not_name),
		workers_unit_test(host_and_workspace_register_as_many_workers_as_they_may_and_no_more),
		workers_unit_test(lowered_limit_cuts_nobody_off_and_who_is_there_can_be_registered_again),
		workers_unit_test(worker_of_no_vpc_or_at_the_address_of_another_host_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
