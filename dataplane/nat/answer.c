/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gateway says when it drops (P12): ICMP errors (RFC 792, RFC 1812
 * section 4.3.2, RFC 5508) and RSTs (RFC 9293 section 3.5.2), made in place of
 * the packet they are about, so that nothing is allocated and one packet never
 * becomes two.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/limits.h"
#include "dataplane/nat/stages.h"

enum {
	ANSWER_TTL = 64,
	ICMP_QUOTE_MAX_BYTES = 548, /* the whole error stays within 576 (RFC 1812 section 4.3.2.3) */
	ICMP_QUOTE_MIN_L4_BYTES = 8,
	ICMP_NET_UNREACHABLE = 0, /* code */
};

struct answer {
	enum { ANSWER_NONE, ANSWER_ICMP, ANSWER_RESET } kind;
	uint8_t type, code;
};

/* A worker learns why at once; the outside learns only what routers tell. */
static struct answer answer_for(const struct batch *batch, const struct packet *packet, enum drop_reason reason)
{
	const bool tcp = packet->protocol == PROTOCOL_TCP;
	/* Never about an error, nor about a later fragment (RFC 1122 section 3.2.2).
	 */
	if (packet->kind != PACKET_KIND_SESSION)
		return (struct answer){ANSWER_NONE, 0, 0};
	if (reason == DROP_TTL_EXPIRED)
		return (struct answer){ANSWER_ICMP, ICMP_TIME_EXCEEDED, 0};
	if (reason == DROP_TOO_BIG && (packet->flags & PACKET_DF))
		return (struct answer){ANSWER_ICMP, ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED};
	if (packet->in_port != PORT_INSIDE)
		return (struct answer){ANSWER_NONE, 0, 0};
	switch (reason) {
	case DROP_DENIED_DESTINATION:
	case DROP_DENIED_POLICY:
	case DROP_HAIRPIN_DENIED:
		return (struct answer){ANSWER_ICMP, ICMP_UNREACHABLE, ICMP_ADMIN_PROHIBITED};
	case DROP_NO_EGRESS_IP:
	case DROP_PORTS_EXHAUSTED:
	case DROP_SESSIONS_EXHAUSTED:
	case DROP_LIMIT_SESSIONS:
	case DROP_LIMIT_SESSION_RATE:
	case DROP_LIMIT_HALF_OPEN:
		return tcp ? (struct answer){ANSWER_RESET, 0, 0}
			   : (struct answer){ANSWER_ICMP, ICMP_UNREACHABLE, ICMP_HOST_UNREACHABLE};
	case DROP_TCP_NOT_SYN:
		if (batch->policy->workspaces[packet->workspace_slot].flags & POLICY_WORKSPACE_TCP_RST_UNKNOWN)
			return (struct answer){ANSWER_RESET, 0, 0};
		return (struct answer){ANSWER_NONE, 0, 0};
	default:
		return (struct answer){ANSWER_NONE, 0, 0};
	}
}

static void ip_write(uint8_t *ip, uint16_t length_bytes, uint8_t protocol, uint32_t source, uint32_t destination)
{
	memset(ip, 0, IPV4_HEADER_BYTES);
	ip[0] = 0x45;
	store_be16(ip + IPV4_LENGTH_OFFSET, length_bytes);
	store_be16(ip + IPV4_FRAGMENT_OFFSET, IPV4_FLAG_DF); /* atomic: the ID may be anything (RFC 6864) */
	ip[IPV4_TTL_OFFSET] = ANSWER_TTL;
	ip[IPV4_PROTOCOL_OFFSET] = protocol;
	store_be32(ip + IPV4_SOURCE_OFFSET, source);
	store_be32(ip + IPV4_DESTINATION_OFFSET, destination);
	store_be16(ip + IPV4_CHECKSUM_OFFSET, checksum_of(ip, IPV4_HEADER_BYTES));
}

/* The trigger's header stays where it is; the error's headers go in front of
 * it. */
