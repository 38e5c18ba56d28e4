/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions over time: mapping, ports, timers, identity. The clock is the test's. */
#include "tests/nat/fixture.h"

#include <stdlib.h>

static void rfc4787_1_udp_mapping_is_independent_of_the_endpoint(void **state)
{
	struct fixture *fixture = *state;
	const struct seen first = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	const struct seen second = fixture_sent(fixture, describe_udp(40000, REMOTE_2, 6000));
	assert_int_equal(first.source, second.source);
	assert_int_equal(first.source_port, second.source_port);
	assert_int_equal(fixture_active(fixture), 2);
	/* Both remotes' answers arrive; a third one's does not (address- and
	 * port-dependent filtering). */
	assert_true(fixture_passes(fixture, reply_to(&first)));
	assert_true(fixture_passes(fixture, reply_to(&second)));
	struct description stranger = reply_to(&first);
	stranger.source_port++;
	assert_false(fixture_passes(fixture, stranger));
	assert_int_equal(fixture_drops(fixture, DROP_NO_SESSION), 1);
}

static void a_mapping_outlives_the_session_that_made_it(void **state)
{
	struct fixture *fixture = *state;
	const struct seen first = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 200 * SECOND_NS);
	const struct seen second = fixture_sent(fixture, describe_udp(40000, REMOTE_2, 6000));
	fixture_pass(fixture, 200 * SECOND_NS); /* the first has ended, the second leads now */
	assert_int_equal(fixture_active(fixture), 1);
	const struct seen third = fixture_sent(fixture, describe_udp(40000, REMOTE, 7000));
	assert_int_equal(third.source_port, first.source_port);
	assert_true(fixture_passes(fixture, reply_to(&second)));
	assert_false(fixture_passes(fixture, reply_to(&first)));
	fixture_pass(fixture, 400 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->inside.count, 0);
	assert_int_equal(fixture->shard->outside.count, 0);
}

static void tcp_ports_are_reused_for_other_remotes(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].egress_count = 1;
	fixture->draft.counts[POLICY_EGRESS_IPS] = 3;
	fixture_apply(fixture);
	/* More TCP sessions than a pigeonhole of distinct ports would show: two
	 * remotes can share one. */
	unsigned shared = 0;
	static bool used[65536];
	memset(used, 0, sizeof(used));
	for (unsigned i = 0; i < 2000; i++) {
		struct description of = describe_tcp((uint16_t)(1024 + i), TCP_SYN, 1);
		of.destination = i % 2 ? REMOTE : REMOTE_2;
		const struct seen seen = fixture_sent(fixture, of);
		shared += used[seen.source_port];
		used[seen.source_port] = true;
	}
	assert_true(shared > 0);
}

static void a_session_is_refused_only_when_every_port_of_every_ip_is_taken(void **state)
{
	(void)state;
	struct fixture *fixture = fixture_new(131072 + 1024);
	struct description of = describe_tcp(0, TCP_SYN, 1);
	static uint8_t taken[2][65536];
	memset(taken, 0, sizeof(taken));
	const unsigned total = 2 * PORT_TOTAL;
	for (unsigned i = 0; i < total; i++) {
		of.source = IP(10, 0, 1 + i / 50000, 1);
		of.source_port = (uint16_t)(i % 50000 + 1);
		const struct seen seen = fixture_sent(fixture, of);
		assert_true(seen.source == ACME_IP_1 || seen.source == ACME_IP_2);
		assert_true(seen.source_port >= 1024);
		assert_int_equal(taken[seen.source == ACME_IP_2][seen.source_port], 0);
		taken[seen.source == ACME_IP_2][seen.source_port] = 1;
		assert_false(seen.tunnelled);
	}
	of.source = IP(10, 0, 9, 9);
	const struct seen refused = fixture_sent(fixture, of); /* the answer: a RST to the worker */
	assert_true(refused.tunnelled);
	assert_int_equal(refused.tcp_flags, TCP_RST | TCP_ACK);
	assert_int_equal(refused.acknowledged, 2);
	assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), 1);
	/* Another remote still has them all, and the other workspace is not touched.
	 */
	of.destination = REMOTE_2;
	assert_false(fixture_sent(fixture, of).tunnelled);
	of = describe_tcp(1, TCP_SYN, 1);
	of.vni = VNI_GLOBEX;
	assert_int_equal(fixture_sent(fixture, of).source, GLOBEX_IP);
	/* One ends; its port is found at once. */
	of = describe_tcp(0, TCP_RST, 2);
	of.source = IP(10, 0, 1, 1);
	of.source_port = 1;
	assert_true(fixture_passes(fixture, of));
	fixture_pass(fixture, 2 * SECOND_NS);
	of = describe_tcp(7, TCP_SYN, 1);
	of.source = IP(10, 0, 9, 9);
	assert_false(fixture_sent(fixture, of).tunnelled);
	/* P10: everything returns. */
	fixture_pass(fixture, 40 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->port_maps_used, 0);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, 0);
	fixture_free(fixture);
}

