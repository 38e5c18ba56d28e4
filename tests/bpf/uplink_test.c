/* SPDX-License-Identifier: Apache-2.0 */
/* uplink_egress and uplink_ingress: what a worker that is a cgroup sends to the tunnel, and what it gets from there. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/cgroup_fixture.h"
#include "tests/bpf/lab.h"

enum { ICMP_BYTES = 8 };

static const uint8_t worker_bytes[4] = {10, 0, 0, 5}, host_bytes[4] = {10, 100, 0, 2};

static int uplink_open(void **state)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts);
	const struct cgroup_fixture *fixture;

	assert_int_equal(cgroup_fixture_open(state), 0);
	fixture = *state;
	hook.ifindex = (int)fixture->base->stranger_ifindex;
	opts.prog_fd = bpf_program__fd(fixture->base->bpf->progs.uplink_ingress);
	assert_int_equal(bpf_tc_hook_create(&hook), 0);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	return 0;
}

static struct worker_run run_in(const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t mark)
{
	const struct __sk_buff context = {.ifindex = fixture->base->stranger_ifindex, .mark = mark};

	return worker_run_program(fixture->base->bpf->progs.uplink_ingress, frame, &context);
}

/* As from reply_ingress: by the wire, since a packet in a test run can be given no socket. */
static void deliver(const struct cgroup_fixture *fixture, const struct frame *frame)
{
	uint32_t mark = CGROUP_KEY(fixture->worker_id);
	struct frame addressed = *frame;
	int fd = lab_socket("stranger-peer");

	memcpy(addressed.bytes, fixture->config.uplink_mac, 6);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	lab_send(fd, &addressed);
	close(fd);
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

/* ---- out ---- */

static void packet_leaves_with_the_workers_address_and_right_checksums(void **state)
{
	static const uint8_t protocols[] = {PROTOCOL_UDP, PROTOCOL_TCP};
	static const size_t checksums[] = {6, 16};
	const struct cgroup_fixture *fixture = *state;

	cgroup_tree_enter(&fixture->tree, "worker/inner");
	for (int i = 0; i < 2; i++) {
		struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, protocols[i]);
		uint64_t drops = worker_all_drops(fixture->base), sent = cgroup_worker_get(fixture).traffic.out_packets;
		struct worker_run run;

		frame_put_transport_sum(&frame, checksums[i]);
		run = cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK);
		assert_int_equal(run.action, TC_ACT_REDIRECT);
		assert_int_equal(run.mark, 0);
		assert_int_equal(worker_all_drops(fixture->base), drops);
		assert_int_equal(cgroup_worker_get(fixture).traffic.out_packets, sent + 1);
		assert_memory_equal(run.out.bytes + ETHERNET_BYTES + 12, worker_bytes, 4);
		assert_int_equal(frame_sum(run.out.bytes + ETHERNET_BYTES, IPV4_BYTES, 0), 0xffff);
		assert_int_equal(frame_transport_sum(&run.out), 0xffff);
	}
}

static void host_itself_is_left_alone(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	uint64_t drops = worker_all_drops(fixture->base);
	struct worker_run run = cgroup_run_out(fixture, &frame, 0);

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
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_TCP);

	assert_uplink_dropped(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);
	/* With net.ipv4.fwmark_reflect. */
	assert_int_equal(cgroup_run_out(fixture, &frame, WORKER_DELIVERY_MARK).action, TC_ACT_SHOT);
}

static void wrapped_packet_of_ours_passes(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame inner = worker_frame(PROTOCOL_TCP), frame;

	frame_build_vxlan(&frame,
		&(struct frame_ipv4){.source = HOST_VTEP, .destination = GATEWAY_VTEP, .source_port = 50000}, VNI,
		&inner);
	cgroup_tree_enter(&fixture->tree, "worker");
	assert_int_equal(cgroup_run_out(fixture, &frame, 0).action, TC_ACT_UNSPEC);
	cgroup_tree_enter(&fixture->tree, "nobody"); /* one that was sent right before its worker was closed */
	assert_int_equal(cgroup_run_out(fixture, &frame, 0).action, TC_ACT_UNSPEC);
}

