/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline as a whole: what goes in, what comes out, what is counted. */
#include "tests/nat/fixture.h"

static const struct description udp_out = {
	.source = WORKER,
	.destination = REMOTE,
	.source_port = 40000,
	.destination_port = 5000,
	.protocol = PROTOCOL_UDP,
	.payload_bytes = 32,
};

static const struct description syn_out = {
	.source = WORKER,
	.destination = REMOTE,
	.source_port = 40000,
	.destination_port = 443,
	.protocol = PROTOCOL_TCP,
	.tcp_flags = TCP_SYN,
	.sequence = 1000,
	.mss = 1460,
};

static const struct description ping_out = {
	.source = WORKER,
	.destination = REMOTE,
	.source_port = 77,
	.protocol = PROTOCOL_ICMP,
	.icmp_type = ICMP_ECHO_REQUEST,
	.payload_bytes = 32,
};

static bool acme_address(uint32_t address)
{
	return address == ACME_IP_1 || address == ACME_IP_2;
}

static void packets_leave_with_an_ip_of_their_own_workspace(void **state)
{
	struct fixture *fixture = *state;
	const struct description *const kinds[] = {&udp_out, &syn_out, &ping_out};
	for (unsigned i = 0; i < 3; i++) {
		struct description of = *kinds[i];
		struct frame frame;
		assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
		struct seen seen = frame_read(&frame);
		assert_false(seen.tunnelled);
		assert_true(acme_address(seen.source));
		assert_int_equal(seen.destination, REMOTE);
		assert_true(seen.source_port >= 1024);
		assert_int_equal(seen.ttl, 63);
		assert_true(seen.checksums_right);
		of.vni = VNI_GLOBEX;
		assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
		seen = frame_read(&frame);
		assert_int_equal(seen.source, GLOBEX_IP);
		assert_true(seen.checksums_right);
	}
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

static void replies_reach_the_worker_that_asked_among_identical_addresses(void **state)
{
	struct fixture *fixture = *state;
	const struct description *const kinds[] = {&udp_out, &syn_out, &ping_out};
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned workspace = 0; workspace < 2; workspace++) {
			struct description of = *kinds[i];
			of.vni = workspace == 0 ? VNI_ACME : VNI_GLOBEX;
			of.vtep = workspace == 0 ? HOST_1 : HOST_2;
			struct frame frame;
			fixture_send(fixture, &frame, &of);
			const struct seen out = frame_read(&frame);
			struct description reply = reply_to(&out);
			reply.tcp_flags = TCP_SYN | TCP_ACK;
			assert_int_equal(fixture_send(fixture, &frame, &reply), PACKET_FORWARD);
			const struct seen in = frame_read(&frame);
			assert_true(in.tunnelled);
			assert_int_equal(in.vni, of.vni);
			assert_int_equal(in.outer_destination, of.vtep);
			assert_int_equal(in.outer_source, GATEWAY_INSIDE);
			assert_int_equal(in.destination, WORKER);
			assert_int_equal(in.destination_port, of.source_port);
			assert_int_equal(in.source, REMOTE);
			assert_true(in.checksums_right);
		}
	}
}

static void a_zero_udp_checksum_stays_zero(void **state)
{
	struct fixture *fixture = *state;
	struct description of = udp_out;
	of.no_checksum = true;
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
	assert_int_equal(load_be16(frame_read(&frame).l4 + UDP_CHECKSUM_OFFSET), 0);
}

static enum packet_verdict send_by_tunnel_port(struct fixture *fixture, uint16_t tunnel_port, uint16_t port)
{
	struct frame frame;
	struct description of = udp_out;
	of.destination_port = port;
	frame_build(&frame, &of);
	store_be16(frame.packet.data + ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + 2, tunnel_port);
	return fixture_run(fixture, &frame);
}

