/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration read in parts, from where the last one left off, against the same files read whole. */
#include "tests/control/check.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/config_changes.h"
#include "control/config_parts.h"
#include "control/drain.h"
#include "control/plan.h"
#include "control/shared_pool.h"

enum {
	PATH_SIZE_BYTES = 512,
	TEXT_SIZE_BYTES = 4096,
	FILE_COUNT = 14,
	API_FIRST = 9,
	MAIN = FILE_COUNT,
	ROUND_COUNT = 1500,
	SETTLE_ROUNDS = 375,
	WORKSPACE_COUNT = 20
};

static const struct timespec settle = {.tv_sec = 1, .tv_nsec = 100000000};

struct fixture {
	char directory[128], main[PATH_SIZE_BYTES], api[PATH_SIZE_BYTES];
	struct model *parts;			     /* as read in parts last */
	char texts[FILE_COUNT + 1][TEXT_SIZE_BYTES]; /* what the files of the chance test say, where they are there */
	bool there[FILE_COUNT + 1];
	uint64_t random;
	unsigned in_parts, whole, refused, kept; /* kept: parts that were taken over by a look at their files */
	unsigned seen;				 /* loads that looked at no more than what had changed */
};

static uint32_t draw(struct fixture *fixture, uint32_t below)
{
	fixture->random ^= fixture->random << 13;
	fixture->random ^= fixture->random >> 7;
	fixture->random ^= fixture->random << 17;
	return (uint32_t)(fixture->random >> 32) % below;
}

static void put(const struct fixture *fixture, const char *name, const char *text)
{
	char path[PATH_SIZE_BYTES], other[PATH_SIZE_BYTES + 8];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%.200s", fixture->directory, name);
	snprintf(other, sizeof(other), "%s.new", path);
	if (!text) {
		unlink(path);
		return;
	}
	file = fopen(other, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(other, path), 0);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	char path[PATH_SIZE_BYTES];
	struct timespec now;

	if (!fixture)
		return -1;
	*state = fixture;
	strcpy(fixture->directory, "/tmp/postern-parts-test-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	fixture->random = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec;
	if (getenv("POSTERN_SEED"))
		fixture->random = strtoull(getenv("POSTERN_SEED"), NULL, 0);
	print_message("# POSTERN_SEED=%llu\n", (unsigned long long)fixture->random);
	snprintf(fixture->main, sizeof(fixture->main), "%s/postern.yaml", fixture->directory);
	snprintf(fixture->api, sizeof(fixture->api), "%s/api.d", fixture->directory);
	snprintf(path, sizeof(path), "%s/conf.d", fixture->directory);
	return mkdir(path, 0700) || mkdir(fixture->api, 0700);
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[PATH_SIZE_BYTES];

	model_free(fixture->parts);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->directory);
	return system(command) == 0 ? (free(fixture), 0) : -1;
}

/* ---- both ways ---- */

static void assert_same_problems(const struct problems *a, const struct problems *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++)
		assert_string_equal(a->lines[i], b->lines[i]);
}

static void assert_same_policy(const struct model *a, const struct model *b)
{
	struct shared_pool_table pool = {0};
	struct problems problems = {0}, warnings = {0};
	size_t a_bytes, b_bytes;
	void *a_block, *b_block;

	if (!a->gateway.present)
		return;
	assert_int_equal(shared_pool_assign(&pool, a, 1, &problems, &warnings), STATUS_OK);
	assert_int_equal(policy_compile(a, &pool, NULL, 7, &a_block, &a_bytes, &problems), STATUS_OK);
	assert_int_equal(policy_compile(b, &pool, NULL, 7, &b_block, &b_bytes, &problems), STATUS_OK);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a_block, b_block, a_bytes);
	free(a_block);
	free(b_block);
	shared_pool_clear(&pool);
	problems_clear(&warnings);
}

static void assert_same_model(const struct model *a, const struct model *b)
{
	char *a_text = model_print_with_sources(a), *b_text = model_print_with_sources(b);

	assert_string_equal(a_text, b_text);
	assert_true(plan_models_equal(a, b));
	assert_same_policy(a, b);
	free(a_text);
	free(b_text);
}

