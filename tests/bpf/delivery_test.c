/* SPDX-License-Identifier: Apache-2.0 */
/* The classifier on real interfaces, both ways: what it delivers, what it drops, and what a change of it loses. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/delivery_fixture.h"
#include "tests/bpf/lab.h"

static void assert_reply_dropped(struct delivery_fixture *fixture, uint32_t sender, uint32_t vni,
	const struct frame *inner, enum worker_drop reason)
{
	uint64_t before = delivery_drops(fixture, reason);

	delivery_send_reply(fixture, sender, vni, inner);
	delivery_wait_for_drops(fixture, reason, before + 1);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_true(lab_is_quiet(fixture->worker_fds[i]));
}

/* Runs first: nobody has spoken yet. */
static void reply_to_a_worker_that_never_spoke_is_dropped(void **state)
{
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS);

	assert_reply_dropped(*state, GATEWAY, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
}

static void arp_for_the_gateway_is_answered_on_the_wire(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct frame request, reply;

	frame_build_arp(&request, &(struct frame_arp){
					  .source_mac = worker_macs[0],
					  .sender_mac = worker_macs[0],
					  .sender = WORKER_ADDRESS,
					  .target = WORKER_GATEWAY_ADDRESS,
					  .operation = 1,
				  });
	lab_send(fixture->worker_fds[0], &request);
	assert_true(lab_receive(fixture->worker_fds[0], &reply));
	assert_memory_equal(reply.bytes, worker_macs[0], 6);
	assert_memory_equal(reply.bytes + 6, gateway_mac, 6);
	assert_int_equal(frame_get16(reply.bytes + ETHERNET_BYTES + 6), 2);
	assert_memory_equal(reply.bytes + ETHERNET_BYTES + 8, gateway_mac, 6);
	assert_true(lab_is_quiet(fixture->worker_fds[1]));
}

static void packet_leaves_in_the_vni_of_its_own_worker(void **state)
{
	for (int worker = 0; worker < WORKER_COUNT; worker++)
		delivery_send_out(*state, worker);
}

static void reply_reaches_only_the_worker_of_its_vni(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS);

	for (int worker = 0; worker < WORKER_COUNT; worker++) {
		struct workspace_traffic before, after;
		struct frame received;

		delivery_send_out(fixture, worker);
		assert_int_equal(classifier_read_workspace(fixture->classifier, (uint32_t)worker, &before), STATUS_OK);
		delivery_send_reply(fixture, GATEWAY, vnis[worker], &inner);
		assert_true(lab_receive(fixture->worker_fds[worker], &received));
		assert_int_equal(received.length_bytes, inner.length_bytes);
		assert_memory_equal(received.bytes, worker_macs[worker], 6);
		assert_memory_equal(received.bytes + 6, gateway_mac, 6);
		assert_memory_equal(received.bytes + 12, inner.bytes + 12, inner.length_bytes - 12);
		for (int i = 0; i < WORKER_COUNT; i++)
			assert_true(lab_is_quiet(fixture->worker_fds[i]));
		assert_int_equal(classifier_read_workspace(fixture->classifier, (uint32_t)worker, &after), STATUS_OK);
		assert_int_equal(after.in_packets, before.in_packets + 1);
		assert_int_equal(after.in_bytes, before.in_bytes + inner.length_bytes - ETHERNET_BYTES);
	}
}

