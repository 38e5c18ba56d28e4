/* SPDX-License-Identifier: Apache-2.0 */
/* What worker_ingress costs per packet: the kernel's own timing of a million runs on a good TCP packet. */
#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/maps.h"
#include "bpf/worker.skel.h"
#include "tests/bpf/frame_builder.h"
#include "tests/bpf/lab.h"

enum { RUN_COUNT = 1000000, ROUND_COUNT = 5, PROTOCOL_TCP = 6, PROTOCOL_UDP = 17 };

static void bench(const struct worker_bpf *bpf, uint32_t ifindex, const char *name, uint8_t protocol)
{
	struct frame frame, out;
	uint32_t best_ns = UINT32_MAX;

	frame_build_ipv4(&frame, &(struct frame_ipv4){
					 .source = 0x0a000005,
					 .destination = 0x5db8d822,
					 .protocol = protocol,
					 .destination_port = 53,
					 .payload_bytes = 64,
				 });
	for (int round = 0; round < ROUND_COUNT; round++) {
		struct __sk_buff context = {.ifindex = ifindex};
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.bytes,
			.data_size_in = (uint32_t)frame.length_bytes, .data_out = out.bytes,
			.data_size_out = sizeof(out.bytes), .ctx_in = &context, .ctx_size_in = sizeof(context),
			.repeat = RUN_COUNT);

		assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.worker_ingress), &opts), 0);
		assert_int_equal(opts.retval, TC_ACT_REDIRECT);
		if (opts.duration < best_ns)
			best_ns = opts.duration;
	}
	printf("worker_ingress %s: %u ns/packet (best of %d x %d runs)\n", name, best_ns, ROUND_COUNT, RUN_COUNT);
}

int main(void)
{
	struct worker_value worker = {
		.address_be = htonl(0x0a000005),
		.vtep_be = htonl(0x0a640002),
		.vni = 7001,
	};
	struct worker_config config = {.vtep_be = htonl(0x0a640002)};
	struct workspace_value workspace = {.gateway_be = htonl(0x0a640001)};
	struct worker_bpf *bpf;
	uint32_t zero = 0, ifindex;

	lab_require_root();
	lab_enter();
	ifindex = lab_veth("worker", "worker-peer");
	lab_run("ip link add vx type vxlan external dstport 4789");
	config.vxlan_ifindex = if_nametoindex("vx");
	bpf = worker_bpf__open_and_load();
	if (!bpf)
		return 1;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(bpf->maps.worker_config), &zero, &config, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(bpf->maps.workspaces), &zero, &workspace, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(bpf->maps.workers), &ifindex, &worker, BPF_ANY), 0);
	bench(bpf, ifindex, "tcp", PROTOCOL_TCP);
	bench(bpf, ifindex, "udp", PROTOCOL_UDP);
	worker_bpf__destroy(bpf);
	return 0;
}
