/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One test per requirement on ICMP and on the truth of packets that no other file names. The id stands in the test's
 * name; tools/conformance collects them into docs/conformance.md.
 */
#include "tests/nat/fixture.h"

#include <stdlib.h>

#define ROUTER IP(198, 51, 100, 77)

static struct description ping(uint16_t identifier, uint32_t remote)
{
	struct description of = describe_udp(identifier, remote, 0);
	of.protocol = PROTOCOL_ICMP;
	of.icmp_type = ICMP_ECHO_REQUEST;
	return of;
}

static uint64_t generated(const struct fixture *fixture)
{
	return fixture->counters->shards[0].generated;
}

/* What left, as whoever is outside would quote it. */
static struct description as_seen_outside(struct description of, const struct seen *out)
{
	of.source = out->source;
	of.source_port = out->source_port;
	return of;
}

static struct description unreachable(bool outside, uint32_t source, uint32_t destination)
{
	return (struct description){
		.outside = outside,
		.source = source,
		.destination = destination,
		.icmp_type = ICMP_UNREACHABLE,
		.icmp_code = 3,
	};
}

/* Of an error from outside that was just built: quotes only so much, sums anew. */
static void quote_cut(struct frame *frame, uint16_t quote_bytes)
{
	uint8_t *ip = frame->packet.data + ETHERNET_HEADER_BYTES, *icmp = ip + IPV4_HEADER_BYTES;
	store_be16(ip + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quote_bytes));
	store_be16(ip + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, 0);
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, checksum_of(icmp, (uint32_t)ICMP_HEADER_BYTES + quote_bytes));
	frame->packet.length_bytes =
		(uint16_t)(ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quote_bytes);
}

static void assert_quotes(const struct seen *error, const struct description *of)
{
	uint8_t original[FRAME_MAX_BYTES];
	const uint16_t original_bytes = ip_build(original, of);
	assert_memory_equal(error->l4 + ICMP_HEADER_BYTES, original, original_bytes);
}

/* ---- ICMP ---- */

static void rfc5508_1_an_echo_mapping_is_by_identifier_alone(void **state)
{
	struct fixture *fixture = *state;
	const struct seen first = fixture_sent(fixture, ping(77, REMOTE));
	const struct seen second = fixture_sent(fixture, ping(77, REMOTE_2));
	const struct seen other = fixture_sent(fixture, ping(78, REMOTE));
	assert_int_equal(first.source_port, second.source_port);
	assert_int_not_equal(first.source_port, other.source_port);
	const struct seen answer = fixture_sent(fixture, reply_to(&second));
	assert_int_equal(answer.destination_port, 77);
	assert_int_equal(answer.source, REMOTE_2);
}

static void rfc5508_3_what_an_error_carries_is_checked_as_far_as_it_came(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1000));
	const struct description about = as_seen_outside(describe_tcp(40000, TCP_SYN, 1000), &out);
	const struct description outer = unreachable(true, ROUTER, out.source);
	struct frame frame;
	frame_build_icmp_error(&frame, &outer, &about, 0);
	frame.packet.data[34 + ICMP_CHECKSUM_OFFSET] ^= 1; /* the error's own checksum */
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_ICMP_CHECKSUM);
	frame_build_icmp_error(&frame, &outer, &about, 0);
	frame.packet.data[34 + 8 + IPV4_CHECKSUM_OFFSET] ^= 1; /* the embedded header's */
	quote_cut(&frame, 40);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_CHECKSUM);
	assert_int_equal(generated(fixture), 0);
	frame_build_icmp_error(&frame, &outer, &about, 0);
	frame.packet.data[34 + 8 + 20 + TCP_CHECKSUM_OFFSET] ^= 1; /* the embedded segment's: not asked for */
	quote_cut(&frame, 40);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	frame_build_icmp_error(&frame, &outer, &about, 0);
	quote_cut(&frame, 28); /* 8 bytes of it, as from an old router */
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	const struct seen in = frame_read(&frame);
	assert_true(in.checksums_right);
	assert_int_equal(load_be32(in.l4 + ICMP_HEADER_BYTES + IPV4_SOURCE_OFFSET), WORKER);
	assert_int_equal(load_be16(in.l4 + ICMP_HEADER_BYTES + IPV4_HEADER_BYTES), 40000);
}