/* Reads in parts from where the last reading left off, and whole; the same must come of both. */
static enum status load_both(struct fixture *fixture, struct config_api api)
{
	struct problems problems[2] = {{0}}, warnings[2] = {{0}};
	struct config_directories directories[2] = {{{0}}};
	struct model *models[2] = {NULL};
	enum status statuses[2];

	api.directory = fixture->api;
	for (unsigned way = 0; way < 2; way++) {
		api.parts = way == 0;
		api.before = fixture->parts;
		statuses[way] = config_load_all(
			fixture->main, &api, &models[way], &directories[way], &problems[way], &warnings[way]);
	}
	assert_int_equal(statuses[0], statuses[1]);
	assert_same_problems(&problems[0], &problems[1]);
	if (statuses[0] == STATUS_OK) {
		assert_same_model(models[0], models[1]);
		assert_same_problems(&warnings[0], &warnings[1]);
		if (!api.files_unchanged)
			assert_int_equal(directories[0].count, directories[1].count);
		model_free(models[1]);
		fixture->in_parts += models[0]->part_count > 0;
		fixture->whole += models[0]->part_count == 0;
		if (!api.files_unchanged)
			fixture->kept +=
				(unsigned)(models[0]->part_count - config_parts_new(models[0], fixture->parts));
		/* The main file's part is another one as long as that has not rested. */
		fixture->seen +=
			api.changes && models[0]->part_count > 4 && config_parts_new(models[0], fixture->parts) <= 2;
		model_free(fixture->parts);
		fixture->parts = models[0];
	} else {
		fixture->refused++;
	}
	for (unsigned way = 0; way < 2; way++) {
		problems_clear(&problems[way]);
		problems_clear(&warnings[way]);
		config_directories_clear(&directories[way]);
	}
	return statuses[0];
}

static enum status load_files(struct fixture *fixture)
{
	return load_both(fixture, (struct config_api){0});
}

/* ---- files by chance: now and then one that is wrong, or is at odds with another ---- */

static void draw_workspace(struct fixture *fixture, unsigned number, char *text, size_t size_bytes)
{
	static const char *const extras[] = {
		"", "", "", "", "    timers: { udp: 60s }\n", /* worth a warning */
		"    limits: { sessions: 100, sessions_guaranteed: 50 }\n",
		"    policy: { default: deny, rules: [ { action: allow, to: 198.51.100.0/24 } ] }\n",
		"    number: 7\n",						/* twice, sooner or later */
		"    mapping: { tcp: endpoint-independent }\n", "    hue: 1\n", /* no such key */
	};
	static const char *const workers[] = {"", "", "", ", workers: []", ", workers: [ { ip: 10.0.0.5 } ]",
		", workers: [ { ip: 10.0.0.5, vtep: 10.100.0.9 }, { ip: 10.0.0.6, vtep: 0.0.0.0 } ]",
		", workers: [ { ip: 192.168.7.7 } ]"};
	unsigned vni = draw(fixture, 40) ? 100 + number : 100 + draw(fixture, WORKSPACE_COUNT);
	unsigned ip = draw(fixture, 40) ? 10 + number : 10 + draw(fixture, WORKSPACE_COUNT);
	char egress[128];

	snprintf(egress, sizeof(egress), "{ ips: [203.0.113.%u] }", ip);
	if (draw(fixture, 10) == 0)
		strcpy(egress, "shared");
	else if (draw(fixture, 200) == 0)
		snprintf(egress, sizeof(egress), "{ ips: [], draining: [203.0.113.%u] }", ip);
	snprintf(text, size_bytes,
		"  - id: w%u\n    vpcs: [ { id: main, vni: %u, cidrs: [10.%u.0.0/16]%s } ]\n    egress: %s\n%s", number,
		vni, draw(fixture, 2), workers[draw(fixture, 60) ? draw(fixture, 5) : draw(fixture, 7)], egress,
		extras[draw(fixture, 50) ? draw(fixture, 7) : draw(fixture, 10)]);
}

