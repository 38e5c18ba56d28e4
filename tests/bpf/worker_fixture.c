/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/worker_fixture.h"

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "tests/bpf/lab.h"

uint64_t worker_drops(const struct worker_fixture *fixture, uint32_t reason)
{
	uint64_t values[1024], sum = 0;

	assert_true(libbpf_num_possible_cpus() <= 1024);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture->bpf->maps.worker_drops), &reason, values), 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		sum += values[cpu];
	return sum;
}

uint64_t worker_all_drops(const struct worker_fixture *fixture)
{
	uint64_t sum = 0;

	for (uint32_t reason = 0; reason < WORKER_DROP_COUNT; reason++)
		sum += worker_drops(fixture, reason);
	return sum;
}

struct workspace_traffic worker_traffic(const struct worker_fixture *fixture)
{
	struct workspace_traffic values[1024], sum = {0};
	uint32_t key = WORKSPACE;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(fixture->bpf->maps.workspace_counters), &key, values), 0);
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
		sum.out_packets += values[cpu].out_packets;
		sum.out_bytes += values[cpu].out_bytes;
		sum.dropped_packets += values[cpu].dropped_packets;
	}
	return sum;
}

void worker_set(const struct worker_fixture *fixture, const struct worker_value *value)
{
	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.workers), &fixture->worker_ifindex, value, BPF_ANY),
		0);
}

struct worker_value worker_get(const struct worker_fixture *fixture)
{
	struct worker_value value;

	assert_int_equal(
		bpf_map_lookup_elem(bpf_map__fd(fixture->bpf->maps.workers), &fixture->worker_ifindex, &value), 0);
	return value;
}

void workspace_set(const struct worker_fixture *fixture, const struct workspace_value *value)
{
	uint32_t index = WORKSPACE;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.workspaces), &index, value, BPF_ANY), 0);
}

void worker_config_set(const struct worker_fixture *fixture, const struct worker_config *config)
{
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.worker_config), &zero, config, BPF_ANY), 0);
}

static int keep_sample(void *context, void *data, size_t size_bytes)
{
	assert_true(size_bytes >= sizeof(struct drop_sample));
	memcpy(context, data, sizeof(struct drop_sample));
	return 0;
}

struct ring_buffer *worker_samples_open(const struct worker_fixture *fixture, struct drop_sample *ret_sample)
{
	struct ring_buffer *ring =
		ring_buffer__new(bpf_map__fd(fixture->bpf->maps.drop_samples), keep_sample, ret_sample, NULL);

	assert_non_null(ring);
	return ring;
}

void worker_samples_watch(const struct worker_fixture *fixture, uint64_t interval_ns)
{
	const struct sample_config config = {.interval_ns = interval_ns};
	uint32_t zero = 0;

	assert_int_equal(
		bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.sample_config), &zero, &config, BPF_ANY), 0);
}

int worker_fixture_open(void **state)
{
	struct worker_fixture *fixture = calloc(1, sizeof(*fixture));

	lab_enter();
	fixture->worker_ifindex = lab_veth("worker", "worker-peer");
	fixture->stranger_ifindex = lab_veth("stranger", "stranger-peer");
	lab_run("ip link add vx type vxlan external dstport 4789");
	fixture->vxlan_ifindex = if_nametoindex("vx");
	fixture->bpf = worker_bpf__open_and_load();
	assert_non_null(fixture->bpf);
	*state = fixture;
	return 0;
}

int worker_fixture_close(void **state)
{
	struct worker_fixture *fixture = *state;

	worker_bpf__destroy(fixture->bpf);
	free(fixture);
	return 0;
}

