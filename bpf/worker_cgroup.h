/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Workers that are cgroups: processes in the host's own network namespace, without an interface of their own. Who sends
 * is told by the socket's cgroup, and who is sent to by the socket that would receive it.
 *
 *   socket ── cgroup_egress ── the host's routing ── uplink_egress ── source: the worker's ──> VXLAN device ──> gateway
 *   socket <── cgroup_ingress <── destination: the host's ── uplink_ingress <── reply_ingress ── VXLAN device <── gateway
 *
 * cgroup_egress is on worker_host.cgroups.path, above all of these cgroups: nothing leaves them but by the uplink, where
 * uplink_egress waits, or to another socket of the same worker. To the host's own traffic both programs on the uplink say
 * nothing.
 */
#ifndef POSTERN_BPF_WORKER_CGROUP_H
#define POSTERN_BPF_WORKER_CGROUP_H

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
#include "bpf/worker_drop.h"
#include "bpf/worker_maps.h"
#include "bpf/worker_rules.h"

enum {
	LOOPBACK_IFINDEX = 1,
	LOOPBACK_BROADCAST = 0x7fffffff,
	IPV6_HEADER_BYTES = 40,
	IPV6_NEXT_HEADER_OFFSET = 6,
	IPV6_ADDRESSES_OFFSET = 8,
	IPV6_MULTICAST = 0xff,
	PORTS_BYTES = 4,
	TCP_LENGTH_OFFSET = 12,
	SEGMENT_HEAD_UNKNOWN = 1 << 24, /* larger than any packet */
	TCP_CHECKSUM_OFFSET = 16,
	ICMP_CHECKSUM_OFFSET = 2,
	ICMP_TYPE_TIME_EXCEEDED = 11,
	ICMP_TYPE_PARAMETER_PROBLEM = 12,
	FAMILY_IPV4 = 2, /* AF_INET, AF_INET6; <sys/socket.h> needs the C library */
	FAMILY_IPV6 = 10,
	PROTOCOL_SMC = 256,
	PROTOCOL_MPTCP = 262,
	CGROUP_PASS = 1,
	CGROUP_DROP = 0,
};

/* The worker that the socket belongs to. NULL: none is open; `ret_key` is then the one that waits, or 0. */
static __always_inline struct worker_value *cgroup_worker(
	struct __sk_buff *skb, const struct worker_config *config, __u32 *ret_key)
{
	*ret_key = 0;
	for (__u32 depth = 1; depth <= CGROUP_DEPTH_MAX; depth++) {
		__u64 id = bpf_skb_ancestor_cgroup_id(skb, (int)(config->cgroup_level + depth));
		__u32 key = CGROUP_KEY(id);
		struct worker_value *worker;

		if (id == 0)
			return NULL;
		worker = bpf_map_lookup_elem(&workers, &key);
		/* The key has half of the id's bits. */
		if (worker && worker->cgroup_id == id)
			return worker;
		if (*ret_key == 0 && bpf_map_lookup_elem(&claims, &key))
			*ret_key = key;
	}
	return NULL;
}

static __always_inline int socket_is_of(
	struct bpf_sock *socket, const struct worker_config *config, const struct worker_value *worker)
{
	for (__u32 depth = 1; depth <= CGROUP_DEPTH_MAX; depth++)
		if (bpf_sk_ancestor_cgroup_id(socket, (int)(config->cgroup_level + depth)) == worker->cgroup_id)
			return 1;
	return 0;
}

/* The socket that would receive what comes in with this tuple; to be released. */
static __always_inline struct bpf_sock *socket_find(
	struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 tuple_bytes, __u8 protocol)
{
	if (protocol == IPPROTO_TCP)
		return bpf_sk_lookup_tcp(skb, tuple, tuple_bytes, BPF_F_CURRENT_NETNS, 0);
	return bpf_sk_lookup_udp(skb, tuple, tuple_bytes, BPF_F_CURRENT_NETNS, 0);
}

/* ---- from the worker ---- */

/* To several sockets at once, of which the one that is found is not the only one. */
static __always_inline int ipv4_is_to_many(__be32 destination_be)
{
	return bpf_ntohl(destination_be) >> 29 == 7 || destination_be == bpf_htonl(LOOPBACK_BROADCAST);
}

