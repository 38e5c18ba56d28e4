/* SPDX-License-Identifier: Apache-2.0 */
/* control/gateways.c with the real kernel: gateways are addresses of a private network namespace that come and go. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/gateways.h"
#include "control/log.h"
#include "control/state.h"

enum { FIRST = 0x0a090001, SECOND = 0x0a090002, STRANGER = 0x0a090003, TICK_COUNT_MAX = 20 };

static const uint32_t addresses[] = {FIRST, SECOND};

struct fixture {
	char directory[64];
	struct log log;
	struct state *state;
	struct gateways *gateways;
	struct problems problems;
};

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void reopen(struct fixture *fixture)
{
	gateways_close(fixture->gateways);
	state_close(fixture->state);
	fixture->gateways = NULL;
	assert_int_equal(state_open(fixture->directory, &fixture->state, &fixture->problems), STATUS_OK);
	assert_int_equal(gateways_open(&fixture->log, fixture->state, &fixture->gateways), STATUS_OK);
	gateways_set(fixture->gateways, addresses, 2, true);
}

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	*state = fixture;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up && ip addr add 10.9.0.1/32 dev lo && ip addr add 10.9.0.2/32 dev lo");
	log_open(&fixture->log, LOG_LEVEL_ERROR);
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/postern-gateways-test-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	reopen(fixture);
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;
	char command[128];

	gateways_close(fixture->gateways);
	state_close(fixture->state);
	problems_clear(&fixture->problems);
	snprintf(command, sizeof(command), "rm -r %s", fixture->directory);
	run(command);
	free(fixture);
	return 0;
}

static bool is_up(const struct fixture *fixture, uint32_t address)
{
	bool up;

	gateways_up(fixture->gateways, &address, 1, &up);
	return up;
}

/* As many ticks as it takes until the gateway is as wanted; the daemon has a second between two. */
static int ticks_until(struct fixture *fixture, uint32_t address, bool up)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};

	for (int i = 1; i <= TICK_COUNT_MAX; i++) {
		bool was_up = is_up(fixture, address), changed = gateways_tick(fixture->gateways);

		assert_int_equal(changed, was_up != is_up(fixture, address));
		if (is_up(fixture, address) == up)
			return i;
		nanosleep(&pause, NULL);
	}
	fail_msg("after %d ticks the gateway is not %s", TICK_COUNT_MAX, up ? "up" : "down");
	return 0;
}

static void gateway_that_stops_answering_is_down_until_it_answers_again(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 3; i++)
		assert_false(gateways_tick(fixture->gateways));
	run("ip addr del 10.9.0.1/32 dev lo");
	assert_true(ticks_until(fixture, FIRST, false) >= GATEWAYS_MISSES_MAX);
	assert_true(is_up(fixture, SECOND));
	run("ip addr add 10.9.0.1/32 dev lo");
	assert_true(ticks_until(fixture, FIRST, true) >= GATEWAYS_ANSWERS_MIN);
}

static void gateway_without_a_way_to_it_is_down_also_when_it_never_answered(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr del 10.9.0.2/32 dev lo");
	ticks_until(fixture, SECOND, false);
	assert_true(is_up(fixture, FIRST));
}

static void silent_firewall_that_never_answered_is_believed_to_be_up(void **state)
{
	struct fixture *fixture = *state;

	run("ip link add quiet type veth peer name deaf && ip link set quiet up && ip link set deaf up arp off && ip "
	    "addr add 10.9.1.1/24 dev quiet && "
	    "ip addr del 10.9.0.2/32 dev lo && ip route add 10.9.0.2/32 dev quiet && "
	    "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev quiet");
	for (int i = 0; i < TICK_COUNT_MAX; i++)
		assert_false(gateways_tick(fixture->gateways));
	assert_true(is_up(fixture, SECOND));
}

static void when_none_answers_the_probes_are_not_believed(void **state)
{
	struct fixture *fixture = *state;

	gateways_tick(fixture->gateways);
	run("ip addr del 10.9.0.1/32 dev lo");
	ticks_until(fixture, FIRST, false);
	run("ip addr del 10.9.0.2/32 dev lo");
	for (int i = 0; i < TICK_COUNT_MAX; i++)
		gateways_tick(fixture->gateways);
	assert_true(is_up(fixture, FIRST));
	assert_true(is_up(fixture, SECOND));
	assert_true(gateways_get(fixture->gateways, 0).silent);
}

static void operators_word_counts_and_outlives_a_restart(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(gateways_operator(fixture->gateways, FIRST, true, &fixture->problems), STATUS_OK);
	assert_false(is_up(fixture, FIRST));
	reopen(fixture);
	assert_false(is_up(fixture, FIRST));
	assert_true(is_up(fixture, SECOND));
	assert_int_equal(gateways_operator(fixture->gateways, SECOND, true, &fixture->problems), STATUS_OK);
	assert_false(is_up(fixture, SECOND));
	assert_int_equal(gateways_operator(fixture->gateways, FIRST, false, &fixture->problems), STATUS_OK);
	assert_int_equal(gateways_operator(fixture->gateways, SECOND, false, &fixture->problems), STATUS_OK);
	reopen(fixture);
	assert_true(is_up(fixture, FIRST) && is_up(fixture, SECOND));
	assert_int_equal(gateways_operator(fixture->gateways, STRANGER, true, &fixture->problems), STATUS_INVALID);
}

static void probes_end_with_the_second_gateway(void **state)
{
	struct fixture *fixture = *state;

	run("ip addr del 10.9.0.1/32 dev lo");
	ticks_until(fixture, FIRST, false);
	gateways_set(fixture->gateways, addresses, 1, true);
	assert_true(gateways_tick(fixture->gateways));
	assert_true(is_up(fixture, FIRST));
	assert_false(gateways_get(fixture->gateways, 0).probed);
}

#define gateways_unit_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		gateways_unit_test(gateway_that_stops_answering_is_down_until_it_answers_again),
		gateways_unit_test(gateway_without_a_way_to_it_is_down_also_when_it_never_answered),
		gateways_unit_test(silent_firewall_that_never_answered_is_believed_to_be_up),
		gateways_unit_test(when_none_answers_the_probes_are_not_believed),
		gateways_unit_test(operators_word_counts_and_outlives_a_restart),
		gateways_unit_test(probes_end_with_the_second_gateway),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
