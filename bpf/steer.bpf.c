/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steering on a gateway's port: one XDP program, loaded and attached by DPDK's net_af_xdp driver (`xdp_prog=`), which
 * fills `xsks_map`; posternd fills the other maps (control/steer.c). Not pinned: it lives and dies with the port.
 *
 *   inside:  VXLAN from a trusted VTEP → the dataplane; VXLAN from anyone else → dropped
 *   outside: IPv4 to an egress IP of ours → the dataplane
 *   the rest (ARP, ND, SSH, BGP, everything tagged) → the kernel, so that the host stays reachable by the same NIC
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/frame.h"
#include "bpf/maps.h"

enum { VXLAN_HEADER_BYTES = 8 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_config);
} steer_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, BPF_VTEP_PREFIX_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vtep_prefix_key);
	__type(value, __u8);
} trusted_vteps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_EGRESS_IP_COUNT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __be32);
	__type(value, __u8);
} egress_ips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} steer_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, BPF_XSK_COUNT_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

static __always_inline int counted(enum steer_counter counter, int action)
{
	__u32 key = counter;
	__u64 *count = bpf_map_lookup_elem(&steer_counters, &key);

	if (count)
		(*count)++;
	return action;
}

static __always_inline int to_dataplane(struct xdp_md *ctx)
{
	__u32 queue = ctx->rx_queue_index;

	if (!bpf_map_lookup_elem(&xsks_map, &queue))
		return counted(STEER_DROP_NO_SOCKET, XDP_DROP);
	return counted(STEER_TO_DATAPLANE, (int)bpf_redirect_map(&xsks_map, queue, XDP_DROP));
}

static __always_inline int vtep_is_trusted(__be32 address_be)
{
	struct vtep_prefix_key key = {.prefix_length_bits = 32, .address_be = address_be};

	return bpf_map_lookup_elem(&trusted_vteps, &key) != NULL;
}

/*
 * Whatever says it is VXLAN for us ends here: with the dataplane or dropped, never with the kernel. Later fragments
 * carry no port and go to the kernel, where they find no first fragment to join.
 */
static __always_inline int steer_inside(
	struct xdp_md *ctx, const struct steer_config *config, const struct iphdr *ip, const void *end)
{
	__u32 header_bytes = ipv4_header_bytes(ip), total_bytes = bpf_ntohs(ip->tot_len), udp_bytes;
	const struct udphdr *udp;

	if (ip->protocol != IPPROTO_UDP || !ipv4_has_transport(ip))
		return counted(STEER_TO_KERNEL, XDP_PASS);
	if (config->vtep_be != 0 && ip->daddr != config->vtep_be)
		return counted(STEER_TO_KERNEL, XDP_PASS);
	udp = (const void *)ip + header_bytes;
	if ((const void *)(udp + 1) > end)
		return counted(STEER_DROP_MALFORMED, XDP_DROP);
	if (udp->dest != config->vxlan_port_be)
		return counted(STEER_TO_KERNEL, XDP_PASS);

	udp_bytes = bpf_ntohs(udp->len);
	if (ipv4_is_fragment(ip) || udp_bytes < sizeof(*udp) + VXLAN_HEADER_BYTES ||
		udp_bytes > total_bytes - header_bytes)
		return counted(STEER_DROP_MALFORMED, XDP_DROP);
	if (!vtep_is_trusted(ip->saddr))
		return counted(STEER_DROP_UNTRUSTED, XDP_DROP);
	return to_dataplane(ctx);
}

SEC("xdp")
int postern_steer(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct ethhdr *ethernet = data;
	struct steer_config *config;
	const struct iphdr *ip;
	__u32 zero = 0;

	config = bpf_map_lookup_elem(&steer_config, &zero);
	if (!config || config->role == STEER_ROLE_NONE)
		return counted(STEER_TO_KERNEL, XDP_PASS);
	if ((const void *)(ethernet + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return counted(STEER_TO_KERNEL, XDP_PASS);
	ip = (const void *)(ethernet + 1);
	if ((const void *)(ip + 1) > end || !ipv4_is_whole(ip, (__u32)(end - (const void *)ip)))
		return counted(STEER_DROP_MALFORMED, XDP_DROP);

	if (config->role == STEER_ROLE_INSIDE)
		return steer_inside(ctx, config, ip, end);
	if (bpf_map_lookup_elem(&egress_ips, &ip->daddr))
		return to_dataplane(ctx);
	return counted(STEER_TO_KERNEL, XDP_PASS);
}

char program_license[] SEC("license") = "GPL";