static void icmp_write(struct packet *packet, struct answer answer, uint32_t mtu_bytes, uint32_t source)
{
	const uint32_t header_bytes = (uint32_t)(packet->l4_offset - packet->ip_offset);
	uint32_t quote_bytes = packet->ip_length_bytes;
	/* No larger than the trigger, unless that is shorter than what an error must
	 * quote. */
	quote_bytes -= quote_bytes > IPV4_HEADER_BYTES + ICMP_HEADER_BYTES ? IPV4_HEADER_BYTES + ICMP_HEADER_BYTES
									   : quote_bytes;
	if (quote_bytes < header_bytes + ICMP_QUOTE_MIN_L4_BYTES)
		quote_bytes = header_bytes + ICMP_QUOTE_MIN_L4_BYTES;
	if (quote_bytes > packet->ip_length_bytes)
		quote_bytes = packet->ip_length_bytes;
	if (quote_bytes > ICMP_QUOTE_MAX_BYTES)
		quote_bytes = ICMP_QUOTE_MAX_BYTES;

	/* Room in front, also where the frame began right before the header. */
	packet->data -= PACKET_HEADROOM_MIN_BYTES;
	packet->headroom_bytes -= PACKET_HEADROOM_MIN_BYTES;
	packet->ip_offset =
		(uint16_t)(packet->ip_offset + PACKET_HEADROOM_MIN_BYTES - IPV4_HEADER_BYTES - ICMP_HEADER_BYTES);
	packet->ip_length_bytes = (uint16_t)(IPV4_HEADER_BYTES + ICMP_HEADER_BYTES + quote_bytes);
	uint8_t *ip = packet->data + packet->ip_offset;
	uint8_t *icmp = ip + IPV4_HEADER_BYTES;
	ip_write(ip, packet->ip_length_bytes, PROTOCOL_ICMP, source, packet->source);
	memset(icmp, 0, ICMP_HEADER_BYTES);
	icmp[0] = answer.type;
	icmp[ICMP_CODE_OFFSET] = answer.code;
	if (answer.code == ICMP_FRAGMENTATION_NEEDED && answer.type == ICMP_UNREACHABLE)
		store_be16(icmp + ICMP_MTU_OFFSET, (uint16_t)(mtu_bytes > UINT16_MAX ? UINT16_MAX : mtu_bytes));
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, checksum_of(icmp, ICMP_HEADER_BYTES + quote_bytes));
}

static void reset_write(struct packet *packet)
{
	uint8_t *ip = packet->data + packet->ip_offset;
	uint8_t *tcp = ip + IPV4_HEADER_BYTES; /* options, if any, are not sent back */
	const uint8_t *from = packet->data + packet->l4_offset;
	const uint32_t payload_bytes = packet->ip_length_bytes - (uint32_t)(packet->l4_offset - packet->ip_offset) -
				       (uint32_t)(from[TCP_DATA_OFFSET] >> 4) * 4;
	uint32_t sequence = 0, acknowledged = 0;
	uint8_t flags = TCP_RST;
	if (packet->tcp_flags & TCP_ACK) {
		sequence = load_be32(from + TCP_ACK_OFFSET);
	} else {
		acknowledged = load_be32(from + TCP_SEQUENCE_OFFSET) + payload_bytes +
			       ((packet->tcp_flags & TCP_SYN) != 0) + ((packet->tcp_flags & TCP_FIN) != 0);
		flags |= TCP_ACK;
	}
	packet->ip_length_bytes = IPV4_HEADER_BYTES + TCP_HEADER_BYTES;
	ip_write(ip, packet->ip_length_bytes, PROTOCOL_TCP, packet->destination, packet->source);
	memset(tcp, 0, TCP_HEADER_BYTES);
	store_be16(tcp, packet->destination_port);
	store_be16(tcp + 2, packet->source_port);
	store_be32(tcp + TCP_SEQUENCE_OFFSET, sequence);
	store_be32(tcp + TCP_ACK_OFFSET, acknowledged);
	tcp[TCP_DATA_OFFSET] = TCP_HEADER_BYTES / 4 << 4;
	tcp[TCP_FLAGS_OFFSET] = flags;
	const uint32_t sum = checksum_sum(tcp, TCP_HEADER_BYTES,
		checksum_pseudo(packet->destination, packet->source, PROTOCOL_TCP, TCP_HEADER_BYTES));
	store_be16(tcp + TCP_CHECKSUM_OFFSET, (uint16_t)~checksum_fold(sum));
}

void answer_drop(struct nat_shard *shard, const struct batch *batch, struct packet *packet, enum drop_reason reason,
	uint32_t mtu_bytes)
{
	shard_drop(shard, packet, reason);
	const struct answer answer = answer_for(batch, packet, reason);
	if (answer.kind == ANSWER_NONE || (answer.kind == ANSWER_RESET && (packet->tcp_flags & TCP_RST)))
		return;
	struct shard_workspace *state = shard_buckets(shard, batch->policy, packet->workspace_slot);
	if (!limits_take(&state->answer_ns, LIMITS_ANSWER_NS, shard->now_ns))
		return;
	const bool to_worker = packet->in_port == PORT_INSIDE;
	const uint32_t back =
		to_worker && batch->policy->encapsulation == POLICY_ENCAPSULATION_VXLAN ? packet->vtep : packet->source;
	if (route_find(shard, batch, packet, to_worker ? PORT_INSIDE : PORT_OUTSIDE, back) != DROP_NONE)
		return;
	if (answer.kind == ANSWER_RESET)
		reset_write(packet);
	else
		/* To the worker from the gateway; to the outside from the address that was
		 * asked (E1: no other leaves).
		 */
		icmp_write(packet, answer, mtu_bytes,
			to_worker ? batch->adjacency->ports[PORT_OUTSIDE].address : packet->destination);
	shard->counters->generated++;
	if (to_worker)
		emit_inside(batch, packet, packet->vni, packet->vtep);
	else
		emit_outside(batch, packet);
}
