/* SPDX-License-Identifier: Apache-2.0 */
/* From a packet and its session (or none) to a decision: who is it, is that
 * still true, what does it do to the session?
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/create.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/ports.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

/* Removals since find_batch() may have freed what it found, or made room for
 * another: then look again. */
static bool still_the_one(const struct nat_shard *shard, const struct packet *packet)
{
	const struct session *session = &shard->sessions[packet->session_index];
	if (session->state == SESSION_FREE || (uint8_t)session->vni_protocol != packet->protocol)
		return false;
	const uint16_t remote_port = packet->protocol == PROTOCOL_ICMP ? 0
				     : packet->in_port == PORT_INSIDE  ? packet->destination_port
								       : packet->source_port;
	if (session->remote_port != remote_port)
		return false;
	if (packet->in_port == PORT_INSIDE)
		return session->vni_protocol >> 8 == packet->vni && session->inside_address == packet->source &&
		       session->inside_port == packet->source_port && session->remote_address == packet->destination;
	return session->egress_address == packet->destination && session->egress_port == packet->destination_port &&
	       session->remote_address == packet->source;
}

static void find_again(const struct nat_shard *shard, struct packet *packet, uint64_t hash)
{
	const struct hash_key key = session_key_inside(packet->source, packet->source_port, packet->destination,
		packet->protocol == PROTOCOL_ICMP ? 0 : packet->destination_port, packet->vni, packet->protocol);
	packet->session_index = session_find_inside(shard, key, hash);
}

static void refresh(struct nat_shard *shard, struct session *session)
{
	if (session->last_tick != shard->now_tick) /* a line that need not be written stays clean */
		session->last_tick = shard->now_tick;
}

/* Sets state, times and the deadline where that changed. */
static void advance(
	struct nat_shard *shard, const struct table_workspace *workspace, struct packet *packet, bool outbound)
{
	struct session *session = &shard->sessions[packet->session_index];
	const uint8_t state_before = session->state, flags_before = session->flags;
	if (packet->protocol == PROTOCOL_TCP) {
		tcp_advance(shard, session, packet, outbound);
		/* A RST refreshes nothing: it announces the end. */
		if ((packet->tcp_flags & TCP_RST) == 0)
			refresh(shard, session);
	} else if (outbound) {
		refresh(shard, session);
	} else {
		const bool first_answer = session->state == SESSION_UDP;
		if (first_answer)
			session_set_state(shard, session, SESSION_UDP_ANSWERED);
		/* The short time of DNS counts from its answer, however late that came. */
		if ((workspace->flags & POLICY_WORKSPACE_INBOUND_REFRESH) ||
			(first_answer && session->remote_port == PORT_DNS))
			refresh(shard, session);
	}
	if (!outbound && (session->flags & SESSION_ANSWERED) == 0)
		session->flags |= SESSION_ANSWERED;
	if (UNLIKELY(session->state != state_before || session->flags != flags_before))
		session_arm(shard, packet->session_index, session_timeout_ticks(session, workspace));
}

static enum drop_reason fit(const struct batch *batch, struct packet *packet, unsigned port)
{
	packet->flags &= (uint8_t)~PACKET_SPLIT;
	if (LIKELY(packet->ip_length_bytes <= route_mtu_bytes(batch, packet, port)))
		return DROP_NONE;
	if (packet->flags & PACKET_DF)
		return DROP_TOO_BIG;
	packet->flags |= PACKET_SPLIT;
	return DROP_NONE;
}

enum drop_reason translate_hop_outside(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, uint32_t destination)
{
	const enum drop_reason reason = route_find(shard, batch, packet, PORT_OUTSIDE, destination);
	return reason != DROP_NONE ? reason : fit(batch, packet, PORT_OUTSIDE);
}

enum drop_reason translate_hop_inside(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, const struct session *session)
{
	const struct policy_tables *policy = batch->policy;
	if (!policy_host(policy, session, &packet->vtep))
		return DROP_UNTRUSTED_VTEP;
	const uint32_t towards =
		policy->encapsulation == POLICY_ENCAPSULATION_VXLAN ? packet->vtep : session->inside_address;
	const enum drop_reason reason = route_find(shard, batch, packet, PORT_INSIDE, towards);
	return reason != DROP_NONE ? reason : fit(batch, packet, PORT_INSIDE);
}

/*
 * Packet number `at` of the batch has no session that is still its own: looks again, and else makes one. `hints` are
 * what create_foresee() says of the batch, or NULL.
 */
