/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a drain, over models that are loaded while it runs; and its file. */
#include "tests/control/check.h"

#include "control/drain_file.h"

#define ACME(ips) "  - id: acme\n    vpcs: [ { id: main, vni: 1, cidrs: [10.0.0.0/16] } ]\n    egress: " ips "\n"
#define GLOBEX(ips) "  - id: globex\n    vpcs: [ { id: main, vni: 2, cidrs: [10.0.0.0/16] } ]\n    egress: " ips "\n"

enum { START_S = 1000000 };

static const uint32_t ten = 0xcb00710a;

struct fixture {
	struct drains drains;
	struct problems warnings;
	struct model *model;
};

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state == NULL;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	drains_clear(&fixture->drains);
	problems_clear(&fixture->warnings);
	model_free(fixture->model);
	free(fixture);
	return 0;
}

/* Loads, lays the drains over it, and makes it count. */
static const struct model *load(struct fixture *fixture, const char *workspaces, uint64_t now_s)
{
	char *text = NULL;

	assert_true(asprintf(&text, "%sworkspaces:\n%s", CHECK_GATEWAY, workspaces) > 0);
	model_free(fixture->model);
	problems_clear(&fixture->warnings);
	fixture->model = check_load(text);
	free(text);
	assert_int_equal(drains_apply(&fixture->drains, fixture->model, now_s, &fixture->warnings), STATUS_OK);
	drains_note(&fixture->drains, fixture->model);
	return fixture->model;
}

static struct drain *begin(struct fixture *fixture, uint64_t deadline_s)
{
	struct drain *drain = NULL;

	assert_int_equal(drains_begin(&fixture->drains, ten, "acme", START_S, deadline_s, &drain), STATUS_OK);
	return drain;
}

#define BOTH ACME("{ ips: [203.0.113.10, 203.0.113.11] }")

static void a_draining_address_stays_its_workspaces_over_reloads(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, 0);
	for (unsigned i = 0; i < 2; i++) {
		const struct model_workspace *acme = load(fixture, BOTH, START_S + i)->workspaces;

		assert_int_equal(acme->egress_ip_count, 1);
		assert_int_equal(acme->egress_ips[0], ten + 1);
		assert_int_equal(acme->draining_ip_count, 1);
		assert_int_equal(acme->draining_ips[0], ten);
		assert_false(drains_step(&fixture->drains, START_S + i));
	}
}

static void it_is_released_when_no_session_is_left_and_not_before_they_were_counted(void **state)
{
	struct fixture *fixture = *state;
	struct drain *drain = begin(fixture, 0);

	load(fixture, BOTH, START_S);
	assert_false(drains_step(&fixture->drains, START_S + 100000));
	drain->counted = true;
	drain->sessions = 1;
	assert_false(drains_step(&fixture->drains, START_S + 100000));
	drain->sessions = 0;
	assert_true(drains_step(&fixture->drains, START_S + 100001));
	assert_int_equal(drain->state, DRAIN_RELEASED);
	assert_false(drain->cut);
}

static void the_deadline_releases_what_sessions_there_may_be_and_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct drain *drain = begin(fixture, START_S + 60);

	load(fixture, BOTH, START_S);
	drain->counted = true;
	drain->sessions = 7;
	assert_false(drains_step(&fixture->drains, START_S + 59));
	assert_true(drains_step(&fixture->drains, START_S + 60));
	assert_true(drain->cut);
}

static void a_released_address_is_nobodys_until_the_quarantine_is_over(void **state)
{
	struct fixture *fixture = *state;
	const struct model *model;
	uint64_t free_s = START_S + DRAIN_QUARANTINE_S;

	drain_release(begin(fixture, 0), START_S);
	model = load(fixture, BOTH, START_S);
	assert_int_equal(model->workspaces[0].egress_ip_count, 1);
	assert_int_equal(model->workspaces[0].draining_ip_count, 0);
	assert_int_equal(fixture->warnings.count, 1);
	model = load(
		fixture, ACME("{ ips: [203.0.113.11] }") GLOBEX("{ ips: [203.0.113.10, 203.0.113.12] }"), free_s - 1);
	assert_int_equal(model->workspaces[1].egress_ip_count, 1);
	assert_non_null(strstr(fixture->warnings.lines[0], "is in quarantine: workspace globex has to wait"));
	assert_false(drains_step(&fixture->drains, free_s - 1));
	assert_true(drains_step(&fixture->drains, free_s));
	assert_int_equal(fixture->drains.count, 0);
}