static void rfc5508_4_an_error_about_no_session_is_dropped_in_silence(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	const struct description about_out = as_seen_outside(
		describe_udp(40000, REMOTE, 5000), &(struct seen){.source = ACME_IP_1, .source_port = 5555});
	const struct description from_outside = unreachable(true, ROUTER, ACME_IP_1);
	frame_build_icmp_error(&frame, &from_outside, &about_out, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	struct description about_in = describe_udp(5000, WORKER, 40000);
	about_in.source = REMOTE;
	const struct description from_worker = unreachable(false, WORKER, REMOTE);
	frame_build_icmp_error(&frame, &from_worker, &about_in, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(fixture_drops(fixture, DROP_ICMP_NO_SESSION), 2);
	assert_int_equal(generated(fixture), 0);
	assert_int_equal(fixture_active(fixture), 0);
}

/* What an error quotes is, for who gets it, the packet that it sent: also where that is an ICMP echo. */
static void rfc5508_5_errors_are_translated_with_what_they_quote_both_ways(void **state)
{
	struct fixture *fixture = *state;
	const struct description asked[] = {
		describe_udp(40000, REMOTE, 5000), describe_tcp(40000, TCP_SYN, 1000), ping(77, REMOTE)};
	for (unsigned i = 0; i < 3; i++) {
		const struct seen out = fixture_sent(fixture, asked[i]);
		const struct description about_out = as_seen_outside(asked[i], &out);
		const struct description from_outside = unreachable(true, ROUTER, out.source);
		struct frame frame;
		frame_build_icmp_error(&frame, &from_outside, &about_out, 0);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen in = frame_read(&frame);
		assert_true(in.tunnelled && in.checksums_right);
		assert_int_equal(in.source, ROUTER);
		assert_int_equal(in.destination, WORKER);
		assert_quotes(&in, &asked[i]);

		struct description answer = reply_to(&out);
		answer.tcp_flags = TCP_SYN | TCP_ACK;
		answer.sequence = 7000;
		if (answer.protocol == PROTOCOL_TCP)
			answer.payload_bytes = 0;
		const struct seen at_worker = fixture_sent(fixture, answer);
		struct description about_in = answer;
		about_in.outside = false;
		about_in.destination = WORKER;
		about_in.destination_port = at_worker.destination_port;
		if (answer.protocol == PROTOCOL_ICMP)
			about_in.source_port = at_worker.destination_port;
		const struct description from_worker = unreachable(false, WORKER, REMOTE);
		frame_build_icmp_error(&frame, &from_worker, &about_in, 0);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen outside = frame_read(&frame);
		assert_true(!outside.tunnelled && outside.checksums_right);
		assert_int_equal(outside.source, out.source);
		assert_int_equal(outside.destination, REMOTE);
		assert_quotes(&outside, &answer);
	}
}

/* The sender of a UDP packet whose checksum came out as zero has sent ones: what it is quoted says so, too. */
static void rfc5508_5_a_quoted_udp_checksum_never_becomes_zero(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	const struct description about = as_seen_outside(describe_udp(40000, REMOTE, 5000), &out);
	const struct description outer = unreachable(true, ROUTER, out.source);
	unsigned ones = 0;
	for (uint32_t checksum = 1; checksum <= UINT16_MAX; checksum++) {
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, 0);
		store_be16(frame.packet.data + 34 + 8 + 20 + UDP_CHECKSUM_OFFSET, (uint16_t)checksum);
		quote_cut(&frame, 28);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const uint16_t quoted = load_be16(frame_read(&frame).l4 + ICMP_HEADER_BYTES + 20 + UDP_CHECKSUM_OFFSET);
		assert_int_not_equal(quoted, 0);
		ones += quoted == UINT16_MAX;
	}
	assert_true(ones >= 1);
}

static void rfc5508_6_errors_hairpin_as_the_packets_they_are_about(void **state)
{
	struct fixture *fixture = *state;
	struct description b = describe_udp(6000, REMOTE, 3478);
	b.source = WORKER_2;
	const struct seen a_outside = fixture_sent(fixture, describe_udp(5000, REMOTE, 3478));
	const struct seen b_outside = fixture_sent(fixture, b);
	const struct description a_to_b = describe_udp(5000, b_outside.source, b_outside.source_port);
	struct description b_to_a = describe_udp(6000, a_outside.source, a_outside.source_port);
	b_to_a.source = WORKER_2;
	assert_false(fixture_passes(fixture, a_to_b));
	fixture_sent(fixture, b_to_a);
	const struct seen at_b = fixture_sent(fixture, a_to_b);
	/* Worker B: no such port. */
	struct description about = a_to_b;
	about.source = at_b.source;
	about.source_port = at_b.source_port;
	about.destination = WORKER_2;
	about.destination_port = 6000;
	const struct description outer = unreachable(false, WORKER_2, a_outside.source);
	struct frame frame;
	frame_build_icmp_error(&frame, &outer, &about, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	const struct seen at_a = frame_read(&frame);
	assert_true(at_a.tunnelled && at_a.checksums_right);
	assert_int_equal(at_a.destination, WORKER);
	assert_int_equal(at_a.source, b_outside.source);
	assert_quotes(&at_a, &a_to_b);
}

/* All kinds of error, at an age when a refresh would show. */
static void errors_of_all_kinds(struct fixture *fixture)
{
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	fixture_pass(fixture, 200 * SECOND_NS);
	const uint8_t types[] = {ICMP_UNREACHABLE, ICMP_TIME_EXCEEDED, ICMP_PARAMETER_PROBLEM};
	const struct description about = as_seen_outside(describe_udp(40000, REMOTE, 5000), &out);
	for (unsigned i = 0; i < 3; i++) {
		for (uint8_t code = 0; code < 16; code++) {
			struct description outer = unreachable(true, ROUTER, out.source);
			outer.icmp_type = types[i];
			outer.icmp_code = code;
			struct frame frame;
			frame_build_icmp_error(&frame, &outer, &about, 1400);
			assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		}
	}
}

static void rfc4787_12_no_error_ends_a_mapping(void **state)
{
	struct fixture *fixture = *state;
	errors_of_all_kinds(fixture);
	fixture_pass(fixture, 99 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
	fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
}

static void rfc5508_7_no_error_refreshes_a_session(void **state)
{
	struct fixture *fixture = *state;
	errors_of_all_kinds(fixture);
	fixture_pass(fixture, 102 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 0);
}

static void rfc5508_11_other_types_are_dropped_and_counted(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t types[] = {4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 30, 42, 255};
	for (unsigned i = 0; i < sizeof(types); i++) {
		struct description of = ping(77, REMOTE);
		of.icmp_type = types[i];
		assert_false(fixture_passes(fixture, of));
		of.outside = true;
		of.source = REMOTE;
		of.destination = ACME_IP_1;
		assert_false(fixture_passes(fixture, of));
	}
	assert_int_equal(fixture_drops(fixture, DROP_ICMP_TYPE), 2 * sizeof(types));
	assert_int_equal(generated(fixture), 0);
}

static void rfc4884_extensions_are_kept(void **state)
{
	struct fixture *fixture = *state;
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.payload_bytes = 100; /* 128 bytes in all: the least that stands before extensions */
	const struct seen out = fixture_sent(fixture, of);
	struct description about = as_seen_outside(of, &out);
	about.payload_bytes = 112; /* room for 12 bytes of extension behind it */
	const struct description outer = unreachable(true, ROUTER, out.source);
	struct frame frame;
	frame_build_icmp_error(&frame, &outer, &about, 0);
	uint8_t *icmp = frame.packet.data + 34, *quoted = icmp + ICMP_HEADER_BYTES;
	static const uint8_t extension[12] = {0x20, 0, 0x1b, 0xad, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef};
	about.payload_bytes = 100;
	ip_build(quoted, &about);
	icmp[5] = 128 / 4; /* RFC 4884 section 4: length of the quote, in words */
	memcpy(quoted + 128, extension, sizeof(extension));
	quote_cut(&frame, 128 + sizeof(extension));
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	const struct seen in = frame_read(&frame);
	assert_true(in.checksums_right);
	assert_int_equal(in.l4[5], 128 / 4);
	assert_quotes(&in, &of);
	assert_memory_equal(in.l4 + ICMP_HEADER_BYTES + 128, extension, sizeof(extension));
}

static void rfc1191_an_impossible_mtu_is_not_passed_on(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_udp(40000, REMOTE, 5000));
	const struct description about = as_seen_outside(describe_udp(40000, REMOTE, 5000), &out);
	struct description outer = unreachable(true, ROUTER, out.source);
	outer.icmp_code = ICMP_FRAGMENTATION_NEEDED;
	const struct {
		uint16_t mtu_bytes;
		enum packet_verdict verdict;
	} cases[] = {
		{0, PACKET_FORWARD}, {1, PACKET_DROP}, {67, PACKET_DROP}, {68, PACKET_FORWARD}, {1280, PACKET_FORWARD}};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, cases[i].mtu_bytes);
		assert_int_equal(fixture_run(fixture, &frame), cases[i].verdict);
	}
}

