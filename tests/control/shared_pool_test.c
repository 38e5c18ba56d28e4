/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which ports of the shared pool, over any number of configurations, and what is remembered of it. */
#include "tests/control/check.h"

#include "control/scalar.h"
#include "control/shared_pool.h"
#include "control/shared_pool_file.h"

enum { DAY_S = 86400, NOW_S = 1000000000, WORKSPACE_NAME_COUNT = 26, ROUND_COUNT = 3000 };

/*
 * A configuration from a pool ("ips: [...], …") and a word per workspace: "a" is on the shared pool, "A" is the same
 * workspace with an IP of its own. One that is not named is not there.
 */
static struct model *model_of(const char *pool, const char *workspaces)
{
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);
	struct model *model;

	assert_non_null(out);
	fprintf(out, CHECK_GATEWAY "shared_pool: { %s }\nworkspaces:%s\n", pool, *workspaces ? "" : " []");
	for (; *workspaces; workspaces++) {
		bool shared = *workspaces >= 'a';
		char id = (char)(*workspaces | 0x20);

		fprintf(out, "  - { id: %c, vpcs: [ { id: main, vni: %d, cidrs: [10.0.0.0/16] } ], egress: ", id, id);
		if (shared)
			fputs("shared }\n", out);
		else
			fprintf(out, "{ ips: [203.0.113.%d] } }\n", id - 'a' + 1);
	}
	fclose(out);
	model = check_load(text);
	free(text);
	return model;
}

static enum status assign_status(struct shared_pool_table *table, const char *pool, const char *workspaces,
	uint64_t now_s, struct problems *problems, struct problems *warnings)
{
	struct model *model = model_of(pool, workspaces);
	enum status status = shared_pool_assign(table, model, now_s, problems, warnings);

	assert_true(shared_pool_is_valid(table));
	model_free(model);
	return status;
}

static void assign(struct shared_pool_table *table, const char *pool, const char *workspaces, uint64_t now_s)
{
	struct problems problems = {0}, warnings = {0};

	assert_int_equal(assign_status(table, pool, workspaces, now_s, &problems, &warnings), STATUS_OK);
	assert_int_equal(problems.count, 0);
	assert_int_equal(warnings.count, 0);
}

/* "a active 203.0.113.200 1024+4096\n…" */
static void check_table(const struct shared_pool_table *table, const char *expected)
{
	static const char *const states[] = {"active", "draining", "quarantine"};
	char *text = NULL, address[SCALAR_SIZE_BYTES];
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	assert_non_null(out);
	for (size_t i = 0; i < table->count; i++) {
		const struct shared_pool_range *range = &table->ranges[i];

		scalar_format_ipv4(range->address, address);
		fprintf(out, "%s %s %s %u+%u\n", range->workspace, states[range->state], address, range->port_first,
			range->port_count);
	}
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
}

static const char one_ip[] = "ips: [203.0.113.200]";
static const char two_ips[] = "ips: [203.0.113.200, 203.0.113.201]";

static void ranges_are_whole_blocks_from_1024_up_and_disjoint(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, one_ip, "abc", NOW_S);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n"
			    "c active 203.0.113.200 9216+4096\n");
	shared_pool_clear(&table);
}

static void range_of_all_ports_takes_an_address(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, "ips: [203.0.113.200, 203.0.113.201], ports_per_workspace: 64512", "ab", NOW_S);
	check_table(&table, "a active 203.0.113.200 1024+64512\n"
			    "b active 203.0.113.201 1024+64512\n");
	shared_pool_clear(&table);
}

static void range_stays_when_others_come_and_go_and_the_file_is_rearranged(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, one_ip, "abc", NOW_S);
	assign(&table, "ips: [203.0.113.199, 203.0.113.200]", "dcb", NOW_S + 10);
	check_table(&table, "a quarantine 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n"
			    "c active 203.0.113.200 9216+4096\n"
			    "d active 203.0.113.199 1024+4096\n");
	shared_pool_clear(&table);
}

static void same_configuration_again_changes_nothing(void **state)
{
	struct shared_pool_table table = {0};
	char *before, *after;

	assign(&table, one_ip, "aBc", NOW_S);
	before = shared_pool_encode(&table);
	assign(&table, one_ip, "aBc", NOW_S + 100 * DAY_S);
	after = shared_pool_encode(&table);
	assert_string_equal(before, after);
	free(before);
	free(after);
	shared_pool_clear(&table);
}