static void reply_of_an_unknown_vni_or_address_is_dropped(void **state)
{
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS), other = delivery_reply_inner(WORKER_ADDRESS + 1);

	assert_reply_dropped(*state, GATEWAY, 7003, &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	assert_reply_dropped(*state, GATEWAY, 0, &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	assert_reply_dropped(*state, GATEWAY, vnis[0], &other, WORKER_DROP_REPLY_UNKNOWN_WORKER);
}

static void point_delivery(const struct delivery_key *key, const struct delivery_value *value)
{
	int fd = bpf_obj_get(DELIVERY_PIN_DIR "/deliveries");

	assert_true(fd >= 0);
	if (value)
		assert_int_equal(bpf_map_update_elem(fd, key, value, BPF_ANY), 0);
	else
		assert_int_equal(bpf_map_delete_elem(fd, key), 0);
	close(fd);
}

/* As if one map had been filled and the other not yet, or an entry had been left behind. */
static void reply_is_dropped_when_the_maps_disagree(void **state)
{
	const struct delivery_key first = {.vni = vnis[0], .address_be = htonl(WORKER_ADDRESS)};
	const struct delivery_key stale = {.vni = vnis[0], .address_be = htonl(WORKER_ADDRESS + 1)};
	const struct delivery_value to_first = {.ifindex = if_nametoindex("w1"), .workspace_index = 0};
	const struct delivery_value to_second = {.ifindex = if_nametoindex("w2"), .workspace_index = 0};
	const struct delivery_value to_nobody = {.ifindex = if_nametoindex("under"), .workspace_index = 0};
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS), other = delivery_reply_inner(WORKER_ADDRESS + 1);
	struct delivery_fixture *fixture = *state;

	delivery_send_out(fixture, 0);
	delivery_send_out(fixture, 1);
	point_delivery(&first, &to_second);
	assert_reply_dropped(fixture, GATEWAY, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	point_delivery(&first, &to_nobody);
	assert_reply_dropped(fixture, GATEWAY, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	point_delivery(&first, &to_first);
	point_delivery(&stale, &to_first);
	assert_reply_dropped(fixture, GATEWAY, vnis[0], &other, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	point_delivery(&stale, NULL);
}

static void reply_from_a_host_that_is_no_gateway_is_dropped(void **state)
{
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS);

	assert_reply_dropped(*state, STRANGER, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_GATEWAY);
}

static void reply_that_is_not_whole_ipv4_is_dropped(void **state)
{
	struct frame good = delivery_reply_inner(WORKER_ADDRESS), frame;

	/* Newer kernels drop an inner packet without its IPv4 header before we see it. */
	for (size_t length = ETHERNET_BYTES + IPV4_BYTES; length < good.length_bytes; length++) {
		frame = good;
		frame.length_bytes = length;
		assert_reply_dropped(*state, GATEWAY, vnis[0], &frame, WORKER_DROP_REPLY_MALFORMED);
	}
	frame = good;
	frame_put16(frame.bytes + 12, 0x86dd);
	assert_reply_dropped(*state, GATEWAY, vnis[0], &frame, WORKER_DROP_REPLY_MALFORMED);
	frame = good;
	frame_tag_vlan(&frame, 5);
	assert_reply_dropped(*state, GATEWAY, vnis[0], &frame, WORKER_DROP_REPLY_MALFORMED);
}

static void assert_outbound_dropped(
	struct delivery_fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = delivery_drops(fixture, reason);

	lab_send(fixture->worker_fds[0], frame);
	delivery_wait_for_drops(fixture, reason, before + 1);
	assert_true(lab_is_quiet(fixture->underlay_fd));
}

static void runt_packet_is_malformed_at_any_length(void **state)
{
	struct frame frame = delivery_outbound(0, PROTOCOL_UDP);

	for (size_t length = ETHERNET_BYTES + 1; length < ETHERNET_BYTES + IPV4_BYTES; length++) {
		frame.length_bytes = length;
		assert_outbound_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
}

static void vlan_tagged_frame_is_dropped_on_the_wire(void **state)
{
	struct frame frame = delivery_outbound(0, PROTOCOL_UDP);

	frame_tag_vlan(&frame, 5);
	assert_outbound_dropped(*state, &frame, WORKER_DROP_NOT_IPV4);
}

static void worker_cannot_speak_for_the_other(void **state)
{
	struct frame frame = delivery_outbound(1, PROTOCOL_UDP);

	assert_outbound_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
}

static void host_stack_cannot_reach_a_worker(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(40000), .sin_addr.s_addr = htonl(WORKER_ADDRESS)};
	uint64_t before = delivery_drops(fixture, WORKER_DROP_EGRESS_FOREIGN);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	lab_run("ip route add 10.0.0.5/32 dev w1");
	lab_run("ip neigh add 10.0.0.5 lladdr 02:aa:00:00:00:01 dev w1");
	assert_true(fd >= 0);
	/* The refusal may come back to the sender as an error; the counter and the silent wire decide. */
	(void)sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address));
	delivery_wait_for_drops(fixture, WORKER_DROP_EGRESS_FOREIGN, before + 1);
	assert_true(lab_is_quiet(fixture->worker_fds[0]));
	close(fd);
	lab_run("ip route del 10.0.0.5/32 dev w1");
}

