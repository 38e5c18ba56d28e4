/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken away is gone at once, for live sessions and for every kind of packet; and what may not leave, does not.
 */
#include "tests/nat/fixture.h"

static struct description udp(uint16_t source_port, uint16_t payload_bytes)
{
	struct description of = describe_udp(source_port, REMOTE, 5000);
	of.payload_bytes = payload_bytes;
	of.ip_id = 9;
	return of;
}

/* Bytes [from, from + bytes) of the datagram, with that TTL. */
static void frame_of_ttl(struct frame *frame, const struct description *of, uint32_t from, uint32_t bytes, uint8_t ttl)
{
	uint8_t whole[FRAME_MAX_BYTES], piece[FRAME_MAX_BYTES];
	ip_build(whole, of);
	memcpy(piece, whole, IPV4_HEADER_BYTES);
	memcpy(piece + IPV4_HEADER_BYTES, whole + IPV4_HEADER_BYTES + from, bytes);
	store_be16(piece + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + bytes));
	store_be16(piece + IPV4_FRAGMENT_OFFSET, (uint16_t)(from / 8 | IPV4_FLAG_MF));
	piece[IPV4_TTL_OFFSET] = ttl;
	store_be16(piece + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(piece + IPV4_CHECKSUM_OFFSET, checksum_of(piece, IPV4_HEADER_BYTES));
	frame_wrap(frame, of->outside, VNI_ACME, HOST_1, piece, (uint16_t)(IPV4_HEADER_BYTES + bytes));
}

static void rfc1812_ttl_is_never_forwarded_as_zero_by_a_later_fragment_either(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, 100));
	struct description reply = reply_to(&out);
	reply.payload_bytes = 1000;
	struct frame frame;
	frame_of_ttl(&frame, &reply, 0, 400, 64);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	for (uint8_t ttl = 0; ttl < 2; ttl++) {
		frame_of_ttl(&frame, &reply, 400 + 8u * ttl, 8, ttl);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
		assert_int_equal(frame.packet.drop_reason, DROP_TTL_EXPIRED);
	}
	frame_of_ttl(&frame, &reply, 416, 8, 2);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
}

static void sessions_of_an_address_that_left_the_vpc_end(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, 10));
	fixture->draft.cidrs[0] = (struct policy_cidr){IP(10, 1, 0, 0), 16};
	fixture_apply(fixture);
	const struct description reply = reply_to(&out);
	fixture_expect_drop(fixture, &reply, DROP_STALE_SESSION);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
	fixture_pass(fixture, 2 * SECOND_NS);
	assert_int_equal(fixture->counters->shards[0].sessions_active, 0);
}

static void e3_a_listed_workers_old_host_can_not_use_its_sessions(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	struct description of = udp(40000, 10);
	const struct seen out = fixture_sent(fixture, of);
	fixture->draft.workers[0].vtep = HOST_2;
	fixture_apply(fixture);
	fixture_expect_drop(fixture, &of, DROP_WRONG_VTEP);
	of.vtep = HOST_2;
	assert_int_equal(fixture_sent(fixture, of).source_port, out.source_port);
	assert_int_equal(fixture_sent(fixture, reply_to(&out)).outer_destination, HOST_2);
}

static void replies_do_not_go_to_a_host_that_is_trusted_no_more(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, 10));
	fixture->draft.vteps[0] = (struct policy_vtep_prefix){HOST_2, 32};
	fixture_apply(fixture);
	const struct description reply = reply_to(&out);
	fixture_expect_drop(fixture, &reply, DROP_STALE_SESSION);
}

static void replies_do_not_go_to_a_listed_host_that_is_not_trusted(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, udp(40000, 10));
	fixture->draft.vteps[0] = (struct policy_vtep_prefix){HOST_1, 32};
	fixture->draft.workers[0].vtep = HOST_2;
	fixture_apply(fixture);
	const struct description reply = reply_to(&out);
	fixture_expect_drop(fixture, &reply, DROP_UNTRUSTED_VTEP);
}

static void e6_the_underlay_is_out_of_reach_whatever_a_workspace_allows(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].flags |= POLICY_WORKSPACE_ALLOW_PRIVATE;
	fixture_apply(fixture);
	struct description of = udp(40000, 10);
	of.destination = HOST_2;
	fixture_expect_drop(fixture, &of, DROP_DENIED_DESTINATION);
	of.destination = GATEWAY_INSIDE;
	fixture_expect_drop(fixture, &of, DROP_DENIED_DESTINATION);
	of.destination = IP(10, 200, 0, 1);
	assert_false(fixture_sent(fixture, of).tunnelled);
}

