/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier on real interfaces, both ways. The test plays both workers and the gateway by raw sockets:
 *
 *   [w1-peer]──w1┐                       ┌── VXLAN, VNI 7001 or 7002
 *                ├─ classifier ─ vx ─ under──[under-peer] 10.100.0.1, the gateway
 *   [w2-peer]──w2┘      10.100.0.2
 *
 * Both workers are 10.0.0.5, of two VPCs.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "bpf/maps.h"
#include "control/classifier.h"
#include "tests/bpf/frame_builder.h"
#include "tests/bpf/lab.h"

#define PIN_DIR "/run/postern/bpf"
#define DEVICE "vx"

enum {
	WORKER_ADDRESS = 0x0a000005,
	REMOTE = 0x5db8d822,
	GATEWAY = 0x0a640001,
	HOST = 0x0a640002,
	STRANGER = 0x0a640009,
	VXLAN_PORT = 4789,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	OUTER_BYTES = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES + VXLAN_BYTES,
	WORKER_COUNT = 2,
};

static const uint8_t gateway_mac[6] = WORKER_GATEWAY_MAC;
static const uint32_t vnis[WORKER_COUNT] = {7001, 7002};
static const uint8_t worker_macs[WORKER_COUNT][6] = {{2, 0xaa, 0, 0, 0, 1}, {2, 0xaa, 0, 0, 0, 2}};

struct fixture {
	struct classifier *classifier;
	struct problems problems;
	int worker_fds[WORKER_COUNT];
	int underlay_fd;
	uint8_t host_mac[6];
};

static uint64_t drops(struct fixture *fixture, enum worker_drop reason)
{
	struct classifier_counters counters;

	assert_int_equal(classifier_read(fixture->classifier, &counters), STATUS_OK);
	return counters.drops[reason];
}

static void wait_for_drops(struct fixture *fixture, enum worker_drop reason, uint64_t count)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};

	for (int i = 0; i < LAB_DEADLINE_MS && drops(fixture, reason) < count; i++)
		nanosleep(&pause, NULL);
	assert_int_equal(drops(fixture, reason), count);
}

static void apply(struct fixture *fixture)
{
	const uint32_t gateways[] = {GATEWAY};
	struct classifier_worker workers[WORKER_COUNT] = {{{0}}};
	struct classifier_workspace workspaces[WORKER_COUNT];
	struct classifier_desired desired = {
		.workspaces = workspaces,
		.workspace_count = WORKER_COUNT,
		.workers = workers,
		.worker_count = WORKER_COUNT,
		.gateways = gateways,
		.gateway_count = 1,
		.vtep = HOST,
		.vxlan_device = DEVICE,
	};
	enum status status;
	size_t missing = 1;

	for (int i = 0; i < WORKER_COUNT; i++) {
		snprintf(workers[i].interface, sizeof(workers[i].interface), "w%d", i + 1);
		workers[i].address = WORKER_ADDRESS;
		workers[i].vni = vnis[i];
		workspaces[i] = (struct classifier_workspace){.index = (uint32_t)i, .gateway = GATEWAY};
		workers[i].workspace_index = (uint32_t)i;
		workers[i].admitted = true;
	}
	status = classifier_apply(fixture->classifier, &desired, &missing, &fixture->problems);
	for (size_t i = 0; i < fixture->problems.count; i++)
		printf("# %s\n", fixture->problems.lines[i]);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(missing, 0);
}

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	lab_enter();
	lab_veth("w1", "w1-peer");
	lab_veth("w2", "w2-peer");
	lab_veth("under", "under-peer");
	lab_run("ip addr add 10.100.0.2/24 dev under");
	lab_run("ip neigh add 10.100.0.1 lladdr 02:bb:00:00:00:01 dev under");
	lab_run("ip neigh add 10.100.0.9 lladdr 02:bb:00:00:00:09 dev under");
	lab_mac("under", fixture->host_mac);
	fixture->worker_fds[0] = lab_socket("w1-peer");
	fixture->worker_fds[1] = lab_socket("w2-peer");
	fixture->underlay_fd = lab_socket("under-peer");
	assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
	apply(fixture);
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	if (!fixture)
		return 0; /* the set-up failed; the namespaces end with the process */
	classifier_close(fixture->classifier);
	assert_int_equal(classifier_detach_all(PIN_DIR, DEVICE, &fixture->problems), STATUS_OK);
	for (int i = 0; i < WORKER_COUNT; i++)
		close(fixture->worker_fds[i]);
	close(fixture->underlay_fd);
	problems_clear(&fixture->problems);
	free(fixture);
	return 0;
}

