/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The classifier of a worker host: three tc programs in direct-action mode, and those for workers that are cgroups
 * (bpf/worker_cgroup.h).
 *
 *   worker ── worker_ingress ── set VXLAN key ──> VXLAN device ──> underlay ──> gateway
 *   worker <── worker_egress <── mark ── reply_ingress ── VXLAN device <── underlay <── gateway
 *
 * A frame is sent on for a reason or dropped with one; none falls through to the host's stack. The maps are posternd's,
 * but for the counters and samples, and in `workers` the learned MAC, the buckets and the traffic. An entry that posternd
 * deleted may be reused for another worker only after every program that could still see it has ended; posternd waits for
 * that (control/classifier_maps.c).
 */
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/frame.h"
#include "bpf/maps.h"
#include "bpf/worker_cgroup.h"
#include "bpf/worker_dhcp.h"
#include "bpf/worker_drop.h"
#include "bpf/worker_limit.h"
#include "bpf/worker_maps.h"
#include "bpf/worker_rules.h"

enum {
	TUNNEL_TTL = 64,
	/* RFC 826; <linux/if_arp.h> needs the C library. */
	ARP_HARDWARE_ETHERNET = 1,
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
	DSCP_SHIFT = 2,
	ECN_MASK = 3,
};

struct arp_ipv4 {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender_address_be[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target_address_be[4];
} __attribute__((packed));

/*
 * Packets on the wire that this buffer becomes. Those of a tap device nobody has counted: a guest gives their size
 * alone.
 */
static __always_inline __u32 segment_count(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u32 size_bytes = skb->gso_size, count, total_bytes, head_bytes;

	if (size_bytes == 0)
		return 1;
	count = skb->gso_segs;
	if (count != 0)
		return count;
	total_bytes = bpf_ntohs(ip->tot_len);
	head_bytes = segment_head_bytes(skb, ip);
	return head_bytes < total_bytes ? (total_bytes - head_bytes + size_bytes - 1) / size_bytes : 1;
}

/* Makes `bytes` from the frame's start directly readable and writable; 0 when the frame is shorter. */
static __always_inline int frame_reach(struct __sk_buff *skb, __u32 bytes)
{
	if (skb->data + bytes <= skb->data_end)
		return 1;
	return skb->len >= bytes && bpf_skb_pull_data(skb, bytes) == 0;
}

/* Behind the packet there is more, and not as the padding of a short frame: it would cross the network uncounted. */
static __always_inline int frame_has_tail(const struct __sk_buff *skb, __u32 total_bytes)
{
	return skb->len > ETH_HLEN + total_bytes && skb->len > ETH_ZLEN;
}

static __always_inline union mac_word worker_mac(const struct worker_value *worker)
{
	union mac_word word = {.word = *(const volatile __u64 *)worker->mac};

	word.bytes[6] = 0; /* mac_pinned */
	return word;
}

/* Once a MAC is known, it is the only one. */
static __always_inline int mac_is_spoofed(const struct worker_value *worker, union mac_word source)
{
	union mac_word known = worker_mac(worker);

	return (source.bytes[0] & 1) != 0 || source.word == 0 || (known.word != 0 && known.word != source.word);
}

/* Of two first frames on two CPUs one wins; the other then has a spoofed MAC. */
static __always_inline int mac_learn(struct worker_value *worker, union mac_word source)
{
	if (worker_mac(worker).word == 0)
		__sync_val_compare_and_swap((__u64 *)worker->mac, 0, source.word);
	return worker_mac(worker).word == source.word;
}

/* Turns a request for the gateway's address into its reply, in place. */
static __always_inline int arp_answer(struct __sk_buff *skb, struct worker_value *worker, union mac_word source)
{
	const __be32 gateway_address_be = bpf_htonl(WORKER_GATEWAY_ADDRESS);
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	struct ethhdr *ethernet;
	struct arp_ipv4 *arp;
	__be32 sender_be, target_be;

	if (!frame_reach(skb, sizeof(*ethernet) + sizeof(*arp)))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	ethernet = (void *)(long)skb->data;
	arp = (void *)(ethernet + 1);
	if ((void *)(arp + 1) > (void *)(long)skb->data_end)
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	if (arp->hardware_type != bpf_htons(ARP_HARDWARE_ETHERNET) || arp->protocol_type != bpf_htons(ETH_P_IP) ||
		arp->hardware_length != ETH_ALEN || arp->protocol_length != 4)
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);

