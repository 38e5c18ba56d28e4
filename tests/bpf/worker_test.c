/* SPDX-License-Identifier: Apache-2.0 */
/* worker_ingress and worker_egress, packet by packet: verdict, bytes and counter deltas. */
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bpf/lab.h"
#include "tests/bpf/worker_fixture.h"

static struct frame frame_to(uint32_t destination)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	frame_put32(frame.bytes + ETHERNET_BYTES + 16, destination);
	return frame;
}

static void good_packet_is_redirected_with_the_gateway_mac_and_counted(void **state)
{
	const uint8_t protocols[] = {PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, 47};

	for (size_t i = 0; i < sizeof(protocols); i++) {
		struct frame frame = worker_frame(protocols[i]);

		assert_worker_sent(*state, &frame);
	}
}

static void packet_with_ip_options_is_redirected(void **state)
{
	for (uint8_t options_bytes = 4; options_bytes <= 40; options_bytes += 4) {
		struct frame frame;

		frame_build_ipv4(&frame, &(struct frame_ipv4){
						 .source_mac = worker_mac,
						 .source = WORKER_ADDRESS,
						 .destination = REMOTE_ADDRESS,
						 .protocol = PROTOCOL_UDP,
						 .destination_port = 53,
						 .options_bytes = options_bytes,
						 .payload_bytes = WORKER_PAYLOAD_BYTES,
					 });
		assert_worker_sent(*state, &frame);
	}
}

static void vxlan_port_is_found_behind_ip_options(void **state)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .destination_port = WORKER_VXLAN_PORT,
					 .options_bytes = 12,
					 .payload_bytes = WORKER_PAYLOAD_BYTES,
				 });
	assert_worker_dropped(*state, &frame, WORKER_DROP_UNDERLAY);
}

static void fragments_are_redirected(void **state)
{
	const uint16_t fragments[] = {0x2000, 0x2010, 0x0010};

	for (size_t i = 0; i < 3; i++) {
		struct frame frame = worker_frame(PROTOCOL_UDP);

		frame_put16(frame.bytes + ETHERNET_BYTES + 6, fragments[i]);
		assert_worker_sent(*state, &frame);
	}
}

static void payload_of_a_later_fragment_is_no_udp_header(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_UDP), last;

	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x0010);
	frame_put16(frame.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, WORKER_VXLAN_PORT);
	assert_worker_sent(*state, &frame);
	frame_build_ipv4(&last, &(struct frame_ipv4){
					.source_mac = worker_mac,
					.source = WORKER_ADDRESS,
					.destination = REMOTE_ADDRESS,
					.protocol = PROTOCOL_TCP,
					.fragment = 0x0010,
					.payload_bytes = 3,
				});
	last.bytes[ETHERNET_BYTES + 9] = PROTOCOL_UDP;
	assert_worker_sent(*state, &last);
}

static void segments_of_a_gso_packet_are_counted(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .gso_segs = 5, .gso_size = 8};
	struct frame frame = worker_frame(PROTOCOL_TCP);
	struct workspace_traffic before = worker_traffic(fixture);

	assert_int_equal(
		worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_REDIRECT);
	assert_int_equal(worker_traffic(fixture).out_packets, before.out_packets + 5);
}

/* As from a tap device, whose guest has told their size alone. */
static void segments_that_nobody_has_counted_are_counted(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .gso_size = 8};
	struct frame tcp = worker_frame(PROTOCOL_TCP), udp = worker_frame(PROTOCOL_UDP);
	struct workspace_traffic before = worker_traffic(fixture);

	tcp.bytes[ETHERNET_BYTES + IPV4_BYTES + 12] = 5 << 4; /* 20 bytes of header */
	(void)worker_run_program(fixture->bpf->progs.worker_ingress, &tcp, &context);
	assert_int_equal(worker_traffic(fixture).out_packets, before.out_packets + (WORKER_PAYLOAD_BYTES - 20 + 7) / 8);
	before = worker_traffic(fixture);
	(void)worker_run_program(fixture->bpf->progs.worker_ingress, &udp, &context);
	assert_int_equal(worker_traffic(fixture).out_packets, before.out_packets + WORKER_PAYLOAD_BYTES / 8);
}

static void ethernet_padding_is_allowed(void **state)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE_ADDRESS,
					 .protocol = PROTOCOL_ICMP,
					 .payload_bytes = 8,
				 });
	frame.length_bytes = 60;
	assert_worker_sent(*state, &frame);
}