/* ---- the truth of packets ---- */

static void rfc1624_a_computed_udp_checksum_of_zero_is_sent_as_ones(void **state)
{
	struct fixture *fixture = *state;
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.payload_bytes = 2;
	uint8_t inner[FRAME_MAX_BYTES];
	unsigned ones = 0;
	for (uint32_t word = 0; word <= UINT16_MAX; word++) {
		const uint16_t inner_bytes = ip_build(inner, &of);
		uint8_t *l4 = inner + IPV4_HEADER_BYTES;
		store_be16(l4 + 8, (uint16_t)word);
		store_be16(l4 + UDP_CHECKSUM_OFFSET, 0);
		const uint16_t sum = (uint16_t)~checksum_fold(
			checksum_sum(l4, 10, checksum_pseudo(of.source, of.destination, PROTOCOL_UDP, 10)));
		store_be16(l4 + UDP_CHECKSUM_OFFSET, sum != 0 ? sum : 0xffff);
		struct frame frame;
		frame_wrap(&frame, false, VNI_ACME, HOST_1, inner, inner_bytes);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		assert_true(out.checksums_right);
		assert_int_not_equal(load_be16(out.l4 + UDP_CHECKSUM_OFFSET), 0);
		ones += load_be16(out.l4 + UDP_CHECKSUM_OFFSET) == 0xffff;
	}
	assert_in_range(ones, 1, 2);
}

