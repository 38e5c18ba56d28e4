/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of workspaces, workers and remotes, and what is guaranteed to each workspace. */
#include "tests/nat/fixture.h"

#include "dataplane/nat/tally.h"

static void limits_hold_per_workspace_and_spare_the_others(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].limits.sessions = 10;
	fixture_apply(fixture);
	unsigned opened = 0;
	for (uint16_t port = 1; port <= 50; port++)
		opened += !fixture_sent(fixture, describe_tcp(port, TCP_SYN, 1)).tunnelled;
	assert_int_equal(opened, 10);
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_SESSIONS), 40);
	struct description of = describe_tcp(1, TCP_SYN, 1);
	of.vni = VNI_GLOBEX;
	assert_false(fixture_sent(fixture, of).tunnelled);
	fixture->draft.workspaces[0].limits = (struct policy_limits){.half_open = 12};
	fixture_apply(fixture);
	opened = 0;
	for (uint16_t port = 100; port < 110; port++)
		opened += !fixture_sent(fixture, describe_tcp(port, TCP_SYN, 1)).tunnelled;
	assert_int_equal(opened, 2);
	fixture->draft.workspaces[0].limits = (struct policy_limits){.new_sessions_per_second = 5};
	fixture_apply(fixture);
	for (unsigned i = 0, opened_by_rate = 0; i < 100; i++) {
		struct frame frame;
		struct description one = describe_udp((uint16_t)(5000 + i), REMOTE, 80);
		fixture_send(fixture, &frame, &one);
		opened_by_rate += frame.packet.out_port == PORT_OUTSIDE && frame.packet.verdict == PACKET_FORWARD;
		assert_true(opened_by_rate <= 5);
	}
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_SESSION_RATE), 95);
}

static unsigned opened(struct fixture *fixture, struct description of, unsigned attempts)
{
	unsigned count = 0;
	for (unsigned i = 0; i < attempts; i++) {
		of.source_port++;
		struct frame frame;
		count += fixture_send(fixture, &frame, &of) == PACKET_FORWARD && frame.packet.out_port == PORT_OUTSIDE;
	}
	return count;
}

static void limits_of_one_worker_spare_the_other_workers(void **state)
{
	struct fixture *fixture = *state;
	struct policy_limits *limits = &fixture->draft.workspaces[0].limits;
	limits->worker_sessions = 7;
	fixture_apply(fixture);
	struct description of = describe_tcp(1000, TCP_SYN, 1);
	struct description neighbour = of;
	neighbour.source = WORKER_2;
	assert_int_equal(opened(fixture, of, 20), 7);
	assert_int_equal(opened(fixture, neighbour, 20), 7);
	*limits = (struct policy_limits){.sessions_per_remote = 5};
	fixture_apply(fixture);
	of.destination = REMOTE_2;
	assert_int_equal(opened(fixture, of, 20), 5);
	of.destination_port = 80;
	assert_int_equal(opened(fixture, of, 20), 5);
	*limits = (struct policy_limits){.worker_sessions_per_remote = 3};
	fixture_apply(fixture);
	of.source_port = neighbour.source_port = 20000;
	for (uint16_t port = 8080; port < 8082; port++) {
		of.destination_port = neighbour.destination_port = port;
		neighbour.destination = REMOTE_2;
		assert_int_equal(opened(fixture, of, 20), 3);
		assert_int_equal(opened(fixture, neighbour, 20), 3);
		of.protocol = neighbour.protocol = PROTOCOL_UDP; /* another endpoint */
		assert_int_equal(opened(fixture, of, 20), 3);
		of.protocol = neighbour.protocol = PROTOCOL_TCP;
	}
	*limits = (struct policy_limits){.worker_half_open = 3};
	fixture_apply(fixture);
	of = describe_tcp(3000, TCP_SYN, 1);
	of.source = IP(10, 0, 0, 99);
	assert_int_equal(opened(fixture, of, 20), 3);
	of.protocol = PROTOCOL_UDP;
	assert_int_equal(opened(fixture, of, 20), 20);
	*limits = (struct policy_limits){.worker_new_sessions_per_second = 4};
	fixture_apply(fixture);
	of.source_port = 9000;
	assert_int_equal(opened(fixture, of, 20), 4);
	fixture_pass(fixture, 8000 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->tallies.index.count, 0);
	assert_int_equal(fixture->shard->workspaces[0].tallies, 0);
}