/* It would cross the network without being counted or limited. */
static void what_is_behind_the_packet_stays_here(void **state)
{
	struct frame whole = worker_frame(PROTOCOL_TCP), frame = whole;
	struct worker_run run;

	frame.length_bytes += 1000;
	run = worker_run(*state, &frame);
	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(run.out.length_bytes, whole.length_bytes);
	assert_memory_equal(run.out.bytes + 6, whole.bytes + 6, whole.length_bytes - 6);
}

/* As from a tap device. Without its tail it would be one large packet, and count as that. */
static void gso_packet_with_something_behind_it_is_dropped(void **state)
{
	const struct worker_fixture *fixture = *state;
	const struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .gso_size = 8};
	struct frame frame = worker_frame(PROTOCOL_UDP);
	uint64_t before = worker_drops(fixture, WORKER_DROP_MALFORMED);

	frame.length_bytes += 1000;
	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture, WORKER_DROP_MALFORMED), before + 1);
}

static void mark_of_a_worker_is_cleared(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .mark = WORKER_DELIVERY_MARK};
	struct frame frame = worker_frame(PROTOCOL_TCP);

	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).mark, 0);
}

static void unknown_interface_is_dropped_and_counted(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->stranger_ifindex};
	uint64_t before = worker_drops(fixture, WORKER_DROP_UNKNOWN_INTERFACE), all_before = worker_all_drops(fixture);
	struct frame frame = worker_frame(PROTOCOL_TCP);

	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_ingress, &frame, &context).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture, WORKER_DROP_UNKNOWN_INTERFACE), before + 1);
	assert_int_equal(worker_all_drops(fixture), all_before + 1);
}

static void spoofed_source_is_dropped_and_counted(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS + 1);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, 0);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_SOURCE);
}

static void mac_of_the_first_valid_frame_is_learned_and_others_are_dropped(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	assert_worker_sent(*state, &frame);
	assert_memory_equal(worker_get(*state).mac, worker_mac, 6);
	assert_int_equal(worker_get(*state).mac_pinned, 0);
	memcpy(frame.bytes + 6, other_mac, 6);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
	assert_memory_equal(worker_get(*state).mac, worker_mac, 6);
	memcpy(frame.bytes + 6, worker_mac, 6);
	assert_worker_sent(*state, &frame);
}

static void mac_is_not_learned_from_a_frame_that_is_not_the_workers(void **state)
{
	const uint8_t unknown[6] = {0};
	struct frame frame = worker_frame(PROTOCOL_TCP);

	memcpy(frame.bytes + 6, other_mac, 6);
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS + 1);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame_put16(frame.bytes + 12, 0x86dd);
	assert_worker_dropped(*state, &frame, WORKER_DROP_IPV6);
	assert_memory_equal(worker_get(*state).mac, unknown, 6);
}

static void pinned_mac_is_the_only_one(void **state)
{
	struct worker_value worker = worker_get(*state);
	struct frame frame = worker_frame(PROTOCOL_TCP);

	memcpy(worker.mac, other_mac, 6);
	worker.mac_pinned = 1;
	worker_set(*state, &worker);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
	memcpy(frame.bytes + 6, other_mac, 6);
	assert_worker_sent(*state, &frame);
	assert_int_equal(worker_get(*state).mac_pinned, 1);
}

static void group_and_zero_source_macs_are_dropped(void **state)
{
	const uint8_t macs[][6] = {{0x03, 0xaa, 0, 0, 0, 5}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0}};

	for (size_t i = 0; i < 3; i++) {
		struct frame frame = worker_frame(PROTOCOL_TCP);

		memcpy(frame.bytes + 6, macs[i], 6);
		assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
	}
}

static void metadata_and_link_local_are_dropped(void **state)
{
	const uint32_t destinations[] = {METADATA_ADDRESS, WORKER_GATEWAY_ADDRESS, 0xa9fe0000, 0xa9feffff};

	for (size_t i = 0; i < 4; i++) {
		struct frame frame = frame_to(destinations[i]);

		assert_worker_dropped(*state, &frame, WORKER_DROP_METADATA);
	}
}

static void neighbours_of_the_link_local_block_are_not_dropped(void **state)
{
	struct frame below = frame_to(0xa9fdffff), above = frame_to(0xa9ff0000);

	assert_worker_sent(*state, &below);
	assert_worker_sent(*state, &above);
}

static void multicast_and_broadcast_are_dropped(void **state)
{
	const uint32_t destinations[] = {0xe0000000, 0xe00000fb, 0xefffffff, 0xf0000001, 0xffffffff};

	for (size_t i = 0; i < 5; i++) {
		struct frame frame = frame_to(destinations[i]);

		assert_worker_dropped(*state, &frame, WORKER_DROP_MULTICAST);
	}
}