static void rfc1812_ttl_goes_down_by_one_and_never_leaves_as_zero(void **state)
{
	struct fixture *fixture = *state;
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.ttl = 2;
	const struct seen out = fixture_sent(fixture, of);
	assert_int_equal(out.ttl, 1);
	struct description in = reply_to(&out);
	in.ttl = 255;
	assert_int_equal(fixture_sent(fixture, in).ttl, 254);
	in.ttl = 1;
	const struct seen error = fixture_sent(fixture, in);
	/* To the remote, about what it sent, in the name of the address that it sent to. */
	assert_false(error.tunnelled);
	assert_int_equal(error.icmp_type, ICMP_TIME_EXCEEDED);
	assert_int_equal(error.source, out.source);
	assert_int_equal(error.destination, REMOTE);
	assert_int_equal(fixture_drops(fixture, DROP_TTL_EXPIRED), 1);
}

static void fragment_at(struct frame *frame, uint8_t protocol, uint16_t unit, uint16_t bytes, bool more)
{
	uint8_t inner[FRAME_MAX_BYTES];
	struct description of = describe_udp(40000, REMOTE, 5000);
	of.payload_bytes = bytes;
	ip_build(inner, &of);
	inner[IPV4_PROTOCOL_OFFSET] = protocol;
	store_be16(inner + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + bytes));
	store_be16(inner + IPV4_FRAGMENT_OFFSET, (uint16_t)(unit | (more ? IPV4_FLAG_MF : 0)));
	store_be16(inner + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(inner + IPV4_CHECKSUM_OFFSET, checksum_of(inner, IPV4_HEADER_BYTES));
	frame_wrap(frame, false, VNI_ACME, HOST_1, inner, (uint16_t)(IPV4_HEADER_BYTES + bytes));
}

static void rfc791_a_fragment_beyond_65535_is_dropped(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	fragment_at(&frame, PROTOCOL_UDP, 0x1fff, 8, false); /* 65,528 + 8 */
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_HEADER);
	fragment_at(&frame, PROTOCOL_UDP, 0x1fff, 7, false);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_HELD);
	fragment_at(&frame, PROTOCOL_UDP, 10, 12, true); /* not a multiple of 8, and more to come */
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_BAD_IP_HEADER);
	fixture_pass(fixture, 20 * SECOND_NS);
}

static void rfc3128_a_second_fragment_may_not_reach_the_tcp_flags(void **state)
{
	struct fixture *fixture = *state;
	struct frame frame;
	fragment_at(&frame, PROTOCOL_TCP, 1, 64, false);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT_TINY);
}

static uint16_t outer_source_port(const struct frame *frame)
{
	return load_be16(frame->packet.data + ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES);
}