static void no_worker_reaches_the_port_of_the_tunnels_whichever_it_is(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.header.vxlan_udp_port = 8472;
	fixture_apply(fixture);
	assert_int_equal(send_by_tunnel_port(fixture, 8472, 53), PACKET_FORWARD);
	assert_int_equal(send_by_tunnel_port(fixture, 8472, 4789), PACKET_DROP);
	assert_int_equal(send_by_tunnel_port(fixture, 8472, 8472), PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_NESTED), 2);
	assert_int_equal(send_by_tunnel_port(fixture, 4789, 53), PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_NOT_VXLAN), 1);
}

static void what_can_not_be_attributed_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct description of = udp_out;
	of.vni = 9999;
	fixture_expect_drop(fixture, &of, DROP_UNKNOWN_VNI);
	of = udp_out;
	of.vtep = IP(10, 101, 0, 2);
	fixture_expect_drop(fixture, &of, DROP_UNTRUSTED_VTEP);
	of = udp_out;
	of.source = IP(10, 1, 0, 5);
	fixture_expect_drop(fixture, &of, DROP_SOURCE_OUTSIDE_VPC);
	of = udp_out;
	of.source = IP(224, 0, 0, 1);
	fixture_expect_drop(fixture, &of, DROP_BAD_SOURCE);
	of = udp_out;
	of.destination_port = 4789;
	fixture_expect_drop(fixture, &of, DROP_NESTED);
	of = udp_out;
	of.protocol = 132;
	fixture_expect_drop(fixture, &of, DROP_DENIED_PROTOCOL);
	of = reply_to(&(struct seen){.source = IP(203, 0, 113, 99), .destination = REMOTE, .protocol = PROTOCOL_UDP});
	fixture_expect_drop(fixture, &of, DROP_NOT_OURS);
	of.destination = ACME_IP_1;
	fixture_expect_drop(fixture, &of, DROP_NO_SESSION);
}

static void nothing_passes_without_a_policy_or_a_route(void **state)
{
	struct fixture *fixture = *state;
	const struct nat_view whole = fixture->view;
	fixture->view.policy = NULL;
	fixture_expect_drop(fixture, &udp_out, DROP_NO_POLICY);
	fixture->view = whole;
	fixture->view.adjacency = NULL;
	fixture_expect_drop(fixture, &udp_out, DROP_NO_ROUTE);
	fixture->view = whole;
	assert_int_equal(fixture->counters->shards[0].sessions_active, 0);
}

static void special_purpose_destinations_are_refused_with_an_answer(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t denied[] = {IP(10, 9, 9, 9), IP(172, 16, 0, 1), IP(192, 168, 1, 1), IP(169, 254, 169, 254),
		IP(100, 64, 0, 1), IP(127, 0, 0, 1), IP(239, 1, 1, 1), IP(255, 255, 255, 255), GATEWAY_OUTSIDE};
	for (unsigned i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
		struct description of = udp_out;
		of.destination = denied[i];
		of.payload_bytes = 64;
		struct frame frame;
		assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
		const struct seen seen = frame_read(&frame);
		assert_true(seen.tunnelled);
		assert_int_equal(seen.vni, VNI_ACME);
		assert_int_equal(seen.destination, WORKER);
		assert_int_equal(seen.icmp_type, ICMP_UNREACHABLE);
		assert_int_equal(seen.icmp_code, ICMP_ADMIN_PROHIBITED);
		assert_true(seen.checksums_right);
		assert_true(seen.ip_bytes <= 64 + 28);
	}
	assert_int_equal(fixture_drops(fixture, DROP_DENIED_DESTINATION), sizeof(denied) / sizeof(denied[0]));
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_PRIVATE;
	fixture_apply(fixture);
	struct description of = udp_out;
	of.destination = IP(10, 9, 9, 9);
	struct frame frame;
	fixture_send(fixture, &frame, &of);
	assert_int_equal(frame_read(&frame).destination, IP(10, 9, 9, 9));
}

