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
		new_id = shard->ip_id++;
	store_be16(ip + IPV4_ID_OFFSET, new_id);
	return checksum_delta16(old_id, new_id);
}

static void rewrite_one(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	const struct session *session = &shard->sessions[packet->session_index];
	const bool outbound = packet->in_port == PORT_INSIDE;
	uint8_t *ip = packet->data + packet->ip_offset;
	uint8_t *l4 = packet->data + packet->l4_offset;
	const uint32_t old_address = outbound ? packet->source : packet->destination;
	const uint32_t new_address = outbound ? session->egress_address : session->inside_address;
	const uint16_t old_port = outbound ? packet->source_port : packet->destination_port;
	const uint16_t new_port = outbound ? session->egress_port : session->inside_port;
	const uint32_t address_delta = checksum_delta32(old_address, new_address);
	const uint32_t port_delta = checksum_delta16(old_port, new_port);
	const uint16_t ttl_word = load_be16(ip + IPV4_TTL_OFFSET);

	store_be32(ip + (outbound ? IPV4_SOURCE_OFFSET : IPV4_DESTINATION_OFFSET), new_address);
	store_be16(ip + IPV4_TTL_OFFSET, (uint16_t)(ttl_word - 0x100));
	uint32_t header_delta = address_delta + checksum_delta16(ttl_word, (uint16_t)(ttl_word - 0x100));
	if (outbound)
		header_delta += rewrite_id(shard, packet, ip);
	checksum_update(ip + IPV4_CHECKSUM_OFFSET, header_delta);
	if (UNLIKELY(packet->kind == PACKET_KIND_FRAGMENT))
		return;

	if (packet->protocol == PROTOCOL_ICMP) {
		store_be16(l4 + ICMP_ID_OFFSET, new_port);
		checksum_update(l4 + ICMP_CHECKSUM_OFFSET, port_delta);
		return;
	}
	if (UNLIKELY(packet->protocol != PROTOCOL_TCP && packet->protocol != PROTOCOL_UDP))
		return; /* by address alone */
	store_be16(l4 + (outbound ? 0 : 2), new_port);
	uint32_t delta = address_delta + port_delta;
	if (packet->protocol == PROTOCOL_UDP) {
		uint8_t *field = l4 + UDP_CHECKSUM_OFFSET;
		const uint16_t old_checksum = load_be16(field);
		if (old_checksum == 0)
			return; /* none was made; none is needed (RFC 768) */
		const uint16_t checksum = checksum_apply(old_checksum, delta);
		store_be16(field, checksum != 0 ? checksum : 0xffff);
		return;
	}
	if (UNLIKELY(packet->tcp_flags & TCP_SYN))
		delta += mss_clamp(l4, mss_max_bytes(batch));
	checksum_update(l4 + TCP_CHECKSUM_OFFSET, delta);
}

void rewrite_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		if (LIKELY(packet->kind != PACKET_KIND_ICMP_ERROR))
			rewrite_one(shard, batch, packet);
	}
}