static struct frame outbound(int worker, uint8_t protocol)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = worker_macs[worker],
					 .source = WORKER_ADDRESS,
					 .destination = REMOTE,
					 .protocol = protocol,
					 .source_port = 40000,
					 .destination_port = 53,
					 .payload_bytes = 100,
				 });
	return frame;
}

/* A worker's packet arrives at the gateway inside its own VNI. */
static void send_out(struct fixture *fixture, int worker)
{
	struct frame sent = outbound(worker, PROTOCOL_UDP), received;
	const uint8_t *outer = received.bytes + ETHERNET_BYTES, *udp = outer + IPV4_BYTES, *vxlan = udp + UDP_BYTES;
	uint8_t expected[4];

	lab_send(fixture->worker_fds[worker], &sent);
	assert_true(lab_receive(fixture->underlay_fd, &received));
	assert_int_equal(received.length_bytes, OUTER_BYTES + sent.length_bytes);
	assert_int_equal(outer[8], 64);
	frame_put32(expected, HOST);
	assert_memory_equal(outer + 12, expected, 4);
	frame_put32(expected, GATEWAY);
	assert_memory_equal(outer + 16, expected, 4);
	assert_int_equal(frame_get16(udp + 2), VXLAN_PORT);
	assert_int_equal(frame_get16(udp + 6), 0);
	frame_put32(expected, vnis[worker] << 8);
	assert_memory_equal(vxlan + 4, expected, 4);
	assert_memory_equal(vxlan + VXLAN_BYTES, gateway_mac, 6);
	assert_memory_equal(vxlan + VXLAN_BYTES + 6, sent.bytes + 6, sent.length_bytes - 6);
}

static struct frame reply_inner(uint32_t destination)
{
	struct frame inner;

	frame_build_ipv4(&inner, &(struct frame_ipv4){
					 .source = REMOTE,
					 .destination = destination,
					 .protocol = PROTOCOL_UDP,
					 .source_port = 53,
					 .destination_port = 40000,
					 .payload_bytes = 80,
				 });
	return inner;
}

static struct frame reply_frame(const struct fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner)
{
	struct frame frame;

	frame_build_vxlan(&frame,
		&(struct frame_ipv4){
			.destination_mac = fixture->host_mac,
			.source = sender,
			.destination = HOST,
			.source_port = 50000,
			.destination_port = VXLAN_PORT,
		},
		vni, inner);
	return frame;
}

static void send_reply(struct fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner)
{
	struct frame frame = reply_frame(fixture, sender, vni, inner);

	lab_send(fixture->underlay_fd, &frame);
}

static void assert_reply_dropped(
	struct fixture *fixture, uint32_t sender, uint32_t vni, const struct frame *inner, enum worker_drop reason)
{
	uint64_t before = drops(fixture, reason);

	send_reply(fixture, sender, vni, inner);
	wait_for_drops(fixture, reason, before + 1);
	for (int i = 0; i < WORKER_COUNT; i++)
		assert_true(lab_is_quiet(fixture->worker_fds[i]));
}

