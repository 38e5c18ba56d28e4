/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading a frame in a BPF program: the checks that the tc and the XDP programs share. Pure functions of pointers;
 * every access is inside [data, data_end) or the answer is "no".
 */
#ifndef POSTERN_BPF_FRAME_H
#define POSTERN_BPF_FRAME_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
	IPV4_HEADER_MIN_BYTES = 20,
	FRAGMENT_MORE = 0x2000,
	FRAGMENT_OFFSET_MASK = 0x1fff,
};

/* A MAC and two zero bytes, so that it can be compared and swapped at once. */
union mac_word {
	__u8 bytes[8];
	__u64 word;
};

static __always_inline union mac_word mac_of(const __u8 *mac)
{
	union mac_word word = {};

	__builtin_memcpy(word.bytes, mac, ETH_ALEN);
	return word;
}

static __always_inline __u32 ipv4_header_bytes(const struct iphdr *ip)
{
	return (__u32)ip->ihl * 4;
}

/* Version, IHL and total length agree with each other and with what came behind the Ethernet header. */
static __always_inline int ipv4_is_whole(const struct iphdr *ip, __u32 available_bytes)
{
	__u32 total_bytes = bpf_ntohs(ip->tot_len);

	return ip->version == 4 && ipv4_header_bytes(ip) >= IPV4_HEADER_MIN_BYTES &&
	       total_bytes >= ipv4_header_bytes(ip) && total_bytes <= available_bytes;
}

static __always_inline int ipv4_is_fragment(const struct iphdr *ip)
{
	return (ip->frag_off & bpf_htons(FRAGMENT_MORE | FRAGMENT_OFFSET_MASK)) != 0;
}

/* The transport header is in this packet: whole, or the first fragment. */
static __always_inline int ipv4_has_transport(const struct iphdr *ip)
{
	return (ip->frag_off & bpf_htons(FRAGMENT_OFFSET_MASK)) == 0;
}

#endif