static void underlay_is_out_of_reach(void **state)
{
	struct frame to_gateway = frame_to(GATEWAY_VTEP), to_host = frame_to(HOST_VTEP);
	struct frame vxlan = worker_frame(PROTOCOL_UDP);

	assert_worker_dropped(*state, &to_gateway, WORKER_DROP_UNDERLAY);
	assert_worker_dropped(*state, &to_host, WORKER_DROP_UNDERLAY);
	frame_put16(vxlan.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, WORKER_VXLAN_PORT);
	assert_worker_dropped(*state, &vxlan, WORKER_DROP_UNDERLAY);
}

static void other_protocols_than_ipv4_are_dropped(void **state)
{
	const uint16_t types[] = {0x88cc, 0x8847, 0x0805, 0x0100};

	for (size_t i = 0; i < 4; i++) {
		struct frame frame = worker_frame(PROTOCOL_TCP);

		frame_put16(frame.bytes + 12, types[i]);
		assert_worker_dropped(*state, &frame, WORKER_DROP_NOT_IPV4);
	}
}

static void vlan_tagged_frames_are_dropped(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	frame_tag_vlan(&frame, 5);
	assert_worker_dropped(*state, &frame, WORKER_DROP_NOT_IPV4);
	frame_put16(frame.bytes + 12, 0x88a8);
	assert_worker_dropped(*state, &frame, WORKER_DROP_NOT_IPV4);
}

static void packet_cut_short_at_any_length_is_malformed(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_UDP);

	/* The kernel's test run refuses IPv4 without its header; tests/bpf/delivery_test.c sends those for real. */
	for (size_t length = ETHERNET_BYTES + IPV4_BYTES; length < frame.length_bytes; length++) {
		struct frame cut = frame;

		cut.length_bytes = length;
		assert_worker_dropped(*state, &cut, WORKER_DROP_MALFORMED);
	}
	assert_worker_sent(*state, &frame);
}

static void contradicting_lengths_are_malformed(void **state)
{
	struct frame frame;

	for (uint8_t ihl = 0; ihl < 5; ihl++) {
		frame = worker_frame(PROTOCOL_TCP);
		frame.bytes[ETHERNET_BYTES] = 0x40 | ihl;
		assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
	for (uint16_t version = 0; version < 16; version++) {
		frame = worker_frame(PROTOCOL_TCP);
		frame.bytes[ETHERNET_BYTES] = (uint8_t)(version << 4 | 5);
		if (version != 4)
			assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
	for (uint16_t total_bytes = 0; total_bytes < IPV4_BYTES; total_bytes++) {
		frame = worker_frame(PROTOCOL_TCP);
		frame_put16(frame.bytes + ETHERNET_BYTES + 2, total_bytes);
		assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
	/* The header alone is longer than the total length says. */
	frame = worker_frame(PROTOCOL_TCP);
	frame.bytes[ETHERNET_BYTES] = 0x4f;
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, 59);
	assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	/* No room for the UDP header. */
	frame = worker_frame(PROTOCOL_UDP);
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, IPV4_BYTES + UDP_BYTES - 1);
	assert_worker_dropped(*state, &frame, WORKER_DROP_MALFORMED);
}

/* Larger than any MTU on the way: the underlay or the gateway's answer deals with it, not a silent drop here. */
static void oversized_packet_is_redirected_whole(void **state)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_mac,
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .destination_port = 53,
					 .payload_bytes = 1900,
				 });
	assert_worker_sent(*state, &frame);
}

static void ipv6_and_router_advertisements_are_dropped_by_name(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_ICMP);

	memset(frame.bytes + ETHERNET_BYTES, 0, frame.length_bytes - ETHERNET_BYTES);
	frame_put16(frame.bytes + 12, 0x86dd);
	frame.bytes[ETHERNET_BYTES] = 0x60;
	frame.bytes[ETHERNET_BYTES + 6] = 58;
	frame.bytes[ETHERNET_BYTES + 40] = 134;
	assert_worker_dropped(*state, &frame, WORKER_DROP_IPV6);
}

static void dhcp_request_is_dropped_by_name(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_UDP);

	frame_put32(frame.bytes + ETHERNET_BYTES + 12, 0);
	frame_put32(frame.bytes + ETHERNET_BYTES + 16, 0xffffffff);
	frame_put16(frame.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, 67);
	assert_worker_dropped(*state, &frame, WORKER_DROP_DHCP);
	frame_put16(frame.bytes + ETHERNET_BYTES + IPV4_BYTES + 2, 68);
	assert_worker_dropped(*state, &frame, WORKER_DROP_SPOOFED_SOURCE);
}

