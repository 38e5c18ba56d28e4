/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/owner.h"

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/stages.h"

static_assert((int)OWNER_TURNS <= 1 << 11 && (int)SHARD_COUNT_MAX <= 1 << 4, "what owner_of_port() relies on");

/* The header that an ICMP error carries, if it is whole; icmp.c checks the error before it believes it. */
static const uint8_t *quoted_header(const struct packet *packet, uint32_t *ret_header_bytes)
{
	const uint8_t *ip = packet->data + packet->l4_offset + ICMP_HEADER_BYTES;
	const uint32_t icmp_bytes = packet->ip_length_bytes - (uint32_t)(packet->l4_offset - packet->ip_offset);
	if (icmp_bytes < ICMP_HEADER_BYTES + IPV4_HEADER_BYTES)
		return NULL;
	const uint32_t header_bytes = (uint32_t)(ip[0] & 15) * 4;
	if (header_bytes < IPV4_HEADER_BYTES || ICMP_HEADER_BYTES + header_bytes + 8 > icmp_bytes)
		return NULL;
	*ret_header_bytes = header_bytes;
	return ip;
}

static uint32_t owner_of_error(uint32_t shard_count, const struct packet *packet)
{
	const bool inside = packet->in_port == PORT_INSIDE;
	uint32_t header_bytes;
	const uint8_t *ip = quoted_header(packet, &header_bytes);
	if (ip != NULL && !owner_has_ports(ip[IPV4_PROTOCOL_OFFSET]))
		return owner_of_remote(shard_count,
			load_be32(ip + (inside ? IPV4_SOURCE_OFFSET : IPV4_DESTINATION_OFFSET)),
			ip[IPV4_PROTOCOL_OFFSET]);
	if (inside)
		return owner_of_worker(shard_count, packet->vni, packet->source);
	if (ip == NULL)
		return 0;
	const bool icmp = ip[IPV4_PROTOCOL_OFFSET] == PROTOCOL_ICMP;
	return owner_of_port(shard_count, load_be16(ip + header_bytes + (icmp ? ICMP_ID_OFFSET : 0)));
}

static uint32_t home_of_fragment(uint32_t shard_count, const struct packet *packet)
{
	const uint64_t id = load_be16(packet->data + packet->ip_offset + IPV4_ID_OFFSET);
	const uint64_t addresses = (uint64_t)packet->source << 32 | packet->destination;
	return owner_scale(shard_count, hash_mix(hash_mix(addresses) ^ (uint64_t)packet->protocol << 32 ^ id));
}

uint32_t owner_of_packet(uint32_t shard_count, const struct packet *packet)
{
	const bool inside = packet->in_port == PORT_INSIDE;
	if (UNLIKELY(packet->kind == PACKET_KIND_ICMP_ERROR))
		return owner_of_error(shard_count, packet);
	if (UNLIKELY(!owner_has_ports(packet->protocol)))
		return owner_of_remote(shard_count, inside ? packet->destination : packet->source, packet->protocol);
	if (inside)
		return owner_of_worker(shard_count, packet->vni, packet->source);
	if (UNLIKELY(packet->flags & PACKET_FRAGMENT))
		return home_of_fragment(shard_count, packet);
	return owner_of_port(shard_count, packet->destination_port);
}

uint32_t owner_of_first_fragment(uint32_t shard_count, const struct packet *packet)
{
	return owner_of_port(shard_count, packet->destination_port);
}

uint32_t owner_of_session(uint32_t shard_count, const struct session *session)
{
	const uint8_t protocol = (uint8_t)session->vni_protocol;
	if (!owner_has_ports(protocol))
		return owner_of_remote(shard_count, session->remote_address, protocol);
	return owner_of_worker(shard_count, session->vni_protocol >> 8, session->inside_address);
}

void owner_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		const uint32_t owner = owner_of_packet(shard->shard_count, packet);
		if (owner != shard->shard_index)
			owner_hand_over(shard, packet, owner);
	}
	batch_compact(shard, batch);
}
