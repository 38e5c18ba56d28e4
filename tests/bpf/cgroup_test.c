/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs for workers that are cgroups. A test run's packet belongs to the cgroup of who runs it, so that this test
 * goes into the cgroup whose packet it wants to send; replies find real sockets.
 *
 *   parent ─┬─ worker ── inner     10.0.0.5 in the VPC, 10.100.0.2 on the host
 *           ├─ other               another worker of the same address, in another VPC
 *           └─ nobody
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/lab.h"
#include "tests/bpf/worker_fixture.h"

#define MOUNT "/run/cgroup"

enum {
	REMOTE_PORT = 53,
	LOCAL_PORT = 40000,
	MTU = 1450,
	LOOPBACK = 1,
	LOOPBACK_ADDRESS = 0x7f000001,
	OTHER_VNI = 7002,
	PASS = 1,
	DROPPED = 0,
	ICMP_BYTES = 8,
	TCP_BYTES = 20,
};

static const uint8_t worker_bytes[4] = {10, 0, 0, 5}, host_bytes[4] = {10, 100, 0, 2};

struct cgroup_fixture {
	struct worker_fixture *base;
	char parent[64];
	uint64_t worker_id, other_id;
	struct worker_config config;
	int wire_fd; /* what it sends comes in by the uplink, with the worker's mark */
};

/* ---- cgroups ---- */

static uint64_t id_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_ino;
}

/* This process, and with it the next packets and sockets. "": back out. */
static void enter(const struct cgroup_fixture *fixture, const char *name)
{
	char path[128];
	FILE *processes;

	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", name[0] != '\0' ? fixture->parent : MOUNT, name);
	processes = fopen(path, "w");
	assert_non_null(processes);
	assert_true(fprintf(processes, "%d", getpid()) > 0);
	assert_int_equal(fclose(processes), 0);
}

static uint64_t make(const struct cgroup_fixture *fixture, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fixture->parent, name);
	assert_int_equal(mkdir(path, 0755), 0);
	return id_of(path);
}

static void worker_put(const struct cgroup_fixture *fixture, uint64_t cgroup_id, uint32_t key, uint32_t vni)
{
	const struct worker_value value = {
		.address_be = htonl(WORKER_ADDRESS),
		.vtep_be = htonl(HOST_VTEP),
		.vni = vni,
		.workspace_index = WORKSPACE,
		.epoch = 1,
		.cgroup_id = cgroup_id,
	};

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key, &value, BPF_ANY), 0);
}

static struct worker_value worker_of(const struct cgroup_fixture *fixture)
{
	uint32_t key = CGROUP_KEY(fixture->worker_id);
	struct worker_value value;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key, &value), 0);
	return value;
}

static void config_set(const struct cgroup_fixture *fixture, const struct worker_config *config)
{
	uint32_t zero = 0;

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.worker_config), &zero, config, BPF_ANY), 0);
}

