/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IPv4 fragmentation (RFC 791 section 3.2) of what may be fragmented and does
 * not fit where it goes: after translation, so that each piece is sent as it
 * is. The pieces but the first need buffers of the caller's pool.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/stages.h"

enum { SPLIT_PIECES_MAX = 16 };

/* All pieces or none: a datagram with a hole is only load. */
static uint32_t pieces_take(struct nat_shard *shard, struct packet *pieces[SPLIT_PIECES_MAX], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		pieces[i] = shard->spare != NULL ? shard->spare(shard->spare_context) : NULL;
		if (pieces[i] != NULL)
			continue;
		while (i > 0) { /* give back what was taken: freed by the caller, counted
				   nowhere */
			pieces[--i]->verdict = PACKET_DROP;
			shard_give(shard, pieces[i]);
		}
		return 0;
	}
	return count;
}

static void header_write(uint8_t *ip, uint32_t length_bytes, uint16_t fragment_field)
{
	store_be16(ip + IPV4_LENGTH_OFFSET, (uint16_t)length_bytes);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, fragment_field);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
}

/*
 * Cuts the packet at ip_offset to what fits and makes the further pieces, still
 * without link headers. Packets with options are not cut: which of them to copy
 * is more code than their use is worth.
 */
static uint32_t split(
	struct nat_shard *shard, struct packet *packet, uint32_t mtu_bytes, struct packet *ret_pieces[SPLIT_PIECES_MAX])
{
	uint8_t *ip = packet->data + packet->ip_offset;
	const uint32_t piece_bytes = (mtu_bytes - IPV4_HEADER_BYTES) & ~7u;
	const uint32_t total_bytes = packet->ip_length_bytes - IPV4_HEADER_BYTES;
	if ((ip[0] & 15) * 4 != IPV4_HEADER_BYTES || mtu_bytes < IPV4_HEADER_BYTES + 8 ||
		mtu_bytes + VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES > PACKET_SPARE_BYTES)
		return 0;
	const uint32_t count = (total_bytes + piece_bytes - 1) / piece_bytes;
	/* The rest of the ring is for the fragments that may be held. */
	const uint32_t given = shard->given_head - shard->given_tail;
	if (count - 1 > SPLIT_PIECES_MAX || given + count + HELD_MAX + NAT_BATCH_MAX > GIVEN_SIZE ||
		pieces_take(shard, ret_pieces, count - 1) == 0)
		return 0;
	const uint16_t field = load_be16(ip + IPV4_FRAGMENT_OFFSET);
	const uint16_t last_more = field & IPV4_FLAG_MF;
	const uint32_t first_unit = field & IPV4_FRAGMENT_OFFSET_MASK;
	for (uint32_t i = 1; i < count; i++) {
		struct packet *piece = ret_pieces[i - 1];
		const uint32_t from_bytes = i * piece_bytes;
		const uint32_t bytes = i + 1 < count ? piece_bytes : total_bytes - from_bytes;
		void *owner = piece->owner;
		uint8_t *data = piece->data;
		const uint16_t headroom_bytes = piece->headroom_bytes;
		*piece = *packet;
		piece->owner = owner;
		piece->data = data;
		piece->headroom_bytes = headroom_bytes;
		piece->ip_offset = 0;
		piece->ip_length_bytes = (uint16_t)(IPV4_HEADER_BYTES + bytes);
		piece->length_bytes = piece->ip_length_bytes;
		memcpy(piece->data, ip, IPV4_HEADER_BYTES);
		memcpy(piece->data + IPV4_HEADER_BYTES, ip + IPV4_HEADER_BYTES + from_bytes, bytes);
		header_write(piece->data, piece->ip_length_bytes,
			(uint16_t)((first_unit + from_bytes / 8) | (i + 1 < count ? IPV4_FLAG_MF : last_more)));
	}
	packet->ip_length_bytes = (uint16_t)(IPV4_HEADER_BYTES + piece_bytes);
	header_write(ip, packet->ip_length_bytes, (uint16_t)(first_unit | IPV4_FLAG_MF));
	shard->counters->generated += count - 1;
	return count - 1;
}

void split_outside(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	struct packet *pieces[SPLIT_PIECES_MAX];
	const uint32_t count = split(shard, packet, route_mtu_bytes(batch, packet, PORT_OUTSIDE), pieces);
	if (count == 0) {
		shard_drop(shard, packet, DROP_TOO_BIG);
		return;
	}
	emit_outside(batch, packet);
	for (uint32_t i = 0; i < count; i++) {
		emit_outside(batch, pieces[i]);
		shard_give(shard, pieces[i]);
	}
}

void split_inside(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	struct packet *pieces[SPLIT_PIECES_MAX];
	const uint32_t count = split(shard, packet, route_mtu_bytes(batch, packet, PORT_INSIDE), pieces);
	if (count == 0) {
		shard_drop(shard, packet, DROP_TOO_BIG);
		return;
	}
	emit_inside(batch, packet, packet->vni, packet->vtep);
	for (uint32_t i = 0; i < count; i++) {
		emit_inside(batch, pieces[i], pieces[i]->vni, pieces[i]->vtep);
		shard_give(shard, pieces[i]);
	}
}
