/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup_egress and cgroup_ingress: what leaves the cgroup of a worker, and what comes in. */
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/cgroup_fixture.h"
#include "tests/bpf/lab.h"

enum { LOOPBACK = 1, LOOPBACK_ADDRESS = 0x7f000001, PASS = 1, DROPPED = 0, MPTCP = 262 };

static struct worker_run run_at_cgroup(
	const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t ifindex)
{
	const struct __sk_buff context = {.ifindex = ifindex};

	return worker_run_program(fixture->base->bpf->progs.cgroup_egress, frame, &context);
}

static void assert_refused_at_cgroup(
	const struct cgroup_fixture *fixture, const struct frame *frame, uint32_t ifindex, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture->base, reason), all_before = worker_all_drops(fixture->base);

	assert_int_equal(run_at_cgroup(fixture, frame, ifindex).action, DROPPED);
	assert_int_equal(worker_drops(fixture->base, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture->base), all_before + 1);
}

static void only_the_uplink_is_a_way_out(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);

	cgroup_tree_enter(&fixture->tree, "worker");
	assert_int_equal(run_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex).action, PASS);
	assert_refused_at_cgroup(fixture, &frame, fixture->base->worker_ifindex, WORKER_DROP_CGROUP_INTERFACE);
	assert_int_equal(cgroup_worker_get(fixture).traffic.drops[WORKER_DROP_CGROUP_INTERFACE], 1);
	cgroup_tree_enter(&fixture->tree, "worker/inner");
	assert_int_equal(run_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex).action, PASS);
	frame_put16(frame.bytes + 12, 0x86dd);
	assert_refused_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex, WORKER_DROP_IPV6);
}

static void cgroup_without_an_open_worker_is_closed(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const struct claim_value claim = {.workspace_index = WORKSPACE, .vni = VNI};
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	uint32_t uplink = fixture->base->stranger_ifindex, key = CGROUP_KEY(fixture->worker_id);
	struct worker_config closed = fixture->config;

	cgroup_tree_enter(&fixture->tree, "nobody");
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);

	cgroup_tree_enter(&fixture->tree, "worker");
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(fixture->base->bpf->maps.workers), &key), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->base->bpf->maps.claims), &key, &claim, BPF_ANY), 0);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_NOT_ADMITTED);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_NOT_ADMITTED);
	assert_int_equal(bpf_map_delete_elem(bpf_map__fd(fixture->base->bpf->maps.claims), &key), 0);

	/* The id of another cgroup with the same lower half. */
	cgroup_worker_put(fixture, fixture->worker_id + (1ull << 32), key, VNI);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);

	/* While posternd changes something: nobody passes as the host. */
	cgroup_worker_put(fixture, fixture->worker_id, key, VNI);
	closed.cgroup_level = 0;
	worker_config_set(fixture->base, &closed);
	assert_refused_at_cgroup(fixture, &frame, uplink, WORKER_DROP_UNKNOWN_CGROUP);
	assert_uplink_dropped(fixture, &frame, WORKER_DROP_UNKNOWN_CGROUP);
}