/* Of the main file's workspace, if that is there and has the address. */
static void draw_worker(struct fixture *fixture, unsigned file, char *text)
{
	static const char *const targets[] = {"interface: veth-%u", "cgroup: /sys/fs/cgroup/workers/%u"};
	char target[64];

	snprintf(target, sizeof(target), targets[draw(fixture, 2)], draw(fixture, 20) ? file : 0);
	sprintf(text, "worker_host:\n  workers:\n    - { %s%s, workspace: w%u, vpc: main, ips: [10.0.1.%u] }\n", target,
		draw(fixture, 10) ? "" : ", mac: 02:00:00:00:00:05", WORKSPACE_COUNT - 1, 10 + file);
}

static void draw_fragment(struct fixture *fixture, unsigned file, char *text)
{
	static const char *const odd[] = {"", "workspaces: []\n", "worker_host: { workers: [] }\n", "version: 1\n",
		"gateway: {}\n", "workspaces: {}\n", "workspaces: [\n", "- a\n", "workspaces: []\nworkspaces: []\n",
		"worker_host: { vtep: 10.100.0.2 }\n"};
	size_t used;

	if (draw(fixture, 12) == 0) {
		strcpy(text, odd[draw(fixture, draw(fixture, 4) ? 4 : 10)]);
		return;
	}
	used = (size_t)sprintf(text, "%sworkspaces:\n", draw(fixture, 4) ? "" : "# a line more\n");
	for (unsigned i = 0; i < 1 + draw(fixture, 2) && used + 1024 < TEXT_SIZE_BYTES; i++) {
		draw_workspace(fixture, draw(fixture, 30) ? 2 * file + i : draw(fixture, WORKSPACE_COUNT), text + used,
			TEXT_SIZE_BYTES - used);
		used += strlen(text + used);
	}
	if (draw(fixture, 8) == 0)
		draw_worker(fixture, file, text + used);
}

static void draw_main(struct fixture *fixture, char *text)
{
	static const char *const gateways[] = {
		"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n",
		"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n  hairpin: allow\n",
		"  inside: { interface: inside0, trusted_vteps: [10.99.0.0/24] }\n",
		"  inside: { interface: inside0, trusted_vteps: [0.0.0.0/0] }\n",
		"  inside: { interface: inside0 }\n",
	};
	char own[1024] = "";

	if (draw(fixture, 2))
		draw_workspace(fixture, WORKSPACE_COUNT - 1, own, sizeof(own));
	sprintf(text,
		"version: 1\n%sinclude: [ conf.d/*.yaml%s ]\ngateway:\n%s  outside: { interface: outside0 }\n%s%s%s%s",
		draw(fixture, 3) ? "" : "# another line\n", draw(fixture, 3) ? "" : ", conf.d/3.yaml",
		gateways[draw(fixture, 30) ? draw(fixture, 2) : draw(fixture, 5)],
		draw(fixture, 8) ? "shared_pool: { ips: [203.0.113.200, 203.0.113.201] }\n" : "",
		draw(fixture, 8) ? "worker_host: { vtep: 10.100.0.1, gateways: [10.100.0.254],\n"
				   "  cgroups: { path: /sys/fs/cgroup/workers, interface: eth0 } }\n"
				 : "",
		*own ? "workspaces:\n" : "", own);
}

/* Writes it, and remembers it as what the file says now; NULL: it is not there. */
static void keep(struct fixture *fixture, unsigned file, const char *text)
{
	char name[64];

	snprintf(name, sizeof(name),
		file == MAIN	   ? "postern.yaml"
		: file < API_FIRST ? "conf.d/%u.yaml"
				   : "api.d/%u.json",
		file);
	put(fixture, name, text);
	fixture->there[file] = text != NULL;
	if (text)
		strcpy(fixture->texts[file], text);
}

/* Half of the time with what the watch would tell of it. */
static enum status load_changed(struct fixture *fixture, unsigned file)
{
	struct config_changes changes = {.unknown = file == MAIN};
	char directory[PATH_SIZE_BYTES], name[64];
	enum status status;

	if (file >= API_FIRST && file != MAIN)
		return load_files(fixture);
	snprintf(directory, sizeof(directory), "%.200s/conf.d", fixture->directory);
	snprintf(name, sizeof(name), "%u.yaml", file);
	config_changes_add(&changes, directory, name);
	strcat(name, ".new");
	config_changes_add(&changes, directory, name);
	status = load_both(fixture, (struct config_api){.changes = draw(fixture, 2) ? &changes : NULL});
	config_changes_clear(&changes);
	return status;
}

