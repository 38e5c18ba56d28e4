/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICMP errors (RFC 5508 section 4): an error speaks of another packet, whose
 * header it carries. That packet's session decides whether the error passes;
 * both headers are translated; nothing is refreshed, closed or created (REQ-7,
 * RFC 4787 REQ-12).
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

enum {
	MTU_MIN_BYTES = 68,		/* RFC 791 */
	TCP_WINDOW_MAX_BYTES = 1 << 30, /* RFC 7323 section 2.3 */
	L4_MIN_BYTES = 8,		/* RFC 792: what an error carries at least */
};

/* The header inside an error, as far as it came along. */
struct embedded {
	uint8_t *ip, *l4;
	uint32_t l4_bytes; /* present, maybe cut short */
	uint32_t source, destination;
	uint16_t source_port, destination_port; /* echo: identifier in both */
	uint8_t protocol;
};

static enum drop_reason embedded_parse(const struct packet *packet, bool inbound, struct embedded *ret_embedded)
{
	uint8_t *icmp = packet->data + packet->l4_offset;
	const uint32_t icmp_bytes = packet->ip_length_bytes - (uint32_t)(packet->l4_offset - packet->ip_offset);
	if (checksum_of(icmp, icmp_bytes) != 0)
		return DROP_ICMP_CHECKSUM;
	uint8_t *ip = icmp + ICMP_HEADER_BYTES;
	const uint32_t available_bytes = icmp_bytes - ICMP_HEADER_BYTES;
	if (available_bytes < IPV4_HEADER_BYTES + L4_MIN_BYTES)
		return DROP_TRUNCATED;
	const uint32_t header_bytes = (uint32_t)(ip[0] & 15) * 4;
	if (ip[0] >> 4 != 4 || header_bytes < IPV4_HEADER_BYTES || header_bytes + L4_MIN_BYTES > available_bytes)
		return DROP_BAD_IP_HEADER;
	if (checksum_of(ip, header_bytes) != 0)
		return DROP_BAD_IP_CHECKSUM;
	if (load_be16(ip + IPV4_FRAGMENT_OFFSET) & IPV4_FRAGMENT_OFFSET_MASK)
		return DROP_ICMP_NO_SESSION; /* no ports in there */
	struct embedded embedded = {
		.ip = ip,
		.l4 = ip + header_bytes,
		.l4_bytes = available_bytes - header_bytes,
		.source = load_be32(ip + IPV4_SOURCE_OFFSET),
		.destination = load_be32(ip + IPV4_DESTINATION_OFFSET),
		.protocol = ip[IPV4_PROTOCOL_OFFSET],
	};
	if (embedded.protocol == PROTOCOL_TCP || embedded.protocol == PROTOCOL_UDP) {
		embedded.source_port = load_be16(embedded.l4);
		embedded.destination_port = load_be16(embedded.l4 + 2);
	} else if (embedded.protocol == PROTOCOL_ICMP &&
		   embedded.l4[0] == (inbound ? ICMP_ECHO_REQUEST : ICMP_ECHO_REPLY)) {
		embedded.source_port = embedded.destination_port = load_be16(embedded.l4 + ICMP_ID_OFFSET);
	} else if (embedded.protocol == PROTOCOL_ICMP) {
		return DROP_ICMP_NO_SESSION;
	}
	*ret_embedded = embedded;
	return DROP_NONE;
}

/* RFC 5927 section 4.1: an error about TCP must speak of something that is in
 * flight. */
static bool in_flight(const struct session *session, const struct embedded *embedded, bool inbound)
{
	if (embedded->protocol != PROTOCOL_TCP)
		return true;
	const uint32_t sequence = load_be32(embedded->l4 + TCP_SEQUENCE_OFFSET);
	const uint32_t end = inbound ? session->sequence_out_end : session->sequence_in_end;
	return end - sequence <= TCP_WINDOW_MAX_BYTES;
}

/* Writes one side of the embedded packet, and mends the checksums of it that
 * came along (RFC 5508 REQ-5). */
static void embedded_rewrite(const struct embedded *embedded, bool source, uint32_t address, uint16_t port)
{
	uint8_t *address_field = embedded->ip + (source ? IPV4_SOURCE_OFFSET : IPV4_DESTINATION_OFFSET);
	const bool icmp = embedded->protocol == PROTOCOL_ICMP;
	uint8_t *port_field = embedded->l4 + (icmp ? ICMP_ID_OFFSET : source ? 0 : 2);
	const uint32_t address_delta = checksum_delta32(load_be32(address_field), address);
	const uint32_t port_delta = checksum_delta16(load_be16(port_field), port);
	store_be32(address_field, address);
	checksum_update(embedded->ip + IPV4_CHECKSUM_OFFSET, address_delta);
	if (!icmp && embedded->protocol != PROTOCOL_TCP && embedded->protocol != PROTOCOL_UDP)
		return; /* by address alone */
	store_be16(port_field, port);

	const uint32_t offset = icmp				     ? ICMP_CHECKSUM_OFFSET
				: embedded->protocol == PROTOCOL_UDP ? UDP_CHECKSUM_OFFSET
								     : TCP_CHECKSUM_OFFSET;
	if (offset + 2 > embedded->l4_bytes)
		return;
	uint8_t *field = embedded->l4 + offset;
	if (embedded->protocol == PROTOCOL_UDP && load_be16(field) == 0)
		return;
	const uint16_t checksum = checksum_apply(load_be16(field), icmp ? port_delta : address_delta + port_delta);
	/* What a sender of UDP computes as zero it sends as ones: zero would say that none was made (RFC 768). */
	store_be16(field, checksum == 0 && embedded->protocol == PROTOCOL_UDP ? 0xffff : checksum);
}