	__builtin_memcpy(&sender_be, arp->sender_address_be, sizeof(sender_be));
	__builtin_memcpy(&target_be, arp->target_address_be, sizeof(target_be));
	if (arp->operation != bpf_htons(ARP_REQUEST) || target_be != gateway_address_be)
		return drop_of(skb, worker, WORKER_DROP_ARP);
	/* From 0.0.0.0 it is a probe for a duplicate (RFC 5227 section 2.1.1): the address is taken. */
	if (sender_be != worker->address_be && sender_be != 0)
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_SOURCE);
	if (mac_of(arp->sender_mac).word != source.word || !mac_learn(worker, source))
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_MAC);

	__builtin_memcpy(ethernet->h_dest, source.bytes, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, gateway_mac.bytes, ETH_ALEN);
	arp->operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp->target_mac, source.bytes, ETH_ALEN);
	__builtin_memcpy(arp->target_address_be, &sender_be, sizeof(sender_be));
	__builtin_memcpy(arp->sender_mac, gateway_mac.bytes, ETH_ALEN);
	__builtin_memcpy(arp->sender_address_be, &gateway_address_be, sizeof(gateway_address_be));
	skb->mark = WORKER_DELIVERY_MARK;
	return bpf_redirect(skb->ifindex, 0);
}

/* The reason not to let a packet with this destination out; WORKER_DROP_COUNT when there is none. */
static __always_inline enum worker_drop destination_refused(
	struct __sk_buff *skb, const struct iphdr *ip, const struct worker_config *config)
{
	__be32 destination_be = ip->daddr;
	__u32 destination = bpf_ntohl(destination_be);
	__be16 port_be;

	if (destination >> 16 == METADATA_ADDRESS >> 16)
		return WORKER_DROP_METADATA;
	/* 224.0.0.0/4 is multicast; 240.0.0.0/4 is reserved and ends with the broadcast address. */
	if (destination >> 29 == 7)
		return WORKER_DROP_MULTICAST;
	if (destination_be == config->vtep_be || bpf_map_lookup_elem(&gateways, &destination_be))
		return WORKER_DROP_UNDERLAY;
	if (ip->protocol == IPPROTO_UDP && ipv4_has_transport(ip)) {
		if (bpf_ntohs(ip->tot_len) < ipv4_header_bytes(ip) + sizeof(struct udphdr))
			return WORKER_DROP_MALFORMED;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + ipv4_header_bytes(ip) + offsetof(struct udphdr, dest), &port_be,
			    sizeof(port_be)) != 0)
			return WORKER_DROP_MALFORMED;
		if (port_be == bpf_htons(WORKER_VXLAN_PORT))
			return WORKER_DROP_UNDERLAY;
	}
	return WORKER_DROP_COUNT;
}

/* RFC 2474; the two bits of ECN stay. The checksum follows by RFC 1624, equation 3. */
static __always_inline void dscp_set(struct iphdr *ip, __u8 dscp)
{
	__u16 *first = (__u16 *)ip, before = *first;
	__u32 sum;

	ip->tos = (__u8)(dscp << DSCP_SHIFT) | (ip->tos & ECN_MASK);
	sum = (__u16)~ip->check + (__u16)~before + *first;
	ip->check = checksum_fold(sum);
}

static __always_inline void count_sent(struct worker_value *worker, __u32 packets, __u32 bytes)
{
	__u32 index = worker->workspace_index;
	struct workspace_traffic *traffic = bpf_map_lookup_elem(&workspace_counters, &index);

	if (traffic) {
		traffic->out_packets += packets;
		traffic->out_bytes += bytes;
	}
	__sync_fetch_and_add(&worker->traffic.out_packets, packets);
	__sync_fetch_and_add(&worker->traffic.out_bytes, bytes);
}

