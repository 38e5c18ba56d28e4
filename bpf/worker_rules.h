/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The workspace's egress rules on the worker host, so that refused traffic does not cross the network, and the answer
 * to what is refused. What this host cannot know (a session that an earlier rule has allowed, the ports of a later
 * fragment, a rule beyond the entries of a region) is left to the gateway, which looks at everything anew.
 */
#ifndef POSTERN_BPF_WORKER_RULES_H
#define POSTERN_BPF_WORKER_RULES_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/frame.h"
#include "bpf/maps.h"
#include "bpf/worker_limit.h"
#include "bpf/worker_maps.h"

enum {
	RULE_SET_BITS = 32,
	TCP_PORTS_AND_FLAGS_BYTES = 14,
	TCP_FLAG_SYN = 0x02,
	TCP_FLAG_ACK = 0x10,
	ICMP_TYPE_ECHO = 8,
	ICMP_TYPE_UNREACHABLE = 3,
	ICMP_CODE_TOO_BIG = 4,	   /* RFC 1191 */
	ICMP_CODE_PROHIBITED = 13, /* communication administratively prohibited, RFC 1812 section 5.2.7.1 */
	ICMP_HEADER_BYTES = 8,
	QUOTED_BYTES = IPV4_HEADER_MIN_BYTES + 8, /* RFC 792 */
	ANSWER_TTL = 64,
	ANSWER_INTERVAL_NS = 10 * 1000 * 1000, /* RFC 1812 section 4.3.2.8 */
	ANSWER_BURST = 20,
};

/* What of the transport header the rules look at. */
struct rule_packet {
	__u8 protocol;
	__u8 has_port;
	__u16 port;
};

/* False: no rule can be about this packet alone. */
static __always_inline int rule_packet_read(
	struct __sk_buff *skb, const struct iphdr *ip, struct rule_packet *ret_packet)
{
	__u32 offset = sizeof(struct ethhdr) + ipv4_header_bytes(ip);
	__u8 head[TCP_PORTS_AND_FLAGS_BYTES] = {0};

	ret_packet->protocol = ip->protocol;
	ret_packet->has_port = 0;
	ret_packet->port = 0;
	if (!ipv4_has_transport(ip))
		return 1;
	switch (ip->protocol) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, offset, head, TCP_PORTS_AND_FLAGS_BYTES) != 0)
			return 0;
		/* A session is opened by a SYN alone; the rest belongs to one that the gateway knows, or refuses. */
		if ((head[13] & (TCP_FLAG_SYN | TCP_FLAG_ACK)) != TCP_FLAG_SYN)
			return 0;
		break;
	case IPPROTO_UDP:
		if (bpf_skb_load_bytes(skb, offset, head, 4) != 0)
			return 0;
		break;
	case IPPROTO_ICMP:
		/* An error is about a session of the gateway's. */
		return bpf_skb_load_bytes(skb, offset, head, 1) == 0 && head[0] == ICMP_TYPE_ECHO;
	default:
		return 1;
	}
	ret_packet->has_port = 1;
	ret_packet->port = (__u16)(head[2] << 8 | head[3]);
	return 1;
}

static __always_inline int rule_ports_are_any(const struct rule_entry *entry)
{
	return entry->port_first == 0 && entry->port_last == 0xffff;
}

/* 1: the packet is refused. */
static __noinline int rules_refuse(__u32 set, __be32 destination_be, __u32 protocol_and_port)
{
	struct rule_key key = {
		.prefix_length_bits = RULE_SET_BITS + 32,
		.set_be = bpf_htonl(set),
		.address_be = destination_be,
	};
	const struct rule_packet packet = {
		.protocol = (__u8)(protocol_and_port >> 24),
		.has_port = (__u8)(protocol_and_port >> 16 & 1),
		.port = (__u16)protocol_and_port,
	};
	struct rule_region *region = bpf_map_lookup_elem(&rules, &key);

	if (!region)
		return 0;
	for (__u32 i = 0; i < BPF_RULE_ENTRY_COUNT_MAX; i++) {
		const struct rule_entry *entry = &region->entries[i];

		if (i >= region->entry_count)
			break;
		if (entry->protocol != 0 && entry->protocol != packet.protocol)
			continue;
		if (!rule_ports_are_any(entry)) {
			if (!packet.has_port)
				return 0;
			if (packet.port < entry->port_first || packet.port > entry->port_last)
				continue;
		}
		return entry->verdict == RULE_DENY;
	}
	return region->verdict == RULE_DENY;
}

static __always_inline __u16 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

struct answer {
	struct iphdr ip;
	__u8 type, code;
	__be16 checksum, unused, mtu_be;
	__u8 quoted[QUOTED_BYTES];
};

/*
 * Turns the refused packet into the ICMP error about it, as the gateway would have sent it: a refusal is told (P12), at
 * most as often as the gateway tells, and never about a fragment but the first, nor about another error (RFC 1122 section
 * 3.2.2). `code_and_mtu`: the code, 16 bits up, and the MTU of "too big". False: it is not to be answered, and was perhaps
 * changed.
 */
static __noinline int answer_build(struct __sk_buff *skb, struct worker_value *worker, __u32 code_and_mtu)
{
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	struct answer answer = {};
	__u8 macs[2 * ETH_ALEN];

	if (!worker)
		return 0;
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), answer.quoted, QUOTED_BYTES) != 0 ||
		(answer.quoted[0] & 0xf) != 5 || !ipv4_has_transport((const struct iphdr *)answer.quoted))
		return 0;
	if (!bucket_take(&worker->answers_full_ns, bpf_ktime_get_ns(), ANSWER_INTERVAL_NS,
		    (__u64)ANSWER_INTERVAL_NS * ANSWER_BURST))
		return 0;
	answer.ip.version = 4;
	answer.ip.ihl = sizeof(answer.ip) / 4;
	answer.ip.tot_len = bpf_htons(sizeof(answer));
	answer.ip.ttl = ANSWER_TTL;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.saddr = bpf_htonl(WORKER_GATEWAY_ADDRESS);
	__builtin_memcpy(&answer.ip.daddr, answer.quoted + offsetof(struct iphdr, saddr), sizeof(answer.ip.daddr));
	answer.type = ICMP_TYPE_UNREACHABLE;
	answer.code = (__u8)(code_and_mtu >> 16);
	answer.mtu_be = bpf_htons((__u16)code_and_mtu);
	answer.ip.check = checksum_fold((__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.ip, sizeof(answer.ip), 0));
	answer.checksum = checksum_fold(
		(__u32)bpf_csum_diff(0, 0, (__be32 *)&answer.type, sizeof(answer) - sizeof(answer.ip), 0));
	if (bpf_skb_load_bytes(skb, ETH_ALEN, macs, ETH_ALEN) != 0)
		return 0;
	__builtin_memcpy(macs + ETH_ALEN, gateway_mac.bytes, ETH_ALEN);
	return bpf_skb_change_tail(skb, sizeof(struct ethhdr) + sizeof(answer), 0) == 0 &&
	       bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) == 0 &&
	       bpf_skb_store_bytes(skb, sizeof(struct ethhdr), &answer, sizeof(answer), 0) == 0;
}

#endif