static void range_of_a_workspace_that_moved_drains_then_rests_then_is_free(void **state)
{
	struct shared_pool_table table = {0};
	struct model *model = model_of(one_ip, "A");

	assign(&table, one_ip, "a", NOW_S);
	assign(&table, one_ip, "A", NOW_S + 10);
	check_table(&table, "a draining 203.0.113.200 1024+4096\n");
	assert_false(shared_pool_is_due(&table, model, NOW_S + 10 + DAY_S - 1));
	assign(&table, one_ip, "Ab", NOW_S + 10 + DAY_S - 1);
	check_table(&table, "a draining 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n");
	assert_true(shared_pool_is_due(&table, model, NOW_S + 10 + DAY_S));
	assign(&table, one_ip, "Abc", NOW_S + 10 + DAY_S);
	check_table(&table, "a quarantine 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n"
			    "c active 203.0.113.200 9216+4096\n");
	assert_false(shared_pool_is_due(&table, model, NOW_S + 100 * DAY_S));
	assign(&table, one_ip, "Abcd", NOW_S + 10 + DAY_S + SHARED_POOL_QUARANTINE_S - 1);
	assert_int_equal(table.count, 4);
	assign(&table, one_ip, "Abcde", NOW_S + 10 + DAY_S + SHARED_POOL_QUARANTINE_S);
	check_table(&table, "b active 203.0.113.200 5120+4096\n"
			    "c active 203.0.113.200 9216+4096\n"
			    "d active 203.0.113.200 13312+4096\n"
			    "e active 203.0.113.200 1024+4096\n");
	model_free(model);
	shared_pool_clear(&table);
}

static void workspace_that_comes_back_gets_its_own_range_again(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, one_ip, "ab", NOW_S);
	assign(&table, one_ip, "aB", NOW_S + 1);
	assign(&table, one_ip, "ab", NOW_S + 2);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n");
	assign(&table, one_ip, "b", NOW_S + 3);
	assign(&table, one_ip, "cab", NOW_S + 4);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n"
			    "c active 203.0.113.200 9216+4096\n");
	shared_pool_clear(&table);
}

static void linger_of_zero_lets_nothing_drain(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, "ips: [203.0.113.200], linger: 0s", "a", NOW_S);
	assign(&table, "ips: [203.0.113.200], linger: 0s", "A", NOW_S + 1);
	check_table(&table, "a quarantine 203.0.113.200 1024+4096\n");
	shared_pool_clear(&table);
}

static void address_that_leaves_the_pool_is_given_up_at_once(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, two_ips, "a", NOW_S);
	assign(&table, "ips: [203.0.113.201]", "a", NOW_S + 1);
	check_table(&table, "a active 203.0.113.201 1024+4096\n"
			    "a quarantine 203.0.113.200 1024+4096\n");
	/* Back in the pool, its ports still rest. */
	assign(&table, two_ips, "ab", NOW_S + 2);
	check_table(&table, "a active 203.0.113.201 1024+4096\n"
			    "a quarantine 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+4096\n");
	shared_pool_clear(&table);
}

static void full_pool_is_refused_with_numbers_and_nothing_changes(void **state)
{
	static const char pool[] = "ips: [203.0.113.200], ports_per_workspace: 32256";
	struct shared_pool_table table = {0};
	struct problems problems = {0}, warnings = {0};
	char *before, *after;

	assign(&table, pool, "ab", NOW_S);
	before = shared_pool_encode(&table);
	assert_int_equal(assign_status(&table, pool, "aBc", NOW_S + 1, &problems, &warnings), STATUS_INVALID);
	assert_int_equal(problems.count, 1);
	assert_string_equal(problems.lines[0],
		"test.yaml: shared_pool: the shared pool is full: 2 workspaces want 32256 ports each, room for 1 (1 "
		"ranges of earlier owners are held, for 1d and 5 minutes at most): add IPs, or lower "
		"ports_per_workspace");
	after = shared_pool_encode(&table);
	assert_string_equal(before, after);
	free(before);
	free(after);
	problems_clear(&problems);
	shared_pool_clear(&table);
}

