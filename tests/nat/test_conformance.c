/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One test per requirement on UDP, TCP and ports that no other file names: RFC 4787, 5382, 7857, 6888, 6056. The id
 * stands in the test's name; tools/conformance collects them into docs/conformance.md.
 */
#include "tests/nat/fixture.h"

#include <stdlib.h>

static struct description tcp(uint16_t source_port, uint32_t remote, uint16_t remote_port, uint8_t flags)
{
	struct description of = describe_tcp(source_port, flags, 1000);
	of.destination = remote;
	of.destination_port = remote_port;
	return of;
}

static struct description from_neighbour(struct description of)
{
	of.source = WORKER_2;
	return of;
}

static enum drop_reason refused(struct fixture *fixture, struct description of)
{
	struct frame frame;
	const uint64_t before = fixture->counters->shards[0].workspaces[0].sessions_refused;
	fixture_send(fixture, &frame, &of);
	assert_int_equal(fixture->counters->shards[0].workspaces[0].sessions_refused, before + 1);
	return frame.packet.drop_reason;
}

/* Every outside endpoint of acme is given once. */
struct ports_given {
	uint8_t of[2][65536];
};

static void give(struct ports_given *given, const struct seen *seen)
{
	assert_in_range(seen->source_port, 1024, 65535);
	assert_true(seen->source == ACME_IP_1 || seen->source == ACME_IP_2);
	uint8_t *port = &given->of[seen->source == ACME_IP_2][seen->source_port];
	assert_int_equal(*port, 0);
	*port = 1;
}

static void rfc4787_3_mappings_share_no_port_and_get_no_privileged_one(void **state)
{
	struct fixture *fixture = *state;
	struct ports_given *given = calloc(1, sizeof(*given));
	for (uint16_t port = 1; port <= 1500; port++) { /* also from the sockets' own privileged ports */
		const struct seen first = fixture_sent(fixture, describe_udp(port, REMOTE, 5000));
		const struct seen second = fixture_sent(fixture, from_neighbour(describe_udp(port, REMOTE, 5000)));
		give(given, &first);
		give(given, &second);
	}
	free(given);
}

static void rfc4787_6_inbound_refreshes_only_where_asked(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned asked = 0; asked < 2; asked++) {
		fixture->draft.workspaces[0].flags = asked ? POLICY_WORKSPACE_INBOUND_REFRESH : 0;
		fixture_apply(fixture);
		const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
		assert_true(fixture_passes(fixture, reply_to(&out)));
		fixture_pass(fixture, 200 * SECOND_NS);
		assert_true(fixture_passes(fixture, reply_to(&out)));
		fixture_pass(fixture, 102 * SECOND_NS);
		assert_int_equal(fixture_active(fixture), asked);
		fixture_pass(fixture, 200 * SECOND_NS);
		assert_int_equal(fixture_active(fixture), 0);
	}
}

static void rfc4787_7_the_remote_may_have_the_workers_own_address(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_PRIVATE;
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, describe_udp(40000, WORKER, 40000));
	assert_false(out.tunnelled);
	assert_int_equal(out.destination, WORKER);
	assert_true(out.source == ACME_IP_1 || out.source == ACME_IP_2);
	const struct seen in = fixture_sent(fixture, reply_to(&out));
	assert_true(in.tunnelled);
	assert_int_equal(in.source, WORKER);
	assert_int_equal(in.destination, WORKER);
	assert_int_equal(in.destination_port, 40000);
}

/* What a stranger sends to an open port: other address, or other port of the same address. */
static void filter(struct fixture *fixture, const struct seen *out)
{
	struct description in = reply_to(out);
	in.tcp_flags = TCP_SYN;
	in.source = REMOTE_2;
	assert_false(fixture_passes(fixture, in));
	in = reply_to(out);
	in.tcp_flags = TCP_SYN;
	in.source_port++;
	assert_false(fixture_passes(fixture, in));
}

static void rfc4787_8_only_the_endpoint_that_was_asked_may_answer(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 200 * SECOND_NS);
	filter(fixture, &out);
	assert_int_equal(fixture_drops(fixture, DROP_NO_SESSION), 2);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 102 * SECOND_NS); /* and refreshed nothing */
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc5382_3_only_the_endpoint_that_was_asked_may_answer(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned independent = 0; independent < 2; independent++) {
		fixture->draft.workspaces[0].mapping_tcp = (uint8_t)independent;
		fixture_apply(fixture);
		const struct seen out =
			fixture_sent(fixture, tcp((uint16_t)(40000 + independent), REMOTE, 443, TCP_SYN));
		filter(fixture, &out);
		assert_int_equal(fixture_drops(fixture, DROP_NO_SESSION), 2 * (independent + 1));
	}
}