int worker_reset(void **state)
{
	const struct worker_fixture *fixture = *state;
	struct worker_value worker = {.vni = VNI, .workspace_index = WORKSPACE, .epoch = 1};
	__be32 gateway_be = htonl(GATEWAY_VTEP);
	struct workspace_value workspace = {.gateway_be = gateway_be};
	uint8_t one = 1;

	worker.address_be = htonl(WORKER_ADDRESS);
	worker.vtep_be = htonl(HOST_VTEP);
	worker_set(fixture, &worker);
	workspace_set(fixture, &workspace);
	worker_config_set(
		fixture, &(struct worker_config){.vxlan_ifindex = fixture->vxlan_ifindex, .vtep_be = htonl(HOST_VTEP)});
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(fixture->bpf->maps.gateways), &gateway_be, &one, BPF_ANY), 0);
	return 0;
}

struct worker_run worker_run_program(
	const struct bpf_program *program, const struct frame *frame, const struct __sk_buff *context)
{
	struct __sk_buff in = *context, out = {0};
	struct worker_run run;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame->bytes, .data_size_in = (uint32_t)frame->length_bytes,
		.data_out = run.out.bytes, .data_size_out = sizeof(run.out.bytes), .ctx_in = &in,
		.ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &opts), 0);
	run.action = (int)opts.retval;
	run.out.length_bytes = opts.data_size_out;
	run.mark = out.mark;
	return run;
}

struct worker_run worker_run(const struct worker_fixture *fixture, const struct frame *frame)
{
	struct __sk_buff context = {.ifindex = fixture->worker_ifindex};

	return worker_run_program(fixture->bpf->progs.worker_ingress, frame, &context);
}

void assert_worker_dropped(const struct worker_fixture *fixture, const struct frame *frame, enum worker_drop reason)
{
	uint64_t before = worker_drops(fixture, reason), all_before = worker_all_drops(fixture);
	struct workspace_traffic traffic_before = worker_traffic(fixture), traffic_after;
	struct worker_value worker_before = worker_get(fixture);
	struct worker_run run = worker_run(fixture, frame);

	traffic_after = worker_traffic(fixture);
	assert_int_equal(run.action, TC_ACT_SHOT);
	assert_int_equal(worker_drops(fixture, reason), before + 1);
	assert_int_equal(worker_all_drops(fixture), all_before + 1);
	assert_int_equal(traffic_after.dropped_packets, traffic_before.dropped_packets + 1);
	assert_int_equal(worker_get(fixture).traffic.drops[reason], worker_before.traffic.drops[reason] + 1);
	assert_int_equal(worker_get(fixture).traffic.out_packets, worker_before.traffic.out_packets);
	assert_int_equal(traffic_after.out_packets, traffic_before.out_packets);
}

void assert_worker_sent(const struct worker_fixture *fixture, const struct frame *frame)
{
	uint64_t drops_before = worker_all_drops(fixture);
	struct workspace_traffic before = worker_traffic(fixture), after;
	struct worker_value worker_before = worker_get(fixture);
	struct worker_run run = worker_run(fixture, frame);

	after = worker_traffic(fixture);
	assert_int_equal(run.action, TC_ACT_REDIRECT);
	assert_int_equal(worker_all_drops(fixture), drops_before);
	assert_int_equal(after.out_packets, before.out_packets + 1);
	assert_int_equal(after.out_bytes, before.out_bytes + frame_get16(frame->bytes + ETHERNET_BYTES + 2));
	assert_int_equal(worker_get(fixture).traffic.out_packets, worker_before.traffic.out_packets + 1);
	assert_int_equal(worker_get(fixture).traffic.out_bytes,
		worker_before.traffic.out_bytes + after.out_bytes - before.out_bytes);
	assert_int_equal(run.out.length_bytes, frame->length_bytes);
	assert_memory_equal(run.out.bytes, gateway_mac, 6);
	assert_memory_equal(run.out.bytes + 6, frame->bytes + 6, frame->length_bytes - 6);
}

struct frame worker_frame(uint8_t protocol)
{
	return frame_of_ipv4(&(struct frame_ipv4){
		.source_mac = worker_mac,
		.source = WORKER_ADDRESS,
		.destination = REMOTE_ADDRESS,
		.protocol = protocol,
		.source_port = 40000,
		.destination_port = 53,
		.payload_bytes = WORKER_PAYLOAD_BYTES,
	});
}
