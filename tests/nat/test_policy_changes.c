/* SPDX-License-Identifier: Apache-2.0 */
/* What a change of the policy does to sessions that live: the rows of the table in docs/nat.md that no other test
 * shows. */
#include "tests/nat/fixture.h"

static struct description udp(uint16_t source_port, uint32_t remote)
{
	return describe_udp(source_port, remote, 5000);
}

static void a_new_rule_stops_new_sessions_and_leaves_the_live_ones(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.rules[0] = (struct policy_rule){.prefix_length_bits = 0, .port_last = UINT16_MAX};
	fixture->draft.workspaces[0].rule_count = fixture->draft.counts[POLICY_RULES] = 1;
	fixture_apply(fixture);
	assert_int_equal(fixture_sent(fixture, udp(40000, REMOTE)).source_port, out.source_port);
	assert_true(fixture_passes(fixture, reply_to(&out)));
	assert_int_equal(fixture_sent(fixture, udp(40001, REMOTE)).icmp_code, ICMP_ADMIN_PROHIBITED);
	assert_int_equal(
		fixture_sent(fixture, udp(40000, REMOTE_2)).icmp_code, ICMP_ADMIN_PROHIBITED); /* also of its mapping */
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_POLICY), 2);
}

static void a_changed_timer_holds_for_live_sessions_too(void **state)
{
	struct fixture *fixture = *state;
	fixture_sent(fixture, udp(40000, REMOTE));
	fixture_pass(fixture, 100 * SECOND_NS);
	fixture->draft.workspaces[0].timers.udp_s = 60;
	fixture_apply(fixture);
	fixture_pass(fixture, 5 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.workspaces[0].timers.udp_s = 600;
	fixture_apply(fixture);
	fixture_pass(fixture, 590 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 15 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void a_changed_mapping_mode_leaves_the_live_sessions(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned mode = 0; mode < 2; mode++) {
		const uint16_t port = (uint16_t)(40000 + mode);
		const struct seen out = fixture_sent(fixture, udp(port, REMOTE));
		fixture->draft.workspaces[0].mapping_udp = (uint8_t)mode; /* first 1 → 0, then 0 → 1 */
		fixture_apply(fixture);
		assert_int_equal(fixture_sent(fixture, udp(port, REMOTE)).source_port, out.source_port);
		const struct seen in = fixture_sent(fixture, reply_to(&out));
		assert_int_equal(in.destination_port, port);
		const struct seen other = fixture_sent(fixture, udp(port, REMOTE_2));
		assert_int_not_equal(other.source_port, out.source_port); /* a mapping of its own */
		assert_true(fixture_passes(fixture, reply_to(&other)));
	}
}

/* Its port may now be a mapping's, which has sessions with others. */
static void a_session_of_the_mapping_mode_before_keeps_its_answers(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].mapping_udp = POLICY_MAPPING_ENDPOINT_DEPENDENT;
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.workspaces[0].mapping_udp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	fixture_apply(fixture);
	fixture->shard->port_first = out.source_port;
	fixture->shard->port_count = 1;
	const struct seen other = fixture_sent(fixture, udp(40001, REMOTE_2));
	assert_int_equal(other.source_port, out.source_port);
	assert_int_equal(fixture_sent(fixture, reply_to(&out)).destination_port, 40000);
	assert_int_equal(fixture_sent(fixture, reply_to(&other)).destination_port, 40001);
}

/* Each worker has 256 of the address's 512 ports towards one remote; every answer reaches who asked. */
static void a_changed_mapping_mode_gives_no_live_port_to_another_worker(void **state)
{
	struct fixture *fixture = *state;
	fixture_narrow(fixture);
	for (unsigned mode = 0; mode < 2; mode++) { /* to endpoint-dependent, then to -independent */
		struct seen out[512];
		for (uint16_t i = 0; i < 512; i++) {
			struct description of = udp((uint16_t)(2000 + i), REMOTE);
			of.source = i < 256 ? WORKER : WORKER_2;
			if (i == 256) {
				fixture->draft.workspaces[0].mapping_udp = (uint8_t)mode;
				fixture_apply(fixture);
			}
			out[i] = fixture_sent(fixture, of);
		}
		for (uint16_t i = 0; i < 512; i++) {
			const struct seen in = fixture_sent(fixture, reply_to(&out[i]));
			assert_int_equal(in.destination, i < 256 ? WORKER : WORKER_2);
			assert_int_equal(in.destination_port, 2000 + i);
		}
		fixture_sent(fixture, udp(9000, REMOTE)); /* refused, and told so */
		assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), mode + 1);
		fixture_pass(fixture, 320 * SECOND_NS);
		assert_int_equal(fixture_active(fixture), 0);
		fixture_sent(fixture, udp(9000, REMOTE)); /* of what was another mode's, nothing is left */
		fixture_pass(fixture, 320 * SECOND_NS);
	}
}