enum { TCP_BYTES = 20, SEGMENT_BYTES = 500, SEGMENT_COUNT = 3 };

/* One large TCP packet whose checksum and segmentation are left to the device, as veth passes them on from a worker. */
static void send_gso(int fd, struct frame *frame)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES,
		.gso_size = SEGMENT_BYTES,
		.csum_start = ETHERNET_BYTES + IPV4_BYTES,
		.csum_offset = 16,
	};
	struct iovec parts[] = {{&header, sizeof(header)}, {frame->bytes, frame->length_bytes}};
	uint8_t *ip = frame->bytes + ETHERNET_BYTES, *tcp = ip + IPV4_BYTES;
	int one = 1, zero = 0;

	memset(tcp, 0, TCP_BYTES);
	frame_put16(tcp, 40000);
	frame_put16(tcp + 2, 80);
	tcp[12] = TCP_BYTES / 4 << 4;
	tcp[13] = 0x10;
	frame_put16(tcp + 16, frame_pseudo_sum(ip, frame->length_bytes - ETHERNET_BYTES - IPV4_BYTES));
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(writev(fd, parts, 2), sizeof(header) + frame->length_bytes);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &zero, sizeof(zero)), 0);
}

static void gso_packet_with_partial_checksum_leaves_as_whole_segments(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct workspace_traffic before, after;
	struct frame frame, received;

	lab_run("ethtool -K under tx off tso off gso off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off "
		">/dev/null");
	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_macs[0],
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE,
					 .protocol = PROTOCOL_TCP,
					 .payload_bytes = TCP_BYTES + SEGMENT_COUNT * SEGMENT_BYTES,
				 });
	assert_int_equal(classifier_read_workspace(fixture->classifier, 0, &before), STATUS_OK);
	send_gso(fixture->worker_fds[0], &frame);
	for (uint8_t i = 0; i < SEGMENT_COUNT; i++) {
		const uint8_t *ip = received.bytes + OUTER_BYTES + ETHERNET_BYTES, *tcp = ip + IPV4_BYTES;
		size_t tcp_bytes = TCP_BYTES + SEGMENT_BYTES;

		assert_true(lab_receive(fixture->underlay_fd, &received));
		assert_int_equal(received.length_bytes, OUTER_BYTES + ETHERNET_BYTES + IPV4_BYTES + tcp_bytes);
		assert_int_equal(frame_sum(ip, IPV4_BYTES, 0), 0xffff);
		assert_int_equal(frame_sum(tcp, tcp_bytes, frame_pseudo_sum(ip, tcp_bytes)), 0xffff);
	}
	assert_int_equal(classifier_read_workspace(fixture->classifier, 0, &after), STATUS_OK);
	assert_int_equal(after.out_packets, before.out_packets + SEGMENT_COUNT);
}

static uint64_t total_drops(struct delivery_fixture *fixture)
{
	uint64_t sum = 0;

	for (int i = 0; i < WORKER_DROP_COUNT; i++)
		sum += delivery_drops(fixture, (enum worker_drop)i);
	return sum;
}

enum { RESTART_COUNT = 10, OUT = 0, IN = 1 };

static uint64_t packets(struct delivery_fixture *fixture, int direction)
{
	struct workspace_traffic traffic;

	assert_int_equal(classifier_read_workspace(fixture->classifier, 0, &traffic), STATUS_OK);
	return direction == OUT ? traffic.out_packets : traffic.in_packets;
}