/* The error's own header: address, TTL, and the ICMP checksum anew, since it
 * covers what was rewritten inside. */
static void outer_rewrite(struct packet *packet, uint32_t address_offset, uint32_t address)
{
	uint8_t *ip = packet->data + packet->ip_offset;
	uint8_t *icmp = packet->data + packet->l4_offset;
	const uint16_t ttl_word = load_be16(ip + IPV4_TTL_OFFSET);
	uint32_t delta = checksum_delta32(load_be32(ip + address_offset), address);
	delta += checksum_delta16(ttl_word, (uint16_t)(ttl_word - 0x100));
	store_be32(ip + address_offset, address);
	store_be16(ip + IPV4_TTL_OFFSET, (uint16_t)(ttl_word - 0x100));
	checksum_update(ip + IPV4_CHECKSUM_OFFSET, delta);
	store_be16(icmp + ICMP_CHECKSUM_OFFSET, 0);
	store_be16(icmp + ICMP_CHECKSUM_OFFSET,
		checksum_of(icmp, packet->ip_length_bytes - (uint32_t)(packet->l4_offset - packet->ip_offset)));
}

/* RFC 1191 section 7.2: a next-hop MTU below IPv4's minimum or above our own link's is a lie; 0 comes
 * from old routers. */
static bool mtu_plausible(const struct batch *batch, const struct packet *packet)
{
	const uint8_t *icmp = packet->data + packet->l4_offset;
	if (icmp[0] != ICMP_UNREACHABLE || icmp[ICMP_CODE_OFFSET] != ICMP_FRAGMENTATION_NEEDED)
		return true;
	const uint16_t mtu_bytes = load_be16(icmp + ICMP_MTU_OFFSET);
	return mtu_bytes == 0 ||
	       (mtu_bytes >= MTU_MIN_BYTES && mtu_bytes <= batch->adjacency->ports[PORT_OUTSIDE].mtu_bytes);
}

static enum drop_reason translate_from_remote(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	struct embedded embedded;
	enum drop_reason reason = embedded_parse(packet, true, &embedded);
	if (reason != DROP_NONE)
		return reason;
	if (embedded.source != packet->destination)
		return DROP_ICMP_NO_SESSION;
	const struct session_reply reply = {
		.egress = embedded.source,
		.remote = embedded.destination,
		.port = embedded.source_port,
		.remote_port = embedded.protocol == PROTOCOL_ICMP ? 0 : embedded.destination_port,
		.protocol = embedded.protocol,
	};
	const enum policy_mapping mapping =
		policy_mapping_of(&batch->policy->workspaces[packet->workspace_slot], embedded.protocol);
	const uint32_t index = session_find_reply(
		shard, &reply, mapping, hash_one(&shard->secret, session_reply_key(&reply, mapping)));
	if (index == INDEX_NONE)
		return DROP_ICMP_NO_SESSION;
	const struct session *session = &shard->sessions[index];
	packet->vni = session->vni_protocol >> 8;
	packet->vpc = policy_vpc(batch->policy, packet->vni);
	if (!policy_session_live(batch->policy, session, packet->vpc) ||
		session->workspace_slot != packet->workspace_slot)
		return DROP_STALE_SESSION;
	if (!in_flight(session, &embedded, true))
		return DROP_ICMP_NO_SESSION;
	if (batch->adjacency == NULL)
		return DROP_NO_ROUTE;
	if (!mtu_plausible(batch, packet) || packet->data[packet->ip_offset + IPV4_TTL_OFFSET] <= 1)
		return DROP_BAD_L4;
	reason = translate_hop_inside(shard, batch, packet, session);
	if (reason != DROP_NONE)
		return reason;
	packet->egress_port = session->egress_port;
	embedded_rewrite(&embedded, true, session->inside_address, session->inside_port);
	outer_rewrite(packet, IPV4_DESTINATION_OFFSET, session->inside_address);
	return DROP_NONE;
}

static enum drop_reason translate_from_worker(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	struct embedded embedded;
	const enum drop_reason reason = embedded_parse(packet, false, &embedded);
	if (reason != DROP_NONE)
		return reason;
	/* Only about what came to this worker, and only to who sent it: an error is no way around the egress rules. */
	if (embedded.destination != packet->source || embedded.source != packet->destination)
		return DROP_ICMP_NO_SESSION;
	const struct hash_key key = session_key_inside(embedded.destination, embedded.destination_port, embedded.source,
		embedded.protocol == PROTOCOL_ICMP ? 0 : embedded.source_port, packet->vni, embedded.protocol);
	const uint32_t index = session_find_inside(shard, key, hash_one(&shard->secret, key));
	if (index == INDEX_NONE)
		return DROP_ICMP_NO_SESSION;
	const struct session *session = &shard->sessions[index];
	if (!policy_session_live(batch->policy, session, packet->vpc))
		return DROP_STALE_SESSION;
	if (!policy_from_its_host(batch->policy, session, packet->vtep))
		return DROP_WRONG_VTEP;
	if (!in_flight(session, &embedded, false))
		return DROP_ICMP_NO_SESSION;
	packet->egress_port = session->egress_port;
	if (session->flags & SESSION_HAIRPIN)
		packet->flags |= PACKET_HAIRPIN;
	embedded_rewrite(&embedded, false, session->egress_address, session->egress_port);
	outer_rewrite(packet, IPV4_SOURCE_OFFSET, session->egress_address);
	return DROP_NONE;
}

enum drop_reason icmp_error_translate(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	return packet->in_port == PORT_INSIDE ? translate_from_worker(shard, batch, packet)
					      : translate_from_remote(shard, batch, packet);
}
