/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DHCP (RFC 2131), answered on the spot where worker_host.dhcp says so: the worker's pinned address as a /32, behind a
 * gateway on the link (RFC 3442). There is nothing to lease and so no state: whoever asks gets the same each time.
 */
#ifndef POSTERN_BPF_WORKER_DHCP_H
#define POSTERN_BPF_WORKER_DHCP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/frame.h"
#include "bpf/maps.h"
#include "bpf/worker_limit.h"
#include "bpf/worker_rules.h"

enum {
	DHCP_SERVER_PORT = 67,
	DHCP_CLIENT_PORT = 68,
	DHCP_FLAG_BROADCAST = 0x8000,
	DHCP_MAGIC = 0x63825363,
	DHCP_NAMES_BYTES = 64, /* sname, and each half of file */
	DHCP_OPTION_STEPS_MAX = 64,
	DHCP_TTL = 64,

	BOOTP_REQUEST = 1,
	BOOTP_REPLY = 2,
	BOOTP_ETHERNET = 1,

	/* Options: RFC 2132, RFC 3442 */
	DHCP_OPTION_PAD = 0,
	DHCP_OPTION_MASK = 1,
	DHCP_OPTION_ROUTER = 3,
	DHCP_OPTION_MTU = 26,
	DHCP_OPTION_REQUESTED = 50,
	DHCP_OPTION_LEASE = 51,
	DHCP_OPTION_TYPE = 53,
	DHCP_OPTION_SERVER = 54,
	DHCP_OPTION_ROUTES = 121,
	DHCP_OPTION_END = 255,

	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_ACK = 5,
	DHCP_NAK = 6,
	DHCP_INFORM = 8,
};

struct bootp {
	__u8 operation, hardware_type, hardware_length, hops;
	__be32 transaction;
	__be16 seconds, flags_be;
	__be32 client_be, your_be, server_be, relay_be;
	__u8 hardware_address[16];
};

struct dhcp_head {
	struct iphdr ip;
	struct udphdr udp;
	struct bootp bootp;
};

/* In this order on the wire; what is not said is padding. */
struct dhcp_options {
	__be32 magic_be;
	__u8 type[3], server[6], lease[6], mask[6], router[6], mtu[4], routes[16], dns[WORKER_DNS_OPTION_BYTES];
	__u8 end, padding[2];
} __attribute__((packed));

enum {
	DHCP_OPTIONS_OFFSET = ETH_HLEN + sizeof(struct dhcp_head) + 3 * DHCP_NAMES_BYTES,
	DHCP_ANSWER_BYTES = DHCP_OPTIONS_OFFSET + sizeof(struct dhcp_options),
};

struct dhcp_asked {
	__u8 type; /* 0: not said */
	__be32 requested_be, server_be;
};

/* A client's message to whatever server there is, or to us; not from somebody else's address. */
static __always_inline int is_dhcp(struct __sk_buff *skb, const struct iphdr *ip, __be32 worker_be)
{
	__be16 port_be;

	if (ip->saddr != 0 && (ip->saddr != worker_be || (ip->daddr != bpf_htonl(INADDR_BROADCAST) &&
								 ip->daddr != bpf_htonl(WORKER_GATEWAY_ADDRESS))))
		return 0;
	return ip->protocol == IPPROTO_UDP && ipv4_has_transport(ip) &&
	       bpf_skb_load_bytes(skb, ETH_HLEN + ipv4_header_bytes(ip) + offsetof(struct udphdr, dest), &port_be,
		       sizeof(port_be)) == 0 &&
	       port_be == bpf_htons(DHCP_SERVER_PORT);
}

