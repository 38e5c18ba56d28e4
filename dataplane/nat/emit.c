/* SPDX-License-Identifier: Apache-2.0 */
/* The last stage: next hop, link header, tunnel. */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/hash.h"
#include "dataplane/nat/stages.h"

enum {
	OUTER_TTL = 64,
	ENTROPY_PORT_FIRST = 49152, /* RFC 7348 section 5 */
	ENTROPY_PORT_MASK = 0x3fff,
};

/* Inner Ethernet addresses: locally administered; the classifier puts the
 * worker's own in place of the second. */
static const uint8_t inner_header[ETHERNET_HEADER_BYTES] = {0x02, 0x50, 0x4f, 0x53, 0x54, 0x02, 0x02, 0x50, 0x4f, 0x53,
	0x54, 0x01, ETHERTYPE_IPV4 >> 8, ETHERTYPE_IPV4 & 255};

static void neighbour_wanted(struct nat_shard *shard, unsigned port, uint32_t address)
{
	struct wanted_ring *ring = &shard->wanted;
	const uint32_t written = ring->written;
	if (written - __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE) >= WANTED_SIZE)
		return;
	if (written != 0 && ring->slots[(written - 1) % WANTED_SIZE].address == address &&
		written != __atomic_load_n(&ring->read, __ATOMIC_ACQUIRE))
		return; /* asked for already */
	ring->slots[written % WANTED_SIZE].address = address;
	ring->slots[written % WANTED_SIZE].port = port;
	__atomic_store_n(&ring->written, written + 1, __ATOMIC_RELEASE);
}

bool nat_wanted_neighbour(struct nat_shard *shard, uint32_t *ret_address, uint32_t *ret_port)
{
	struct wanted_ring *ring = &shard->wanted;
	const uint32_t read = ring->read;
	if (read == __atomic_load_n(&ring->written, __ATOMIC_ACQUIRE))
		return false;
	*ret_address = ring->slots[read % WANTED_SIZE].address;
	*ret_port = ring->slots[read % WANTED_SIZE].port;
	__atomic_store_n(&ring->read, read + 1, __ATOMIC_RELEASE);
	return true;
}

static enum drop_reason route_refuse(
	struct nat_shard *shard, const struct adjacency_hop *hop, unsigned port, uint32_t address)
{
	if (hop == NULL || hop->port != port) {
		/* A neighbour that nobody has asked the kernel about has no route of its own yet. */
		neighbour_wanted(shard, port, address);
		return DROP_NO_ROUTE;
	}
	if (!hop->resolved) {
		neighbour_wanted(shard, port, hop->address != 0 ? hop->address : address);
		return DROP_NO_NEIGHBOUR;
	}
	return DROP_LINK_DOWN;
}

/*
 * What a flow's way depends on (contract/adjacency.h). Only the first fragment has ports, and the others must go the same
 * way; an ICMP error has none.
 */
static uint32_t flow_of(const struct packet *packet)
{
	const bool has_ports = packet->kind == PACKET_KIND_SESSION && (packet->flags & PACKET_FRAGMENT) == 0;
	const uint32_t ports = has_ports ? (uint32_t)packet->source_port << 16 | packet->destination_port : 0;
	const uint64_t addresses = (uint64_t)packet->source << 32 | packet->destination;
	return (uint32_t)hash_mix(addresses ^ (uint64_t)packet->protocol << 32 ^ ports);
}

enum drop_reason route_look_up(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, unsigned port, uint32_t address)
{
	const struct adjacency_tables *tables = batch->adjacency;
	if (UNLIKELY(tables == NULL))
		return DROP_NO_ROUTE;
	struct route_recent *spread = &shard->routes_spread[port];
	const struct adjacency_range *range = NULL;
	uint32_t index = ADJACENCY_GROUP | spread->hop_index;
	if (address - spread->first >= spread->length) {
		range = adjacency_range(tables, port, address);
		index = range->next_hop_index;
	}
	const uint32_t flow = UNLIKELY(index & ADJACENCY_GROUP) ? flow_of(packet) : 0;
	const struct adjacency_hop *hop = adjacency_hop(tables, index, flow);
	if (UNLIKELY(hop == NULL || hop->port != port || !hop->usable))
		return route_refuse(shard, hop, port, address);
	packet->hop_index = (uint16_t)(hop - tables->next_hops);
	if (range == NULL)
		return DROP_NONE;
	const bool several = (index & ADJACENCY_GROUP) != 0;
	*(several ? spread : &shard->routes_recent[port]) = (struct route_recent){
		.length = (uint64_t)adjacency_last(tables, port, range) - range->first + 1,
		.first = range->first,
		.hop_index = several ? (uint16_t)(index & ~ADJACENCY_GROUP) : packet->hop_index,
	};
	return DROP_NONE;
}

static const struct adjacency_hop *hop_of(const struct batch *batch, const struct packet *packet)
{
	return &batch->adjacency->next_hops[packet->hop_index];
}

uint32_t route_mtu_bytes(const struct batch *batch, const struct packet *packet, unsigned port)
{
	const uint32_t mtu_bytes = hop_of(batch, packet)->mtu_bytes;
	if (port == PORT_OUTSIDE || batch->policy->encapsulation != POLICY_ENCAPSULATION_VXLAN)
		return mtu_bytes;
	return mtu_bytes > VXLAN_OVERHEAD_BYTES ? mtu_bytes - VXLAN_OVERHEAD_BYTES : 0;
}

