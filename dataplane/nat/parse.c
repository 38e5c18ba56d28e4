/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/stages.h"

enum { IP_OPTION_END = 0, IP_OPTION_NOP = 1, IP_OPTION_LSRR = 131, IP_OPTION_SSRR = 137, IP_OPTIONS_MAX_BYTES = 40 };

/* RFC 1812 section 5.2.2: the checks that a router makes of a header. */
static enum drop_reason parse_ipv4_header(struct packet *packet, uint32_t limit_bytes, uint32_t *ret_header_bytes)
{
	const uint8_t *ip = packet->data + packet->ip_offset;
	const uint32_t available_bytes = limit_bytes - packet->ip_offset;
	if (limit_bytes < packet->ip_offset || available_bytes < IPV4_HEADER_BYTES)
		return DROP_TRUNCATED;
	const uint32_t header_bytes = (uint32_t)(ip[0] & 15) * 4;
	if (ip[0] >> 4 != 4 || header_bytes < IPV4_HEADER_BYTES)
		return DROP_BAD_IP_HEADER;
	const uint32_t length_bytes = load_be16(ip + IPV4_LENGTH_OFFSET);
	if (length_bytes < header_bytes)
		return DROP_BAD_IP_HEADER;
	if (length_bytes > available_bytes)
		return DROP_TRUNCATED;
	if (UNLIKELY(!(
		    header_bytes == IPV4_HEADER_BYTES ? checksum_ipv4_right(ip) : checksum_of(ip, header_bytes) == 0)))
		return DROP_BAD_IP_CHECKSUM;
	packet->ip_length_bytes = (uint16_t)length_bytes;
	packet->protocol = ip[IPV4_PROTOCOL_OFFSET];
	packet->source = load_be32(ip + IPV4_SOURCE_OFFSET);
	packet->destination = load_be32(ip + IPV4_DESTINATION_OFFSET);
	const uint16_t fragment = load_be16(ip + IPV4_FRAGMENT_OFFSET);
	packet->flags =
		(fragment & IPV4_FLAG_DF ? PACKET_DF : 0) | (fragment & IPV4_FRAGMENT_MASK ? PACKET_FRAGMENT : 0);
	*ret_header_bytes = header_bytes;
	return DROP_NONE;
}

/* Source routes would let a worker choose another path than the policy's (RFC
 * 7126 section 4.3). */
static bool options_acceptable(const uint8_t *options, uint32_t length_bytes)
{
	for (uint32_t at = 0; at < length_bytes && at < IP_OPTIONS_MAX_BYTES;) {
		const uint8_t kind = options[at];
		if (kind == IP_OPTION_END)
			return true;
		if (kind == IP_OPTION_NOP) {
			at++;
			continue;
		}
		if (kind == IP_OPTION_LSRR || kind == IP_OPTION_SSRR || at + 1 >= length_bytes)
			return false;
		const uint8_t option_bytes = options[at + 1];
		if (option_bytes < 2 || option_bytes > length_bytes - at)
			return false;
		at += option_bytes;
	}
	return true;
}

/* A first fragment that ends within the transport header hides what it is (RFC
 * 1858). */
static enum drop_reason too_short(const struct packet *packet)
{
	return packet->flags & PACKET_FRAGMENT ? DROP_FRAGMENT_TINY : DROP_BAD_L4;
}

static enum drop_reason parse_tcp(struct packet *packet, const uint8_t *l4, uint32_t length_bytes)
{
	if (length_bytes < TCP_HEADER_BYTES)
		return too_short(packet);
	const uint32_t header_bytes = (uint32_t)(l4[TCP_DATA_OFFSET] >> 4) * 4;
	if (header_bytes < TCP_HEADER_BYTES)
		return DROP_BAD_L4;
	if (header_bytes > length_bytes)
		return too_short(packet);
	packet->tcp_flags = l4[TCP_FLAGS_OFFSET] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
	if (packet->tcp_flags == 0 || ((packet->tcp_flags & TCP_SYN) && (packet->tcp_flags & (TCP_FIN | TCP_RST))))
		return DROP_TCP_BAD_FLAGS;
	packet->source_port = load_be16(l4);
	packet->destination_port = load_be16(l4 + 2);
	return DROP_NONE;
}

/*
 * A worker has no business in the underlay, and must not come out of another gateway as another workspace: neither by the
 * port of RFC 7348 nor by the one that the tunnels of this policy use.
 */