/* A mapping made after the change meets a session of before only when it reaches for that one's remote. */
static void a_new_mapping_moves_on_where_an_old_session_has_its_port(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].mapping_udp = POLICY_MAPPING_ENDPOINT_DEPENDENT;
	fixture_narrow(fixture);
	struct seen old[512];
	for (uint16_t i = 0; i < 511; i++)
		old[i] = fixture_sent(fixture, udp((uint16_t)(2000 + i), REMOTE));
	fixture->draft.workspaces[0].mapping_udp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	fixture_apply(fixture);
	struct description of = udp(9000, REMOTE_2);
	of.source = WORKER_2;
	const struct seen first = fixture_sent(fixture, of);
	of.destination = REMOTE;
	const struct seen second = fixture_sent(fixture, of);
	for (uint16_t i = 0; i < 511; i++) {
		assert_int_not_equal(second.source_port, old[i].source_port);
		assert_int_equal(fixture_sent(fixture, reply_to(&old[i])).destination, WORKER);
	}
	assert_int_equal(fixture_sent(fixture, reply_to(&first)).destination, WORKER_2);
	assert_int_equal(fixture_sent(fixture, reply_to(&second)).destination, WORKER_2);
}

static void a_changed_packet_rate_holds_for_live_sessions_at_once(void **state)
{
	struct fixture *fixture = *state;
	unsigned passed = 0;
	fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.workspaces[0].limits.packets_per_second = 10;
	fixture_apply(fixture);
	for (unsigned i = 0; i < 100; i++)
		passed += fixture_passes(fixture, udp(40000, REMOTE));
	assert_int_equal(passed, 10);
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_PACKET_RATE), 90);
	fixture->draft.workspaces[0].limits.packets_per_second = 0;
	fixture_apply(fixture);
	for (unsigned i = 0; i < 100; i++)
		assert_true(fixture_passes(fixture, udp(40000, REMOTE)));
}

static void an_address_of_an_open_vpc_is_whoever_has_it(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	struct description of = udp(40000, REMOTE);
	of.vtep = HOST_2;
	assert_int_equal(fixture_sent(fixture, of).source_port, out.source_port);
	assert_int_equal(fixture_sent(fixture, reply_to(&out)).outer_destination, HOST_2);
	assert_int_equal(fixture_active(fixture), 1);
}

/* It was there before its host registered it: from the review after that change on it is that worker's. */
static void a_session_from_before_its_worker_was_listed_ends_with_it_in_an_open_vpc(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	fixture_pass(fixture, SECOND_NS);
	assert_true(fixture_passes(fixture, reply_to(&out)));
	struct description of = udp(40000, REMOTE);
	of.vtep = HOST_2;
	fixture_expect_drop(fixture, &of, DROP_WRONG_VTEP);
	fixture->draft.counts[POLICY_WORKERS] = 0;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&out)));
	assert_int_equal(fixture_drops(fixture, DROP_STALE_SESSION), 1);
}

/* The list names another host: it is not that worker's. */
static void a_session_from_another_host_than_the_list_says_goes_on_in_an_open_vpc(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_2};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	fixture_pass(fixture, SECOND_NS);
	assert_int_equal(fixture_sent(fixture, reply_to(&out)).outer_destination, HOST_1);
	assert_int_equal(fixture_sent(fixture, udp(40000, REMOTE)).source_port, out.source_port);
	struct description of = udp(40001, REMOTE);
	fixture_expect_drop(fixture, &of, DROP_WRONG_VTEP);
	fixture->draft.counts[POLICY_WORKERS] = 0;
	fixture_apply(fixture);
	assert_int_equal(fixture_sent(fixture, reply_to(&out)).outer_destination, HOST_1);
}

static void a_lowered_limit_ends_nothing(void **state)
{
	struct fixture *fixture = *state;
	for (uint16_t i = 0; i < 10; i++)
		fixture_sent(fixture, udp((uint16_t)(40000 + i), REMOTE));
	fixture->draft.workspaces[0].limits.sessions = 5;
	fixture_apply(fixture);
	for (uint16_t i = 0; i < 10; i++)
		assert_false(fixture_sent(fixture, udp((uint16_t)(40000 + i), REMOTE)).tunnelled);
	assert_int_equal(fixture_sent(fixture, udp(50000, REMOTE)).icmp_code, ICMP_HOST_UNREACHABLE);
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_SESSIONS), 1);
	assert_int_equal(fixture_active(fixture), 10);
}