/* Also the host's own services listen on loopback, and other workers: only what stays in the worker passes. */
static __always_inline int loopback_is_own(
	struct __sk_buff *skb, const struct worker_config *config, const struct worker_value *worker)
{
	struct bpf_sock_tuple tuple = {};
	__u32 offset = IPV6_HEADER_BYTES, tuple_bytes = sizeof(tuple.ipv6);
	struct bpf_sock *socket;
	struct iphdr ip;
	__u8 protocol;
	int own;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) != 0 || ipv4_is_fragment(&ip) ||
			ipv4_is_to_many(ip.daddr))
			return 0;
		protocol = ip.protocol;
		offset = ipv4_header_bytes(&ip);
		tuple_bytes = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = ip.saddr;
		tuple.ipv4.daddr = ip.daddr;
		if (bpf_skb_load_bytes(skb, offset, &tuple.ipv4.sport, PORTS_BYTES) != 0)
			return 0;
	} else if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
		   bpf_skb_load_bytes(skb, IPV6_NEXT_HEADER_OFFSET, &protocol, 1) != 0 ||
		   bpf_skb_load_bytes(skb, IPV6_ADDRESSES_OFFSET, &tuple.ipv6.saddr, 2 * sizeof(tuple.ipv6.saddr)) !=
			   0 ||
		   (bpf_ntohl(tuple.ipv6.daddr[0]) >> 24) == IPV6_MULTICAST ||
		   bpf_skb_load_bytes(skb, offset, &tuple.ipv6.sport, PORTS_BYTES) != 0) {
		return 0;
	}
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return 0;
	socket = socket_find(skb, &tuple, tuple_bytes, protocol);
	if (!socket)
		return 0;
	own = socket_is_of(socket, config, worker);
	bpf_sk_release(socket);
	return own;
}

static __always_inline int cgroup_refused(struct __sk_buff *skb, struct worker_value *worker, enum worker_drop reason)
{
	drop_of_at(skb, worker, reason, HEAD_NONE);
	return CGROUP_DROP;
}

/*
 * Of every socket below worker_host.cgroups.path. To the tunnel's own ends nobody may send: what a worker had wrapped
 * itself would be taken for wrapped by us.
 */
SEC("cgroup_skb/egress")
int cgroup_egress(struct __sk_buff *skb)
{
	struct worker_config *config;
	struct worker_value *worker;
	__u32 zero = 0, key;
	__be32 destination_be;

	config = bpf_map_lookup_elem(&worker_config, &zero);
	if (!config || config->cgroup_level == 0) {
		drop_at(skb, WORKER_DROP_UNKNOWN_CGROUP, HEAD_NONE);
		return CGROUP_DROP;
	}
	worker = cgroup_worker(skb, config, &key);
	if (!worker) {
		drop_unadmitted(skb, key, WORKER_DROP_UNKNOWN_CGROUP, HEAD_NONE);
		return CGROUP_DROP;
	}
	if (skb->ifindex == LOOPBACK_IFINDEX)
		return loopback_is_own(skb, config, worker) ? CGROUP_PASS
							    : cgroup_refused(skb, worker, WORKER_DROP_CGROUP_LOCAL);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return cgroup_refused(skb, worker, WORKER_DROP_IPV6);
	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->ifindex != config->uplink_ifindex)
		return cgroup_refused(skb, worker, WORKER_DROP_CGROUP_INTERFACE);
	if (bpf_skb_load_bytes(skb, offsetof(struct iphdr, daddr), &destination_be, sizeof(destination_be)) != 0)
		return cgroup_refused(skb, worker, WORKER_DROP_MALFORMED);
	if (destination_be == config->vtep_be || bpf_map_lookup_elem(&gateways, &destination_be))
		return cgroup_refused(skb, worker, WORKER_DROP_UNDERLAY);
	return CGROUP_PASS;
}

/* To a socket of theirs comes what uplink_ingress has let through, and what stays on the host; nothing of the underlay. */
SEC("cgroup_skb/ingress")
int cgroup_ingress(struct __sk_buff *skb)
{
	if (skb->mark == WORKER_DELIVERY_MARK || skb->ifindex == LOOPBACK_IFINDEX)
		return CGROUP_PASS;
	drop_at(skb, WORKER_DROP_EGRESS_FOREIGN, HEAD_NONE);
	return CGROUP_DROP;
}

/*
 * Resets and late acknowledgements are sent by a socket of the kernel's, which has no cgroup, but takes over the mark.
 * Without a worker to send them as, they would bear the host's address. Under these two protocols the kernel opens TCP
 * sockets in the worker's name that do not come by here, and whose resets would bear no mark.
 */
SEC("cgroup/sock_create")
int cgroup_socket(struct bpf_sock *socket)
{
	if (socket->protocol == PROTOCOL_MPTCP || socket->protocol == PROTOCOL_SMC)
		return CGROUP_DROP;
	socket->mark = WORKER_SOCKET_MARK;
	return CGROUP_PASS;
}