static void rfc1191_an_mtu_above_the_link_is_not_passed_inside(void **state)
{
	struct fixture *fixture = *state;
	struct description about = udp(40000, 10);
	const struct seen out = fixture_sent(fixture, about);
	about.source = out.source;
	about.source_port = out.source_port;
	const struct description outer = {.outside = true,
		.source = IP(198, 51, 100, 77),
		.destination = out.source,
		.icmp_type = ICMP_UNREACHABLE,
		.icmp_code = ICMP_FRAGMENTATION_NEEDED};
	const uint16_t mtus[] = {9000, 67, 1400};
	for (unsigned i = 0; i < 3; i++) {
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, mtus[i]);
		assert_int_equal(fixture_run(fixture, &frame), i == 2 ? PACKET_FORWARD : PACKET_DROP);
	}
}

static void icmp_errors_are_no_way_around_the_egress_rules(void **state)
{
	struct fixture *fixture = *state;
	const struct seen out = fixture_sent(fixture, udp(40000, 10));
	struct description about = reply_to(&out);
	about.outside = false;
	about.destination = WORKER;
	about.destination_port = 40000;
	const uint32_t elsewhere[] = {IP(8, 8, 8, 8), IP(10, 9, 9, 9), IP(169, 254, 169, 254), GATEWAY_OUTSIDE,
		GLOBEX_IP, IP(224, 0, 0, 1), REMOTE};
	for (unsigned i = 0; i < 7; i++) {
		const struct description outer = {
			.source = WORKER, .destination = elsewhere[i], .icmp_type = ICMP_UNREACHABLE, .icmp_code = 3};
		struct frame frame;
		frame_build_icmp_error(&frame, &outer, &about, 0);
		assert_int_equal(fixture_run(fixture, &frame), elsewhere[i] == REMOTE ? PACKET_FORWARD : PACKET_DROP);
	}
}

static void e3_every_kind_of_packet_of_a_listed_worker_comes_from_its_host(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	fixture->draft.workers[0] = (struct policy_worker){.vpc_index = 0, .address = WORKER, .vtep = HOST_1};
	fixture->draft.counts[POLICY_WORKERS] = 1;
	fixture_apply(fixture);
	const struct seen out = fixture_sent(fixture, udp(40000, 10));
	struct description about = reply_to(&out);
	about.outside = false;
	about.destination = WORKER;
	about.destination_port = 40000;
	const struct description outer = {
		.source = WORKER, .destination = REMOTE, .vtep = HOST_2, .icmp_type = ICMP_UNREACHABLE, .icmp_code = 3};
	struct frame frame;
	frame_build_icmp_error(&frame, &outer, &about, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_WRONG_VTEP);
	const struct description of = udp(40000, 1000);
	frame_of_ttl(&frame, &of, 0, 400, 64);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	frame_of_ttl(&frame, &of, 400, 400, 64);
	store_be32(frame.packet.data + ETHERNET_HEADER_BYTES + IPV4_SOURCE_OFFSET, HOST_2);
	store_be16(frame.packet.data + ETHERNET_HEADER_BYTES + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(frame.packet.data + ETHERNET_HEADER_BYTES + IPV4_CHECKSUM_OFFSET,
		checksum_of(frame.packet.data + ETHERNET_HEADER_BYTES, IPV4_HEADER_BYTES));
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_WRONG_VTEP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(rfc1812_ttl_is_never_forwarded_as_zero_by_a_later_fragment_either),
		TEST(sessions_of_an_address_that_left_the_vpc_end),
		TEST(e3_a_listed_workers_old_host_can_not_use_its_sessions),
		TEST(replies_do_not_go_to_a_host_that_is_trusted_no_more),
		TEST(replies_do_not_go_to_a_listed_host_that_is_not_trusted),
		TEST(e6_the_underlay_is_out_of_reach_whatever_a_workspace_allows),
		TEST(icmp_errors_are_no_way_around_the_egress_rules),
		TEST(e3_every_kind_of_packet_of_a_listed_worker_comes_from_its_host),
		TEST(rfc1191_an_mtu_above_the_link_is_not_passed_inside),
	};
	return cmocka_run_group_tests_name("revocation", tests, NULL, NULL);
}