/* What is refused is taken back: else soon nothing would load. */
static void change_file(struct fixture *fixture)
{
	unsigned file = draw(fixture, 20) ? draw(fixture, FILE_COUNT) : MAIN;
	char text[TEXT_SIZE_BYTES], before[TEXT_SIZE_BYTES];
	bool was_there = fixture->there[file];

	strcpy(before, fixture->texts[file]);
	if (file == MAIN)
		draw_main(fixture, text);
	else
		draw_fragment(fixture, file, text);
	keep(fixture, file, file == MAIN || draw(fixture, 6) ? text : NULL);
	if (load_changed(fixture, file) == STATUS_OK)
		return;
	keep(fixture, file, was_there ? before : NULL);
	assert_int_equal(load_files(fixture), STATUS_OK);
}

/* Of what was read last: as posternd does, only while that is what the files say. */
static void change_by_api(struct fixture *fixture)
{
	struct config_api api = {.files_unchanged = true};
	unsigned file = API_FIRST + draw(fixture, FILE_COUNT - API_FIRST);
	char name[64], text[TEXT_SIZE_BYTES];

	snprintf(name, sizeof(name), "%u.json", file);
	draw_fragment(fixture, file, text);
	api.changed_name = name;
	api.changed_text = draw(fixture, 4) ? text : NULL;
	if (load_both(fixture, api) == STATUS_OK)
		keep(fixture, file, api.changed_text);
}

/* ---- tests ---- */

static void whatever_changes_reading_in_parts_and_reading_whole_say_the_same(void **state)
{
	struct fixture *fixture = *state;

	keep(fixture, MAIN, CHECK_GATEWAY "include: [ conf.d/*.yaml ]\nworkspaces: []\n");
	assert_int_equal(load_files(fixture), STATUS_OK);
	for (unsigned round = 0; round < ROUND_COUNT; round++) {
		/* Only a file that has rested is taken for what it was. */
		if (round % SETTLE_ROUNDS == SETTLE_ROUNDS / 2)
			nanosleep(&settle, NULL);
		if (draw(fixture, 3) == 0)
			change_by_api(fixture);
		else
			change_file(fixture);
	}
	print_message("# %u in parts, %u whole, %u refused, %u kept, %u seen\n", fixture->in_parts, fixture->whole,
		fixture->refused, fixture->kept, fixture->seen);
	assert_true(fixture->in_parts > ROUND_COUNT / 4);
	assert_true(fixture->refused > ROUND_COUNT / 40);
	assert_true(fixture->kept > ROUND_COUNT / 30);
	assert_true(fixture->seen > ROUND_COUNT / 75);
}

#define WORKSPACE(id, vni, ip)                                                                                         \
	"workspaces:\n"                                                                                                \
	"  - id: " id "\n"                                                                                             \
	"    vpcs: [ { id: main, vni: " vni ", cidrs: [10.0.0.0/16] } ]\n"                                             \
	"    egress: { ips: [" ip ", 203.0.113.10" vni "] }\n"

static void put_three(struct fixture *fixture)
{
	put(fixture, "postern.yaml", CHECK_GATEWAY "include: [ conf.d/*.yaml ]\n");
	put(fixture, "conf.d/a.yaml", WORKSPACE("acme", "1", "203.0.113.1"));
	put(fixture, "conf.d/b.yaml", WORKSPACE("globex", "2", "203.0.113.2"));
	put(fixture, "conf.d/c.yaml", WORKSPACE("initech", "3", "203.0.113.3"));
}

/* The new model, and the one before it, which keeps what it said. */
static struct model *load_again(struct fixture *fixture, const struct config_api *changes)
{
	struct problems problems = {0}, warnings = {0};
	struct config_api api = *changes;
	struct model *model = NULL;

	api.parts = true;
	api.directory = fixture->api;
	api.before = fixture->parts;
	assert_int_equal(config_load_all(fixture->main, &api, &model, NULL, &problems, &warnings), STATUS_OK);
	problems_clear(&warnings);
	return model;
}

