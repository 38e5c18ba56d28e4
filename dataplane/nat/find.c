/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"

static struct session_reply reply_of(const struct packet *packet)
{
	return (struct session_reply){
		.egress = packet->destination,
		.remote = packet->source,
		.port = packet->destination_port,
		.remote_port = packet->protocol == PROTOCOL_ICMP ? 0 : packet->source_port,
		.protocol = packet->protocol,
	};
}

static enum policy_mapping mapping_of(const struct policy_tables *policy, const struct packet *packet)
{
	return policy_mapping_of(&policy->workspaces[packet->workspace_slot], packet->protocol);
}

static struct hash_key key_of(const struct policy_tables *policy, const struct packet *packet)
{
	if (packet->in_port == PORT_INSIDE)
		return session_key_inside(packet->source, packet->source_port, packet->destination,
			UNLIKELY(packet->protocol == PROTOCOL_ICMP) ? 0 : packet->destination_port, packet->vni,
			packet->protocol);
	const struct session_reply reply = reply_of(packet);
	return session_reply_key(&reply, mapping_of(policy, packet));
}

/* The endpoint-dependent session of a reply, or the leader of its mapping: nearly always what the tag has found. */
static bool is_reply(const struct session *session, const struct packet *packet)
{
	const uint16_t remote_port = UNLIKELY(packet->protocol == PROTOCOL_ICMP) ? 0 : packet->source_port;
	return session->egress_address == packet->destination && session->remote_address == packet->source &&
	       session->egress_port == packet->destination_port && session->remote_port == remote_port &&
	       (uint8_t)session->vni_protocol == packet->protocol && session->state != SESSION_FREE &&
	       (session->flags & (SESSION_MAPPED | SESSION_LEADS_OUTSIDE)) != SESSION_MAPPED;
}

static bool is_first(const struct session *session, const struct packet *packet, struct hash_key key)
{
	return packet->in_port == PORT_INSIDE ? session_is_inside(session, key) : is_reply(session, packet);
}

static const struct index *index_of(const struct nat_shard *shard, const struct packet *packet)
{
	return packet->in_port == PORT_INSIDE ? &shard->inside : &shard->outside;
}

/* What the passes over a batch hand on to each other. */
struct lookup {
	struct hash_key keys[NAT_BATCH_MAX];
	uint32_t first[NAT_BATCH_MAX];	  /* candidate sessions */
	uint8_t elsewhere[NAT_BATCH_MAX]; /* whose home line names none, but has sent entries to the other line */
	uint32_t elsewhere_count;
};

static void candidates(const struct nat_shard *shard, const struct batch *batch, struct lookup *lookup)
{
	lookup->elsewhere_count = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct index *index = index_of(shard, batch->live[i]);
		bool overflow = false;
		lookup->first[i] = index_first(index, batch->hashes[i], &overflow);
		if (LIKELY(lookup->first[i] != INDEX_NONE)) {
			__builtin_prefetch(&shard->sessions[lookup->first[i]], 1);
		} else if (overflow) {
			__builtin_prefetch(index_second_line(index, batch->hashes[i]));
			lookup->elsewhere[lookup->elsewhere_count++] = (uint8_t)i;
		}
	}
	for (uint32_t n = 0; n < lookup->elsewhere_count; n++) {
		const uint32_t i = lookup->elsewhere[n];
		lookup->first[i] = index_second(index_of(shard, batch->live[i]), batch->hashes[i]);
		if (lookup->first[i] != INDEX_NONE)
			__builtin_prefetch(&shard->sessions[lookup->first[i]], 1);
	}
}

/*
 * Passes over the batch, so that its cache misses overlap: hash and prefetch the bucket; prefetch the session that the
 * bucket names (or, for the few whose home line was full, the other bucket first); compare. ICMP errors look their
 * session up themselves (icmp.c): they are about another packet.
 */
void find_batch(struct nat_shard *shard, struct batch *batch)
{
	struct lookup lookup;
	if (batch->count == 0)
		return;
	batch->removals = shard->removals;
	batch->any_missing = false;
	for (uint32_t i = 0; i < batch->count; i++)
		lookup.keys[i] = key_of(batch->policy, batch->live[i]);
	hash_batch(&shard->secret, lookup.keys, batch->count, batch->hashes);
	for (uint32_t i = 0; i < batch->count; i++)
		index_prefetch(index_of(shard, batch->live[i]), batch->hashes[i]);
	candidates(shard, batch, &lookup);
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		const uint32_t first = lookup.first[i];
		packet->session_index = INDEX_NONE;
		if (UNLIKELY(packet->kind != PACKET_KIND_SESSION))
			continue;
		if (LIKELY(first != INDEX_NONE && is_first(&shard->sessions[first], packet, lookup.keys[i]))) {
			packet->session_index = first;
			continue;
		}
		if (packet->in_port == PORT_INSIDE) {
			packet->session_index = session_find_inside(shard, lookup.keys[i], batch->hashes[i]);
			batch->any_missing |= packet->session_index == INDEX_NONE;
			continue;
		}
		const struct session_reply reply = reply_of(packet);
		packet->session_index =
			session_find_reply(shard, &reply, mapping_of(batch->policy, packet), batch->hashes[i]);
	}
}