static int fixture_open(void **state)
{
	struct cgroup_fixture *fixture = calloc(1, sizeof(*fixture));
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	uint32_t mark;
	void *base;

	assert_non_null(fixture);
	assert_int_equal(worker_fixture_open(&base), 0);
	fixture->base = base;
	hook.ifindex = (int)fixture->base->stranger_ifindex;
	opts.prog_fd = bpf_program__fd(fixture->base->bpf->progs.uplink_ingress);
	assert_int_equal(mkdir(MOUNT, 0755), 0);
	assert_int_equal(mount("none", MOUNT, "cgroup2", 0, NULL), 0);
	snprintf(fixture->parent, sizeof(fixture->parent), MOUNT "/postern-test-%d", getpid());
	assert_int_equal(mkdir(fixture->parent, 0755), 0);
	fixture->worker_id = make(fixture, "worker");
	(void)make(fixture, "worker/inner");
	fixture->other_id = make(fixture, "other");
	(void)make(fixture, "nobody");
	lab_run("ip address add 10.100.0.2/24 dev stranger && ip route add default via 10.100.0.1 dev stranger");
	fixture->config = (struct worker_config){
		.vxlan_ifindex = fixture->base->vxlan_ifindex,
		.vtep_be = htonl(HOST_VTEP),
		.mtu_bytes = MTU,
		.uplink_ifindex = fixture->base->stranger_ifindex,
		.uplink_address_be = htonl(HOST_VTEP),
		.cgroup_level = 1,
		.cgroup_id = id_of(fixture->parent),
	};
	lab_mac("stranger", fixture->config.uplink_mac);
	assert_int_equal(bpf_tc_hook_create(&hook), 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	fixture->wire_fd = lab_socket("stranger-peer");
	mark = CGROUP_KEY(fixture->worker_id);
	assert_int_equal(setsockopt(fixture->wire_fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	static const char *const names[] = {"/worker/inner", "/worker", "/other", "/nobody", ""};
	struct cgroup_fixture *fixture = *state;
	void *base = fixture->base;

	enter(fixture, "");
	for (int i = 0; i < 5; i++) {
		char path[128];

		snprintf(path, sizeof(path), "%s%s", fixture->parent, names[i]);
		(void)rmdir(path);
	}
	worker_fixture_close(&base);
	free(fixture);
	return 0;
}

static int reset(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	void *base = fixture->base;

	enter(fixture, "");
	worker_reset(&base);
	config_set(fixture, &fixture->config);
	worker_put(fixture, fixture->worker_id, CGROUP_KEY(fixture->worker_id), VNI);
	worker_put(fixture, fixture->other_id, CGROUP_KEY(fixture->other_id), OTHER_VNI);
	return 0;
}

/* ---- packets ---- */

static struct frame outbound_to(uint32_t destination, uint8_t protocol)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source = HOST_VTEP,
					 .destination = destination,
					 .protocol = protocol,
					 .source_port = LOCAL_PORT,
					 .destination_port = REMOTE_PORT,
					 .payload_bytes = WORKER_PAYLOAD_BYTES,
				 });
	return frame;
}

static struct frame reply(void)
{
	struct frame frame;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = gateway_mac,
					 .source = REMOTE_ADDRESS,
					 .destination = WORKER_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .source_port = REMOTE_PORT,
					 .destination_port = LOCAL_PORT,
					 .payload_bytes = WORKER_PAYLOAD_BYTES,
				 });
	return frame;
}

/* In place of the checksum of a UDP or TCP segment; sums, if `put` is 0, with what is there. */
static uint16_t transport_sum(struct frame *frame, size_t checksum_offset, int put)
{
	uint8_t *ip = frame->bytes + ETHERNET_BYTES, *at = ip + IPV4_BYTES;
	size_t length_bytes = frame->length_bytes - ETHERNET_BYTES - IPV4_BYTES;
	uint32_t sum = ip[9] + (uint32_t)length_bytes;

	if (put)
		frame_put16(at + checksum_offset, 0);
	for (size_t i = 12; i < IPV4_BYTES; i += 2)
		sum += frame_get16(ip + i);
	for (size_t i = 0; i < length_bytes; i += 2)
		sum += frame_get16(at + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	if (put)
		frame_put16(at + checksum_offset, (uint16_t)~sum);
	return (uint16_t)sum;
}

static uint16_t header_sum(const uint8_t *at, size_t length_bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < length_bytes; i += 2)
		sum += frame_get16(at + i);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static struct worker_run run_at_cgroup(
	const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t ifindex)
{
	const struct __sk_buff context = {.ifindex = ifindex};

	return worker_run_program(fixture->base->bpf->progs.cgroup_egress, frame, &context);
}

static struct worker_run run_out(const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t mark)
{
	const struct __sk_buff context = {.ifindex = fixture->base->stranger_ifindex, .mark = mark};

	return worker_run_program(fixture->base->bpf->progs.uplink_egress, frame, &context);
}

static struct worker_run run_in(const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t mark)
{
	const struct __sk_buff context = {.ifindex = fixture->base->stranger_ifindex, .mark = mark};

	return worker_run_program(fixture->base->bpf->progs.uplink_ingress, frame, &context);
}

static void assert_refused_at_cgroup(
	const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t ifindex, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture->base, reason), all_before = worker_all_drops(fixture->base);

	assert_int_equal(run_at_cgroup(fixture, frame, ifindex).action, DROPPED);
	assert_int_equal(worker_drops(fixture->base, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture->base), all_before + 1);
}

