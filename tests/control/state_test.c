/* SPDX-License-Identifier: Apache-2.0 */
/* control/state.c: what posternd remembers survives a restart, and what is damaged does no harm. */
#include "tests/control/check.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/maps.h"
#include "control/shared_pool.h"
#include "control/state.h"

enum { PATH_SIZE_BYTES = 512 };

struct fixture {
	char directory[64];
	struct state *state;
	struct problems problems;
};

static void reopen(struct fixture *fixture)
{
	state_close(fixture->state);
	fixture->state = NULL;
	assert_int_equal(state_open(fixture->directory, &fixture->state, &fixture->problems), STATUS_OK);
}

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	if (!fixture)
		return -1;
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/postern-state-test-XXXXXX");
	if (!mkdtemp(fixture->directory))
		return -1;
	reopen(fixture);
	return 0;
}

static const char *path_of(const struct fixture *fixture, const char *name, char ret_path[PATH_SIZE_BYTES])
{
	snprintf(ret_path, PATH_SIZE_BYTES, "%s/state/%s", fixture->directory, name);
	return ret_path;
}

static int fixture_close(void **state)
{
	static const char *const names[] = {
		"generation", "last-good.yaml", "workspace-indexes.json", "shared-pool.json", "lock", ""};
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	state_close(fixture->state);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		remove(path_of(fixture, names[i], path));
	rmdir(fixture->directory);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

static void write_file(const struct fixture *fixture, const char *name, const char *text)
{
	char path[PATH_SIZE_BYTES];
	FILE *file = fopen(path_of(fixture, name, path), "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static uint32_t index_of(struct fixture *fixture, const char *workspace, bool expect_new)
{
	uint32_t index = UINT32_MAX;
	bool is_new = !expect_new;

	assert_int_equal(state_workspace_index(fixture->state, workspace, &index, &is_new), STATUS_OK);
	assert_int_equal(is_new, expect_new);
	assert_true(index < BPF_WORKSPACE_COUNT_MAX);
	return index;
}

static void end_round(struct fixture *fixture)
{
	assert_int_equal(state_save_workspace_indexes(fixture->state, &fixture->problems), STATUS_OK);
	assert_int_equal(state_release_workspace_indexes(fixture->state, &fixture->problems), STATUS_OK);
}

static void workspace_keeps_its_index_over_rounds_and_restarts(void **state)
{
	struct fixture *fixture = *state;
	uint32_t acme = index_of(fixture, "acme", true), globex = index_of(fixture, "globex", true);

	assert_int_not_equal(acme, globex);
	end_round(fixture);
	assert_int_equal(index_of(fixture, "globex", false), globex);
	assert_int_equal(index_of(fixture, "acme", false), acme);
	end_round(fixture);
	reopen(fixture);
	assert_int_equal(index_of(fixture, "globex", false), globex);
	assert_int_equal(index_of(fixture, "acme", false), acme);
}

static void index_of_a_workspace_that_has_gone_is_given_again_from_the_next_round_on(void **state)
{
	struct fixture *fixture = *state;
	uint32_t acme = index_of(fixture, "acme", true), globex, initech;

	end_round(fixture);
	/* Programs may still count for acme in this round. */
	globex = index_of(fixture, "globex", true);
	assert_int_not_equal(globex, acme);
	end_round(fixture);
	assert_int_equal(index_of(fixture, "globex", false), globex);
	initech = index_of(fixture, "initech", true);
	assert_int_equal(initech, acme);
	end_round(fixture);
	reopen(fixture);
	assert_int_equal(index_of(fixture, "initech", false), initech);
}

static void index_stays_taken_while_no_round_goes_well(void **state)
{
	struct fixture *fixture = *state;
	uint32_t acme = index_of(fixture, "acme", true), index;

	end_round(fixture);
	for (int i = 0; i < 10; i++) {
		char id[32];

		snprintf(id, sizeof(id), "other-%d", i);
		assert_int_not_equal(index_of(fixture, id, true), acme);
		assert_int_equal(state_save_workspace_indexes(fixture->state, &fixture->problems), STATUS_OK);
	}
	assert_true(state_find_workspace_index(fixture->state, "acme", &index));
	assert_int_equal(index, acme);
}

/* An index of BPF_WORKSPACE_COUNT_MAX or more would make classifier_apply() refuse everything. */
static void indexes_end_where_the_classifiers_map_ends_and_freed_ones_are_enough(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = 77;
	bool is_new = false;
	char id[32];

	for (int i = 0; i < BPF_WORKSPACE_COUNT_MAX; i++) {
		snprintf(id, sizeof(id), "first-%d", i);
		index_of(fixture, id, true);
	}
	assert_int_equal(state_workspace_index(fixture->state, "one-more", &index, &is_new), STATUS_REFUSED);
	assert_int_equal(index, 77);
	end_round(fixture);
	/* All of them go, and as many others come. */
	end_round(fixture);
	for (int i = 0; i < BPF_WORKSPACE_COUNT_MAX; i++) {
		snprintf(id, sizeof(id), "second-%d", i);
		index_of(fixture, id, true);
	}
	end_round(fixture);
	reopen(fixture);
	assert_int_equal(state_workspace_index(fixture->state, "one-more", &index, &is_new), STATUS_REFUSED);
	index_of(fixture, "second-0", false);
}

static void looking_for_an_index_makes_none(void **state)
{
	struct fixture *fixture = *state;
	uint32_t index = 77;

	assert_false(state_find_workspace_index(fixture->state, "acme", &index));
	assert_int_equal(index, 77);
	index_of(fixture, "acme", true);
}

static void damaged_index_file_is_forgotten_as_a_whole(void **state)
{
	static const char *const texts[] = {"", "[", "[1]", "{\"acme\": -1}", "{\"acme\": 16384}", "{\"acme\": \"0\"}",
		"{\"acme\": 3, \"globex\": 3}", "{\"acme\": 1, \"acme\": 2}"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(fixture, "workspace-indexes.json", texts[i]);
		reopen(fixture);
		assert_int_equal(index_of(fixture, "acme", true), 0);
		assert_int_equal(index_of(fixture, "globex", true), 1);
	}
}

/* ---- the shared pool ---- */

static const struct shared_pool_range range = {
	.workspace = "acme", .address = 0xcb0071c8, .port_first = 1024, .port_count = 4096, .since_s = 5};

static void load(struct fixture *fixture, size_t expected_count, const char *expected_warning)
{
	struct shared_pool_table table = {0};
	struct problems warnings = {0};

	assert_int_equal(state_load_shared_pool(fixture->state, &table, &warnings), STATUS_OK);
	assert_int_equal(table.count, expected_count);
	assert_int_equal(warnings.count, expected_warning ? 1 : 0);
	if (expected_warning && !strstr(warnings.lines[0], expected_warning))
		fail_msg("\"%s\" does not contain \"%s\"", warnings.lines[0], expected_warning);
	problems_clear(&warnings);
	shared_pool_clear(&table);
}

static void save(struct fixture *fixture)
{
	struct shared_pool_table table = {0};

	assert_int_equal(shared_pool_add(&table, &range), STATUS_OK);
	assert_int_equal(state_save_shared_pool(fixture->state, &table, &fixture->problems), STATUS_OK);
	shared_pool_clear(&table);
}

static void shared_pool_survives_a_restart(void **state)
{
	struct fixture *fixture = *state;

	load(fixture, 0, NULL);
	save(fixture);
	reopen(fixture);
	load(fixture, 1, NULL);
}

static void shared_pool_that_did_not_change_is_not_written_again(void **state)
{
	struct fixture *fixture = *state;
	struct stat before, after;
	char path[PATH_SIZE_BYTES];

	save(fixture);
	assert_int_equal(stat(path_of(fixture, "shared-pool.json", path), &before), 0);
	save(fixture);
	reopen(fixture);
	load(fixture, 1, NULL);
	save(fixture);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
}

static void shared_pool_that_is_lost_is_told(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	save(fixture);
	assert_int_equal(state_save_last_good(fixture->state, "version: 1\n", &fixture->problems), STATUS_OK);
	assert_int_equal(unlink(path_of(fixture, "shared-pool.json", path)), 0);
	reopen(fixture);
	load(fixture, 0, "can not be read: No such file or directory: workspaces on the shared pool may get other");
	save(fixture);
	reopen(fixture);
	load(fixture, 1, NULL);
}

static void damaged_shared_pool_is_told_and_replaced(void **state)
{
	static const char *const texts[] = {"", "{", "{\"version\": 9, \"ranges\": []}"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(fixture, "shared-pool.json", texts[i]);
		reopen(fixture);
		load(fixture, 0, "can not be used: it is no ");
		save(fixture);
		reopen(fixture);
		load(fixture, 1, NULL);
	}
}

static void shared_pool_that_is_no_file_is_told(void **state)
{
	struct fixture *fixture = *state;
	char path[PATH_SIZE_BYTES];

	assert_int_equal(mkfifo(path_of(fixture, "shared-pool.json", path), 0600), 0);
	load(fixture, 0, "can not be read");
}

static void run_directory_of_others_is_refused(void **state)
{
	struct fixture *fixture = *state;
	const bool root = geteuid() == 0;
	const struct {
		mode_t mode;
		uid_t owner;
		const char *said;
	} cases[] = {
		{0770, 0, "others may write to the run directory"}, {0702, 0, "others may write to the run directory"},
		{0700, 1, "belongs to user 1"}, /* to be had by root only */
	};

	for (size_t i = 0; i < (root ? 3 : 2); i++) {
		state_close(fixture->state);
		fixture->state = NULL;
		assert_int_equal(chmod(fixture->directory, cases[i].mode), 0);
		assert_true(!root || chown(fixture->directory, cases[i].owner, 0) == 0);
		assert_int_equal(state_open(fixture->directory, &fixture->state, &fixture->problems), STATUS_SYSTEM);
		assert_int_equal(fixture->problems.count, 1);
		assert_non_null(strstr(fixture->problems.lines[0], cases[i].said));
		problems_clear(&fixture->problems);
		assert_true(!root || chown(fixture->directory, 0, 0) == 0);
		assert_int_equal(chmod(fixture->directory, 0700), 0);
		reopen(fixture);
	}
}

#define state_unit_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		state_unit_test(workspace_keeps_its_index_over_rounds_and_restarts),
		state_unit_test(index_of_a_workspace_that_has_gone_is_given_again_from_the_next_round_on),
		state_unit_test(index_stays_taken_while_no_round_goes_well),
		state_unit_test(indexes_end_where_the_classifiers_map_ends_and_freed_ones_are_enough),
		state_unit_test(looking_for_an_index_makes_none),
		state_unit_test(damaged_index_file_is_forgotten_as_a_whole),
		state_unit_test(shared_pool_survives_a_restart),
		state_unit_test(shared_pool_that_did_not_change_is_not_written_again),
		state_unit_test(shared_pool_that_is_lost_is_told),
		state_unit_test(damaged_shared_pool_is_told_and_replaced),
		state_unit_test(shared_pool_that_is_no_file_is_told),
		state_unit_test(run_directory_of_others_is_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
