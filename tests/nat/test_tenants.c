/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The safety of tenants: one test per requirement of E1 to E8 that no other file names; the id stands in the test's
 * name.
 */
#include "tests/nat/fixture.h"

static void e1_what_the_gateway_makes_leaves_with_the_workspaces_address(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_RESET_IDLE;
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1000));
	struct description in = reply_to(&out);
	in.payload_bytes = 0;
	in.tcp_flags = TCP_SYN | TCP_ACK;
	fixture_sent(fixture, in);
	fixture_sent(fixture, describe_tcp(40000, TCP_ACK, 1001));
	in.ttl = 1;
	assert_int_equal(fixture_sent(fixture, in).source, out.source); /* time exceeded */
	fixture_pass(fixture, 7445 * SECOND_NS);
	unsigned outside = 0;
	for (struct frame *frame = fixture_take(fixture); frame != NULL; frame = fixture_take(fixture)) {
		const struct seen reset = frame_read(frame);
		assert_int_equal(reset.tcp_flags & TCP_RST, TCP_RST);
		if (reset.tunnelled)
			continue;
		assert_int_equal(reset.source, out.source);
		outside++;
	}
	assert_int_equal(outside, 1);
}

static void e2_what_goes_away_leaves_no_way_out(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	draft->workspaces[0].egress_count = 0; /* its IPs */
	draft->workspaces[1].egress_first = 0;
	draft->egress_ips[0] = draft->egress_ips[2];
	draft->counts[POLICY_EGRESS_IPS] = 1;
	fixture_apply(fixture);
	const struct seen answer = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	assert_true(answer.tunnelled);
	assert_int_equal(answer.icmp_code, ICMP_HOST_UNREACHABLE);
	assert_int_equal(fixture_drops(fixture, DROP_NO_EGRESS_IP), 1);
	assert_false(fixture_passes(fixture, reply_to(&out)));
	draft->vpcs[0] = draft->vpcs[1]; /* itself */
	draft->vpcs[0].workspace_index = 0;
	draft->workspaces[0] = draft->workspaces[1];
	draft->egress_ips[0].workspace_index = 0;
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = 1;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, describe_udp(40000, REMOTE, 5000)));
	assert_int_equal(fixture_drops(fixture, DROP_UNKNOWN_VNI), 1);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

static void e3_the_tunnel_says_who_it_is(void **state)
{
	struct fixture *fixture = *state;
	struct description of = describe_udp(40000, REMOTE, 5000);
	const uint32_t acme = fixture_sent(fixture, of).source;
	of.vni = VNI_GLOBEX;
	assert_int_equal(fixture_sent(fixture, of).source, GLOBEX_IP);
	assert_true(acme == ACME_IP_1 || acme == ACME_IP_2);
	of.vtep = IP(10, 100, 1, 2); /* the same bytes from a sender that is not trusted */
	assert_false(fixture_passes(fixture, of));
	assert_int_equal(fixture_drops(fixture, DROP_UNTRUSTED_VTEP), 1);
}

static void e6_a_worker_can_not_reach_a_tunnels_end(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t targets[] = {GATEWAY_INSIDE, GATEWAY_OUTSIDE, HOST_1, REMOTE, GLOBEX_IP};
	for (unsigned private = 0; private < 2; private ++) {
		if (private)
			fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_PRIVATE;
		fixture_apply(fixture);
		for (unsigned i = 0; i < 5; i++) {
			assert_false(fixture_passes(fixture, describe_udp(40000, targets[i], 4789)));
			assert_int_equal(fixture_drops(fixture, DROP_NESTED), 5 * private + i + 1);
		}
		assert_true(fixture_sent(fixture, describe_udp(40000, GATEWAY_INSIDE, 53))
				    .tunnelled); /* refused with an ICMP error */
		assert_true(fixture_sent(fixture, describe_udp(40000, GATEWAY_OUTSIDE, 53)).tunnelled);
		assert_int_equal(fixture_drops(fixture, DROP_DENIED_DESTINATION), 2 * private + 2);
	}
	assert_int_equal(fixture_active(fixture), 0);
}

/* The bytes before the inner packet hang on nothing but tunnel, size and flow. */
static void e8_nothing_of_one_tunnel_enters_another(void **state)
{
	struct fixture *fixture = *state;
	uint8_t outer[2][OUTER_BYTES];
	for (unsigned marked = 0; marked < 2; marked++) {
		struct frame frame;
		const struct description of = describe_udp(40000, REMOTE, 5000);
		frame_build(&frame, &of);
		if (marked) {
			frame.packet.data[14 + IPV4_TOS_OFFSET] = 0xff; /* of the outer header */
			store_be16(frame.packet.data + 14 + IPV4_CHECKSUM_OFFSET, 0);
			store_be16(frame.packet.data + 14 + IPV4_CHECKSUM_OFFSET,
				checksum_of(frame.packet.data + 14, IPV4_HEADER_BYTES));
			memset(frame.packet.data + RESERVED_AT, 0xff, 3);
			frame.packet.data[VNI_RESERVED_AT] = 0xff;
			memset(frame.packet.data + OUTER_BYTES, 0xab, 12); /* of the inner Ethernet header */
		}
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		const struct description in = reply_to(&out);
		frame_build(&frame, &in);
		if (marked) {
			frame.packet.data[14 + IPV4_TOS_OFFSET] = 0xff;
			store_be16(frame.packet.data + 14 + IPV4_CHECKSUM_OFFSET, 0);
			store_be16(frame.packet.data + 14 + IPV4_CHECKSUM_OFFSET,
				checksum_of(frame.packet.data + 14, IPV4_HEADER_BYTES));
		}
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		memcpy(outer[marked], frame.packet.data, OUTER_BYTES);
	}
	assert_memory_equal(outer[0], outer[1], OUTER_BYTES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(e1_what_the_gateway_makes_leaves_with_the_workspaces_address),
		TEST(e2_what_goes_away_leaves_no_way_out),
		TEST(e3_the_tunnel_says_who_it_is),
		TEST(e6_a_worker_can_not_reach_a_tunnels_end),
		TEST(e8_nothing_of_one_tunnel_enters_another),
	};
	return cmocka_run_group_tests_name("tenants", tests, NULL, NULL);
}