static __always_inline int encapsulate(struct __sk_buff *skb, struct worker_value *worker,
	const struct worker_config *config, const struct workspace_value *workspace, __u32 packets, __u32 total_bytes)
{
	struct bpf_tunnel_key key = {
		.tunnel_id = worker->vni,
		.local_ipv4 = bpf_ntohl(worker->vtep_be),
		.tunnel_ttl = TUNNEL_TTL,
	};
	__be32 gateway_be = *(const volatile __be32 *)&workspace->gateway_be;
	__u32 mtu_bytes = 0;

	if (gateway_be == 0)
		return drop_of(skb, worker, WORKER_DROP_NO_GATEWAY);
	key.remote_ipv4 = bpf_ntohl(gateway_be);
	/* What the operator has set is meant for the underlay, too; a worker's own choice is not. */
	if (workspace->dscp & WORKSPACE_DSCP_SET)
		key.tunnel_tos = (__u8)(workspace->dscp << DSCP_SHIFT);
	/* A redirect to a device that has gone loses the packet uncounted; bpf_check_mtu() tells by -ENODEV. */
	if (config->vxlan_ifindex == 0 || bpf_check_mtu(skb, config->vxlan_ifindex, &mtu_bytes, 0, 0) < 0)
		return drop_of(skb, worker, WORKER_DROP_TUNNEL);
	if (bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_ZERO_CSUM_TX) != 0)
		return drop_of(skb, worker, WORKER_DROP_TUNNEL);
	count_sent(worker, packets, total_bytes);
	/* A mark would take part in the host's routing of the outer packet, and is not the worker's to set. */
	skb->mark = 0;
	return bpf_redirect(config->vxlan_ifindex, 0);
}

/* Dropped and counted, and told to the worker. */
static __always_inline int refuse(
	struct __sk_buff *skb, struct worker_value *worker, enum worker_drop reason, __u32 code_and_mtu)
{
	int action = drop_of(skb, worker, reason);

	if (!answer_build(skb, worker, code_and_mtu))
		return action;
	if (worker->cgroup_id != 0) {
		skb->mark = 0;
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	}
	skb->mark = WORKER_DELIVERY_MARK;
	return bpf_redirect(skb->ifindex, 0);
}

/* A whole IPv4 packet of the worker's own, by what its workspace may do. */
static __always_inline int send_by_policy(struct __sk_buff *skb, struct worker_value *worker,
	const struct worker_config *config, struct ethhdr *ethernet, struct iphdr *ip)
{
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	__u32 index = worker->workspace_index, total_bytes = bpf_ntohs(ip->tot_len), packets, over;
	struct workspace_value *workspace = bpf_map_lookup_elem(&workspaces, &index);
	struct rule_packet packet;

	if (!workspace)
		return drop_of(skb, worker, WORKER_DROP_NO_GATEWAY);
	packets = segment_count(skb, ip);
	over = worker_limit(worker, workspace, packets, total_bytes);
	if (over != WORKER_DROP_COUNT)
		return drop_of(skb, worker, over);
	if (workspace->rule_set != 0 && rule_packet_read(skb, ip, &packet) &&
		rules_refuse(workspace->rule_set, ip->daddr,
			(__u32)packet.protocol << 24 | (__u32)packet.has_port << 16 | packet.port))
		return refuse(skb, worker, WORKER_DROP_DENIED, ICMP_CODE_PROHIBITED << 16);
	if (workspace->dscp & WORKSPACE_DSCP_SET)
		dscp_set(ip, (__u8)workspace->dscp);
	__builtin_memcpy(ethernet->h_dest, gateway_mac.bytes, ETH_ALEN);
	if (worker->cgroup_id != 0 &&
		!address_replace(skb, offsetof(struct iphdr, saddr), ip, config->uplink_address_be, worker->address_be))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	return encapsulate(skb, worker, config, workspace, packets, total_bytes);
}

/* The worker's DHCP client asks. */
static __always_inline int dhcp_answer(
	struct __sk_buff *skb, struct worker_value *worker, const struct worker_config *config, union mac_word source)
{
	if (config->dhcp_lease_s == 0)
		return drop_of(skb, worker, WORKER_DROP_DHCP);
	if (!mac_learn(worker, source))
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_MAC);
	if (!dhcp_answer_build(skb, worker, config))
		return drop_of(skb, worker, WORKER_DROP_DHCP);
	skb->mark = WORKER_DELIVERY_MARK;
	return bpf_redirect(skb->ifindex, 0);
}

