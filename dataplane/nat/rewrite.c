/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, ports, TTL, MSS and checksums of a passing packet; one routine for
 * both directions. */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/stages.h"

enum { TCP_OPTION_END = 0, TCP_OPTION_NOP = 1, TCP_OPTION_MSS = 2, TCP_OPTION_MSS_BYTES = 4 };

/*
 * A SYN promises what its sender can take; the tunnel takes less. Lowers the
 * promise (RFC 6691), so that the segments fit without fragmentation. Returns
 * the checksum's delta.
 */
static uint32_t mss_clamp(uint8_t *tcp, uint16_t mss_max_bytes)
{
	const uint32_t header_bytes = (uint32_t)(tcp[TCP_DATA_OFFSET] >> 4) * 4;
	for (uint32_t at = TCP_HEADER_BYTES; at + 1 < header_bytes;) {
		if (tcp[at] == TCP_OPTION_END)
			return 0;
		if (tcp[at] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		const uint32_t option_bytes = tcp[at + 1];
		if (option_bytes < 2 || at + option_bytes > header_bytes)
			return 0;
		if (tcp[at] == TCP_OPTION_MSS && option_bytes == TCP_OPTION_MSS_BYTES) {
			const uint16_t old_mss = load_be16(tcp + at + 2);
			if (old_mss <= mss_max_bytes)
				return 0;
			store_be16(tcp + at + 2, mss_max_bytes);
			/* At an odd offset the value straddles two words of the sum: the same as
			 * both bytes swapped. */
			return at % 2 == 0
				       ? checksum_delta16(old_mss, mss_max_bytes)
				       : checksum_delta16(__builtin_bswap16(old_mss), __builtin_bswap16(mss_max_bytes));
		}
		at += option_bytes;
	}
	return 0;
}

static uint16_t mss_max_bytes(const struct batch *batch)
{
	uint32_t mtu_bytes = batch->adjacency->ports[PORT_OUTSIDE].mtu_bytes;
	uint32_t inside_bytes = batch->adjacency->ports[PORT_INSIDE].mtu_bytes;
	if (batch->policy->encapsulation == POLICY_ENCAPSULATION_VXLAN)
		inside_bytes -= inside_bytes > VXLAN_OVERHEAD_BYTES ? VXLAN_OVERHEAD_BYTES : 0;
	mtu_bytes = inside_bytes < mtu_bytes ? inside_bytes : mtu_bytes;
	const uint32_t headers_bytes = IPV4_HEADER_BYTES + TCP_HEADER_BYTES;
	if (mtu_bytes < headers_bytes + 1)
		return 1;
	return mtu_bytes - headers_bytes > UINT16_MAX ? UINT16_MAX : (uint16_t)(mtu_bytes - headers_bytes);
}

/* The ID of what may be fragmented, here or further on: two workers behind one
 * IP must not collide (RFC 6864 section 5.3). */
static uint32_t rewrite_id(struct nat_shard *shard, const struct packet *packet, uint8_t *ip)
{
	const uint16_t old_id = load_be16(ip + IPV4_ID_OFFSET);
	uint16_t new_id = old_id;
	if (UNLIKELY(packet->flags & PACKET_FRAGMENT))
		new_id = shard->fragments.datagrams[packet->datagram].new_id;
	else if ((packet->flags & PACKET_DF) == 0)
		new_id = shard_ip_id(shard);
	store_be16(ip + IPV4_ID_OFFSET, new_id);
	return checksum_delta16(old_id, new_id);
}

/* A delta of big-endian words for a sum of words as they lie in memory, and back: the swapped sum (RFC 1071 section 2). */
static uint32_t delta_swapped(uint32_t delta)
{
	return __builtin_bswap16(checksum_fold(delta));
}

/*
 * Words are subtracted and added as they lie in memory, unswapped. `sum` is ~old + new of what has changed, so that
 * checksum' = ~(~checksum + sum) (RFC 1624, eqn. 3).
 */
static uint16_t checksum_moved(uint16_t checksum, uint32_t sum)
{
	return (uint16_t)~checksum_fold((uint32_t)(uint16_t)~checksum + sum);
}

static void l4_rewrite(const struct batch *batch, const struct packet *packet, uint8_t *l4, uint32_t sum)
{
	uint16_t checksum;
	if (LIKELY(packet->protocol == PROTOCOL_UDP)) {
		memcpy(&checksum, l4 + UDP_CHECKSUM_OFFSET, sizeof(checksum));
		if (checksum == 0)
			return; /* none was made; none is needed (RFC 768) */
		checksum = checksum_moved(checksum, sum);
		checksum = checksum != 0 ? checksum : 0xffff;
		memcpy(l4 + UDP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
		return;
	}
	if (UNLIKELY(packet->tcp_flags & TCP_SYN))
		sum += delta_swapped(mss_clamp(l4, mss_max_bytes(batch)));
	memcpy(&checksum, l4 + TCP_CHECKSUM_OFFSET, sizeof(checksum));
	checksum = checksum_moved(checksum, sum);
	memcpy(l4 + TCP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
}

static void rewrite_one(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	const struct session *session = &shard->sessions[packet->session_index];
	const bool outbound = packet->in_port == PORT_INSIDE;
	uint8_t *ip = packet->data + packet->ip_offset;
	uint8_t *l4 = packet->data + packet->l4_offset;
	uint8_t *address_field = ip + (outbound ? IPV4_SOURCE_OFFSET : IPV4_DESTINATION_OFFSET);
	const uint32_t new_address = __builtin_bswap32(outbound ? session->egress_address : session->inside_address);
	const uint16_t new_port = __builtin_bswap16(outbound ? session->egress_port : session->inside_port);
	uint32_t old_address;
	uint16_t checksum;
	memcpy(&old_address, address_field, sizeof(old_address));
	const uint64_t address_sum64 = (uint64_t)(uint32_t)~old_address + new_address;
	const uint32_t address_sum = (uint32_t)(address_sum64 & 0xffff) + (uint32_t)(address_sum64 >> 16 & 0xffff) +
				     (uint32_t)(address_sum64 >> 32);

	memcpy(address_field, &new_address, sizeof(new_address));
	ip[IPV4_TTL_OFFSET]--; /* the lower byte of its word: ~old + new is 0xfffe whatever it was */
	uint32_t header_sum = address_sum + 0xfffe;
	if (outbound && (packet->flags & (PACKET_DF | PACKET_FRAGMENT)) != PACKET_DF)
		header_sum += delta_swapped(rewrite_id(shard, packet, ip));
	memcpy(&checksum, ip + IPV4_CHECKSUM_OFFSET, sizeof(checksum));
	checksum = checksum_moved(checksum, header_sum);
	memcpy(ip + IPV4_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
	if (UNLIKELY(packet->kind == PACKET_KIND_FRAGMENT))
		return;

	uint8_t *port_field = l4 + (outbound ? 0 : 2);
	if (UNLIKELY(packet->protocol != PROTOCOL_UDP && packet->protocol != PROTOCOL_TCP)) {
		if (packet->protocol != PROTOCOL_ICMP)
			return; /* by address alone */
		port_field = l4 + ICMP_ID_OFFSET;
	}
	uint16_t old_port;
	memcpy(&old_port, port_field, sizeof(old_port));
	memcpy(port_field, &new_port, sizeof(new_port));
	const uint32_t port_sum = (uint32_t)(uint16_t)~old_port + new_port;
	if (UNLIKELY(packet->protocol == PROTOCOL_ICMP)) {
		memcpy(&checksum, l4 + ICMP_CHECKSUM_OFFSET, sizeof(checksum));
		checksum = checksum_moved(checksum, port_sum);
		memcpy(l4 + ICMP_CHECKSUM_OFFSET, &checksum, sizeof(checksum));
		return;
	}
	l4_rewrite(batch, packet, l4, address_sum + port_sum);
}

void rewrite_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		if (LIKELY(packet->kind != PACKET_KIND_ICMP_ERROR))
			rewrite_one(shard, batch, packet);
	}
}