/* posternd ends and starts again, over and over, while frames flow; every single one is seen by the programs. */
static void assert_restart_loses_nothing(
	struct delivery_fixture *fixture, const char *interface, const struct frame *frame, int direction)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};
	uint64_t before = packets(fixture, direction), drops_before = total_drops(fixture), sent;
	struct lab_sender sender;

	lab_sender_start(&sender, interface, frame);
	for (int i = 0; i < RESTART_COUNT; i++) {
		classifier_close(fixture->classifier);
		fixture->classifier = NULL;
		assert_int_equal(
			classifier_open(DELIVERY_PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
		delivery_apply(fixture);
		delivery_apply(fixture);
	}
	sent = lab_sender_stop(&sender);
	assert_true(sent > 0);
	for (int i = 0; i < LAB_DEADLINE_MS && packets(fixture, direction) - before < sent; i++)
		nanosleep(&pause, NULL);
	assert_int_equal(packets(fixture, direction) - before, sent);
	assert_int_equal(total_drops(fixture), drops_before);
}

static void drain(int fd)
{
	struct frame frame;

	while (recv(fd, frame.bytes, sizeof(frame.bytes), MSG_DONTWAIT) > 0)
		;
}

static void restart_loses_no_packet_of_a_worker(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct frame frame = delivery_outbound(0, PROTOCOL_UDP);

	assert_restart_loses_nothing(fixture, "w1-peer", &frame, OUT);
	drain(fixture->underlay_fd);
}

static void restart_loses_no_reply(void **state)
{
	struct delivery_fixture *fixture = *state;
	struct frame inner = delivery_reply_inner(WORKER_ADDRESS),
		     frame = delivery_reply_frame(fixture, GATEWAY, vnis[0], &inner);

	delivery_send_out(fixture, 0);
	assert_restart_loses_nothing(fixture, "under-peer", &frame, IN);
	drain(fixture->worker_fds[0]);
}

static uint16_t outer_source_port(struct delivery_fixture *fixture, uint16_t inner_source_port)
{
	struct frame sent = delivery_outbound(0, PROTOCOL_UDP), received;

	frame_put16(sent.bytes + ETHERNET_BYTES + IPV4_BYTES, inner_source_port);
	lab_send(fixture->worker_fds[0], &sent);
	assert_true(lab_receive(fixture->underlay_fd, &received));
	return frame_get16(received.bytes + ETHERNET_BYTES + IPV4_BYTES);
}

/* So that the underlay's ECMP and the gateway's RSS spread flows, and keep the packets of one in order. */
static void outer_source_port_follows_the_inner_flow(void **state)
{
	enum { FLOW_COUNT = 64 };
	struct delivery_fixture *fixture = *state;
	uint16_t ports[FLOW_COUNT];
	int distinct = 0;

	for (uint16_t i = 0; i < FLOW_COUNT; i++) {
		bool seen = false;

		ports[i] = outer_source_port(fixture, (uint16_t)(40000 + i));
		for (uint16_t j = 0; j < i; j++)
			seen |= ports[j] == ports[i];
		distinct += !seen;
	}
	assert_true(distinct > FLOW_COUNT * 3 / 4);
	for (uint16_t i = 0; i < FLOW_COUNT; i++)
		assert_int_equal(outer_source_port(fixture, (uint16_t)(40000 + i)), ports[i]);
}

static void outer_destination_is(struct delivery_fixture *fixture, uint32_t gateway, uint8_t tos)
{
	struct frame sent = delivery_outbound(0, PROTOCOL_UDP), received;
	uint8_t expected[4];

	lab_send(fixture->worker_fds[0], &sent);
	assert_true(lab_receive(fixture->underlay_fd, &received));
	frame_put32(expected, gateway);
	assert_memory_equal(received.bytes + ETHERNET_BYTES + 16, expected, 4);
	assert_int_equal(received.bytes[ETHERNET_BYTES + 1], tos);
}

/* Another gateway, and a DSCP that the tunnel bears too: a change of a map, with the same program on the interface. */
static void workspace_moves_to_another_gateway_by_its_map_alone(void **state)
{
	struct classifier_workspace workspaces[WORKER_COUNT] = {
		{.gateway = STRANGER, .dscp_set = true, .dscp = 46}, {.index = 1, .gateway = GATEWAY}};
	struct delivery_fixture *fixture = *state;

	outer_destination_is(fixture, GATEWAY, 0);
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	outer_destination_is(fixture, STRANGER, 46 << 2);
	workspaces[0] = (struct classifier_workspace){.gateway = GATEWAY};
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	outer_destination_is(fixture, GATEWAY, 0);
}

/* The rules come with the workspace, change without a gap, and leave nothing behind. */
static void rules_of_a_workspace_are_filled_changed_and_cleared(void **state)
{
	const struct policy_rule deny = {.address = REMOTE, .prefix_length_bits = 32, .port_last = UINT16_MAX};
	struct classifier_workspace workspaces[WORKER_COUNT] = {
		{.gateway = GATEWAY, .rules = &deny, .rule_count = 1}, {.index = 1, .gateway = GATEWAY}};
	struct delivery_fixture *fixture = *state;
	struct frame sent = delivery_outbound(0, PROTOCOL_UDP), answer;
	uint64_t before = delivery_drops(fixture, WORKER_DROP_DENIED);
	int map_fd = bpf_obj_get(DELIVERY_PIN_DIR "/rules");
	struct rule_key key;

	assert_true(map_fd >= 0);
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	drain(fixture->worker_fds[0]);
	lab_send(fixture->worker_fds[0], &sent);
	assert_true(lab_receive(fixture->worker_fds[0], &answer));
	assert_int_equal(answer.bytes[ETHERNET_BYTES + IPV4_BYTES], 3);
	assert_int_equal(delivery_drops(fixture, WORKER_DROP_DENIED), before + 1);
	assert_true(lab_is_quiet(fixture->underlay_fd));
	delivery_send_out(fixture, 1);
	workspaces[0].rule_count = 0;
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	delivery_send_out(fixture, 0);
	assert_int_equal(bpf_map_get_next_key(map_fd, NULL, &key), -ENOENT);
	close(map_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reply_to_a_worker_that_never_spoke_is_dropped),
		cmocka_unit_test(arp_for_the_gateway_is_answered_on_the_wire),
		cmocka_unit_test(packet_leaves_in_the_vni_of_its_own_worker),
		cmocka_unit_test(reply_reaches_only_the_worker_of_its_vni),
		cmocka_unit_test(reply_of_an_unknown_vni_or_address_is_dropped),
		cmocka_unit_test(reply_is_dropped_when_the_maps_disagree),
		cmocka_unit_test(reply_from_a_host_that_is_no_gateway_is_dropped),
		cmocka_unit_test(reply_that_is_not_whole_ipv4_is_dropped),
		cmocka_unit_test(runt_packet_is_malformed_at_any_length),
		cmocka_unit_test(vlan_tagged_frame_is_dropped_on_the_wire),
		cmocka_unit_test(worker_cannot_speak_for_the_other),
		cmocka_unit_test(host_stack_cannot_reach_a_worker),
		cmocka_unit_test(restart_loses_no_packet_of_a_worker),
		cmocka_unit_test(restart_loses_no_reply),
		cmocka_unit_test(outer_source_port_follows_the_inner_flow),
		cmocka_unit_test(workspace_moves_to_another_gateway_by_its_map_alone),
		cmocka_unit_test(rules_of_a_workspace_are_filled_changed_and_cleared),
		cmocka_unit_test(gso_packet_with_partial_checksum_leaves_as_whole_segments),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	lab_require_root();
	return cmocka_run_group_tests(tests, delivery_fixture_open, delivery_fixture_close);
}