static void p7_guaranteed_sessions_are_there_whatever_the_others_do(void **state)
{
	(void)state;
	struct fixture *fixture = fixture_new(1024);
	fixture->draft.workspaces[1].limits.sessions_guaranteed = 200;
	fixture_apply(fixture);
	struct description noisy = describe_udp(1000, REMOTE, 443);
	struct description quiet = noisy;
	quiet.vni = VNI_GLOBEX;
	assert_int_equal(opened(fixture, noisy, 2000), 1024 - 200);
	assert_int_equal(opened(fixture, quiet, 150), 150);
	noisy.source_port += 10000;
	assert_int_equal(opened(fixture, noisy, 100), 0);
	quiet.source_port += 1000;
	assert_int_equal(opened(fixture, quiet, 100), 50);
	/* Without the guarantee the room would have been gone; with it given back, it can be borrowed. */
	fixture_pass(fixture, 320 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->guaranteed_unused, 200);
	fixture->draft.workspaces[1].limits.sessions_guaranteed = 0;
	fixture_apply(fixture);
	assert_int_equal(opened(fixture, noisy, 2000), 1024);
	fixture_free(fixture);
}

/* As posternd compiles a workspace that says nothing. */
static void p7_by_default_no_workspace_can_take_the_whole_table(void **state)
{
	(void)state;
	struct fixture *fixture = fixture_new(1024);
	for (unsigned i = 0; i < 2; i++)
		fixture->draft.workspaces[i].limits.sessions_guaranteed = POLICY_GUARANTEED_SHARE;
	fixture_apply(fixture);
	struct description noisy = describe_udp(1000, REMOTE, 443);
	struct description quiet = noisy;
	quiet.vni = VNI_GLOBEX;
	assert_int_equal(opened(fixture, noisy, 2000), 1024 - 256); /* a quarter each, half for both */
	assert_int_equal(opened(fixture, quiet, 300), 256);
	fixture_pass(fixture, 320 * SECOND_NS);
	/* What is guaranteed in numbers comes first; a share is never more than the workspace may have. */
	fixture->draft.workspaces[0].limits.sessions = 100;
	fixture->draft.workspaces[1].limits.sessions_guaranteed = 312;
	fixture_apply(fixture);
	assert_int_equal(opened(fixture, quiet, 2000), 1024 - 100);
	fixture_free(fixture);
}

static void p7_tallies_of_one_workspace_leave_room_for_the_others(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].limits.sessions_per_remote = 5;
	fixture->draft.workspaces[1].limits.sessions_per_remote = 5;
	fixture_apply(fixture);
	for (unsigned i = 0; i < 3500; i++) {
		struct frame frame;
		struct description of = describe_udp(1000, IP(198, 51, 101 + i / 250, 1 + i % 250), 443);
		fixture_send(fixture, &frame, &of);
	}
	assert_true(fixture_drops(fixture, DROP_LIMIT_SESSIONS) > 0);
	struct description globex = describe_udp(1000, REMOTE, 443);
	globex.vni = VNI_GLOBEX;
	assert_false(fixture_sent(fixture, globex).tunnelled);
}

static void a_full_table_refuses_and_evicts_nobody(void **state)
{
	(void)state;
	struct fixture *fixture = fixture_new(1024);
	const struct seen first = fixture_sent(fixture, describe_udp(1, REMOTE, 5000));
	for (uint16_t port = 2; port <= 1024; port++)
		assert_false(fixture_sent(fixture, describe_udp(port, REMOTE, 5000)).tunnelled);
	struct frame frame;
	struct description of = describe_udp(2000, REMOTE, 5000);
	fixture_send(fixture, &frame, &of);
	assert_int_equal(fixture_drops(fixture, DROP_SESSIONS_EXHAUSTED), 1);
	assert_true(fixture_passes(fixture, reply_to(&first)));
	assert_int_equal(fixture_active(fixture), 1024);
	fixture_free(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(limits_hold_per_workspace_and_spare_the_others),
		TEST(limits_of_one_worker_spare_the_other_workers),
		cmocka_unit_test(p7_guaranteed_sessions_are_there_whatever_the_others_do),
		cmocka_unit_test(p7_by_default_no_workspace_can_take_the_whole_table),
		TEST(p7_tallies_of_one_workspace_leave_room_for_the_others),
		cmocka_unit_test(a_full_table_refuses_and_evicts_nobody),
	};
	return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