static inline bool is_nested(const struct packet *packet, uint16_t destination_port, uint16_t tunnel_port)
{
	return (destination_port == VXLAN_UDP_PORT || destination_port == tunnel_port) &&
	       packet->in_port == PORT_INSIDE;
}

static enum drop_reason parse_udp(struct packet *packet, const uint8_t *l4, uint32_t length_bytes, uint16_t tunnel_port)
{
	if (length_bytes < UDP_HEADER_BYTES)
		return too_short(packet);
	const uint32_t udp_bytes = load_be16(l4 + 4);
	if (udp_bytes < UDP_HEADER_BYTES || (udp_bytes > length_bytes && (packet->flags & PACKET_FRAGMENT) == 0))
		return DROP_BAD_L4;
	packet->source_port = load_be16(l4);
	packet->destination_port = load_be16(l4 + 2);
	return is_nested(packet, packet->destination_port, tunnel_port) ? DROP_NESTED : DROP_NONE;
}

static enum drop_reason parse_icmp(struct packet *packet, const uint8_t *l4, uint32_t length_bytes)
{
	if (length_bytes < ICMP_HEADER_BYTES)
		return too_short(packet);
	switch (l4[0]) {
	case ICMP_ECHO_REQUEST:
	case ICMP_ECHO_REPLY:
		/* The identifier stands where the inside's (outside: the egress's) port
		 * would. */
		packet->source_port = packet->destination_port = load_be16(l4 + ICMP_ID_OFFSET);
		return DROP_NONE;
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		if (packet->flags & PACKET_FRAGMENT)
			return DROP_FRAGMENT; /* its checksum can not be verified */
		packet->kind = PACKET_KIND_ICMP_ERROR;
		return DROP_NONE;
	default:
		return DROP_ICMP_TYPE;
	}
}

static bool source_acceptable(uint32_t source)
{
	return source < 0xe0000000 && source >> 24 != 127 && source >> 24 != 0;
}

/* The (inner) IPv4 packet at ip_offset, which may reach up to `limit_bytes` from `data`. */
static enum drop_reason parse_ipv4(struct packet *packet, uint32_t limit_bytes, uint16_t tunnel_port)
{
	uint32_t header_bytes;
	const enum drop_reason reason = parse_ipv4_header(packet, limit_bytes, &header_bytes);
	if (reason != DROP_NONE)
		return reason;
	const uint8_t *ip = packet->data + packet->ip_offset;
	if (header_bytes > IPV4_HEADER_BYTES &&
		!options_acceptable(ip + IPV4_HEADER_BYTES, header_bytes - IPV4_HEADER_BYTES))
		return DROP_IP_OPTIONS;
	if (!source_acceptable(packet->source))
		return DROP_BAD_SOURCE;
	packet->l4_offset = (uint8_t)(packet->ip_offset + header_bytes);
	packet->kind = PACKET_KIND_SESSION;
	const uint8_t *l4 = ip + header_bytes;
	const uint32_t l4_bytes = packet->ip_length_bytes - header_bytes;
	if (UNLIKELY(load_be16(ip + IPV4_FRAGMENT_OFFSET) & IPV4_FRAGMENT_OFFSET_MASK)) {
		packet->kind = PACKET_KIND_FRAGMENT;
		return DROP_NONE;
	}
	switch (packet->protocol) {
	case PROTOCOL_TCP:
		return parse_tcp(packet, l4, l4_bytes);
	case PROTOCOL_UDP:
		return parse_udp(packet, l4, l4_bytes, tunnel_port);
	case PROTOCOL_ICMP:
		return parse_icmp(packet, l4, l4_bytes);
	default: /* by address alone, if at all (create.c) */
		packet->source_port = packet->destination_port = 0;
		return DROP_NONE;
	}
}

/* RFC 7348 section 5. The outer UDP checksum is not verified: zero is usual,
 * and the inner packet has its own. */