static void only_the_file_that_changed_is_read(void **state)
{
	struct fixture *fixture = *state;
	struct model *model;

	put_three(fixture);
	/* Files that were written within the last second may have been written again since they were read. */
	nanosleep(&settle, NULL);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	model = load_again(fixture, &(struct config_api){0});
	assert_int_equal(config_parts_new(model, fixture->parts), 0);
	model_free(model);
	put(fixture, "conf.d/b.yaml", WORKSPACE("globex", "2", "203.0.113.22"));
	model = load_again(fixture, &(struct config_api){0});
	assert_int_equal(config_parts_new(model, fixture->parts), 1);
	assert_int_equal(model->workspaces[1].egress_ips[0], 0xcb007116);
	assert_int_equal(fixture->parts->workspaces[1].egress_ips[0], 0xcb007102);
	model_free(model);
}

static void replace(struct fixture *fixture, struct model *model)
{
	model_free(fixture->parts);
	fixture->parts = model;
}

/* As after a change of these files that the watch has seen. */
static struct model *load_seen(struct fixture *fixture, const char *name, const char *other)
{
	struct config_changes changes = {0};
	char directory[PATH_SIZE_BYTES];
	struct model *model;

	snprintf(directory, sizeof(directory), "%.200s/conf.d", fixture->directory);
	config_changes_add(&changes, directory, name);
	config_changes_add(&changes, directory, other);
	model = load_again(fixture, &(struct config_api){.changes = &changes});
	config_changes_clear(&changes);
	return model;
}

static void only_what_the_watch_has_seen_is_looked_at(void **state)
{
	struct fixture *fixture = *state;
	struct model *model;

	put_three(fixture);
	nanosleep(&settle, NULL);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	put(fixture, "conf.d/a.yaml", "this is not read");
	put(fixture, "conf.d/b.yaml", WORKSPACE("globex", "2", "203.0.113.22"));
	model = load_seen(fixture, "b.yaml.new", "b.yaml");
	assert_int_equal(model->workspace_count, 3);
	assert_int_equal(model->workspaces[1].egress_ips[0], 0xcb007116);
	assert_int_equal(config_parts_new(model, fixture->parts), 1);
	replace(fixture, model);
	/* New ones have the places that their names give them, and one that is gone leaves its own. */
	put(fixture, "conf.d/bb.yaml", WORKSPACE("umbrella", "4", "203.0.113.4"));
	put(fixture, "conf.d/d.yaml", WORKSPACE("hooli", "5", "203.0.113.5"));
	model = load_seen(fixture, "d.yaml", "bb.yaml");
	assert_int_equal(model->workspace_count, 5);
	assert_string_equal(model->workspaces[2].id, "umbrella");
	assert_string_equal(model->workspaces[4].id, "hooli");
	replace(fixture, model);
	put(fixture, "conf.d/b.yaml", NULL);
	put(fixture, "conf.d/0.yaml", WORKSPACE("pied", "6", "203.0.113.6"));
	model = load_seen(fixture, "b.yaml", "0.yaml");
	assert_int_equal(model->workspace_count, 5);
	assert_string_equal(model->workspaces[0].id, "pied");
	assert_string_equal(model->workspaces[1].id, "acme");
	assert_string_equal(model->workspaces[2].id, "umbrella");
	assert_int_equal(config_parts_new(model, fixture->parts), 1);
	model_free(model);
}

/* What a link leads to changes in another directory, which nobody watches. */
static void with_a_link_among_them_all_files_are_looked_at(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];
	struct model *model;

	put_three(fixture);
	put(fixture, "away", WORKSPACE("umbrella", "4", "203.0.113.4"));
	snprintf(path, sizeof(path), "%.200s/conf.d/z.yaml", fixture->directory);
	assert_int_equal(symlink("../away", path), 0);
	nanosleep(&settle, NULL);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	put(fixture, "away", WORKSPACE("umbrella", "4", "203.0.113.44"));
	model = load_seen(fixture, "b.yaml", "b.yaml.new");
	assert_int_equal(model->workspaces[3].egress_ips[0], 0xcb00712c);
	replace(fixture, model);
	/* So is what was a file, and is a link now. */
	assert_int_equal(unlink(path), 0);
	put(fixture, "conf.d/z.yaml", WORKSPACE("umbrella", "4", "203.0.113.4"));
	replace(fixture, load_seen(fixture, "z.yaml", "z.yaml.new"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("../away", path), 0);
	model = load_seen(fixture, "z.yaml", "z.yaml.new");
	assert_int_equal(model->workspaces[3].egress_ips[0], 0xcb00712c);
	model_free(model);
}