static void another_size_gives_another_range_and_drains_the_old_one(void **state)
{
	struct shared_pool_table table = {0};

	assign(&table, one_ip, "a", NOW_S);
	assign(&table, "ips: [203.0.113.200], ports_per_workspace: 8192", "a", NOW_S + 1);
	check_table(&table, "a active 203.0.113.200 5120+8192\n"
			    "a draining 203.0.113.200 1024+4096\n");
	/* And back. */
	assign(&table, one_ip, "a", NOW_S + 2);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "a draining 203.0.113.200 5120+8192\n");
	shared_pool_clear(&table);
}

static void another_size_without_room_for_it_keeps_the_range_with_a_warning(void **state)
{
	struct shared_pool_table table = {0};
	struct problems problems = {0}, warnings = {0};

	assign(&table, one_ip, "a", NOW_S);
	/* Who comes is served before who wants another size. */
	assert_int_equal(assign_status(&table, "ips: [203.0.113.200], ports_per_workspace: 32256", "ab", NOW_S + 1,
				 &problems, &warnings),
		STATUS_OK);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "b active 203.0.113.200 5120+32256\n");
	assert_int_equal(warnings.count, 1);
	assert_string_equal(warnings.lines[0], "test.yaml: shared_pool: workspace a keeps its 4096 ports: there is no "
					       "room for 32256 in the pool");
	problems_clear(&warnings);
	shared_pool_clear(&table);
}

static void clock_that_was_set_back_only_prolongs(void **state)
{
	struct shared_pool_table table = {0};
	struct model *model = model_of(one_ip, "A");

	assign(&table, one_ip, "a", NOW_S);
	assign(&table, one_ip, "A", NOW_S);
	assign(&table, one_ip, "A", 1000);
	check_table(&table, "a draining 203.0.113.200 1024+4096\n");
	assert_int_equal(table.ranges[0].since_s, 1000);
	assert_false(shared_pool_is_due(&table, model, 1000 + DAY_S - 1));
	assert_true(shared_pool_is_due(&table, model, 1000 + DAY_S));
	model_free(model);
	shared_pool_clear(&table);
}

static void range_that_is_still_in_force_has_not_begun_to_drain(void **state)
{
	struct shared_pool_table table = {0}, in_force = {0};

	assign(&table, one_ip, "ab", NOW_S);
	assert_int_equal(shared_pool_copy(&table, &in_force), STATUS_OK);
	assign(&table, one_ip, "aB", NOW_S + 1);
	shared_pool_hold(&table, &in_force, NOW_S + 10 * DAY_S);
	assign(&table, one_ip, "aB", NOW_S + 10 * DAY_S);
	check_table(&table, "a active 203.0.113.200 1024+4096\n"
			    "b draining 203.0.113.200 5120+4096\n");
	assert_int_equal(table.ranges[1].since_s, NOW_S + 10 * DAY_S);
	/* Once it is in force that b drains, time goes on. */
	shared_pool_clear(&in_force);
	assert_int_equal(shared_pool_copy(&table, &in_force), STATUS_OK);
	shared_pool_hold(&table, &in_force, NOW_S + 11 * DAY_S);
	assert_int_equal(table.ranges[1].since_s, NOW_S + 10 * DAY_S);
	shared_pool_clear(&in_force);
	shared_pool_clear(&table);
}

/* ---- any history ---- */

/* When somebody last had the block, and who: for each block of each address. */
struct history {
	struct {
		char workspace;
		uint64_t last_s;
	} blocks[3][65536 / POLICY_PORT_BLOCK];
};

static uint32_t random_next(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* A block goes to another owner only after it was nobody's for the quarantine. */
static void check_history(struct history *history, const struct shared_pool_table *table, uint64_t now_s)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct shared_pool_range *range = &table->ranges[i];
		unsigned at = range->address - 0xcb0071c8;

		assert_true(at < 3);
		if (range->state == SHARED_POOL_QUARANTINE)
			continue;
		for (unsigned block = range->port_first / POLICY_PORT_BLOCK;
			block < (range->port_first + range->port_count) / POLICY_PORT_BLOCK; block++) {
			char owner = history->blocks[at][block].workspace;

			if (owner && owner != range->workspace[0])
				assert_true(now_s - history->blocks[at][block].last_s >= SHARED_POOL_QUARANTINE_S);
			history->blocks[at][block].workspace = range->workspace[0];
			history->blocks[at][block].last_s = now_s;
		}
	}
}