static void rfc7348_the_tunnel_is_as_it_says(void **state)
{
	struct fixture *fixture = *state;
	uint16_t first = 0;
	unsigned different = 0;
	for (uint16_t flow = 0; flow < 100; flow++) {
		struct frame frame;
		const struct description of = describe_udp((uint16_t)(40000 + flow), REMOTE, 5000);
		frame_build(&frame, &of);
		memset(frame.packet.data + RESERVED_AT, 0xff, 3); /* reserved: ignored on receipt */
		frame.packet.data[FLAGS_AT] = 0xff;
		frame.packet.data[VNI_RESERVED_AT] = 0xff;
		store_be16(frame.packet.data + 34 + UDP_CHECKSUM_OFFSET, 0x1234); /* likewise, as section 5 allows */
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
		const struct seen out = frame_read(&frame);
		const struct description in = reply_to(&out);
		for (unsigned again = 0; again < 2; again++) {
			assert_int_equal(fixture_send(fixture, &frame, &in), PACKET_FORWARD);
			const uint16_t port = outer_source_port(&frame);
			assert_in_range(port, 49152, 65535);
			if (again == 0)
				different += port != first;
			else
				assert_int_equal(port, first);
			first = port;
		}
		const uint8_t *udp_header = frame.packet.data + 34, *vxlan = udp_header + 8;
		assert_int_equal(load_be16(udp_header + 2), 4789);
		assert_int_equal(load_be16(udp_header + UDP_CHECKSUM_OFFSET), 0);
		assert_int_equal(load_be32(vxlan), 0x08000000);
		assert_int_equal(vxlan[7], 0);
	}
	assert_in_range(different, 90, 100);
}

static void rfc9293_a_reset_is_never_answered(void **state)
{
	struct fixture *fixture = *state;
	const uint8_t flags[] = {TCP_RST, TCP_RST | TCP_ACK};
	for (unsigned i = 0; i < 2; i++)
		assert_false(fixture_passes(fixture, describe_tcp(40000, flags[i], 1000)));
	assert_int_equal(fixture_drops(fixture, DROP_TCP_NOT_SYN), 2);
	assert_int_equal(generated(fixture), 0);
	assert_true(fixture_passes(fixture, describe_tcp(40000, TCP_ACK, 1000))); /* … as other strangers are */
	assert_int_equal(generated(fixture), 1);
}

static void rfc5961_challenge_acks_pass_and_are_nobodys_end(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, describe_tcp(40000, TCP_SYN, 1000));
	struct description in = reply_segment(&out, TCP_SYN | TCP_ACK, 7000);
	fixture_sent(fixture, in);
	fixture_sent(fixture, describe_tcp(40000, TCP_ACK, 1001));
	in.tcp_flags = TCP_RST; /* blind: the worker answers with a challenge ACK … */
	in.sequence = 7500;
	fixture_sent(fixture, in);
	const struct seen challenge = fixture_sent(fixture, describe_tcp(40000, TCP_ACK, 1001));
	assert_int_equal(challenge.tcp_flags, TCP_ACK);
	in.tcp_flags = TCP_ACK; /* … and the remote may send one of its own */
	in.sequence = 7001;
	fixture_sent(fixture, in);
	assert_int_equal(generated(fixture), 0);
	fixture_pass(fixture, 7000 * SECOND_NS);
	assert_int_equal(fixture_active(fixture), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc5508_1_an_echo_mapping_is_by_identifier_alone),
		TEST(rfc5508_3_what_an_error_carries_is_checked_as_far_as_it_came),
		TEST(rfc5508_4_an_error_about_no_session_is_dropped_in_silence),
		TEST(rfc5508_5_errors_are_translated_with_what_they_quote_both_ways),
		TEST(rfc5508_5_a_quoted_udp_checksum_never_becomes_zero),
		TEST(rfc5508_6_errors_hairpin_as_the_packets_they_are_about),
		TEST(rfc4787_12_no_error_ends_a_mapping),
		TEST(rfc5508_7_no_error_refreshes_a_session),
		TEST(rfc5508_11_other_types_are_dropped_and_counted),
		TEST(rfc4884_extensions_are_kept),
		TEST(rfc1191_an_impossible_mtu_is_not_passed_on),
		TEST(rfc1624_a_computed_udp_checksum_of_zero_is_sent_as_ones),
		TEST(rfc1812_ttl_goes_down_by_one_and_never_leaves_as_zero),
		TEST(rfc791_a_fragment_beyond_65535_is_dropped),
		TEST(rfc3128_a_second_fragment_may_not_reach_the_tcp_flags),
		TEST(rfc7348_the_tunnel_is_as_it_says),
		TEST(rfc9293_a_reset_is_never_answered),
		TEST(rfc5961_challenge_acks_pass_and_are_nobodys_end),
	};
	return cmocka_run_group_tests_name("conformance packets", tests, NULL, NULL);
}
