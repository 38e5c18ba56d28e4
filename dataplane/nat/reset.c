/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RSTs for sessions that end without their ends knowing (RFC 5382 REQ-5, RFC 7857 section 2.4): out of nothing, so they
 * need a buffer of the caller's; like every answer within the workspace's limit, and like every packet past the guard.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/limits.h"
#include "dataplane/nat/stages.h"

enum { RESET_TTL = 64 };

static struct packet *reset_begin(
	struct nat_shard *shard, const struct policy_tables *policy, const struct session *session)
{
	struct shard_workspace *state = shard_buckets(shard, policy, session->workspace_slot);
	if (shard->spare == NULL || !limits_take(&state->answer_ns, LIMITS_ANSWER_NS, shard->now_ns))
		return NULL;
	struct packet *packet = shard->spare(shard->spare_context);
	if (packet == NULL)
		return NULL;
	packet->ip_offset = 0;
	packet->l4_offset = IPV4_HEADER_BYTES;
	packet->ip_length_bytes = IPV4_HEADER_BYTES + TCP_HEADER_BYTES;
	packet->protocol = PROTOCOL_TCP;
	packet->kind = PACKET_KIND_SESSION;
	packet->flags = 0;
	packet->vni = session->vni_protocol >> 8;
	packet->vtep = session->vtep;
	packet->egress_port = session->egress_port;
	packet->workspace_slot = session->workspace_slot;
	return packet;
}

static void reset_fill(struct packet *packet, uint32_t source, uint16_t source_port, uint32_t destination,
	uint16_t destination_port, uint32_t sequence)
{
	uint8_t *ip = packet->data, *tcp = packet->data + IPV4_HEADER_BYTES;
	memset(ip, 0, IPV4_HEADER_BYTES + TCP_HEADER_BYTES);
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, packet->ip_length_bytes);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, IPV4_FLAG_DF);
	ip[IPV4_TTL_OFFSET] = RESET_TTL;
	ip[IPV4_PROTOCOL_OFFSET] = PROTOCOL_TCP;
	store_be32(ip + IPV4_SOURCE_OFFSET, source);
	store_be32(ip + IPV4_DESTINATION_OFFSET, destination);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
	store_be16(tcp, source_port);
	store_be16(tcp + 2, destination_port);
	store_be32(tcp + TCP_SEQUENCE_OFFSET, sequence);
	tcp[TCP_DATA_OFFSET] = TCP_HEADER_BYTES / 4 << 4;
	tcp[TCP_FLAGS_OFFSET] = TCP_RST;
	const uint32_t sum = checksum_sum(
		tcp, TCP_HEADER_BYTES, checksum_pseudo(source, destination, PROTOCOL_TCP, TCP_HEADER_BYTES));
	store_be16(tcp + TCP_CHECKSUM_OFFSET, (uint16_t)~checksum_fold(sum));
}

static void reset_end(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, unsigned port, uint32_t towards)
{
	packet->verdict = PACKET_DROP; /* not counted: it never was a packet of anybody's */
	if (route_find(shard, batch, packet, port, towards) == DROP_NONE && guard_passes(batch->policy, packet)) {
		shard->counters->generated++;
		if (port == PORT_INSIDE)
			emit_inside(batch, packet, packet->vni, packet->vtep);
		else
			emit_outside(batch, packet);
	}
	shard_give(shard, packet);
}

void reset_remote(struct nat_shard *shard, const struct batch *batch, const struct session *session)
{
	struct packet *packet = reset_begin(shard, batch->policy, session);
	if (packet == NULL)
		return;
	packet->in_port = PORT_INSIDE;
	packet->source = session->inside_address; /* as the session's own packets: it goes their way */
	packet->source_port = session->inside_port;
	packet->destination = session->remote_address;
	packet->destination_port = session->remote_port;
	reset_fill(packet, session->egress_address, session->egress_port, session->remote_address, session->remote_port,
		session->sequence_out_end);
	reset_end(shard, batch, packet, PORT_OUTSIDE, session->remote_address);
}

void reset_both(struct nat_shard *shard, const struct batch *batch, const struct session *session)
{
	uint32_t vtep;
	reset_remote(shard, batch, session);
	if (!policy_host(batch->policy, session, &vtep))
		return;
	struct packet *packet = reset_begin(shard, batch->policy, session);
	if (packet == NULL)
		return;
	packet->in_port = PORT_OUTSIDE;
	packet->source = session->remote_address;
	packet->source_port = session->remote_port;
	packet->destination = session->egress_address; /* by which the guard knows whose it is */
	packet->destination_port = session->egress_port;
	packet->vtep = vtep;
	reset_fill(packet, session->remote_address, session->remote_port, session->inside_address, session->inside_port,
		session->sequence_in_end);
	reset_end(shard, batch, packet, PORT_INSIDE,
		batch->policy->encapsulation == POLICY_ENCAPSULATION_VXLAN ? packet->vtep : session->inside_address);
}