/* By another name it changes in another directory, too. */
static void with_a_file_of_two_names_among_them_all_files_are_looked_at(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES], other[PATH_SIZE_BYTES];
	struct model *model;
	FILE *file;

	put_three(fixture);
	snprintf(path, sizeof(path), "%.200s/conf.d/c.yaml", fixture->directory);
	snprintf(other, sizeof(other), "%.200s/away", fixture->directory);
	assert_int_equal(link(path, other), 0);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	file = fopen(other, "r+b");
	assert_non_null(file);
	assert_true(fputs(WORKSPACE("initech", "3", "203.0.113.7"), file) >= 0);
	assert_int_equal(fclose(file), 0);
	model = load_seen(fixture, "b.yaml", "b.yaml.new");
	assert_int_equal(model->workspaces[2].egress_ips[0], 0xcb007107);
	model_free(model);
}

static void more_changes_than_can_be_kept_are_changes_of_anything(void **state)
{
	struct fixture *fixture = *state;
	struct config_changes changes = {0};
	struct model *model;
	char name[32];

	put_three(fixture);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	put(fixture, "conf.d/b.yaml", WORKSPACE("globex", "2", "203.0.113.22"));
	for (unsigned i = 0; i <= CONFIG_CHANGE_COUNT_MAX; i++) {
		assert_false(changes.unknown);
		snprintf(name, sizeof(name), "%u", i);
		config_changes_add(&changes, "/nowhere", name);
		config_changes_add(&changes, "/nowhere", name);
	}
	assert_true(changes.unknown);
	model = load_again(fixture, &(struct config_api){.changes = &changes});
	assert_int_equal(model->workspaces[1].egress_ips[0], 0xcb007116);
	model_free(model);
	config_changes_clear(&changes);
}

#define WORKER(target, ip) "    - { " target ", workspace: acme, vpc: main, ips: [" ip "] }\n"

/* What a worker has not is no reason to read everything: an interface is one, and so is a cgroup. */
static void workers_are_read_in_parts(void **state)
{
	struct fixture *fixture = *state;
	struct model *model;

	put(fixture, "postern.yaml",
		"version: 1\ninclude: [ conf.d/*.yaml ]\nworker_host:\n  vtep: 10.100.0.1\n"
		"  gateways: [10.100.0.254]\n  cgroups: { path: /sys/fs/cgroup/workers, interface: eth0 }\n");
	put(fixture, "conf.d/a.yaml",
		"workspaces:\n  - { id: acme, vpcs: [ { id: main, vni: 1, cidrs: [10.0.0.0/16] } ] }\n");
	put(fixture, "conf.d/b.yaml",
		"worker_host:\n  workers:\n" WORKER("interface: veth-1, mac: 02:00:00:00:00:05", "10.0.0.5")
			WORKER("interface: veth-2", "10.0.0.6"));
	put(fixture, "conf.d/c.yaml",
		"worker_host:\n  workers:\n" WORKER("cgroup: /sys/fs/cgroup/workers/a", "10.0.0.7")
			WORKER("cgroup: /sys/fs/cgroup/workers/b", "10.0.0.8"));
	assert_int_equal(load_files(fixture), STATUS_OK);
	assert_int_equal(fixture->in_parts, 1);
	model = load_again(fixture, &(struct config_api){.files_unchanged = true, .changed_name = "none.json"});
	assert_int_equal(model->worker_host.worker_count, 4);
	assert_int_equal(config_parts_new(model, fixture->parts), 0);
	model_free(model);
	/* What is wrong with one is told as ever. */
	put(fixture, "conf.d/c.yaml",
		"worker_host:\n  workers:\n" WORKER(
			"cgroup: /sys/fs/cgroup/workers/a, mac: 02:00:00:00:00:05", "10.0.0.7"));
	assert_int_equal(load_files(fixture), STATUS_INVALID);
	put(fixture, "conf.d/c.yaml",
		"worker_host:\n  workers:\n" WORKER("cgroup: /sys/fs/cgroup/workers/a, interface: veth-3", "10.0.0.7"));
	assert_int_equal(load_files(fixture), STATUS_INVALID);
	put(fixture, "conf.d/c.yaml", "worker_host:\n  workers:\n" WORKER("mac: 02:00:00:00:00:05", "10.0.0.7"));
	assert_int_equal(load_files(fixture), STATUS_INVALID);
	put(fixture, "conf.d/c.yaml", "worker_host:\n  workers:\n" WORKER("interface: veth-2", "10.0.0.7"));
	assert_int_equal(load_files(fixture), STATUS_INVALID);
}