static void egress_rules_decide_by_first_match(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.rules[0] =
		(struct policy_rule){IP(192, 0, 2, 0), 24, POLICY_RULE_ALLOW, PROTOCOL_TCP, 0, 443, 443};
	fixture->draft.rules[1] = (struct policy_rule){IP(192, 0, 2, 0), 24, POLICY_RULE_DENY, 0, 0, 0, 65535};
	fixture->draft.counts[POLICY_RULES] = 2;
	fixture->draft.workspaces[0].rule_count = 2;
	fixture_apply(fixture);
	fixture_expect_drop(fixture, &udp_out, DROP_DENIED_POLICY);
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &syn_out), PACKET_FORWARD);
	assert_false(frame_read(&frame).tunnelled);
	struct description globex = udp_out;
	globex.vni = VNI_GLOBEX;
	fixture_send(fixture, &frame, &globex);
	assert_int_equal(frame_read(&frame).source, GLOBEX_IP);
}

static void a_stopped_ttl_is_answered_with_time_exceeded(void **state)
{
	struct fixture *fixture = *state;
	struct description of = udp_out;
	of.ttl = 1;
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
	const struct seen seen = frame_read(&frame);
	assert_true(seen.tunnelled);
	assert_int_equal(seen.icmp_type, ICMP_TIME_EXCEEDED);
	assert_int_equal(seen.source, GATEWAY_OUTSIDE);
	assert_int_equal(seen.destination, WORKER);
	assert_true(seen.checksums_right);
	assert_int_equal(load_be32(seen.l4 + ICMP_HEADER_BYTES + IPV4_SOURCE_OFFSET), WORKER);
	assert_int_equal(fixture->counters->shards[0].sessions_active, 0);
	assert_int_equal(fixture->counters->shards[0].generated, 1);
}

static void df_and_too_big_is_answered_with_the_next_mtu(void **state)
{
	struct fixture *fixture = *state;
	fixture_adjacency(fixture, 1500, 1400);
	struct description of = udp_out;
	of.df = true;
	of.payload_bytes = 1400;
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
	const struct seen seen = frame_read(&frame);
	assert_int_equal(seen.icmp_type, ICMP_UNREACHABLE);
	assert_int_equal(seen.icmp_code, ICMP_FRAGMENTATION_NEEDED);
	assert_int_equal(seen.icmp_mtu, 1400);
	assert_true(seen.checksums_right);
	/* The other way: what does not fit into the tunnel is refused in the name of
	 * the egress IP. */
	fixture_adjacency(fixture, 1500, 1500);
	of.payload_bytes = 100;
	fixture_send(fixture, &frame, &of);
	const struct seen out = frame_read(&frame);
	struct description reply = reply_to(&out);
	reply.df = true;
	reply.payload_bytes = 1460;
	assert_int_equal(fixture_send(fixture, &frame, &reply), PACKET_FORWARD);
	const struct seen back = frame_read(&frame);
	assert_false(back.tunnelled);
	assert_int_equal(back.icmp_mtu, 1450);
	assert_int_equal(back.source, out.source);
	assert_int_equal(back.destination, REMOTE);
	assert_true(back.checksums_right);
}

static void the_mss_is_clamped_to_the_tunnel_both_ways(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	fixture_send(fixture, &frame, &syn_out);
	const struct seen out = frame_read(&frame);
	assert_int_equal(out.mss, 1410);
	assert_true(out.checksums_right);
	struct description reply = reply_to(&out);
	reply.tcp_flags = TCP_SYN | TCP_ACK;
	reply.mss = 1460;
	fixture_send(fixture, &frame, &reply);
	assert_int_equal(frame_read(&frame).mss, 1410);
	assert_true(frame_read(&frame).checksums_right);
	struct description small = syn_out;
	small.source_port++;
	small.mss = 536;
	fixture_send(fixture, &frame, &small);
	assert_int_equal(frame_read(&frame).mss, 536);
}

static void mid_stream_tcp_gets_a_reset_with_an_acceptable_sequence(void **state)
{
	struct fixture *fixture = *state;
	struct description of = syn_out;
	of.tcp_flags = TCP_ACK;
	of.acknowledged = 5555;
	of.mss = 0;
	struct frame frame;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
	const struct seen seen = frame_read(&frame);
	assert_true(seen.tunnelled);
	assert_int_equal(seen.tcp_flags, TCP_RST);
	assert_int_equal(seen.sequence, 5555);
	assert_int_equal(seen.source, REMOTE);
	assert_int_equal(seen.source_port, 443);
	assert_true(seen.checksums_right);
	of.tcp_flags = TCP_RST;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_DROP); /* never answers a RST */
	fixture->draft.workspaces[0].flags = 0;
	fixture_apply(fixture);
	of.tcp_flags = TCP_ACK;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_TCP_NOT_SYN), 3);
}