static void assert_dropped_out(const struct cgroup_fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture->base, reason), all_before = worker_all_drops(fixture->base);

	assert_int_equal(run_out(fixture, frame, WORKER_SOCKET_MARK).action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture->base, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture->base), all_before + 1);
}

/* As from reply_ingress: by the wire, since a packet in a test run can be given no socket. */
static void deliver(const struct cgroup_fixture *fixture, const struct frame *frame)
{
	struct frame addressed = *frame;

	memcpy(addressed.bytes, fixture->config.uplink_mac, 6);
	lab_send(fixture->wire_fd, &addressed);
}

static void assert_dropped_in(const struct cgroup_fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture->base, reason), all_before = worker_all_drops(fixture->base);

	deliver(fixture, frame);
	for (int tries = 0; tries < 2000 && worker_drops(fixture->base, reason) == before; tries++)
		usleep(1000);
	assert_int_equal(worker_drops(fixture->base, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture->base), all_before + 1);
}

/* A UDP socket at the port that replies are for. */
static int socket_bound(uint32_t address)
{
	const struct sockaddr_in local = {
		.sin_family = AF_INET, .sin_port = htons(LOCAL_PORT), .sin_addr.s_addr = htonl(address)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&local, sizeof(local)), 0);
	return fd;
}

/* ---- at the cgroup ---- */

static void only_the_uplink_is_a_way_out(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);

	enter(fixture, "worker");
	assert_int_equal(run_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex).action, PASS);
	assert_refused_at_cgroup(fixture, &frame, fixture->base->worker_ifindex, WORKER_DROP_CGROUP_INTERFACE);
	assert_int_equal(worker_of(fixture).traffic.drops[WORKER_DROP_CGROUP_INTERFACE], 1);
	enter(fixture, "worker/inner");
	assert_int_equal(run_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex).action, PASS);
	frame_put16(frame.bytes + 12, 0x86dd);
	assert_refused_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex, WORKER_DROP_IPV6);
}

static void cgroup_without_an_open_worker_is_closed(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct claim_value claim = {.workspace_index = WORKSPACE, .vni = VNI};
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	uint32_t uplink = fixture->base->stranger_ifindex, key = CGROUP_KEY(fixture->worker_id);
	struct worker_config closed = fixture->config;

	enter(fixture, "nobody");
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);

	enter(fixture, "worker");
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.claims), &key, &claim, BPF_ANY), 0);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_NOT_ADMITTED);
	assert_dropped_out(fixture, &frame, WORKER_DROP_NOT_ADMITTED);
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(fixture->base->bpf->maps.claims), &key), 0);

	/* The id of another cgroup with the same lower half. */
	worker_put(fixture, fixture->worker_id + (1ull << 32), key, VNI);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);

	/* While posternd changes something: nobody passes as the host. */
	worker_put(fixture, fixture->worker_id, key, VNI);
	closed.cgroup_level = 0;
	config_set(fixture, &closed);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);
}

static void nobody_wraps_his_own_packets(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const uint32_t ends[] = {GATEWAY_VTEP, HOST_VTEP};

	enter(fixture, "worker");
	for (int i = 0; i < 2; i++) {
		struct frame frame = outbound_to(ends[i], PROTOCOL_UDP);

		assert_refused_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex, WORKER_DROP_UNDERLAY);
	}
}

static void loopback_reaches_the_same_worker_alone(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame;
	int fd;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source = LOOPBACK_ADDRESS,
					 .destination = LOOPBACK_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .source_port = 1,
					 .destination_port = LOCAL_PORT,
					 .payload_bytes = WORKER_PAYLOAD_BYTES,
				 });
	enter(fixture, "worker/inner");
	fd = socket_bound(LOOPBACK_ADDRESS);
	enter(fixture, "worker");
	assert_int_equal(run_at_cgroup(fixture, &frame, LOOPBACK).action, PASS);
	enter(fixture, "other");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	close(fd);
	enter(fixture, "worker");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	enter(fixture, "");
	fd = socket_bound(LOOPBACK_ADDRESS); /* a service of the host's */
	enter(fixture, "worker");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	close(fd);
}