/* Sends a packet whose payload is `text`; true when it comes out unchanged. */
static bool text_is_kept(struct fixture *fixture, struct description of, const char *text)
{
	uint8_t inner[FRAME_MAX_BYTES];
	const uint16_t text_bytes = (uint16_t)strlen(text);
	of.payload_bytes = text_bytes;
	const uint16_t inner_bytes = ip_build(inner, &of);
	memcpy(inner + inner_bytes - text_bytes, text, text_bytes);
	uint8_t *checksum =
		inner + IPV4_HEADER_BYTES + (of.protocol == PROTOCOL_TCP ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
	const uint16_t l4_bytes = (uint16_t)(inner_bytes - IPV4_HEADER_BYTES);
	store_be16(checksum, 0);
	store_be16(checksum, (uint16_t)~checksum_fold(checksum_sum(inner + IPV4_HEADER_BYTES, l4_bytes,
				     checksum_pseudo(of.source, of.destination, of.protocol, l4_bytes))));
	struct frame frame;
	frame_wrap(&frame, of.outside, VNI_ACME, HOST_1, inner, inner_bytes);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	const struct seen seen = frame_read(&frame);
	return seen.checksums_right && memcmp(seen.ip + seen.ip_bytes - text_bytes, text, text_bytes) == 0;
}

static void rfc4787_10_payloads_are_never_touched(void **state)
{
	struct fixture *fixture = *state;
	const struct seen ftp = fixture_sent(fixture, tcp(40000, REMOTE, 21, TCP_SYN));
	struct description in = reply_to(&ftp);
	in.tcp_flags = TCP_SYN | TCP_ACK;
	in.payload_bytes = 0;
	assert_true(fixture_passes(fixture, in));
	assert_true(text_is_kept(fixture, tcp(40000, REMOTE, 21, TCP_ACK), "PORT 10,0,0,5,156,64\r\n"));
	in.tcp_flags = TCP_ACK;
	assert_true(text_is_kept(fixture, in, "227 Entering Passive Mode (203,0,113,10,4,1)\r\n"));
	assert_true(text_is_kept(fixture, describe_udp(5060, REMOTE, 5060),
		"INVITE sip:a SIP/2.0\r\nContact: <sip:b@10.0.0.5:5060>\r\n"));
	assert_int_equal(fixture_active(fixture), 2); /* and nothing opens a way for what they announce */
}

static void rfc4787_11_behaviour_is_the_same_at_exhaustion(void **state)
{
	struct fixture *fixture = *state;
	fixture_narrow(fixture);
	uint16_t ports[512];
	for (uint16_t i = 0; i < 512; i++)
		ports[i] = fixture_sent(fixture, describe_udp((uint16_t)(2000 + i), REMOTE, 5000)).source_port;
	for (uint16_t i = 0; i < 100; i++)
		assert_int_equal(
			refused(fixture, describe_udp((uint16_t)(9000 + i), REMOTE, 5000)), DROP_PORTS_EXHAUSTED);
	for (uint16_t i = 0; i < 512; i++) /* a mapping that exists still serves every remote */
		assert_int_equal(fixture_sent(fixture, describe_udp((uint16_t)(2000 + i), REMOTE_2, 6000)).source_port,
			ports[i]);
	fixture_pass(fixture, 200 * SECOND_NS);
	for (uint16_t i = 1; i < 512; i++)
		fixture_sent(fixture, describe_udp((uint16_t)(2000 + i), REMOTE, 5000));
	fixture_pass(
		fixture, 102 * SECOND_NS); /* the first one's mapping has ended: its port, and only that, is free */
	assert_int_equal(fixture_sent(fixture, describe_udp(9000, REMOTE, 5000)).source_port, ports[0]);
	assert_int_equal(refused(fixture, describe_udp(9001, REMOTE, 5000)), DROP_PORTS_EXHAUSTED);
}

static void rfc5382_1_tcp_mapping_is_independent_where_asked(void **state)
{
	struct fixture *fixture = *state;
	const struct seen first = fixture_sent(fixture, tcp(40000, REMOTE, 443, TCP_SYN));
	const struct seen second = fixture_sent(fixture, tcp(40000, REMOTE_2, 443, TCP_SYN));
	assert_int_equal(first.source, second.source); /* paired, but */
	assert_int_not_equal(first.source_port, second.source_port);
	fixture->draft.workspaces[0].mapping_tcp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	fixture_apply(fixture);
	const struct seen third = fixture_sent(fixture, tcp(40001, REMOTE, 443, TCP_SYN));
	const struct seen fourth = fixture_sent(fixture, tcp(40001, REMOTE_2, 8443, TCP_SYN));
	assert_int_equal(third.source, fourth.source);
	assert_int_equal(third.source_port, fourth.source_port);
}

static void rfc5382_5_a_transitory_connection_lives_four_minutes(void **state)
{
	struct fixture *fixture = *state;
	fixture_answered_syn(fixture, 40000);
	fixture_pass(fixture, 239 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_pass(fixture, 3 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc5382_7_independent_tcp_mappings_share_no_port(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].mapping_tcp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	fixture_apply(fixture);
	struct ports_given *given = calloc(1, sizeof(*given));
	for (uint16_t port = 1; port <= 1000; port++) {
		const struct seen first = fixture_sent(fixture, tcp(port, REMOTE, 443, TCP_SYN));
		const struct seen second = fixture_sent(fixture, from_neighbour(tcp(port, REMOTE, 443, TCP_SYN)));
		const struct seen again = fixture_sent(fixture, tcp(port, REMOTE_2, 443, TCP_SYN));
		give(given, &first);
		give(given, &second);
		assert_int_equal(again.source_port, first.source_port);
	}
	free(given);
}

static void rfc5382_8_tcp_workers_meet_through_their_egress_addresses(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].mapping_tcp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
	fixture_apply(fixture);
	const struct seen a = fixture_sent(fixture, tcp(5000, REMOTE, 443, TCP_SYN));
	const struct seen b = fixture_sent(fixture, from_neighbour(tcp(6000, REMOTE, 443, TCP_SYN)));
	struct description a_to_b = tcp(5000, b.source, b.source_port, TCP_SYN);
	struct description b_to_a = from_neighbour(tcp(6000, a.source, a.source_port, TCP_SYN));
	assert_false(fixture_passes(fixture, a_to_b)); /* filtered, and opens the way */
	const struct seen at_a = fixture_sent(fixture, b_to_a);
	assert_true(at_a.tunnelled);
	assert_int_equal(at_a.destination, WORKER);
	assert_int_equal(at_a.destination_port, 5000);
	assert_int_equal(at_a.source, b.source);
	assert_int_equal(at_a.source_port, b.source_port);
	a_to_b.tcp_flags = b_to_a.tcp_flags = TCP_SYN | TCP_ACK;
	const struct seen at_b = fixture_sent(fixture, a_to_b);
	assert_int_equal(at_b.destination, WORKER_2);
	assert_int_equal(at_b.source, a.source);
	assert_true(fixture_passes(fixture, b_to_a));
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_int_equal(
		fixture_active(fixture), 2); /* both of it established; the unanswered SYNs to REMOTE have gone */
}

static void rfc7857_2_a_syn_from_inside_reuses_time_wait(void **state)
{
	struct fixture *fixture = *state;
	const struct seen first = fixture_answered_syn(fixture, 40000);
	fixture_sent(fixture, tcp(40000, REMOTE, 443, TCP_ACK));
	fixture_sent(fixture, tcp(40000, REMOTE, 443, TCP_FIN | TCP_ACK));
	struct description in = reply_to(&first);
	in.tcp_flags = TCP_FIN | TCP_ACK;
	in.sequence = 7001;
	in.payload_bytes = 0;
	assert_true(fixture_passes(fixture, in));
	assert_int_equal(fixture_active(fixture), 1);
	const struct seen second = fixture_answered_syn(fixture, 40000);
	assert_int_equal(second.source_port, first.source_port);
	fixture_sent(fixture, tcp(40000, REMOTE, 443, TCP_ACK));
	fixture_pass(fixture, 3600 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1); /* an established one again */
}

/* Its exceptions A and C: TCP is tracked, and filtering is address-and-port-dependent. */
static void rfc6888_8_a_late_answer_to_a_freed_port_reaches_nobody_else(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].egress_count = 1;
	fixture->draft.egress_ips[1].workspace_index = 0;
	fixture_apply(fixture);
	fixture->shard->port_first = 20000;
	fixture->shard->port_count = 1;
	const struct seen first = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 310 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
	const struct seen second = fixture_sent(fixture, from_neighbour(describe_udp(40000, REMOTE_2, 5000)));
	assert_int_equal(second.source_port, first.source_port);
	const struct description late = reply_to(&first);
	fixture_expect_drop(fixture, &late, DROP_NO_SESSION);
	assert_int_equal(fixture_sent(fixture, reply_to(&second)).destination, WORKER_2);
}

static void rfc6888_3_the_pool_may_be_scattered(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	draft->egress_ips[14] = draft->egress_ips[2];
	for (unsigned i = 0; i < 14; i++)
		draft->egress_ips[i] = (struct policy_egress_ip){.address = IP(198, 51, 100, 7) + i * 0x01030507u};
	draft->workspaces[0].egress_count = 14;
	draft->workspaces[1].egress_first = 14;
	draft->counts[POLICY_EGRESS_IPS] = 15;
	fixture_apply(fixture);
	unsigned used[14] = {0};
	for (uint32_t worker = 0; worker < 1000; worker++) {
		struct description of = describe_udp(40000, REMOTE, 5000);
		of.source = IP(10, 0, 0, 0) + 1 + worker;
		const struct seen out = fixture_sent(fixture, of);
		unsigned i = 0;
		while (i < 14 && draft->egress_ips[i].address != out.source)
			i++;
		assert_in_range(i, 0, 13);
		used[i]++;
	}
	for (unsigned i = 0; i < 14; i++)
		assert_in_range(used[i], 30, 140); /* 71 each, if spread evenly: none takes nearly all workers */
}

/* Ports of 2,000 sockets under a secret. */
static void ports_under(struct fixture *fixture, uint8_t secret, uint16_t ret_ports[2000])
{
	memset(fixture->config.secret, secret, sizeof(fixture->config.secret));
	memset(fixture->shard_memory, 0, nat_shard_size(&fixture->config));
	memset(&fixture->counters->shards[0], 0, sizeof(fixture->counters->shards[0]));
	fixture->shard = nat_shard_init(fixture->shard_memory, &fixture->config);
	assert_non_null(fixture->shard);
	for (uint16_t i = 0; i < 2000; i++)
		ret_ports[i] = fixture_sent(fixture, describe_udp((uint16_t)(1 + i), REMOTE, 5000)).source_port;
}

static void rfc6056_ports_are_spread_and_hang_on_a_secret(void **state)
{
	struct fixture *fixture = *state;
	static uint16_t one[2000], other[2000];
	ports_under(fixture, 1, one);
	ports_under(fixture, 2, other);
	unsigned same = 0, steps = 0, sixteenths[16] = {0};
	for (unsigned i = 0; i < 2000; i++) {
		same += one[i] == other[i];
		steps += i > 0 && abs((int)one[i] - (int)one[i - 1]) < 16;
		sixteenths[(one[i] - 1024) / 4032]++;
	}
	assert_in_range(same, 0, 5);
	assert_in_range(steps, 0, 10);
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(sixteenths[i], 80, 170); /* 125 each, if even */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc4787_3_mappings_share_no_port_and_get_no_privileged_one),
		TEST(rfc4787_6_inbound_refreshes_only_where_asked),
		TEST(rfc4787_7_the_remote_may_have_the_workers_own_address),
		TEST(rfc4787_8_only_the_endpoint_that_was_asked_may_answer),
		TEST(rfc4787_10_payloads_are_never_touched),
		TEST(rfc4787_11_behaviour_is_the_same_at_exhaustion),
		TEST(rfc5382_1_tcp_mapping_is_independent_where_asked),
		TEST(rfc5382_3_only_the_endpoint_that_was_asked_may_answer),
		TEST(rfc5382_5_a_transitory_connection_lives_four_minutes),
		TEST(rfc5382_7_independent_tcp_mappings_share_no_port),
		TEST(rfc5382_8_tcp_workers_meet_through_their_egress_addresses),
		TEST(rfc7857_2_a_syn_from_inside_reuses_time_wait),
		TEST(rfc6888_8_a_late_answer_to_a_freed_port_reaches_nobody_else),
		TEST(rfc6888_3_the_pool_may_be_scattered),
		TEST(rfc6056_ports_are_spread_and_hang_on_a_secret),
	};
	return cmocka_run_group_tests_name("conformance", tests, NULL, NULL);
}