static void check_wanted(const struct shared_pool_table *table, const char *workspaces)
{
	for (; *workspaces; workspaces++) {
		const char id[2] = {(char)(*workspaces | 0x20)};
		const struct shared_pool_range *first;
		size_t count = shared_pool_find(table, id, &first);

		if (*workspaces >= 'a')
			assert_true(count > 0 && first->state == SHARED_POOL_ACTIVE);
		else
			assert_true(count == 0 || first->state != SHARED_POOL_ACTIVE);
	}
}

static void no_history_gives_a_block_to_another_before_it_rested(void **state)
{
	static const char *const pools[] = {
		"ips: [203.0.113.200, 203.0.113.201, 203.0.113.202], ports_per_workspace: 8192, linger: 10m",
		"ips: [203.0.113.200, 203.0.113.201, 203.0.113.202], ports_per_workspace: 4096, linger: 10m",
		"ips: [203.0.113.202, 203.0.113.200], ports_per_workspace: 8192, linger: 0s",
		"ips: [203.0.113.201], ports_per_workspace: 4096, linger: 1m",
	};
	struct shared_pool_table table = {0};
	struct history history = {0};
	uint32_t seed = 20260101;
	uint64_t now_s = NOW_S;
	unsigned refused_count = 0;

	for (unsigned round = 0; round < ROUND_COUNT; round++) {
		char workspaces[WORKSPACE_NAME_COUNT + 1] = "";
		struct problems problems = {0}, warnings = {0};
		size_t count = 0;

		for (int i = 0; i < 12; i++) {
			uint32_t word = random_next(&seed) % 4;

			if (word != 0)
				workspaces[count++] = (char)((word == 1 ? 'A' : 'a') + i);
		}
		/* All the while in use, not only when somebody looks. */
		check_history(&history, &table, now_s - 1);
		if (assign_status(&table, pools[random_next(&seed) % 4], workspaces, now_s, &problems, &warnings) ==
			STATUS_OK)
			check_wanted(&table, workspaces);
		else
			refused_count++;
		check_history(&history, &table, now_s);
		now_s += 1 + random_next(&seed) % 400;
		problems_clear(&problems);
		problems_clear(&warnings);
	}
	assert_true(refused_count < ROUND_COUNT / 2);
	shared_pool_clear(&table);
}

static void ten_thousand_workspaces_are_assigned(void **state)
{
	struct shared_pool_table table = {0};
	struct problems problems = {0}, warnings = {0};
	struct model *model;
	char *text = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&text, &size_bytes);

	assert_non_null(out);
	fputs(CHECK_GATEWAY "shared_pool: { ports_per_workspace: 512, ips: [", out);
	for (int i = 0; i < 80; i++)
		fprintf(out, "%s203.0.113.%d", i ? ", " : "", i + 1);
	fputs("] }\nworkspaces:\n", out);
	for (int i = 0; i < 10000; i++)
		fprintf(out, "  - { id: w%d, vpcs: [ { id: main, vni: %d, cidrs: [10.0.0.0/16] } ], egress: shared }\n",
			i, i + 1);
	fclose(out);
	model = check_load(text);
	assert_int_equal(shared_pool_assign(&table, model, NOW_S, &problems, &warnings), STATUS_OK);
	assert_int_equal(table.count, 10000);
	assert_true(shared_pool_is_valid(&table));
	assert_int_equal(shared_pool_assign(&table, model, NOW_S + 1, &problems, &warnings), STATUS_OK);
	assert_int_equal(table.count, 10000);
	model_free(model);
	free(text);
	shared_pool_clear(&table);
}

/* ---- what is remembered ---- */