static void what_is_not_the_workers_to_send_is_dropped(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);

	cgroup_tree_enter(&fixture->tree, "worker");
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, HOST_VTEP + 1);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame_put32(frame.bytes + ETHERNET_BYTES + 12, WORKER_ADDRESS);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_SPOOFED_SOURCE);
	frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_ICMP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_CGROUP_PROTOCOL);
	frame = cgroup_outbound_to(METADATA_ADDRESS, PROTOCOL_TCP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_METADATA);
	frame = cgroup_outbound_to(0xe0000001, PROTOCOL_UDP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_MULTICAST);
	frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	frame_put16(frame.bytes + 12, 0x0806); /* by a packet socket */
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_NOT_IPV4);
	frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, 2000);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_MALFORMED);
}

/* RFC 1191: the socket's own kernel learns what fits. */
static void packet_that_does_not_fit_the_tunnel_is_answered_with_the_mtu(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const uint8_t *icmp;
	struct worker_run run;
	struct frame frame;

	cgroup_tree_enter(&fixture->tree, "worker");
	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source_mac = fixture->config.uplink_mac,
					 .source = HOST_VTEP,
					 .destination = REMOTE_ADDRESS,
					 .protocol = PROTOCOL_UDP,
					 .source_port = LOCAL_PORT,
					 .destination_port = REMOTE_PORT,
					 .payload_bytes = MTU - IPV4_BYTES - UDP_BYTES,
				 });
	assert_int_equal(cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);
	assert_int_equal(cgroup_worker_get(fixture).traffic.drops[WORKER_DROP_TOO_BIG], 0);
	frame.length_bytes++;
	frame_put16(frame.bytes + ETHERNET_BYTES + 2, MTU + 1);
	run = cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK);
	icmp = run.out.bytes + ETHERNET_BYTES + IPV4_BYTES;
	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(cgroup_worker_get(fixture).traffic.drops[WORKER_DROP_TOO_BIG], 1);
	assert_memory_equal(run.out.bytes, fixture->config.uplink_mac, 6);
	assert_memory_equal(run.out.bytes + ETHERNET_BYTES + 16, host_bytes, 4);
	assert_int_equal(icmp[0], 3);
	assert_int_equal(icmp[1], 4);
	assert_int_equal(frame_get16(icmp + 6), MTU);
	assert_int_equal(frame_sum(icmp, ICMP_BYTES + IPV4_BYTES + 8, 0), 0xffff);
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
	const struct workspace_value ruled = {.gateway_be = htonl(GATEWAY_VTEP), .rule_set = WORKSPACE};
	const struct rule_key anywhere = {.prefix_length_bits = 32, .set_be = htonl(WORKSPACE)};
	const struct rule_region denied = {.verdict = RULE_DENY};
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	struct worker_run run;

	workspace_set(fixture->base, &limited);
	cgroup_tree_enter(&fixture->tree, "worker");
	for (int i = 0; i < 3; i++)
		assert_int_equal(cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_PACKET_LIMIT);
	cgroup_tree_enter(&fixture->tree, "other"); /* has a bucket of its own */
	assert_int_equal(cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK).action, TC_ACT_REDIRECT);

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.rules), &anywhere, &denied, BPF_ANY), 0);
	workspace_set(fixture->base, &ruled);
	cgroup_tree_enter(&fixture->tree, "worker");
	run = cgroup_run_out(fixture, &frame, WORKER_SOCKET_MARK);
	assert_int_equal(run.mark, 0);
	assert_int_equal(run.out.bytes[ETHERNET_BYTES + IPV4_BYTES + 1], 13); /* of ICMP: prohibited */
	assert_int_equal(cgroup_worker_get(fixture).traffic.drops[WORKER_DROP_DENIED], 1);
}

/* ---- in ---- */