/* The frame begins `before_bytes` before the IPv4 header and ends with its
 * packet: link padding does not travel on. */
static void frame_begin(struct packet *packet, uint32_t before_bytes, unsigned out_port)
{
	CHECK(packet->ip_offset + packet->headroom_bytes >= before_bytes);
	const int32_t shift_bytes = (int32_t)packet->ip_offset - (int32_t)before_bytes;
	packet->data += shift_bytes;
	packet->headroom_bytes = (uint16_t)(packet->headroom_bytes + shift_bytes);
	packet->ip_offset = (uint8_t)before_bytes;
	packet->length_bytes = (uint16_t)(before_bytes + packet->ip_length_bytes);
	packet->out_port = (uint8_t)out_port;
	packet->verdict = PACKET_FORWARD;
}

static void link_header_write(const struct batch *batch, struct packet *packet)
{
	memcpy(packet->data, hop_of(batch, packet)->header, ETHERNET_HEADER_BYTES);
}

void emit_outside(const struct batch *batch, struct packet *packet)
{
	frame_begin(packet, ETHERNET_HEADER_BYTES, PORT_OUTSIDE);
	link_header_write(batch, packet);
}

/* Spreads flows over paths and queues: the same for all packets of a flow. */
static uint16_t entropy_port(const uint8_t *ip, uint8_t protocol, const uint8_t *l4)
{
	uint64_t addresses;
	uint32_t ports = 0;
	memcpy(&addresses, ip + IPV4_SOURCE_OFFSET, sizeof(addresses));
	if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP)
		memcpy(&ports, l4, sizeof(ports));
	return (uint16_t)(ENTROPY_PORT_FIRST + (hash_mix(addresses ^ ports) & ENTROPY_PORT_MASK));
}

/* RFC 7348 section 5. Everything in front of the inner IPv4 header is written
 * anew: nothing of another tunnel remains.
 */
static void vxlan_write(const struct batch *batch, struct packet *packet, uint32_t vni, uint32_t vtep)
{
	const uint8_t *inner_ip = packet->data + packet->ip_offset;
	const uint16_t source_port =
		entropy_port(inner_ip, inner_ip[IPV4_PROTOCOL_OFFSET], inner_ip + (inner_ip[0] & 15) * 4);
	frame_begin(packet, VXLAN_OUTER_BYTES + ETHERNET_HEADER_BYTES, PORT_INSIDE);
	const struct adjacency_port *port = &batch->adjacency->ports[PORT_INSIDE];
	uint8_t *ip = packet->data + ETHERNET_HEADER_BYTES;
	uint8_t *udp = ip + IPV4_HEADER_BYTES;
	uint8_t *vxlan = udp + UDP_HEADER_BYTES;
	const uint16_t ip_bytes = (uint16_t)(packet->length_bytes - ETHERNET_HEADER_BYTES);

	link_header_write(batch, packet);
	memset(ip, 0, IPV4_HEADER_BYTES + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES);
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, ip_bytes);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, IPV4_FLAG_DF);
	ip[IPV4_TTL_OFFSET] = OUTER_TTL;
	ip[IPV4_PROTOCOL_OFFSET] = PROTOCOL_UDP;
	store_be32(ip + IPV4_SOURCE_OFFSET,
		batch->policy->vtep_address != 0 ? batch->policy->vtep_address : port->address);
	store_be32(ip + IPV4_DESTINATION_OFFSET, vtep);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
	store_be16(udp, source_port);
	store_be16(udp + 2, batch->policy->vxlan_udp_port);
	store_be16(udp + 4, (uint16_t)(ip_bytes - IPV4_HEADER_BYTES));
	vxlan[0] = VXLAN_FLAG_I;
	store_be32(vxlan + 4, vni << 8);
	memcpy(vxlan + VXLAN_HEADER_BYTES, inner_header, sizeof(inner_header));
}

void emit_inside(const struct batch *batch, struct packet *packet, uint32_t vni, uint32_t vtep)
{
	if (batch->policy->encapsulation == POLICY_ENCAPSULATION_VXLAN) {
		vxlan_write(batch, packet, vni, vtep);
		return;
	}
	frame_begin(packet, ETHERNET_HEADER_BYTES, PORT_INSIDE);
	link_header_write(batch, packet);
}

void emit_batch(struct nat_shard *shard, struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		struct counters_workspace *counters = &shard->counters->workspaces[packet->workspace_slot];
		if (packet->in_port == PORT_INSIDE) {
			counters->out_packets++;
			counters->out_bytes += packet->ip_length_bytes;
			if (UNLIKELY(packet->flags & PACKET_HAIRPIN)) {
				emit_outside(batch, packet);
				packet->verdict = PACKET_PENDING;
				packet->in_port = PORT_OUTSIDE;
				shard->hairpins[shard->hairpin_count++] = packet;
				continue;
			}
			if (UNLIKELY(packet->flags & PACKET_SPLIT))
				split_outside(shard, batch, packet);
			else
				emit_outside(batch, packet);
		} else {
			counters->in_packets++;
			counters->in_bytes += packet->ip_length_bytes;
			if (UNLIKELY(packet->flags & PACKET_SPLIT))
				split_inside(shard, batch, packet);
			else
				emit_inside(batch, packet, packet->vni, packet->vtep);
		}
	}
	batch->count = 0;
}