static void udp_ports_are_exhausted_by_mappings_not_by_remotes(void **state)
{
	(void)state;
	struct fixture *fixture = fixture_new(262144);
	struct description of = describe_udp(0, REMOTE, 5000);
	of.vni = VNI_GLOBEX;
	for (unsigned i = 0; i < PORT_TOTAL; i++) {
		of.source = IP(10, 0, 1 + i / 50000, 1);
		of.source_port = (uint16_t)(i % 50000 + 1);
		assert_false(fixture_sent(fixture, of).tunnelled);
	}
	of.source = IP(10, 0, 9, 9);
	assert_int_equal(fixture_sent(fixture, of).icmp_code, ICMP_HOST_UNREACHABLE);
	assert_int_equal(fixture_drops(fixture, DROP_PORTS_EXHAUSTED), 1);
	of.source = IP(10, 0, 1, 1);
	of.destination = REMOTE_2;
	of.source_port = 1;
	assert_false(fixture_sent(fixture, of).tunnelled); /* its mapping serves any remote */
	fixture_free(fixture);
}

static void rfc4787_2_a_worker_keeps_its_egress_ip(void **state)
{
	struct fixture *fixture = *state;
	unsigned both[2] = {0, 0};
	for (unsigned worker = 0; worker < 50; worker++) {
		struct description of = describe_tcp(2000, TCP_SYN, 1);
		of.source = IP(10, 0, 0, 10 + worker);
		const struct seen first = fixture_sent(fixture, of);
		both[first.source == ACME_IP_2]++;
		for (uint16_t port = 2001; port < 2010; port++) {
			of.source_port = port;
			assert_int_equal(fixture_sent(fixture, of).source, first.source);
		}
	}
	assert_true(both[0] > 5 && both[1] > 5);
}

static void rfc4787_5_udp_lives_five_minutes_and_outbound_refreshes(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 299 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 299 * SECOND_NS);
	assert_true(fixture_passes(fixture, reply_to(&out))); /* inbound does not refresh (RFC 7857 section 4) */
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_INBOUND_REFRESH;
	fixture_apply(fixture);
	const struct seen again = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 200 * SECOND_NS);
	assert_true(fixture_passes(fixture, reply_to(&again)));
	fixture_pass(fixture, 200 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
}