static void table_is_written_and_read_back(void **state)
{
	struct shared_pool_table table = {0}, read = {0};
	char *text, *again;

	assign(&table, two_ips, "abc", NOW_S);
	assign(&table, two_ips, "aB", NOW_S + 1);
	text = shared_pool_encode(&table);
	assert_null(shared_pool_decode(text, strlen(text), &read));
	check_table(&read, "a active 203.0.113.200 1024+4096\n"
			   "b draining 203.0.113.200 5120+4096\n"
			   "c quarantine 203.0.113.200 9216+4096\n");
	again = shared_pool_encode(&read);
	assert_string_equal(text, again);
	free(text);
	free(again);
	shared_pool_clear(&table);
	shared_pool_clear(&read);
}

#define RANGE(workspace, first, count, state)                                                                          \
	"{\"workspace\": \"" workspace "\", \"address\": \"203.0.113.200\", \"port_first\": " first                    \
	", \"port_count\": " count ", \"state\": \"" state "\", \"since\": 5}"
#define FILE_OF(ranges) "{\"version\": 1, \"ranges\": [" ranges "]}"

static void damaged_file_is_told_and_not_believed(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\": 2, \"ranges\": []}",
		"{\"version\": 1}",
		"{\"version\": 1, \"ranges\": {}}",
		"{\"version\": 1, \"ranges\": [], \"more\": 1}",
		FILE_OF("1"),
		FILE_OF("{}"),
		FILE_OF(RANGE("a", "1024", "4096", "sleeping")),
		FILE_OF(RANGE("a", "512", "512", "active")),
		FILE_OF(RANGE("a", "1025", "512", "active")),
		FILE_OF(RANGE("a", "1024", "0", "active")),
		FILE_OF(RANGE("a", "1024", "100", "active")),
		FILE_OF(RANGE("a", "-512", "512", "active")),
		FILE_OF(RANGE("a", "65024", "1024", "active")),
		FILE_OF(RANGE("a", "1024", "66048", "active")),
		FILE_OF(RANGE("a", "1024.5", "512", "active")),
		FILE_OF(RANGE("A b", "1024", "512", "active")),
		FILE_OF(RANGE("a", "1024", "1024", "active") ", " RANGE("b", "1536", "512", "quarantine")),
		FILE_OF(RANGE("a", "1024", "512", "active") ", " RANGE("a", "2048", "512", "active")),
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct shared_pool_table table = {.count = 77};

		if (!shared_pool_decode(texts[i], strlen(texts[i]), &table))
			fail_msg("accepted: %s", texts[i]);
		assert_int_equal(table.count, 77);
	}
}

static void file_cut_at_any_byte_is_not_believed(void **state)
{
	struct shared_pool_table table = {0}, read = {0};
	char *text;

	assign(&table, two_ips, "ab", NOW_S);
	text = shared_pool_encode(&table);
	for (size_t length = 0; length < strlen(text); length++)
		assert_non_null(shared_pool_decode(text, length, &read));
	free(text);
	shared_pool_clear(&table);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_whole_blocks_from_1024_up_and_disjoint),
		cmocka_unit_test(range_of_all_ports_takes_an_address),
		cmocka_unit_test(range_stays_when_others_come_and_go_and_the_file_is_rearranged),
		cmocka_unit_test(same_configuration_again_changes_nothing),
		cmocka_unit_test(range_of_a_workspace_that_moved_drains_then_rests_then_is_free),
		cmocka_unit_test(workspace_that_comes_back_gets_its_own_range_again),
		cmocka_unit_test(linger_of_zero_lets_nothing_drain),
		cmocka_unit_test(address_that_leaves_the_pool_is_given_up_at_once),
		cmocka_unit_test(full_pool_is_refused_with_numbers_and_nothing_changes),
		cmocka_unit_test(another_size_gives_another_range_and_drains_the_old_one),
		cmocka_unit_test(another_size_without_room_for_it_keeps_the_range_with_a_warning),
		cmocka_unit_test(clock_that_was_set_back_only_prolongs),
		cmocka_unit_test(range_that_is_still_in_force_has_not_begun_to_drain),
		cmocka_unit_test(no_history_gives_a_block_to_another_before_it_rested),
		cmocka_unit_test(ten_thousand_workspaces_are_assigned),
		cmocka_unit_test(table_is_written_and_read_back),
		cmocka_unit_test(damaged_file_is_told_and_not_believed),
		cmocka_unit_test(file_cut_at_any_byte_is_not_believed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("shared_pool", tests, NULL, NULL);
}