static void answers_are_rate_limited_per_workspace(void **state)
{
	struct fixture *fixture = *state;
	struct description of = udp_out;
	of.destination = IP(10, 9, 9, 9);
	struct frame frame;
	unsigned answered = 0;
	for (unsigned i = 0; i < 1000; i++)
		answered += fixture_send(fixture, &frame, &of) == PACKET_FORWARD;
	assert_int_equal(answered, 100);
	of.vni = VNI_GLOBEX;
	assert_int_equal(fixture_send(fixture, &frame, &of), PACKET_FORWARD);
}

static void source_routes_are_dropped_and_harmless_options_pass(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned loose = 0; loose < 2; loose++) {
		uint8_t plain[256], inner[256];
		const uint16_t plain_bytes = ip_build(plain, &udp_out);
		memcpy(inner, plain, IPV4_HEADER_BYTES);
		memcpy(inner + 24, plain + 20, plain_bytes - 20u);
		inner[0] = 0x46;
		inner[20] = loose ? 131 : 1;
		inner[21] = loose ? 3 : 1;
		inner[22] = loose ? 4 : 1;
		inner[23] = 0;
		store_be16(inner + 2, (uint16_t)(plain_bytes + 4));
		store_be16(inner + IPV4_CHECKSUM_OFFSET, 0);
		store_be16(inner + IPV4_CHECKSUM_OFFSET, checksum_of(inner, 24));
		struct frame frame;
		frame_wrap(&frame, false, VNI_ACME, HOST_1, inner, (uint16_t)(plain_bytes + 4));
		fixture_run(fixture, &frame);
		assert_int_equal(frame.packet.verdict, loose ? PACKET_DROP : PACKET_FORWARD);
	}
	assert_int_equal(fixture_drops(fixture, DROP_IP_OPTIONS), 1);
}

static void a_packet_cut_at_any_length_is_dropped_and_counted_once(void **state)
{
	struct fixture *fixture = *state;
	struct frame whole;
	frame_build(&whole, &udp_out);
	const uint16_t whole_bytes = whole.packet.length_bytes;
	for (uint16_t length_bytes = 0; length_bytes < whole_bytes; length_bytes++) {
		struct frame frame;
		frame_build(&frame, &udp_out);
		frame.packet.length_bytes = length_bytes;
		assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	}
	const struct counters_shard *counters = &fixture->counters->shards[0];
	uint64_t dropped = 0;
	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
		dropped += counters->drops[PORT_INSIDE][reason];
	assert_int_equal(dropped, whole_bytes);
	assert_int_equal(counters->drops[PORT_INSIDE][DROP_TRUNCATED], whole_bytes);
	assert_int_equal(counters->sessions_active, 0);
}

static void a_frame_beyond_the_limit_is_dropped_as_oversized(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	frame_build(&frame, &udp_out);
	frame.packet.length_bytes = PACKET_LENGTH_MAX_BYTES + 1;
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_OVERSIZED);
}

static void vxlan_flaws_have_their_own_reasons(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	frame_build(&frame, &udp_out);
	frame.packet.data[42] = 0; /* the I flag */
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_VXLAN);
	frame_build(&frame, &udp_out);
	store_be16(frame.packet.data + 50 + 12, ETHERTYPE_VLAN);
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_INNER_VLAN);
	frame_build(&frame, &udp_out);
	store_be16(frame.packet.data + 36, 4790);
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_NOT_VXLAN);
	frame_build(&frame, &udp_out);
	store_be16(frame.packet.data + 12, 0x86dd);
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_NOT_IPV4);
	frame_build(&frame, &udp_out);
	frame.packet.data[14 + 10] ^= 1;
	fixture_run(fixture, &frame);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_CHECKSUM);
}