/* Also in the slot of one that has used up its own. */
static void a_new_workspace_begins_with_all_its_allowances(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].limits.packets_per_second = 10;
	fixture_apply(fixture);
	for (unsigned i = 0; i < 10; i++)
		assert_true(fixture_passes(fixture, udp(40000, REMOTE)));
	assert_false(fixture_passes(fixture, udp(40000, REMOTE)));
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, udp(40000, REMOTE))); /* it is still the same one */
	fixture->draft.workspaces[0].incarnation++;
	fixture_apply(fixture);
	assert_true(fixture_passes(fixture, udp(40000, REMOTE)));
	assert_int_equal(fixture_drops(fixture, DROP_LIMIT_PACKET_RATE), 2);
}

static void a_removed_cidr_cuts_its_workers_off_both_ways(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.cidrs[0] = (struct policy_cidr){IP(10, 1, 0, 0), 16};
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, udp(40000, REMOTE)));
	assert_int_equal(fixture_drops(fixture, DROP_SOURCE_OUTSIDE_VPC), 1);
	assert_false(fixture_passes(fixture, reply_to(&out)));
}

static void an_egress_ip_that_moves_takes_no_session_along(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	draft->workspaces[0].egress_count = 1; /* .10 alone */
	draft->workspaces[1].egress_first = 1;
	draft->egress_ips[1] = draft->egress_ips[2];
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
	const struct seen acme = fixture_sent(fixture, udp(40000, REMOTE));
	assert_int_equal(acme.source, ACME_IP_1);
	draft->egress_ips[0].address = GLOBEX_IP; /* they change places */
	draft->egress_ips[1].address = ACME_IP_1;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&acme)));
	assert_int_equal(fixture_drops(fixture, DROP_STALE_SESSION), 1);
	assert_int_equal(fixture_sent(fixture, udp(40000, REMOTE)).source, GLOBEX_IP);
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

/* How many of the next SYNs get a port. */
static unsigned opened(struct fixture *fixture, uint16_t source_port, unsigned count)
{
	unsigned got = 0;
	for (unsigned i = 0; i < count; i++) {
		struct frame frame;
		const struct description syn = describe_tcp((uint16_t)(source_port + i), TCP_SYN, 1000);
		assert_int_equal(fixture_send(fixture, &frame, &syn), PACKET_FORWARD); /* or a RST */
		got += frame.packet.drop_reason == DROP_NONE;
	}
	return got;
}

/* The map of its ports was made while sessions of the address's former identity held some: these come back. */
static void an_address_with_another_identity_gets_all_its_ports_back(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	fixture->shard->port_count = 8;
	draft->egress_ips[0].state = POLICY_EGRESS_DRAINING;
	fixture_apply(fixture);
	assert_int_equal(opened(fixture, 40000, 4), 4); /* on the second address */
	draft->workspaces[0].egress_count = 1;
	draft->workspaces[1].egress_first = 1;
	draft->egress_ips[0] = draft->egress_ips[1];
	draft->egress_ips[0].incarnation++;
	draft->egress_ips[1] = draft->egress_ips[2];
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
	assert_int_equal(opened(fixture, 50000, 8), 4); /* the others are held by sessions that have gone */
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 4);
	assert_int_equal(opened(fixture, 51000, 8), 4);
}

static void listing_workers_ends_the_sessions_of_before(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, REMOTE));
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	fixture->draft.workers[0] = (struct policy_worker){.address = WORKER};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&out)));
	assert_true(fixture_passes(fixture, udp(40000, REMOTE))); /* a new one */
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(a_new_rule_stops_new_sessions_and_leaves_the_live_ones),
		TEST(a_changed_timer_holds_for_live_sessions_too),
		TEST(a_changed_mapping_mode_leaves_the_live_sessions),
		TEST(a_session_of_the_mapping_mode_before_keeps_its_answers),
		TEST(a_changed_mapping_mode_gives_no_live_port_to_another_worker),
		TEST(a_new_mapping_moves_on_where_an_old_session_has_its_port),
		TEST(a_changed_packet_rate_holds_for_live_sessions_at_once),
		TEST(an_address_of_an_open_vpc_is_whoever_has_it),
		TEST(a_session_from_before_its_worker_was_listed_ends_with_it_in_an_open_vpc),
		TEST(a_session_from_another_host_than_the_list_says_goes_on_in_an_open_vpc),
		TEST(a_lowered_limit_ends_nothing),
		TEST(a_new_workspace_begins_with_all_its_allowances),
		TEST(a_removed_cidr_cuts_its_workers_off_both_ways),
		TEST(an_egress_ip_that_moves_takes_no_session_along),
		TEST(an_address_with_another_identity_gets_all_its_ports_back),
		TEST(listing_workers_ends_the_sessions_of_before),
	};
	return cmocka_run_group_tests_name("policy changes", tests, NULL, NULL);
}