/* False: they do not end, or a value has not the length that it must have. */
static __noinline int dhcp_options_read(struct __sk_buff *skb, __u32 offset, struct dhcp_asked *ret_asked)
{
	struct dhcp_asked asked = {};

	if (!ret_asked)
		return 0;
	for (__u32 i = 0; i < DHCP_OPTION_STEPS_MAX; i++) {
		__u8 option[2] = {}, length;
		__be32 value_be = 0;

		if (bpf_skb_load_bytes(skb, offset, option, 1) != 0)
			return 0;
		if (option[0] == DHCP_OPTION_END) {
			*ret_asked = asked;
			return 1;
		}
		if (option[0] == DHCP_OPTION_PAD) {
			offset++;
			continue;
		}
		if (bpf_skb_load_bytes(skb, offset, option, 2) != 0)
			return 0;
		length = option[1];
		offset += 2;
		if (option[0] == DHCP_OPTION_TYPE) {
			if (length != 1 || bpf_skb_load_bytes(skb, offset, &asked.type, 1) != 0)
				return 0;
		} else if (option[0] == DHCP_OPTION_REQUESTED || option[0] == DHCP_OPTION_SERVER) {
			if (length != 4 || bpf_skb_load_bytes(skb, offset, &value_be, sizeof(value_be)) != 0)
				return 0;
			if (option[0] == DHCP_OPTION_REQUESTED)
				asked.requested_be = value_be;
			else
				asked.server_be = value_be;
		}
		offset += length;
	}
	return 0;
}

/* The answer's type; 0: none. RFC 2131 section 4.3. */
static __always_inline __u8 dhcp_decide(
	const struct dhcp_asked *asked, const struct bootp *bootp, const struct worker_value *worker)
{
	const __be32 server_be = bpf_htonl(WORKER_GATEWAY_ADDRESS);
	__be32 wanted_be = asked->requested_be != 0 ? asked->requested_be : bootp->client_be;

	if (asked->type == DHCP_DISCOVER)
		return DHCP_OFFER;
	if (asked->server_be != 0 && asked->server_be != server_be)
		return 0; /* the client has chosen another one */
	if (asked->type == DHCP_INFORM)
		return bootp->client_be == worker->address_be ? DHCP_ACK : DHCP_NAK;
	if (asked->type == DHCP_REQUEST)
		return wanted_be == worker->address_be ? DHCP_ACK : DHCP_NAK;
	return 0;
}

static __always_inline void dhcp_put_address(__u8 option[6], __u8 code, __be32 value_be)
{
	option[0] = code;
	option[1] = 4;
	__builtin_memcpy(option + 2, &value_be, sizeof(value_be));
}

static __always_inline void dhcp_options_build(
	struct dhcp_options *options, const struct worker_config *config, __u8 type, int leases)
{
	const __be32 server_be = bpf_htonl(WORKER_GATEWAY_ADDRESS);

	options->magic_be = bpf_htonl(DHCP_MAGIC);
	options->type[0] = DHCP_OPTION_TYPE;
	options->type[1] = 1;
	options->type[2] = type;
	dhcp_put_address(options->server, DHCP_OPTION_SERVER, server_be);
	options->end = DHCP_OPTION_END;
	if (type == DHCP_NAK)
		return;
	if (leases)
		dhcp_put_address(options->lease, DHCP_OPTION_LEASE, bpf_htonl(config->dhcp_lease_s));
	dhcp_put_address(options->mask, DHCP_OPTION_MASK, bpf_htonl(0xffffffff));
	dhcp_put_address(options->router, DHCP_OPTION_ROUTER, server_be);
	options->mtu[0] = DHCP_OPTION_MTU;
	options->mtu[1] = 2;
	options->mtu[2] = (__u8)(config->mtu_bytes >> 8);
	options->mtu[3] = (__u8)config->mtu_bytes;
	/* The gateway is on the link, and everything else behind it. */
	options->routes[0] = DHCP_OPTION_ROUTES;
	options->routes[1] = 14;
	options->routes[2] = 32;
	__builtin_memcpy(options->routes + 3, &server_be, 4);
	__builtin_memcpy(options->routes + 12, &server_be, 4);
	__builtin_memcpy(options->dns, config->dns_option, sizeof(options->dns));
}

