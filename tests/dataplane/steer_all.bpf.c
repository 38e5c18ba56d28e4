/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Steering for the tests: every packet to the AF_XDP socket, none to the kernel. The program's name is the real one's.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

SEC("xdp")
int postern_steer(struct xdp_md *ctx)
{
	return (int)bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_DROP);
}

char program_license[] SEC("license") = "GPL";