static void only_what_was_delivered_comes_in(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct __sk_buff contexts[] = {
		{.ifindex = fixture->base->stranger_ifindex, .mark = WORKER_DELIVERY_MARK},
		{.ifindex = LOOPBACK},
		{.ifindex = fixture->base->stranger_ifindex},
		{.ifindex = fixture->base->stranger_ifindex, .mark = CGROUP_KEY(1)},
	};
	struct frame frame = reply();

	for (int i = 0; i < 4; i++) {
		uint64_t before = worker_drops(fixture->base, WORKER_DROP_EGRESS_FOREIGN);
		int passes = worker_run_program(fixture->base->bpf->progs.cgroup_ingress, &frame, &contexts[i]).action;

		assert_int_equal(passes, i < 2 ? PASS : DROPPED);
		assert_int_equal(worker_drops(fixture->base, WORKER_DROP_EGRESS_FOREIGN), before + (i >= 2));
	}
}

/* ---- out ---- */

static void packet_leaves_with_the_workers_address_and_right_checksums(void **state)
{
	static const uint8_t protocols[] = {PROTOCOL_UDP, PROTOCOL_TCP};
	static const size_t checksums[] = {6, 16};
	const struct cgroup_fixture *fixture = *state;

	enter(fixture, "worker/inner");
	for (int i = 0; i < 2; i++) {
		struct frame frame = outbound_to(REMOTE_ADDRESS, protocols[i]);
		uint64_t drops = worker_all_drops(fixture->base), sent = worker_of(fixture).traffic.out_packets;
		struct worker_run run;

		(void)transport_sum(&frame, checksums[i], 1);
		run = run_out(fixture, &frame, WORKER_SOCKET_MARK);
		assert_int_equal(run.action, TC_ACT_REDIRECT);
		assert_int_equal(run.mark, 0);
		assert_int_equal(worker_all_drops(fixture->base), drops);
		assert_int_equal(worker_of(fixture).traffic.out_packets, sent + 1);
		assert_memory_equal(run.out.bytes + ETHERNET_BYTES + 12, worker_bytes, 4);
		assert_int_equal(header_sum(run.out.bytes + ETHERNET_BYTES, IPV4_BYTES), 0xffff);
		assert_int_equal(transport_sum(&run.out, checksums[i], 0), 0xffff);
	}
}

static void host_itself_is_left_alone(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	uint64_t drops = worker_all_drops(fixture->base);
	struct worker_run run = run_out(fixture, &frame, 0);

	assert_int_equal(run.action, TC_ACT_UNSPEC);
	assert_memory_equal(run.out.bytes, frame.bytes, frame.length_bytes);
	assert_int_equal(run_in(fixture, &frame, 0).action, TC_ACT_UNSPEC);
	/* Another one's mark with the same bit. */
	assert_int_equal(run_in(fixture, &frame, CGROUP_KEY(fixture->worker_id)).action, TC_ACT_UNSPEC);
	assert_int_equal(worker_all_drops(fixture->base), drops);
}

/* A reset that the kernel sends in a worker's place, from a socket of its own. */
static void kernels_answer_for_a_worker_does_not_leave_as_the_host(void **state)
{
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_TCP);

	assert_dropped_out(*state, &frame, WORKER_DROP_UNKNOWN_CGROUP);
}

static void wrapped_packet_of_ours_passes(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame inner = worker_frame(PROTOCOL_TCP), frame;

	frame_build_vxlan(&frame,
		&(struct frame_ipv4){.source = HOST_VTEP, .destination = GATEWAY_VTEP, .source_port = 50000}, VNI,
		&inner);
	enter(fixture, "worker");
	assert_int_equal(run_out(fixture, &frame, 0).action, TC_ACT_UNSPEC);
	enter(fixture, "nobody"); /* one that was sent right before its worker was closed */
	assert_int_equal(run_out(fixture, &frame, 0).action, TC_ACT_UNSPEC);
}