/* Runs first: nobody has spoken yet. */
static void reply_to_a_worker_that_never_spoke_is_dropped(void **state)
{
	struct frame inner = reply_inner(WORKER_ADDRESS);

	assert_reply_dropped(*state, GATEWAY, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
}

static void arp_for_the_gateway_is_answered_on_the_wire(void **state)
{
	struct fixture *fixture = *state;
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
		send_out(*state, worker);
}

static void reply_reaches_only_the_worker_of_its_vni(void **state)
{
	struct fixture *fixture = *state;
	struct frame inner = reply_inner(WORKER_ADDRESS);

	for (int worker = 0; worker < WORKER_COUNT; worker++) {
		struct workspace_traffic before, after;
		struct frame received;

		send_out(fixture, worker);
		assert_int_equal(classifier_read_workspace(fixture->classifier, (uint32_t)worker, &before), STATUS_OK);
		send_reply(fixture, GATEWAY, vnis[worker], &inner);
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
	struct frame inner = reply_inner(WORKER_ADDRESS), other = reply_inner(WORKER_ADDRESS + 1);

	assert_reply_dropped(*state, GATEWAY, 7003, &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	assert_reply_dropped(*state, GATEWAY, 0, &inner, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	assert_reply_dropped(*state, GATEWAY, vnis[0], &other, WORKER_DROP_REPLY_UNKNOWN_WORKER);
}

static void point_delivery(const struct delivery_key *key, const struct delivery_value *value)
{
	int fd = bpf_obj_get(PIN_DIR "/deliveries");

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
	struct frame inner = reply_inner(WORKER_ADDRESS), other = reply_inner(WORKER_ADDRESS + 1);
	struct fixture *fixture = *state;

	send_out(fixture, 0);
	send_out(fixture, 1);
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
	struct frame inner = reply_inner(WORKER_ADDRESS);

	assert_reply_dropped(*state, STRANGER, vnis[0], &inner, WORKER_DROP_REPLY_UNKNOWN_GATEWAY);
}

static void reply_that_is_not_whole_ipv4_is_dropped(void **state)
{
	struct frame good = reply_inner(WORKER_ADDRESS), frame;

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

static void assert_outbound_dropped(struct fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = drops(fixture, reason);

	lab_send(fixture->worker_fds[0], frame);
	wait_for_drops(fixture, reason, before + 1);
	assert_true(lab_is_quiet(fixture->underlay_fd));
}

static void runt_packet_is_malformed_at_any_length(void **state)
{
	struct frame frame = outbound(0, PROTOCOL_UDP);

	for (size_t length = ETHERNET_BYTES + 1; length < ETHERNET_BYTES + IPV4_BYTES; length++) {
		frame.length_bytes = length;
		assert_outbound_dropped(*state, &frame, WORKER_DROP_MALFORMED);
	}
}

static void vlan_tagged_frame_is_dropped_on_the_wire(void **state)
{
	struct frame frame = outbound(0, PROTOCOL_UDP);

	frame_tag_vlan(&frame, 5);
	assert_outbound_dropped(*state, &frame, WORKER_DROP_NOT_IPV4);
}

static void worker_cannot_speak_for_the_other(void **state)
{
	struct frame frame = outbound(1, PROTOCOL_UDP);

	assert_outbound_dropped(*state, &frame, WORKER_DROP_SPOOFED_MAC);
}

static void host_stack_cannot_reach_a_worker(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(40000), .sin_addr.s_addr = htonl(WORKER_ADDRESS)};
	uint64_t before = drops(fixture, WORKER_DROP_EGRESS_FOREIGN);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	lab_run("ip route add 10.0.0.5/32 dev w1");
	lab_run("ip neigh add 10.0.0.5 lladdr 02:aa:00:00:00:01 dev w1");
	assert_true(fd >= 0);
	/* The refusal may come back to the sender as an error; the counter and the silent wire decide. */
	(void)sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address));
	wait_for_drops(fixture, WORKER_DROP_EGRESS_FOREIGN, before + 1);
	assert_true(lab_is_quiet(fixture->worker_fds[0]));
	close(fd);
	lab_run("ip route del 10.0.0.5/32 dev w1");
}

static uint32_t sum_of(const uint8_t *bytes, size_t length_bytes, uint32_t sum)
{
	for (size_t i = 0; i + 1 < length_bytes; i += 2)
		sum += frame_get16(bytes + i);
	if (length_bytes % 2)
		sum += (uint32_t)bytes[length_bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t pseudo_header_sum(const uint8_t *ip, size_t tcp_bytes)
{
	return sum_of(ip + 12, 8, (uint32_t)(PROTOCOL_TCP + tcp_bytes));
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
	frame_put16(tcp + 16, (uint16_t)pseudo_header_sum(ip, frame->length_bytes - ETHERNET_BYTES - IPV4_BYTES));
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(writev(fd, parts, 2), sizeof(header) + frame->length_bytes);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &zero, sizeof(zero)), 0);
}

static void gso_packet_with_partial_checksum_leaves_as_whole_segments(void **state)
{
	struct fixture *fixture = *state;
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
		assert_int_equal(sum_of(ip, IPV4_BYTES, 0), 0xffff);
		assert_int_equal(sum_of(tcp, tcp_bytes, pseudo_header_sum(ip, tcp_bytes)), 0xffff);
	}
	assert_int_equal(classifier_read_workspace(fixture->classifier, 0, &after), STATUS_OK);
	assert_int_equal(after.out_packets, before.out_packets + SEGMENT_COUNT);
}

static uint64_t total_drops(struct fixture *fixture)
{
	uint64_t sum = 0;

	for (int i = 0; i < WORKER_DROP_COUNT; i++)
		sum += drops(fixture, (enum worker_drop)i);
	return sum;
}

enum { RESTART_COUNT = 10, OUT = 0, IN = 1 };

static uint64_t packets(struct fixture *fixture, int direction)
{
	struct workspace_traffic traffic;

	assert_int_equal(classifier_read_workspace(fixture->classifier, 0, &traffic), STATUS_OK);
	return direction == OUT ? traffic.out_packets : traffic.in_packets;
}

/* posternd ends and starts again, over and over, while frames flow; every single one is seen by the programs. */
static void assert_restart_loses_nothing(
	struct fixture *fixture, const char *interface, const struct frame *frame, int direction)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};
	uint64_t before = packets(fixture, direction), drops_before = total_drops(fixture), sent;
	struct lab_sender sender;

	lab_sender_start(&sender, interface, frame);
	for (int i = 0; i < RESTART_COUNT; i++) {
		classifier_close(fixture->classifier);
		fixture->classifier = NULL;
		assert_int_equal(classifier_open(PIN_DIR, &fixture->classifier, &fixture->problems), STATUS_OK);
		apply(fixture);
		apply(fixture);
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
	struct fixture *fixture = *state;
	struct frame frame = outbound(0, PROTOCOL_UDP);

	assert_restart_loses_nothing(fixture, "w1-peer", &frame, OUT);
	drain(fixture->underlay_fd);
}