static void dns_ends_soon_after_its_answer_and_not_before(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 53));
	fixture_pass(fixture, 60 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_sent(fixture, describe_udp(40000, REMOTE, 53));
	assert_true(fixture_passes(fixture, reply_to(&out)));
	fixture_pass(fixture, 29 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc5508_2_ping_lives_a_minute(void **state)
{
	struct fixture *fixture = *state;
	struct description of = {.source = WORKER,
		.destination = REMOTE,
		.source_port = 9,
		.protocol = PROTOCOL_ICMP,
		.icmp_type = ICMP_ECHO_REQUEST};
	const struct seen out = fixture_sent(fixture, of);
	assert_true(fixture_passes(fixture, reply_to(&out)));
	fixture_pass(fixture, 59 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	of.icmp_type = ICMP_ECHO_REPLY;
	assert_false(fixture_passes(fixture, of)); /* a reply opens nothing */
}

static void rfc5382_10_icmp_errors_are_translated_and_end_nothing(void **state)
{
	struct fixture *fixture = *state;
	const struct description kinds[] = {describe_tcp(40000, TCP_SYN, 1000), describe_udp(40000, REMOTE, 5000)};
	for (unsigned i = 0; i < 2; i++) {
		const struct seen out = fixture_sent(fixture, kinds[i]);
		struct description about = kinds[i];
		about.source = out.source;
		about.source_port = out.source_port;
		const struct description outer = {.outside = true,
			.source = IP(198, 51, 100, 77),
			.destination = out.source,
			.icmp_type = ICMP_UNREACHABLE,
			.icmp_code = ICMP_FRAGMENTATION_NEEDED};
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, 1280);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen in = frame_read(&frame);
		assert_int_equal(in.vni, VNI_ACME);
		assert_int_equal(in.destination, WORKER);
		assert_int_equal(in.source, IP(198, 51, 100, 77));
		assert_int_equal(in.icmp_mtu, 1280);
		assert_true(in.checksums_right);
		/* What is inside speaks of the packet that the worker sent: byte for byte.
		 */
		uint8_t original[FRAME_MAX_BYTES];
		const uint16_t original_bytes = ip_build(original, &kinds[i]);
		assert_memory_equal(in.l4 + ICMP_HEADER_BYTES, original, original_bytes);
		/* Wrong ICMP checksum, and an error about nobody's packet. */
		frame_build_icmp_error(&frame, &outer, &about, 1280);
		frame.packet.data[34 + 2] ^= 1;
		assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
		assert_int_equal(frame.packet.drop_reason, DROP_ICMP_CHECKSUM);
		about.source_port++;
		frame_build_icmp_error(&frame, &outer, &about, 1280);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
		assert_int_equal(frame.packet.drop_reason, DROP_ICMP_NO_SESSION);
	}
	assert_int_equal(fixture_active(fixture), 2);
}

static void icmp_errors_from_a_worker_speak_of_the_egress_ip(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	struct description reply = reply_to(&out);
	struct frame frame;
	fixture_send(fixture, &frame, &reply);
	struct description about = reply;
	about.outside = false;
	about.destination = WORKER;
	about.destination_port = 40000;
	const struct description outer = {
		.source = WORKER, .destination = REMOTE, .icmp_type = ICMP_UNREACHABLE, .icmp_code = 3};
	frame_build_icmp_error(&frame, &outer, &about, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	const struct seen error = frame_read(&frame);
	assert_int_equal(error.source, out.source);
	assert_int_equal(error.destination, REMOTE);
	assert_true(error.checksums_right);
	uint8_t original[FRAME_MAX_BYTES];
	const uint16_t original_bytes = ip_build(original, &reply);
	assert_memory_equal(error.l4 + ICMP_HEADER_BYTES, original, original_bytes);
}

static void a_reused_vni_never_matches_old_sessions(void **state)
{
	struct fixture *fixture = *state;
	const struct seen old = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	/* acme goes; its VNI and its egress IP become globex's in the same breath. */
	struct policy_draft *draft = &fixture->draft;
	draft->workspaces[0] = draft->workspaces[1];
	draft->workspaces[0].egress_first = 0;
	draft->workspaces[0].egress_count = 3;
	draft->counts[POLICY_WORKSPACES] = 1;
	draft->vpcs[0].workspace_index = draft->vpcs[1].workspace_index = 0;
	for (unsigned i = 0; i < 3; i++)
		draft->egress_ips[i].workspace_index = 0;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
	assert_int_equal(fixture_drops(fixture, DROP_STALE_SESSION), 1);
	/* The new owner's same 5-tuple starts anew. */
	fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 5 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

static void a_vpc_that_went_and_came_back_is_another_one(void **state)
{
	struct fixture *fixture = *state;
	const struct seen old = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture->draft.counts[POLICY_VPCS] = 1;
	struct policy_vpc acme = fixture->draft.vpcs[0];
	fixture->draft.vpcs[0] = fixture->draft.vpcs[1];
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
	fixture->draft.vpcs[0] = acme;
	fixture->draft.counts[POLICY_VPCS] = 2;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
	/* And the incarnation alone makes another one, when nobody saw it go. */
	const struct seen mid = fixture_sent(fixture, describe_udp(40001, REMOTE, 5000));
	assert_true(fixture_passes(fixture, reply_to(&mid)));
	fixture->draft.vpcs[0].incarnation++;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&mid)));
}

static void p6_a_reload_does_not_touch_what_did_not_change(void **state)
{
	struct fixture *fixture = *state;
	const struct seen udp_seen = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	const struct seen tcp_seen = fixture_establish(fixture, 40000);
	for (unsigned i = 0; i < 20; i++) {
		fixture->draft.counts[POLICY_WORKSPACES] = i % 2 ? 2 : 1;
		fixture->draft.counts[POLICY_VPCS] = i % 2 ? 2 : 1;
		fixture->draft.counts[POLICY_EGRESS_IPS] = i % 2 ? 3 : 2;
		fixture_apply(fixture);
		assert_true(fixture_passes(fixture, reply_to(&udp_seen)));
		struct description in = reply_to(&tcp_seen);
		in.tcp_flags = TCP_ACK;
		in.sequence = 7001;
		assert_true(fixture_passes(fixture, in));
		assert_int_equal(
			fixture_sent(fixture, describe_udp(40000, REMOTE, 5000)).source_port, udp_seen.source_port);
		fixture_pass(fixture, SECOND_NS);
	}
	assert_int_equal(fixture_active(fixture), 2);
}

static void p11_a_draining_ip_takes_no_new_sessions_and_keeps_the_old(void **state)
{
	struct fixture *fixture = *state;
	const struct seen old = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture->draft.egress_ips[old.source == ACME_IP_2].state = POLICY_EGRESS_DRAINING;
	fixture_apply(fixture);
	assert_true(fixture_passes(fixture, reply_to(&old)));
	assert_int_equal(fixture_sent(fixture, describe_udp(40000, REMOTE, 5000)).source, old.source);
	/* The same socket to another remote: a new session, so from the other IP. */
	const struct seen moved = fixture_sent(fixture, describe_udp(40000, REMOTE_2, 5000));
	assert_int_not_equal(moved.source, old.source);
	assert_true(fixture_passes(fixture, reply_to(&moved)));
	assert_true(fixture_passes(fixture, reply_to(&old)));
	for (uint16_t port = 1; port < 50; port++)
		assert_int_equal(fixture_sent(fixture, describe_tcp(port, TCP_SYN, 1)).source, moved.source);
	fixture->draft.egress_ips[0].state = fixture->draft.egress_ips[1].state = POLICY_EGRESS_DRAINING;
	fixture_apply(fixture);
	struct frame frame;
	struct description of = describe_udp(41000, REMOTE, 5000);
	fixture_send(fixture, &frame, &of);
	assert_int_equal(fixture_drops(fixture, DROP_NO_EGRESS_IP), 1);
	fixture_pass(fixture, 400 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	assert_int_equal(fixture->shard->inside.count + fixture->shard->outside.count, 0);
}

static void listed_workers_alone_may_send_and_only_from_their_host(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	const struct seen old = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	assert_true(fixture_passes(fixture, reply_to(&old)));
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.source = WORKER_2;
	assert_false(fixture_passes(fixture, of));
	assert_int_equal(fixture_drops(fixture, DROP_UNKNOWN_WORKER), 1);
	of = describe_udp(40001, REMOTE, 5000);
	of.vtep = HOST_2;
	assert_false(fixture_passes(fixture, of));
	of = describe_udp(40000, REMOTE, 5000);
	of.vtep = HOST_2;
	assert_false(fixture_passes(fixture, of)); /* nor can another host take an open session over */
	assert_int_equal(fixture_drops(fixture, DROP_WRONG_VTEP), 2);
	/* The worker stops, another gets its address: nothing of the old one's
	 * arrives there. */
	fixture->draft.workers[0].incarnation = 1;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
	assert_int_equal(fixture_drops(fixture, DROP_STALE_SESSION), 1);
}

/* Workers that their host has registered, in a VPC that is open to others too. */
static void listed_worker_of_an_open_vpc_ends_with_its_sessions(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	const struct seen old = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.source = WORKER_2;
	const struct seen other = fixture_sent(fixture, of);
	of = describe_udp(40001, REMOTE, 5000);
	of.vtep = HOST_2;
	assert_false(fixture_passes(fixture, of));
	assert_int_equal(fixture_drops(fixture, DROP_WRONG_VTEP), 1);
	fixture->draft.counts[POLICY_WORKERS] = 0;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
	assert_true(fixture_passes(fixture, reply_to(&other)));
	assert_int_equal(fixture_drops(fixture, DROP_STALE_SESSION), 1);
	/* It comes back as another one: what arrives for the old one still goes nowhere. */
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	assert_false(fixture_passes(fixture, reply_to(&old)));
}

static void a_clock_that_jumps_breaks_nothing(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	const uint64_t now_ns = fixture->now_ns;
	fixture->now_ns = now_ns - 900 * SECOND_NS; /* back: as if it stood still */
	assert_true(fixture_passes(fixture, reply_to(&out)));
	nat_upkeep(fixture->shard, &fixture->view, fixture->now_ns);
	fixture->now_ns = now_ns;
	assert_int_equal(fixture_active(fixture), 1);
	fixture->now_ns += 365ull * 86400 * SECOND_NS; /* a year ahead */
	for (unsigned i = 0; i < 10; i++)
		nat_upkeep(fixture->shard, &fixture->view, ++fixture->now_ns);
	fixture_pass(fixture, SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	assert_int_equal(fixture_active(fixture), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc4787_1_udp_mapping_is_independent_of_the_endpoint),
		TEST(a_mapping_outlives_the_session_that_made_it),
		TEST(tcp_ports_are_reused_for_other_remotes),
		cmocka_unit_test(a_session_is_refused_only_when_every_port_of_every_ip_is_taken),
		cmocka_unit_test(udp_ports_are_exhausted_by_mappings_not_by_remotes),
		TEST(rfc4787_2_a_worker_keeps_its_egress_ip),
		TEST(rfc4787_5_udp_lives_five_minutes_and_outbound_refreshes),
		TEST(dns_ends_soon_after_its_answer_and_not_before),
		TEST(rfc5508_2_ping_lives_a_minute),
		TEST(rfc5382_10_icmp_errors_are_translated_and_end_nothing),
		TEST(icmp_errors_from_a_worker_speak_of_the_egress_ip),
		TEST(a_reused_vni_never_matches_old_sessions),
		TEST(a_vpc_that_went_and_came_back_is_another_one),
		TEST(p6_a_reload_does_not_touch_what_did_not_change),
		TEST(p11_a_draining_ip_takes_no_new_sessions_and_keeps_the_old),
		TEST(listed_workers_alone_may_send_and_only_from_their_host),
		TEST(listed_worker_of_an_open_vpc_ends_with_its_sessions),
		TEST(a_clock_that_jumps_breaks_nothing),
	};
	return cmocka_run_group_tests_name("sessions", tests, NULL, NULL);
}