static void nobody_wraps_his_own_packets(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const uint32_t ends[] = {GATEWAY_VTEP, HOST_VTEP};

	cgroup_tree_enter(&fixture->tree, "worker");
	for (int i = 0; i < 2; i++) {
		struct frame frame = cgroup_outbound_to(ends[i], PROTOCOL_UDP);

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
	cgroup_tree_enter(&fixture->tree, "worker/inner");
	fd = cgroup_socket_bound(LOOPBACK_ADDRESS);
	cgroup_tree_enter(&fixture->tree, "worker");
	assert_int_equal(run_at_cgroup(fixture, &frame, LOOPBACK).action, PASS);
	cgroup_tree_enter(&fixture->tree, "other");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	close(fd);
	cgroup_tree_enter(&fixture->tree, "worker");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	cgroup_tree_enter(&fixture->tree, "");
	fd = cgroup_socket_bound(LOOPBACK_ADDRESS); /* a service of the host's */
	cgroup_tree_enter(&fixture->tree, "worker");
	assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	close(fd);
}

/* Whoever else has the port, another worker or a service of the host's, would get it too. */
static void nothing_goes_to_many_by_loopback(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	const uint32_t many[] = {0xe00000fb /* 224.0.0.251 */, 0xefffffff, 0xffffffff, 0x7fffffff};
	int fd;

	cgroup_tree_enter(&fixture->tree, "worker");
	fd = cgroup_socket_bound(0);
	for (int i = 0; i < 4; i++) {
		struct frame frame;

		frame_build_ipv4(&frame, &(struct frame_ipv4){
						 .source = LOOPBACK_ADDRESS,
						 .destination = many[i],
						 .protocol = PROTOCOL_UDP,
						 .source_port = 1,
						 .destination_port = LOCAL_PORT,
						 .payload_bytes = WORKER_PAYLOAD_BYTES,
					 });
		assert_refused_at_cgroup(fixture, &frame, LOOPBACK, WORKER_DROP_CGROUP_LOCAL);
	}
	close(fd);
}

/* What the kernel opens for a socket of MPTCP would bear no mark. */
static void sockets_are_marked_or_refused(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	int cgroup_fd = open(fixture->tree.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, mark = 0;
	struct bpf_link *link = bpf_program__attach_cgroup(fixture->base->bpf->progs.cgroup_socket, cgroup_fd);
	socklen_t size_bytes = sizeof(mark);

	assert_non_null(link);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, MPTCP);
	/* Has this kernel MPTCP? */
	if (fd >= 0)
		close(fd);
	cgroup_tree_enter(&fixture->tree, "worker");
	if (fd >= 0) {
		assert_int_equal(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, MPTCP), -1);
		assert_int_equal(errno, EPERM);
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size_bytes), 0);
	assert_int_equal(mark, WORKER_SOCKET_MARK);
	close(fd);
	bpf_link__destroy(link);
	close(cgroup_fd);
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
	struct frame frame = cgroup_reply();

	for (int i = 0; i < 4; i++) {
		uint64_t before = worker_drops(fixture->base, WORKER_DROP_EGRESS_FOREIGN);
		int passes = worker_run_program(fixture->base->bpf->progs.cgroup_ingress, &frame, &contexts[i]).action;

		assert_int_equal(passes, i < 2 ? PASS : DROPPED);
		assert_int_equal(worker_drops(fixture->base, WORKER_DROP_EGRESS_FOREIGN), before + (i >= 2));
	}
}

/* `postern monitor` is shown a frame, though at the cgroup there is no Ethernet header yet. */
static void sample_of_a_refused_packet_has_an_ethernet_header_and_its_length(void **state)
{
	const struct cgroup_fixture *fixture = *state;
	struct frame frame = cgroup_outbound_to(REMOTE_ADDRESS, PROTOCOL_UDP);
	struct drop_sample sample = {0};
	struct ring_buffer *ring = worker_samples_open(fixture->base, &sample);

	worker_samples_watch(fixture->base, 1);
	cgroup_tree_enter(&fixture->tree, "nobody");
	assert_refused_at_cgroup(fixture, &frame, fixture->base->stranger_ifindex, WORKER_DROP_UNKNOWN_CGROUP);
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(sample.length_bytes, frame.length_bytes);
	assert_int_equal(sample.captured_bytes, BPF_SAMPLE_CAPTURE_BYTES);
	assert_memory_equal(sample.bytes + 12, frame.bytes + 12, BPF_SAMPLE_CAPTURE_BYTES - 12);
	worker_samples_watch(fixture->base, 0);
	ring_buffer__free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_the_uplink_is_a_way_out, cgroup_reset),
		cmocka_unit_test_setup(cgroup_without_an_open_worker_is_closed, cgroup_reset),
		cmocka_unit_test_setup(nobody_wraps_his_own_packets, cgroup_reset),
		cmocka_unit_test_setup(loopback_reaches_the_same_worker_alone, cgroup_reset),
		cmocka_unit_test_setup(nothing_goes_to_many_by_loopback, cgroup_reset),
		cmocka_unit_test_setup(sockets_are_marked_or_refused, cgroup_reset),
		cmocka_unit_test_setup(only_what_was_delivered_comes_in, cgroup_reset),
		cmocka_unit_test_setup(sample_of_a_refused_packet_has_an_ethernet_header_and_its_length, cgroup_reset),
	};

	lab_require_root();
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("cgroup", tests, cgroup_fixture_open, cgroup_fixture_close);
}
