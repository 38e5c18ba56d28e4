/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Somebody else's XDP program, which the dataplane must leave where it is. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int somebody_else(struct xdp_md *ctx)
{
	return ctx->data <= ctx->data_end ? XDP_PASS : XDP_ABORTED;
}

char program_license[] SEC("license") = "GPL";