/* Where the answer goes to: to everybody while the client has no address, if it says so (section 4.1). */
static __always_inline __be32 dhcp_head_build(struct dhcp_head *head, const struct worker_value *worker, __u8 type)
{
	struct bootp *bootp = &head->bootp;
	int to_all = type == DHCP_NAK || (bootp->client_be == 0 && (bootp->flags_be & bpf_htons(DHCP_FLAG_BROADCAST)));

	bootp->operation = BOOTP_REPLY;
	bootp->hops = 0;
	bootp->seconds = 0;
	bootp->server_be = 0;
	if (type == DHCP_NAK)
		bootp->client_be = 0;
	bootp->your_be = type == DHCP_NAK ? 0 : worker->address_be;
	__builtin_memset(&head->ip, 0, sizeof(head->ip));
	head->ip.version = 4;
	head->ip.ihl = sizeof(head->ip) / 4;
	head->ip.tot_len = bpf_htons(DHCP_ANSWER_BYTES - ETH_HLEN);
	head->ip.ttl = DHCP_TTL;
	head->ip.protocol = IPPROTO_UDP;
	head->ip.saddr = bpf_htonl(WORKER_GATEWAY_ADDRESS);
	head->ip.daddr = to_all ? bpf_htonl(INADDR_BROADCAST) : worker->address_be;
	head->ip.check = checksum_fold((__u32)bpf_csum_diff(0, 0, (__be32 *)&head->ip, sizeof(head->ip), 0));
	head->udp.source = bpf_htons(DHCP_SERVER_PORT);
	head->udp.dest = bpf_htons(DHCP_CLIENT_PORT);
	head->udp.len = bpf_htons(DHCP_ANSWER_BYTES - ETH_HLEN - sizeof(head->ip));
	head->udp.check = 0;
	return head->ip.daddr;
}

/* Turns the client's message into its answer. False: it gets none, and was perhaps changed. */
static __noinline int dhcp_answer_build(
	struct __sk_buff *skb, struct worker_value *worker, const struct worker_config *config)
{
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	const __u64 zeros[DHCP_NAMES_BYTES / sizeof(__u64)] = {};
	struct dhcp_options options = {};
	struct dhcp_asked asked;
	struct dhcp_head head;
	__u8 macs[2 * ETH_ALEN], type, informs;

	if (!worker || !config)
		return 0;
	/* A client's IP header has no options. */
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &head, sizeof(head)) != 0 || head.ip.ihl != sizeof(head.ip) / 4 ||
		head.bootp.operation != BOOTP_REQUEST || head.bootp.hardware_type != BOOTP_ETHERNET ||
		head.bootp.hardware_length != ETH_ALEN || head.bootp.relay_be != 0 ||
		mac_of(head.bootp.hardware_address).word != mac_of(worker->mac).word)
		return 0;
	if (bpf_skb_load_bytes(skb, DHCP_OPTIONS_OFFSET, &options.magic_be, sizeof(options.magic_be)) != 0 ||
		options.magic_be != bpf_htonl(DHCP_MAGIC) ||
		!dhcp_options_read(skb, DHCP_OPTIONS_OFFSET + sizeof(options.magic_be), &asked))
		return 0;
	type = dhcp_decide(&asked, &head.bootp, worker);
	informs = asked.type == DHCP_INFORM;
	if (type == 0 || !bucket_take(&worker->answers_full_ns, bpf_ktime_get_ns(), ANSWER_INTERVAL_NS,
				 (__u64)ANSWER_INTERVAL_NS * ANSWER_BURST))
		return 0;
	if (dhcp_head_build(&head, worker, type) == bpf_htonl(INADDR_BROADCAST))
		__builtin_memset(macs, 0xff, ETH_ALEN);
	else
		__builtin_memcpy(macs, head.bootp.hardware_address, ETH_ALEN);
	if (informs)
		head.bootp.your_be = 0;
	__builtin_memcpy(macs + ETH_ALEN, gateway_mac.bytes, ETH_ALEN);
	dhcp_options_build(&options, config, type, !informs);
	if (bpf_skb_change_tail(skb, DHCP_ANSWER_BYTES, 0) != 0 ||
		bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0) != 0 ||
		bpf_skb_store_bytes(skb, ETH_HLEN, &head, sizeof(head), 0) != 0)
		return 0;
	for (__u32 i = 0; i < 3; i++)
		if (bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(head) + i * sizeof(zeros), zeros, sizeof(zeros), 0) != 0)
			return 0;
	return bpf_skb_store_bytes(skb, DHCP_OPTIONS_OFFSET, &options, sizeof(options), 0) == 0;
}

#endif