static void restart_loses_no_reply(void **state)
{
	struct fixture *fixture = *state;
	struct frame inner = reply_inner(WORKER_ADDRESS), frame = reply_frame(fixture, GATEWAY, vnis[0], &inner);

	send_out(fixture, 0);
	assert_restart_loses_nothing(fixture, "under-peer", &frame, IN);
	drain(fixture->worker_fds[0]);
}

static uint16_t outer_source_port(struct fixture *fixture, uint16_t inner_source_port)
{
	struct frame sent = outbound(0, PROTOCOL_UDP), received;

	frame_put16(sent.bytes + ETHERNET_BYTES + IPV4_BYTES, inner_source_port);
	lab_send(fixture->worker_fds[0], &sent);
	assert_true(lab_receive(fixture->underlay_fd, &received));
	return frame_get16(received.bytes + ETHERNET_BYTES + IPV4_BYTES);
}

/* So that the underlay's ECMP and the gateway's RSS spread flows, and keep the packets of one in order. */
static void outer_source_port_follows_the_inner_flow(void **state)
{
	enum { FLOW_COUNT = 64 };
	struct fixture *fixture = *state;
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

static void outer_destination_is(struct fixture *fixture, uint32_t gateway, uint8_t tos)
{
	struct frame sent = outbound(0, PROTOCOL_UDP), received;
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
	struct fixture *fixture = *state;

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
	struct fixture *fixture = *state;
	struct frame sent = outbound(0, PROTOCOL_UDP), answer;
	uint64_t before = drops(fixture, WORKER_DROP_DENIED);
	int map_fd = bpf_obj_get(PIN_DIR "/rules");
	struct rule_key key;

	assert_true(map_fd >= 0);
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	drain(fixture->worker_fds[0]);
	lab_send(fixture->worker_fds[0], &sent);
	assert_true(lab_receive(fixture->worker_fds[0], &answer));
	assert_int_equal(answer.bytes[ETHERNET_BYTES + IPV4_BYTES], 3);
	assert_int_equal(drops(fixture, WORKER_DROP_DENIED), before + 1);
	assert_true(lab_is_quiet(fixture->underlay_fd));
	send_out(fixture, 1);
	workspaces[0].rule_count = 0;
	assert_int_equal(classifier_apply_workspaces(fixture->classifier, workspaces, WORKER_COUNT, &fixture->problems),
		STATUS_OK);
	send_out(fixture, 0);
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
	return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