SEC("tc")
int worker_ingress(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex, zero = 0, refused;
	struct worker_config *config;
	struct worker_value *worker;
	struct ethhdr *ethernet;
	union mac_word source;
	struct iphdr *ip;

	worker = bpf_map_lookup_elem(&workers, &ifindex);
	config = bpf_map_lookup_elem(&worker_config, &zero);
	if (!worker || !config)
		return drop_unadmitted(skb, ifindex, WORKER_DROP_UNKNOWN_INTERFACE, HEAD_ETHERNET);

	if (!frame_reach(skb, sizeof(*ethernet)))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	ethernet = (void *)(long)skb->data;
	if ((void *)(ethernet + 1) > (void *)(long)skb->data_end)
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	source = mac_of(ethernet->h_source);
	if (mac_is_spoofed(worker, source))
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_MAC);
	if (skb->vlan_present)
		return drop_of(skb, worker, WORKER_DROP_NOT_IPV4);
	if (ethernet->h_proto == bpf_htons(ETH_P_ARP))
		return arp_answer(skb, worker, source);
	if (ethernet->h_proto == bpf_htons(ETH_P_IPV6))
		return drop_of(skb, worker, WORKER_DROP_IPV6);
	if (ethernet->h_proto != bpf_htons(ETH_P_IP))
		return drop_of(skb, worker, WORKER_DROP_NOT_IPV4);

	if (!frame_reach(skb, sizeof(*ethernet) + sizeof(*ip)))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	ethernet = (void *)(long)skb->data;
	ip = (void *)(ethernet + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	if (!ipv4_is_whole(ip, skb->len - sizeof(*ethernet)))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	if (frame_has_tail(skb, bpf_ntohs(ip->tot_len))) {
		/* With its tail the kernel takes off how many packets it is. No stack sends both. */
		if (skb->gso_size != 0 || bpf_skb_change_tail(skb, sizeof(*ethernet) + bpf_ntohs(ip->tot_len), 0) != 0)
			return drop_of(skb, worker, WORKER_DROP_MALFORMED);
		ethernet = (void *)(long)skb->data;
		ip = (void *)(ethernet + 1);
		if ((void *)(ip + 1) > (void *)(long)skb->data_end)
			return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	}
	if ((ip->saddr != worker->address_be || ip->daddr == bpf_htonl(INADDR_BROADCAST) ||
		    ip->daddr == bpf_htonl(WORKER_GATEWAY_ADDRESS)) &&
		is_dhcp(skb, ip, worker->address_be))
		return dhcp_answer(skb, worker, config, source);
	if (ip->saddr != worker->address_be)
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_SOURCE);
	if (!mac_learn(worker, source))
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_MAC);
	refused = destination_refused(skb, ip, config);
	if (refused != WORKER_DROP_COUNT)
		return drop_of(skb, worker, refused);
	return send_by_policy(skb, worker, config, ethernet, ip);
}

/*
 * On the interface by which cgroups send (worker_host.cgroups.interface): what is theirs goes into the tunnel, and what is
 * the host's own way otherwise.
 */