static void a_released_address_stays_out_of_use_while_the_files_have_it(void **state)
{
	struct fixture *fixture = *state;
	uint64_t late_s = START_S + 10 * DRAIN_QUARANTINE_S;

	drain_release(begin(fixture, 0), START_S);
	load(fixture, BOTH, late_s);
	assert_false(drains_step(&fixture->drains, late_s));
	assert_int_equal(fixture->model->workspaces[0].egress_ip_count, 1);
	load(fixture, ACME("{ ips: [203.0.113.11] }"), late_s);
	assert_true(drains_step(&fixture->drains, late_s));
	assert_int_equal(fixture->drains.count, 0);
}

static void cancelled_it_is_in_use_as_the_files_say(void **state)
{
	struct fixture *fixture = *state;

	begin(fixture, 0);
	load(fixture, BOTH, START_S);
	assert_true(drains_cancel(&fixture->drains, ten));
	assert_false(drains_cancel(&fixture->drains, ten));
	assert_int_equal(load(fixture, BOTH, START_S)->workspaces[0].egress_ip_count, 2);
}

static void the_file_brings_everything_back(void **state)
{
	struct fixture *fixture = *state;
	struct drains again = {0};
	struct drain *drain;
	char *text;

	drain_release(begin(fixture, START_S + 60), START_S + 5);
	assert_int_equal(drains_begin(&fixture->drains, ten + 5, "globex", START_S, 0, &drain), STATUS_OK);
	text = drains_encode(&fixture->drains);
	assert_null(drains_decode(text, strlen(text), &again));
	assert_int_equal(again.count, 2);
	assert_int_equal(again.entries[0].address, ten);
	assert_int_equal(again.entries[0].state, DRAIN_RELEASED);
	assert_int_equal(again.entries[0].released_s, START_S + 5);
	assert_int_equal(again.entries[0].deadline_s, START_S + 60);
	assert_string_equal(again.entries[1].workspace, "globex");
	drains_clear(&again);
	free(text);
}

/* Cut anywhere, or with any byte changed: understood, or refused with a reason and no drains at all. */
static void a_damaged_file_is_refused_whole_or_understood(void **state)
{
	struct fixture *fixture = *state;
	struct drains again;
	char *text;
	size_t length;

	begin(fixture, START_S + 60);
	text = drains_encode(&fixture->drains);
	length = strlen(text);
	for (size_t cut = 0; cut < length; cut++) {
		assert_non_null(drains_decode(text, cut, &again));
		assert_int_equal(again.count, 0);
	}
	for (size_t i = 0; i < length; i++) {
		for (unsigned value = 0; value < 256; value++) {
			char was = text[i];

			text[i] = (char)value;
			if (drains_decode(text, length, &again) != NULL)
				assert_int_equal(again.count, 0);
			drains_clear(&again);
			text[i] = was;
		}
	}
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_draining_address_stays_its_workspaces_over_reloads),
		TEST(it_is_released_when_no_session_is_left_and_not_before_they_were_counted),
		TEST(the_deadline_releases_what_sessions_there_may_be_and_says_so),
		TEST(a_released_address_is_nobodys_until_the_quarantine_is_over),
		TEST(a_released_address_stays_out_of_use_while_the_files_have_it),
		TEST(cancelled_it_is_in_use_as_the_files_say),
		TEST(the_file_brings_everything_back),
		TEST(a_damaged_file_is_refused_whole_or_understood),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