/* One address for another, in IP header and checksums. False: the packet is cut short. */
static __always_inline int address_replace(
	struct __sk_buff *skb, __u32 address_offset, const struct iphdr *ip, __be32 from_be, __be32 to_be)
{
	__u32 transport_offset = ETH_HLEN + ipv4_header_bytes(ip);
	__u8 protocol = ip->protocol;
	int error = 0;

	if (ipv4_has_transport(ip) && protocol == IPPROTO_TCP)
		error = bpf_l4_csum_replace(skb, transport_offset + TCP_CHECKSUM_OFFSET, from_be, to_be,
			BPF_F_PSEUDO_HDR | sizeof(from_be));
	else if (ipv4_has_transport(ip) && protocol == IPPROTO_UDP)
		error = bpf_l4_csum_replace(skb, transport_offset + offsetof(struct udphdr, check), from_be, to_be,
			BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0 | sizeof(from_be));
	return error == 0 &&
	       bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from_be, to_be, sizeof(from_be)) ==
		       0 &&
	       bpf_skb_store_bytes(skb, ETH_HLEN + address_offset, &to_be, sizeof(to_be), 0) == 0;
}

/* The headers of IP and transport, which each segment of this buffer gets. */
static __always_inline __u32 segment_head_bytes(struct __sk_buff *skb, const struct iphdr *ip)
{
	__u8 data_offset;

	if (ip->protocol == IPPROTO_UDP)
		return ipv4_header_bytes(ip) + sizeof(struct udphdr);
	if (bpf_skb_load_bytes(skb, ETH_HLEN + ipv4_header_bytes(ip) + TCP_LENGTH_OFFSET, &data_offset, 1) != 0)
		return SEGMENT_HEAD_UNKNOWN;
	return ipv4_header_bytes(ip) + (__u32)(data_offset >> 4) * 4;
}

/* Of a datagram on the wire that this buffer becomes. */
static __always_inline __u32 wire_bytes(struct __sk_buff *skb, const struct iphdr *ip)
{
	return skb->gso_size == 0 ? bpf_ntohs(ip->tot_len) : segment_head_bytes(skb, ip) + skb->gso_size;
}

/* With net.ipv4.fwmark_reflect the kernel's answers bear the mark of what they answer. */
static __always_inline int mark_is_of_workers(__u32 mark)
{
	return mark == WORKER_SOCKET_MARK || mark == WORKER_DELIVERY_MARK;
}

/*
 * The tunnel's own packet, which still belongs to the worker's socket. Workers can not send there themselves: what their
 * sockets of IP send, raw ones too, passes cgroup_egress. A packet socket's does not, and is never the tunnel's.
 */
static __always_inline int is_tunnelled(
	struct __sk_buff *skb, const struct iphdr *ip, const struct worker_config *config)
{
	const struct bpf_sock *socket = skb->sk;
	__be32 destination_be = ip->daddr;

	if (!socket || (socket->family != FAMILY_IPV4 && socket->family != FAMILY_IPV6))
		return 0;
	return ip->protocol == IPPROTO_UDP && ip->saddr == config->vtep_be &&
	       bpf_map_lookup_elem(&gateways, &destination_be);
}

/* ---- to the worker ---- */

struct quoted_packet {
	struct iphdr ip;
	__be16 source_port_be, destination_port_be;
};

/*
 * Who the ICMP error is for: the sender of the packet that it quotes, whose address is put right there. False: it is
 * about nothing of the worker's, or cut short.
 */
static __always_inline int icmp_error_read(struct __sk_buff *skb, const struct worker_config *config,
	const struct worker_value *worker, struct bpf_sock_tuple *ret_tuple, __u8 *ret_protocol)
{
	const __u32 icmp_offset = ETH_HLEN + sizeof(struct iphdr), quoted_offset = icmp_offset + ICMP_HEADER_BYTES;
	const __be32 from_be = worker->address_be, to_be = config->uplink_address_be;
	struct quoted_packet quoted;
	__u8 type;

	if (bpf_skb_load_bytes(skb, icmp_offset, &type, 1) != 0 ||
		(type != ICMP_TYPE_UNREACHABLE && type != ICMP_TYPE_TIME_EXCEEDED &&
			type != ICMP_TYPE_PARAMETER_PROBLEM) ||
		bpf_skb_load_bytes(skb, quoted_offset, &quoted, sizeof(quoted)) != 0)
		return 0;
	if (quoted.ip.ihl != sizeof(quoted.ip) / 4 || quoted.ip.saddr != from_be || !ipv4_has_transport(&quoted.ip))
		return 0;
	*ret_protocol = quoted.ip.protocol;
	ret_tuple->ipv4.saddr = quoted.ip.daddr;
	ret_tuple->ipv4.daddr = to_be;
	ret_tuple->ipv4.sport = quoted.destination_port_be;
	ret_tuple->ipv4.dport = quoted.source_port_be;
	return bpf_l4_csum_replace(skb, icmp_offset + ICMP_CHECKSUM_OFFSET, from_be, to_be, sizeof(from_be)) == 0 &&
	       bpf_skb_store_bytes(skb, quoted_offset + offsetof(struct iphdr, saddr), &to_be, sizeof(to_be), 0) == 0;
}