static void what_is_not_the_workers_to_send_is_dropped(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);

	enter(fixture, "worker");
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, HOST_VTEP + 1);
	assert_dropped_out(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS);
	assert_dropped_out(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_ICMP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_CGROUP_PROTOCOL);
	frame = outbound_to(METADATA_ADDRESS, PROTOCOL_TCP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_METADATA);
	frame = outbound_to(0xe0000001, PROTOCOL_UDP);
	assert_dropped_out(fixture, &frame, WORKER_DROP_MULTICAST);
	frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	frame_put16(frame.bytes + 12, 0x0806); /* by a packet socket */
	assert_dropped_out(fixture, &frame, WORKER_DROP_NOT_IPV4);
	frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, 2000);
	assert_dropped_out(fixture, &frame, WORKER_DROP_MALFORMED);
}

/* RFC 1191: the socket's own kernel learns what fits. */
static void packet_that_does_not_fit_the_tunnel_is_answered_with_the_mtu(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const uint8_t *icmp;
	struct worker_run run;
	struct frame frame;

	enter(fixture, "worker");
	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = fixture->config.uplink_mac,
					 .source = HOST_VTEP,
					 .destination = REMOTE_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .source_port = LOCAL_PORT,
					 .destination_port = REMOTE_PORT,
					 .payload_bytes = MTU - IPV4_BYTES - UDP_BYTES,
				 });
	assert_int_equal(run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);
	assert_int_equal(worker_of(fixture).traffic.drops[WORKER_DROP_TOO_BIG], 0);
	frame.length_bytes++;
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, MTU + 1);
	run = run_out(fixture, &frame, WORKER_SOCKET_MARK);
	icmp = run.out.bytes + ETHERNET_BYTES + IPV4_BYTES;
	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(worker_of(fixture).traffic.drops[WORKER_DROP_TOO_BIG], 1);
	assert_memory_equal(run.out.bytes, fixture->config.uplink_mac, 6);
	assert_memory_equal(run.out.bytes + ETHERNET_BYTES + 16, host_bytes, 4);
	assert_int_equal(icmp[0], 3);
	assert_int_equal(icmp[1], 4);
	assert_int_equal(frame_get16(icmp + 6), MTU);
	assert_int_equal(header_sum(icmp, ICMP_BYTES + IPV4_BYTES + 8), 0xffff);
	assert_memory_equal(icmp + ICMP_BYTES, frame.bytes + ETHERNET_BYTES, IPV4_BYTES + 8);
}

static void limits_and_rules_are_those_of_the_workspace(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct workspace_value limited = {
		.gateway_be = htonl(GATEWAY_VTEP),
		.packet_cost_ns = 3600ull * 1000 * 1000 * 1000,
		.packet_burst_ns = 3 * 3600ull * 1000 * 1000 * 1000,
	};
	struct frame frame = outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);

	workspace_set(fixture->base, &limited);
	enter(fixture, "worker");
	for (int i = 0; i < 3; i++)
		assert_int_equal(run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);
	assert_dropped_out(fixture, &frame, WORKER_DROP_PACKET_LIMIT);
	enter(fixture, "other"); /* has a bucket of its own */
	assert_int_equal(run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);
}

/* ---- in ---- */

static void reply_gets_the_hosts_address_and_right_checksums(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct timeval patience = {.tv_sec = 5};
	struct sockaddr_in from = {0};
	socklen_t from_bytes = sizeof(from);
	struct frame frame = reply();
	uint8_t payload[WORKER_PAYLOAD_BYTES + 1];
	int fd;

	enter(fixture, "worker/inner");
	fd = socket_bound(INADDR_ANY);
	enter(fixture, "");
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	(void)transport_sum(&frame, 6, 1);
	deliver(fixture, &frame);
	/* The kernel checks both sums before it gives it out. */
	assert_int_equal(
		recvfrom(fd, payload, sizeof(payload), 0, (struct sockaddr *)&from, &from_bytes), WORKER_PAYLOAD_BYTES);
	assert_int_equal(ntohl(from.sin_addr.s_addr), REMOTE_ADDRESS);
	close(fd);
}

static void reply_does_not_reach_another_ones_socket(void **state)
{
	static const char *const owners[] = {"other", "nobody", ""};
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = reply();

	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
	for (int i = 0; i < 3; i++) {
		int fd;

		enter(fixture, owners[i]);
		fd = socket_bound(INADDR_ANY);
		enter(fixture, "");
		assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
		close(fd);
	}
}