/* Whatever it carries: without the tunnel's metadata nobody can say that a gateway has sent it. */
static void reply_without_a_tunnel_is_from_no_gateway(void **state)
{
	const struct worker_fixture *fixture = *state;
	const uint8_t protocols[] = {PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
	struct __sk_buff context = {.ifindex = fixture->vxlan_ifindex};

	for (size_t i = 0; i < 3; i++) {
		uint64_t before = worker_drops(fixture, WORKER_DROP_REPLY_UNKNOWN_GATEWAY);
		struct frame frame = worker_frame(protocols[i]);

		assert_int_equal(
			worker_run_program(fixture->bpf->progs.reply_ingress, &frame, &context).action, TC_ACT_SHOT);
		assert_int_equal(worker_drops(fixture, WORKER_DROP_REPLY_UNKNOWN_GATEWAY), before + 1);
	}
}

static void missing_vxlan_device_is_dropped_as_tunnel(void **state)
{
	struct frame frame = worker_frame(PROTOCOL_TCP);

	worker_config_set(*state, &(struct worker_config){.vxlan_ifindex = 0});
	assert_worker_dropped(*state, &frame, WORKER_DROP_TUNNEL);
	/* deleted behind our back */
	worker_config_set(*state, &(struct worker_config){.vxlan_ifindex = 999999});
	assert_worker_dropped(*state, &frame, WORKER_DROP_TUNNEL);
}

static void frame_of_the_host_never_reaches_a_worker(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex};
	uint64_t before = worker_drops(fixture, WORKER_DROP_EGRESS_FOREIGN);
	struct frame frame = worker_frame(PROTOCOL_TCP);

	assert_int_equal(worker_run_program(fixture->bpf->progs.worker_egress, &frame, &context).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture, WORKER_DROP_EGRESS_FOREIGN), before + 1);
}

static void frame_of_our_own_programs_reaches_the_worker_unmarked(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex, .mark = WORKER_DELIVERY_MARK};
	uint64_t before = worker_all_drops(fixture);
	struct frame frame = worker_frame(PROTOCOL_TCP);
	struct worker_run run = worker_run_program(fixture->bpf->progs.worker_egress, &frame, &context);

	assert_int_equal(run.action, TC_ACT_UNSPEC);
	assert_int_equal(run.mark, 0);
	assert_memory_equal(run.out.bytes, frame.bytes, frame.length_bytes);
	assert_int_equal(worker_all_drops(fixture), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		worker_unit_test(good_packet_is_redirected_with_the_gateway_mac_and_counted),
		worker_unit_test(packet_with_ip_options_is_redirected),
		worker_unit_test(vxlan_port_is_found_behind_ip_options),
		worker_unit_test(fragments_are_redirected),
		worker_unit_test(payload_of_a_later_fragment_is_no_udp_header),
		worker_unit_test(segments_of_a_gso_packet_are_counted),
		worker_unit_test(segments_that_nobody_has_counted_are_counted),
		worker_unit_test(ethernet_padding_is_allowed),
		worker_unit_test(what_is_behind_the_packet_stays_here),
		worker_unit_test(gso_packet_with_something_behind_it_is_dropped),
		worker_unit_test(mark_of_a_worker_is_cleared),
		worker_unit_test(unknown_interface_is_dropped_and_counted),
		worker_unit_test(spoofed_source_is_dropped_and_counted),
		worker_unit_test(mac_of_the_first_valid_frame_is_learned_and_others_are_dropped),
		worker_unit_test(mac_is_not_learned_from_a_frame_that_is_not_the_workers),
		worker_unit_test(pinned_mac_is_the_only_one),
		worker_unit_test(group_and_zero_source_macs_are_dropped),
		worker_unit_test(metadata_and_link_local_are_dropped),
		worker_unit_test(neighbours_of_the_link_local_block_are_not_dropped),
		worker_unit_test(multicast_and_broadcast_are_dropped),
		worker_unit_test(underlay_is_out_of_reach),
		worker_unit_test(other_protocols_than_ipv4_are_dropped),
		worker_unit_test(vlan_tagged_frames_are_dropped),
		worker_unit_test(packet_cut_short_at_any_length_is_malformed),
		worker_unit_test(contradicting_lengths_are_malformed),
		worker_unit_test(oversized_packet_is_redirected_whole),
		worker_unit_test(ipv6_and_router_advertisements_are_dropped_by_name),
		worker_unit_test(dhcp_request_is_dropped_by_name),
		worker_unit_test(reply_without_a_tunnel_is_from_no_gateway),
		worker_unit_test(missing_vxlan_device_is_dropped_as_tunnel),
		worker_unit_test(frame_of_the_host_never_reaches_a_worker),
		worker_unit_test(frame_of_our_own_programs_reaches_the_worker_unmarked),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, worker_fixture_open, worker_fixture_close);
}