static __attribute__((noinline)) enum drop_reason open_session(
	struct nat_shard *shard, const struct batch *batch, uint32_t at, const struct create_hint hints[])
{
	struct packet *packet = batch->live[at];
	if (packet->session_index == INDEX_NONE || !still_the_one(shard, packet))
		find_again(shard, packet, batch->hashes[at]);
	if (packet->session_index != INDEX_NONE &&
		!policy_session_live(batch->policy, &shard->sessions[packet->session_index], packet->vpc)) {
		/* Its worker, VPC or IP has gone: it must not carry the successor's
		 * packets. */
		ports_note_gone(shard, batch->policy, packet->session_index);
		session_remove(shard, packet->session_index);
		shard->counters->sessions_stale++;
		packet->session_index = INDEX_NONE;
	}
	if (packet->session_index != INDEX_NONE)
		return DROP_NONE;
	struct create_hint hint = {.foreseen = false};
	if (hints != NULL)
		hint = hints[at];
	hint.inside_hash = batch->hashes[at];
	const enum drop_reason reason = create_session(shard, batch, packet, &hint);
	if (reason != DROP_NONE)
		return reason;
	session_arm(shard, packet->session_index,
		session_timeout_ticks(
			&shard->sessions[packet->session_index], &batch->policy->workspaces[packet->workspace_slot]));
	return DROP_NONE;
}

static enum drop_reason translate_outbound(
	struct nat_shard *shard, const struct batch *batch, uint32_t at, const struct create_hint hints[])
{
	struct packet *packet = batch->live[at];
	if (UNLIKELY(packet->session_index == INDEX_NONE || shard->removals != batch->removals ||
		     !policy_session_live(batch->policy, &shard->sessions[packet->session_index], packet->vpc))) {
		const enum drop_reason reason = open_session(shard, batch, at, hints);
		if (reason != DROP_NONE)
			return reason;
	}
	struct session *session = &shard->sessions[packet->session_index];
	if (!policy_from_its_host(batch->policy, session, packet->vtep))
		return DROP_WRONG_VTEP;
	/* One that is not listed may move to another trusted host. */
	if (UNLIKELY(session->vtep != packet->vtep))
		session->vtep = packet->vtep;
	if (UNLIKELY(session->flags & SESSION_HAIRPIN))
		packet->flags |= PACKET_HAIRPIN;
	advance(shard, &batch->policy->workspaces[packet->workspace_slot], packet, true);
	return DROP_NONE;
}

static enum drop_reason translate_inbound(struct nat_shard *shard, const struct batch *batch, struct packet *packet)
{
	if (packet->session_index == INDEX_NONE)
		return DROP_NO_SESSION;
	if (UNLIKELY(shard->removals != batch->removals) && !still_the_one(shard, packet))
		return DROP_NO_SESSION;
	struct session *session = &shard->sessions[packet->session_index];
	packet->vni = session->vni_protocol >> 8;
	packet->vpc = policy_vpc(batch->policy, packet->vni);
	if (!policy_session_live(batch->policy, session, packet->vpc) ||
		session->workspace_slot != packet->workspace_slot)
		return DROP_STALE_SESSION;
	const enum drop_reason reason = translate_hop_inside(shard, batch, packet, session);
	if (reason != DROP_NONE)
		return reason;
	if (packet->data[packet->ip_offset + IPV4_TTL_OFFSET] <= 1)
		return DROP_TTL_EXPIRED;
	advance(shard, &batch->policy->workspaces[packet->workspace_slot], packet, false);
	return DROP_NONE;
}

static enum drop_reason translate_one(
	struct nat_shard *shard, const struct batch *batch, uint32_t at, const struct create_hint hints[])
{
	struct packet *packet = batch->live[at];
	if (UNLIKELY(packet->kind == PACKET_KIND_ICMP_ERROR))
		return icmp_error_translate(shard, batch, packet);
	if (UNLIKELY(packet->kind == PACKET_KIND_FRAGMENT))
		return fragment_translate(shard, batch, packet);
	return packet->in_port == PORT_INSIDE ? translate_outbound(shard, batch, at, hints)
					      : translate_inbound(shard, batch, packet);
}

void translate_batch(struct nat_shard *shard, struct batch *batch)
{
	struct create_hint foreseen[NAT_BATCH_MAX], *hints = NULL;
	if (UNLIKELY(batch->any_missing)) {
		create_foresee(shard, batch, foreseen);
		hints = foreseen;
	}
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		const enum drop_reason reason = translate_one(shard, batch, i, hints);
		const bool first_fragment = (packet->flags & PACKET_FRAGMENT) && packet->kind == PACKET_KIND_SESSION;
		if (LIKELY(reason == DROP_NONE)) {
			if (UNLIKELY(first_fragment))
				fragment_resolve(shard, packet);
			continue;
		}
		if (first_fragment)
			fragment_refuse(shard, packet, reason);
		const uint32_t mtu_bytes = reason == DROP_TOO_BIG ? route_mtu_bytes(batch, packet, PORT_INSIDE) : 0;
		answer_drop(shard, batch, packet, reason, mtu_bytes);
	}
	batch_compact(shard, batch);
}