static enum drop_reason parse_vxlan(const struct policy_tables *policy, struct packet *packet)
{
	uint32_t header_bytes;
	packet->ip_offset = ETHERNET_HEADER_BYTES;
	const enum drop_reason reason = parse_ipv4_header(packet, packet->length_bytes, &header_bytes);
	if (reason != DROP_NONE)
		return reason;
	const uint8_t *udp = packet->data + packet->ip_offset + header_bytes;
	const uint32_t udp_available_bytes = packet->ip_length_bytes - header_bytes;
	if (packet->protocol != PROTOCOL_UDP || (packet->flags & PACKET_FRAGMENT))
		return DROP_NOT_VXLAN;
	if (udp_available_bytes < UDP_HEADER_BYTES)
		return DROP_TRUNCATED;
	if (load_be16(udp + 2) != policy->vxlan_udp_port ||
		(policy->vtep_address != 0 && packet->destination != policy->vtep_address))
		return DROP_NOT_VXLAN;
	const uint32_t udp_bytes = load_be16(udp + 4);
	if (udp_bytes > udp_available_bytes)
		return DROP_TRUNCATED;
	if (udp_bytes < UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES)
		return DROP_BAD_VXLAN;
	const uint8_t *vxlan = udp + UDP_HEADER_BYTES;
	if ((vxlan[0] & VXLAN_FLAG_I) == 0)
		return DROP_BAD_VXLAN;
	packet->vtep = packet->source;
	packet->vni = load_be32(vxlan + 4) >> 8;
	policy_vpc_prefetch(policy, packet->vni);
	const uint8_t *inner = vxlan + VXLAN_HEADER_BYTES;
	const uint16_t ethertype = load_be16(inner + ETHERNET_TYPE_OFFSET);
	if (ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ)
		return DROP_INNER_VLAN;
	if (ethertype != ETHERTYPE_IPV4)
		return DROP_NOT_IPV4;
	const uint32_t inner_offset = (uint32_t)(inner - packet->data) + ETHERNET_HEADER_BYTES;
	packet->ip_offset = (uint8_t)inner_offset;
	return parse_ipv4(packet, (uint32_t)(udp - packet->data) + udp_bytes, policy->vxlan_udp_port);
}

/*
 * The usual packet: a header without options, no fragment, UDP or TCP. Takes only what parse_ipv4() would take, and sets
 * what that would set; whatever else it sees it leaves to that, untouched. One pass instead of a chain of calls.
 */
static inline __attribute__((always_inline)) bool parse_usual_ipv4(
	struct packet *packet, uint32_t ip_offset, uint32_t limit_bytes, uint16_t tunnel_port)
{
	const uint8_t *ip = packet->data + ip_offset;
	const uint8_t *l4 = ip + IPV4_HEADER_BYTES;
	if (limit_bytes < ip_offset + IPV4_HEADER_BYTES + UDP_HEADER_BYTES)
		return false;
	const uint32_t length_bytes = load_be16(ip + IPV4_LENGTH_OFFSET);
	const uint32_t fragment = load_be16(ip + IPV4_FRAGMENT_OFFSET);
	const uint32_t source = load_be32(ip + IPV4_SOURCE_OFFSET);
	const uint32_t l4_bytes = length_bytes - IPV4_HEADER_BYTES; /* checked below */
	if (ip[0] != 0x45 || (fragment & IPV4_FRAGMENT_MASK) != 0 || length_bytes > limit_bytes - ip_offset ||
		!checksum_ipv4_right(ip) || !source_acceptable(source))
		return false;
	const uint8_t protocol = ip[IPV4_PROTOCOL_OFFSET];
	const uint16_t destination_port = load_be16(l4 + 2);
	uint8_t tcp_flags = 0;
	if (protocol == PROTOCOL_UDP) {
		const uint32_t udp_bytes = load_be16(l4 + 4);
		if (length_bytes < IPV4_HEADER_BYTES + UDP_HEADER_BYTES || udp_bytes < UDP_HEADER_BYTES ||
			udp_bytes > l4_bytes || is_nested(packet, destination_port, tunnel_port))
			return false;
	} else if (protocol == PROTOCOL_TCP) {
		if (length_bytes < IPV4_HEADER_BYTES + TCP_HEADER_BYTES)
			return false;
		const uint32_t header_bytes = (uint32_t)(l4[TCP_DATA_OFFSET] >> 4) * 4;
		tcp_flags = l4[TCP_FLAGS_OFFSET] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK);
		if (header_bytes < TCP_HEADER_BYTES || header_bytes > l4_bytes || tcp_flags == 0 ||
			((tcp_flags & TCP_SYN) && (tcp_flags & (TCP_FIN | TCP_RST))))
			return false;
	} else {
		return false;
	}
	packet->source = source;
	packet->destination = load_be32(ip + IPV4_DESTINATION_OFFSET);
	packet->source_port = load_be16(l4);
	packet->destination_port = destination_port;
	packet->ip_length_bytes = (uint16_t)length_bytes;
	packet->ip_offset = (uint8_t)ip_offset;
	packet->l4_offset = (uint8_t)(ip_offset + IPV4_HEADER_BYTES);
	packet->protocol = protocol;
	packet->tcp_flags = tcp_flags;
	packet->kind = PACKET_KIND_SESSION;
	packet->flags = fragment & IPV4_FLAG_DF ? PACKET_DF : 0;
	return true;
}