static void reply_gets_the_hosts_address_and_right_checksums(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct timeval patience = {.tv_sec = 5};
	struct sockaddr_in from = {0};
	socklen_t from_bytes = sizeof(from);
	struct frame frame = cgroup_reply();
	uint8_t payload[WORKER_PAYLOAD_BYTES + 1];
	int fd;

	cgroup_tree_enter(&fixture->tree, "worker/inner");
	fd = cgroup_socket_bound(INADDR_ANY);
	cgroup_tree_enter(&fixture->tree, "");
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	frame_put_transport_sum(&frame, 6);
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
	struct frame frame = cgroup_reply();

	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
	for (int i = 0; i < 3; i++) {
		int fd;

		cgroup_tree_enter(&fixture->tree, owners[i]);
		fd = cgroup_socket_bound(INADDR_ANY);
		cgroup_tree_enter(&fixture->tree, "");
		assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
		close(fd);
	}
}

/* The kernel hands a copy of it to whoever listens on this host, as if it had come in by the uplink. */
static void broadcast_of_a_worker_reaches_no_service_of_the_host(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(LOCAL_PORT), .sin_addr.s_addr = htonl(HOST_VTEP | 0xff)};
	uint64_t before = worker_drops(fixture->base, WORKER_DROP_CGROUP_LOCAL);
	const uint32_t mark = WORKER_SOCKET_MARK;
	const int one = 1;
	int service = cgroup_socket_bound(0), fd;
	char got[1];

	cgroup_tree_enter(&fixture->tree, "worker");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)), 0);
	assert_int_equal(sendto(fd, "?", 1, 0, (const struct sockaddr *)&to, sizeof(to)), 1);
	for (int tries = 0; tries < 2000 && worker_drops(fixture->base, WORKER_DROP_CGROUP_LOCAL) == before; tries++)
		usleep(1000);
	assert_int_equal(worker_drops(fixture->base, WORKER_DROP_CGROUP_LOCAL), before + 1);
	assert_int_equal(recv(service, got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	close(service);
}

static void fragment_and_foreign_protocol_are_not_delivered(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_reply();
	int fd;

	cgroup_tree_enter(&fixture->tree, "worker");
	fd = cgroup_socket_bound(INADDR_ANY);
	cgroup_tree_enter(&fixture->tree, "");
	frame_put16(frame.bytes + ETHERNET_BYTES + 6, 0x2000);
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_FRAGMENT);
	frame = cgroup_reply();
	frame.bytes[ETHERNET_BYTES + 9] = 47;
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);
	frame = cgroup_reply();
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
	frame_put16(icmp + 2, (uint16_t)~frame_sum(icmp, ICMP_BYTES + IPV4_BYTES + 8, 0));
	assert_dropped_in(fixture, &frame, WORKER_DROP_REPLY_NO_SOCKET);

	cgroup_tree_enter(&fixture->tree, "worker");
	fd = cgroup_socket_bound(INADDR_ANY);
	cgroup_tree_enter(&fixture->tree, "");
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
		cmocka_unit_test_setup(packet_leaves_with_the_workers_address_and_right_checksums, cgroup_reset),
		cmocka_unit_test_setup(host_itself_is_left_alone, cgroup_reset),
		cmocka_unit_test_setup(kernels_answer_for_a_worker_does_not_leave_as_the_host, cgroup_reset),
		cmocka_unit_test_setup(wrapped_packet_of_ours_passes, cgroup_reset),
		cmocka_unit_test_setup(what_is_not_the_workers_to_send_is_dropped, cgroup_reset),
		cmocka_unit_test_setup(packet_that_does_not_fit_the_tunnel_is_answered_with_the_mtu, cgroup_reset),
		cmocka_unit_test_setup(limits_and_rules_are_those_of_the_workspace, cgroup_reset),
		cmocka_unit_test_setup(reply_gets_the_hosts_address_and_right_checksums, cgroup_reset),
		cmocka_unit_test_setup(reply_does_not_reach_another_ones_socket, cgroup_reset),
		cmocka_unit_test_setup(broadcast_of_a_worker_reaches_no_service_of_the_host, cgroup_reset),
		cmocka_unit_test_setup(fragment_and_foreign_protocol_are_not_delivered, cgroup_reset),
		cmocka_unit_test_setup(icmp_error_is_delivered_with_the_hosts_address_in_what_it_quotes, cgroup_reset),
	};

	lab_require_root();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("uplink", tests, uplink_open, cgroup_fixture_close);
}