static void a_file_that_changed_while_it_was_read_is_read_again(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];
	struct model *model;
	FILE *file;

	put_three(fixture);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	/* In place, with the same size, and perhaps within the same tick of the clock that stamps files. */
	snprintf(path, sizeof(path), "%s/conf.d/b.yaml", fixture->directory);
	file = fopen(path, "r+b");
	assert_non_null(file);
	assert_true(fputs(WORKSPACE("globex", "2", "203.0.113.7"), file) >= 0);
	assert_int_equal(fclose(file), 0);
	model = load_again(fixture, &(struct config_api){0});
	assert_int_equal(model->workspaces[1].egress_ips[0], 0xcb007107);
	model_free(model);
}

static void a_change_by_the_api_reads_no_file(void **state)
{
	const struct config_api change = {.changed_name = "x.json",
		.changed_text = "{\"workspaces\": [{\"id\": \"umbrella\", \"vpcs\": [{\"id\": \"main\", \"vni\": 9, "
				"\"cidrs\": [\"10.0.0.0/16\"]}], \"egress\": {\"ips\": [\"203.0.113.9\"]}}]}",
		.files_unchanged = true};
	const struct config_api removal = {.changed_name = "x.json", .files_unchanged = true};
	struct fixture *fixture = *state;
	struct model *model;

	put_three(fixture);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	put(fixture, "conf.d/a.yaml", "this is not read");
	model = load_again(fixture, &change);
	assert_int_equal(model->workspace_count, 4);
	assert_string_equal(model->workspaces[3].id, "umbrella");
	assert_int_equal(config_parts_new(model, fixture->parts), 1);
	model_free(fixture->parts);
	fixture->parts = model;
	model = load_again(fixture, &removal);
	assert_int_equal(model->workspace_count, 3);
	assert_int_equal(config_parts_new(model, fixture->parts), 0);
	model_free(model);
}

static void a_drain_does_not_reach_into_the_model_before(void **state)
{
	struct fixture *fixture = *state;
	struct problems warnings = {0};
	struct drains drains = {0};
	struct drain *drain;
	struct model *model;

	put_three(fixture);
	fixture->parts = load_again(fixture, &(struct config_api){0});
	model = load_again(fixture, &(struct config_api){.files_unchanged = true, .changed_name = "none.json"});
	assert_int_equal(drains_begin(&drains, 0xcb007101, "acme", 1, 0, &drain), STATUS_OK);
	assert_int_equal(drains_apply(&drains, model, 1, &warnings), STATUS_OK);
	assert_int_equal(model->workspaces[0].egress_ip_count, 1);
	assert_int_equal(model->workspaces[0].draining_ips[0], 0xcb007101);
	assert_int_equal(fixture->parts->workspaces[0].egress_ip_count, 2);
	assert_int_equal(fixture->parts->workspaces[0].egress_ips[0], 0xcb007101);
	assert_false(plan_models_equal(model, fixture->parts));
	model_free(model);
	drains_clear(&drains);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(whatever_changes_reading_in_parts_and_reading_whole_say_the_same),
		TEST(only_the_file_that_changed_is_read),
		TEST(only_what_the_watch_has_seen_is_looked_at),
		TEST(with_a_link_among_them_all_files_are_looked_at),
		TEST(with_a_file_of_two_names_among_them_all_files_are_looked_at),
		TEST(more_changes_than_can_be_kept_are_changes_of_anything),
		TEST(workers_are_read_in_parts),
		TEST(a_file_that_changed_while_it_was_read_is_read_again),
		TEST(a_change_by_the_api_reads_no_file),
		TEST(a_drain_does_not_reach_into_the_model_before),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