/* rx = tx + drops + held + handed_over + absorbed - generated */
static void every_packet_is_accounted_for(void **state)
{
	struct fixture *fixture = *state;
	srand(4711);
	print_message("# seed 4711\n");
	uint64_t forwarded = 0;
	for (unsigned i = 0; i < 20000; i++) {
		struct description of = rand() % 3 == 0 ? syn_out : rand() % 2 == 0 ? udp_out : ping_out;
		of.vni = rand() % 10 == 0 ? 9999 : rand() % 2 == 0 ? VNI_ACME : VNI_GLOBEX;
		of.source_port = (uint16_t)(rand() % 500);
		of.outside = rand() % 4 == 0;
		if (of.outside) {
			of.source = REMOTE;
			of.destination = rand() % 2 ? ACME_IP_1 : GLOBEX_IP;
			of.destination_port = (uint16_t)rand();
		}
		of.ttl = rand() % 20 == 0 ? 1 : 64;
		struct frame frame;
		frame_build(&frame, &of);
		if (rand() % 5 == 0)
			frame.packet.data[rand() % frame.packet.length_bytes] ^= (uint8_t)(1 << rand() % 8);
		if (rand() % 20 == 0)
			frame.packet.length_bytes = (uint16_t)(rand() % (frame.packet.length_bytes + 1));
		forwarded += fixture_run(fixture, &frame) == PACKET_FORWARD;
	}
	const struct counters_shard *counters = &fixture->counters->shards[0];
	uint64_t dropped = 0, received = 0;
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		received += counters->ports[port].rx_packets;
		for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
			dropped += counters->drops[port][reason];
	}
	assert_int_equal(received, 20000);
	assert_int_equal(received, forwarded + dropped + counters->held + counters->handed_over + counters->absorbed -
					   counters->generated);
	assert_int_equal(counters->guard_violations, 0);
}

static void a_batch_of_one_new_flow_makes_one_session(void **state)
{
	struct fixture *fixture = *state;
	static struct frame frames[NAT_BATCH_MAX];
	struct packet *packets[NAT_BATCH_MAX];
	for (unsigned i = 0; i < NAT_BATCH_MAX; i++) {
		frame_build(&frames[i], &udp_out);
		packets[i] = &frames[i].packet;
	}
	nat_process(fixture->shard, &fixture->view, packets, NAT_BATCH_MAX, fixture->now_ns);
	const struct seen first = frame_read(&frames[0]);
	for (unsigned i = 0; i < NAT_BATCH_MAX; i++) {
		assert_int_equal(packets[i]->verdict, PACKET_FORWARD);
		assert_int_equal(frame_read(&frames[i]).source_port, first.source_port);
		assert_int_equal(frame_read(&frames[i]).source, first.source);
	}
	assert_int_equal(fixture->counters->shards[0].sessions_active, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(packets_leave_with_an_ip_of_their_own_workspace),
		TEST(replies_reach_the_worker_that_asked_among_identical_addresses),
		TEST(a_zero_udp_checksum_stays_zero),
		TEST(what_can_not_be_attributed_is_dropped),
		TEST(no_worker_reaches_the_port_of_the_tunnels_whichever_it_is),
		TEST(nothing_passes_without_a_policy_or_a_route),
		TEST(special_purpose_destinations_are_refused_with_an_answer),
		TEST(egress_rules_decide_by_first_match),
		TEST(a_stopped_ttl_is_answered_with_time_exceeded),
		TEST(df_and_too_big_is_answered_with_the_next_mtu),
		TEST(the_mss_is_clamped_to_the_tunnel_both_ways),
		TEST(mid_stream_tcp_gets_a_reset_with_an_acceptable_sequence),
		TEST(answers_are_rate_limited_per_workspace),
		TEST(source_routes_are_dropped_and_harmless_options_pass),
		TEST(a_packet_cut_at_any_length_is_dropped_and_counted_once),
		TEST(a_frame_beyond_the_limit_is_dropped_as_oversized),
		TEST(vxlan_flaws_have_their_own_reasons),
		TEST(every_packet_is_accounted_for),
		TEST(a_batch_of_one_new_flow_makes_one_session),
	};
	return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