static void fragment_and_foreign_protocol_are_not_delivered(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = reply();
	int fd;

	enter(fixture, "worker");
	fd = socket_bound(INADDR_ANY);
	enter(fixture, "");
	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x2000);
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_FRAGMENT);
	frame = reply();
	frame.bytes[ETHERNET_BYTES + 9] = 47;
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
	frame = reply();
	frame_put32(frame.bytes + ETHERNET_BYTES + 16, WORKER_ADDRESS + 1);
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	close(fd);
}

/* About the worker's own packet; the kernel must find its socket by what is quoted. */
static void icmp_error_is_delivered_with_the_hosts_address_in_what_it_quotes(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct sockaddr_in remote = {
		.sin_family = AF_INET, .sin_port = htons(REMOTE_PORT), .sin_addr.s_addr = htonl(REMOTE_ADDRESS)};
	struct frame frame, quoted;
	uint8_t *icmp, payload[1];
	uint64_t drops;
	int fd;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = gateway_mac,
					 .source = REMOTE_ADDRESS,
					 .destination = WORKER_ADDRESS,
					 .protocol = PROTOCOL_ICMP,
					 .payload_bytes = ICMP_BYTES + IPV4_BYTES + 8,
				 });
	frame_build_ipv4(&quoted, &(struct frame_ipv4){
					  .source = WORKER_ADDRESS,
					  .destination = REMOTE_ADDRESS,
					  .protocol = PROTOCOL_UDP,
					  .source_port = LOCAL_PORT,
					  .destination_port = REMOTE_PORT,
				  });
	icmp = frame.bytes + ETHERNET_BYTES + IPV4_BYTES;
	memcpy(icmp, (const uint8_t[]){3, 3, 0, 0, 0, 0, 0, 0}, ICMP_BYTES);
	memcpy(icmp + ICMP_BYTES, quoted.bytes + ETHERNET_BYTES, IPV4_BYTES + 8);
	frame_put16(icmp + 2, (uint16_t)~header_sum(icmp, ICMP_BYTES + IPV4_BYTES + 8));
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);

	enter(fixture, "worker");
	fd = socket_bound(INADDR_ANY);
	enter(fixture, "");
	assert_int_equal(connect(fd, (const struct sockaddr *)&remote, sizeof(remote)), 0);
	drops = worker_all_drops(fixture->base);
	deliver(fixture, &frame);
	assert_int_equal(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000), 1);
	assert_int_equal(recv(fd, payload, sizeof(payload), MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(worker_all_drops(fixture->base), drops);
	frame_put32(frame.bytes + ETHERNET_BYTES + IPV4_BYTES + ICMP_BYTES + 12, WORKER_ADDRESS + 1);
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_the_uplink_is_a_way_out, reset),
		cmocka_unit_test_setup(cgroup_without_an_open_worker_is_closed, reset),
		cmocka_unit_test_setup(nobody_wraps_his_own_packets, reset),
		cmocka_unit_test_setup(loopback_reaches_the_same_worker_alone, reset),
		cmocka_unit_test_setup(only_what_was_delivered_comes_in, reset),
		cmocka_unit_test_setup(packet_leaves_with_the_workers_address_and_right_checksums, reset),
		cmocka_unit_test_setup(host_itself_is_left_alone, reset),
		cmocka_unit_test_setup(kernels_answer_for_a_worker_does_not_leave_as_the_host, reset),
		cmocka_unit_test_setup(wrapped_packet_of_ours_passes, reset),
		cmocka_unit_test_setup(what_is_not_the_workers_to_send_is_dropped, reset),
		cmocka_unit_test_setup(packet_that_does_not_fit_the_tunnel_is_answered_with_the_mtu, reset),
		cmocka_unit_test_setup(limits_and_rules_are_those_of_the_workspace, reset),
		cmocka_unit_test_setup(reply_gets_the_hosts_address_and_right_checksums, reset),
		cmocka_unit_test_setup(reply_does_not_reach_another_ones_socket, reset),
		cmocka_unit_test_setup(fragment_and_foreign_protocol_are_not_delivered, reset),
		cmocka_unit_test_setup(icmp_error_is_delivered_with_the_hosts_address_in_what_it_quotes, reset),
	};

	lab_require_root();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("cgroup", tests, fixture_open, fixture_close);
}