static __always_inline int packet_is_of(
	struct __sk_buff *skb, const struct worker_config *config, const struct worker_value *worker)
{
	for (__u32 depth = 1; depth <= CGROUP_DEPTH_MAX; depth++)
		if (bpf_skb_ancestor_cgroup_id(skb, (int)(config->cgroup_level + depth)) == worker->cgroup_id)
			return 1;
	return 0;
}

/* Only a socket of this worker takes it. */
static __always_inline int socket_deliver(
	struct __sk_buff *skb, const struct worker_config *config, struct worker_value *worker, const struct iphdr *ip)
{
	struct bpf_sock_tuple tuple = {};
	__u8 protocol = ip->protocol;
	struct bpf_sock *socket;
	int error;

	if (protocol == IPPROTO_ICMP) {
		if (ipv4_header_bytes(ip) != sizeof(*ip) || !icmp_error_read(skb, config, worker, &tuple, &protocol))
			return drop_of(skb, worker, WORKER_DROP_REPLY_NO_SOCKET);
	} else {
		tuple.ipv4.saddr = ip->saddr;
		tuple.ipv4.daddr = config->uplink_address_be;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + ipv4_header_bytes(ip), &tuple.ipv4.sport, PORTS_BYTES) != 0)
			return drop_of(skb, worker, WORKER_DROP_REPLY_MALFORMED);
	}
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return drop_of(skb, worker, WORKER_DROP_REPLY_NO_SOCKET);
	if (!address_replace(skb, offsetof(struct iphdr, daddr), ip, worker->address_be, config->uplink_address_be))
		return drop_of(skb, worker, WORKER_DROP_REPLY_MALFORMED);
	socket = socket_find(skb, &tuple, sizeof(tuple.ipv4), protocol);
	if (!socket)
		return drop_of(skb, worker, WORKER_DROP_REPLY_NO_SOCKET);
	/* From here on it is the packet's, so that no other one gets it if this one is closed. */
	error = bpf_sk_assign(skb, socket, 0);
	bpf_sk_release(socket);
	if (error != 0 || !packet_is_of(skb, config, worker))
		return drop_of(skb, worker, WORKER_DROP_REPLY_NO_SOCKET);
	skb->mark = WORKER_DELIVERY_MARK;
	return TC_ACT_UNSPEC;
}

/*
 * Of what comes in here only reply_ingress has put such a mark and source on a frame. What a worker has sent comes back only
 * as the kernel's own copy of a broadcast or multicast, which the host's services would get.
 */
SEC("tc")
int uplink_ingress(struct __sk_buff *skb)
{
	const union mac_word gateway_mac = {.bytes = WORKER_GATEWAY_MAC};
	__u32 key = skb->mark, zero = 0;
	struct worker_config *config;
	struct worker_value *worker;
	union mac_word source = {};
	struct iphdr ip;

	if (key == WORKER_SOCKET_MARK)
		return drop(skb, WORKER_DROP_CGROUP_LOCAL);
	if ((key & CGROUP_KEY_BIT) == 0)
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, ETH_ALEN, source.bytes, ETH_ALEN) != 0 || source.word != gateway_mac.word)
		return TC_ACT_UNSPEC;
	config = bpf_map_lookup_elem(&worker_config, &zero);
	worker = bpf_map_lookup_elem(&workers, &key);
	if (!config || config->cgroup_level == 0 || !worker)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) != 0 || ip.daddr != worker->address_be)
		return drop(skb, WORKER_DROP_REPLY_UNKNOWN_WORKER);
	/* Put together here, fragments of two workers' datagrams could get mixed. */
	if (ipv4_is_fragment(&ip))
		return drop_of(skb, worker, WORKER_DROP_REPLY_FRAGMENT);
	return socket_deliver(skb, config, worker, &ip);
}

#endif