SEC("tc")
int uplink_egress(struct __sk_buff *skb)
{
	__u32 zero = 0, key, refused;
	struct worker_config *config = bpf_map_lookup_elem(&worker_config, &zero);
	struct worker_value *worker;
	struct ethhdr *ethernet;
	struct iphdr *ip;

	if (!config || config->cgroup_level == 0 ||
		bpf_skb_ancestor_cgroup_id(skb, (int)config->cgroup_level) != config->cgroup_id)
		return mark_is_of_workers(skb->mark) ? drop(skb, WORKER_DROP_UNKNOWN_CGROUP) : TC_ACT_UNSPEC;
	if (!frame_reach(skb, sizeof(*ethernet) + sizeof(*ip)))
		return drop(skb, WORKER_DROP_MALFORMED);
	ethernet = (void *)(long)skb->data;
	ip = (void *)(ethernet + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return drop(skb, WORKER_DROP_MALFORMED);
	if (ethernet->h_proto == bpf_htons(ETH_P_IP) && is_tunnelled(skb, ip, config))
		return TC_ACT_UNSPEC;
	worker = cgroup_worker(skb, config, &key);
	if (!worker)
		return drop_unadmitted(skb, key, WORKER_DROP_UNKNOWN_CGROUP, HEAD_ETHERNET);
	if (skb->vlan_present || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return drop_of(skb, worker, WORKER_DROP_NOT_IPV4);
	if (!ipv4_is_whole(ip, skb->len - sizeof(*ethernet)) || frame_has_tail(skb, bpf_ntohs(ip->tot_len)))
		return drop_of(skb, worker, WORKER_DROP_MALFORMED);
	if (ip->saddr != config->uplink_address_be)
		return drop_of(skb, worker, WORKER_DROP_SPOOFED_SOURCE);
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return drop_of(skb, worker, WORKER_DROP_CGROUP_PROTOCOL);
	refused = destination_refused(skb, ip, config);
	if (refused != WORKER_DROP_COUNT)
		return drop_of(skb, worker, refused);
	if (wire_bytes(skb, ip) > config->mtu_bytes)
		return refuse(skb, worker, WORKER_DROP_TOO_BIG, ICMP_CODE_TOO_BIG << 16 | (config->mtu_bytes & 0xffff));
	return send_by_policy(skb, worker, config, ethernet, ip);
}

/*
 * Nothing reaches a worker but what reply_ingress, the ARP and the DHCP answer made for it: no neighbour, bridge or host
 * service.
 */
SEC("tc")
int worker_egress(struct __sk_buff *skb)
{
	if (skb->mark != WORKER_DELIVERY_MARK)
		return drop(skb, WORKER_DROP_EGRESS_FOREIGN);
	skb->mark = 0;
	return TC_ACT_UNSPEC;
}

static __always_inline int deliver(struct __sk_buff *skb, struct ethhdr *ethernet, __u32 vni, const struct iphdr *ip)
{
	struct delivery_key key = {.vni = vni, .address_be = ip->daddr};
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	struct workspace_traffic *traffic;
	struct worker_config *config = NULL;
	struct delivery_value *delivery;
	struct worker_value *worker;
	__u32 ifindex, index, zero = 0, packets = segment_count(skb, ip);
	union mac_word mac;

	delivery = bpf_map_lookup_elem(&deliveries, &key);
	if (!delivery)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	ifindex = delivery->ifindex;
	worker = bpf_map_lookup_elem(&workers, &ifindex);
	if (!worker)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	/* The two maps are filled one after the other; only where both say the same is it this worker's (P2). */
	if (worker->vni != vni || worker->address_be != key.address_be)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	if (worker->cgroup_id != 0) {
		config = bpf_map_lookup_elem(&worker_config, &zero);
		if (!config || config->cgroup_level == 0)
			return drop_of(skb, worker, WORKER_DROP_REPLY_UNKNOWN_WORKER);
		mac = mac_of(config->uplink_mac);
	} else {
		mac = worker_mac(worker);
	}
	if (mac.word == 0)
		return drop_of(skb, worker, WORKER_DROP_REPLY_UNKNOWN_WORKER);

	__builtin_memcpy(ethernet->h_dest, mac.bytes, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, gateway_mac.bytes, ETH_ALEN);
	index = worker->workspace_index;
	traffic = bpf_map_lookup_elem(&workspace_counters, &index);
	if (traffic) {
		traffic->in_packets += packets;
		traffic->in_bytes += bpf_ntohs(ip->tot_len);
	}
	__sync_fetch_and_add(&worker->traffic.in_packets, packets);
	__sync_fetch_and_add(&worker->traffic.in_bytes, bpf_ntohs(ip->tot_len));
	/* As if it came in by the uplink, where uplink_ingress takes it over. */
	if (config) {
		skb->mark = ifindex;
		return bpf_redirect(config->uplink_ifindex, BPF_F_INGRESS);
	}
	skb->mark = WORKER_DELIVERY_MARK;
	return bpf_redirect(ifindex, 0);
}

SEC("tc")
int reply_ingress(struct __sk_buff *skb)
{
	struct bpf_tunnel_key key = {};
	struct ethhdr *ethernet;
	struct iphdr *ip;
	__be32 remote_be;

	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), 0) != 0)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_GATEWAY);
	remote_be = bpf_htonl(key.remote_ipv4);
	if (!bpf_map_lookup_elem(&gateways, &remote_be))
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_GATEWAY);

	if (skb->vlan_present || !frame_reach(skb, sizeof(*ethernet) + sizeof(*ip)))
		return drop(skb, WORKER_DROP_REPLY_MALFORMED);
	ethernet = (void *)(long)skb->data;
	ip = (void *)(ethernet + 1);
	if ((void *)(ip + 1) > (void *)(long)skb->data_end)
		return drop(skb, WORKER_DROP_REPLY_MALFORMED);
	if (ethernet->h_proto != bpf_htons(ETH_P_IP) || !ipv4_is_whole(ip, skb->len - sizeof(*ethernet)))
		return drop(skb, WORKER_DROP_REPLY_MALFORMED);
	return deliver(skb, ethernet, key.tunnel_id, ip);
}

char program_license[] SEC("license") = "GPL";