/*
 * The same for the tunnel around it: what parse_vxlan() would take of the headers at their usual places. Where only what
 * is in the tunnel is unusual, `vtep` and `vni` are set already, to what that will set.
 */
static inline __attribute__((always_inline)) bool parse_usual_vxlan(
	const struct policy_tables *policy, struct packet *packet)
{
	const uint8_t *ip = packet->data + ETHERNET_HEADER_BYTES;
	const uint8_t *udp = ip + IPV4_HEADER_BYTES;
	const uint8_t *vxlan = udp + UDP_HEADER_BYTES;
	const uint8_t *inner = vxlan + VXLAN_HEADER_BYTES;
	if (packet->length_bytes < VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES)
		return false;
	const uint32_t length_bytes = load_be16(ip + IPV4_LENGTH_OFFSET);
	const uint32_t udp_bytes = load_be16(udp + 4);
	if (ip[0] != 0x45 || (load_be16(ip + IPV4_FRAGMENT_OFFSET) & IPV4_FRAGMENT_MASK) != 0 ||
		ip[IPV4_PROTOCOL_OFFSET] != PROTOCOL_UDP ||
		length_bytes > (uint32_t)packet->length_bytes - ETHERNET_HEADER_BYTES ||
		udp_bytes + IPV4_HEADER_BYTES > length_bytes ||
		udp_bytes < UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES || !checksum_ipv4_right(ip))
		return false;
	if (load_be16(udp + 2) != policy->vxlan_udp_port || (vxlan[0] & VXLAN_FLAG_I) == 0 ||
		load_be16(inner + ETHERNET_TYPE_OFFSET) != ETHERTYPE_IPV4 ||
		(policy->vtep_address != 0 && load_be32(ip + IPV4_DESTINATION_OFFSET) != policy->vtep_address))
		return false;
	packet->vtep = load_be32(ip + IPV4_SOURCE_OFFSET);
	packet->vni = load_be32(vxlan + 4) >> 8;
	policy_vpc_prefetch(policy, packet->vni);
	return parse_usual_ipv4(packet, VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES,
		ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + udp_bytes, policy->vxlan_udp_port);
}

static bool parse_usual(const struct policy_tables *policy, struct packet *packet)
{
	if (packet->length_bytes > PACKET_LENGTH_MAX_BYTES ||
		packet->length_bytes < ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES ||
		load_be16(packet->data + ETHERNET_TYPE_OFFSET) != ETHERTYPE_IPV4)
		return false;
	if (packet->in_port == PORT_INSIDE && policy->encapsulation == POLICY_ENCAPSULATION_VXLAN)
		return parse_usual_vxlan(policy, packet);
	packet->vtep = 0;
	packet->vni = policy->plain_vni;
	return parse_usual_ipv4(packet, ETHERNET_HEADER_BYTES, packet->length_bytes, VXLAN_UDP_PORT);
}

static enum drop_reason parse_one(const struct policy_tables *policy, struct packet *packet)
{
	if (packet->length_bytes > PACKET_LENGTH_MAX_BYTES)
		return DROP_OVERSIZED;
	if (packet->length_bytes < ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES)
		return DROP_TRUNCATED;
	if (load_be16(packet->data + ETHERNET_TYPE_OFFSET) != ETHERTYPE_IPV4)
		return DROP_NOT_IPV4;
	if (packet->in_port == PORT_INSIDE && policy->encapsulation == POLICY_ENCAPSULATION_VXLAN)
		return parse_vxlan(policy, packet);
	packet->vni = policy->plain_vni;
	packet->ip_offset = ETHERNET_HEADER_BYTES;
	return parse_ipv4(packet, packet->length_bytes, VXLAN_UDP_PORT);
}

void parse_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		packet->workspace_slot = WORKSPACE_NONE;
		if (LIKELY(parse_usual(batch->policy, packet)))
			continue;
		packet->tcp_flags = 0;
		packet->vtep = 0;
		const enum drop_reason reason = parse_one(batch->policy, packet);
		if (UNLIKELY(reason != DROP_NONE))
			shard_drop(shard, packet, reason);
	}
	batch_compact(shard, batch);
}
