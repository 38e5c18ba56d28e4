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
			packet->protocol == PROTOCOL_ICMP ? 0 : packet->destination_port, packet->vni,
			packet->protocol);
	const struct session_reply reply = reply_of(packet);
	return session_reply_key(&reply, mapping_of(policy, packet));
}

/* The endpoint-dependent session of a reply, or the leader of its mapping: nearly always what the tag has found. */
static bool is_reply(const struct session *session, const struct packet *packet)
{
	const uint16_t remote_port = packet->protocol == PROTOCOL_ICMP ? 0 : packet->source_port;
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

/*
 * Passes over the batch, so that its cache misses overlap: hash and prefetch
 * the bucket; prefetch the session that the bucket names; compare. ICMP errors
 * look their session up themselves (icmp.c): they are about another packet.
 */
void find_batch(struct nat_shard *shard, struct batch *batch)
{
	struct hash_key keys[NAT_BATCH_MAX];
	uint64_t hashes[NAT_BATCH_MAX];
	uint32_t first[NAT_BATCH_MAX];
	if (batch->count == 0)
		return;
	batch->removals = shard->removals;
	for (uint32_t i = 0; i < batch->count; i++)
		keys[i] = key_of(batch->policy, batch->live[i]);
	hash_batch(&shard->secret, keys, batch->count, hashes);
	for (uint32_t i = 0; i < batch->count; i++)
		index_prefetch(index_of(shard, batch->live[i]), hashes[i]);
	for (uint32_t i = 0; i < batch->count; i++) {
		first[i] = index_first(index_of(shard, batch->live[i]), hashes[i]);
		if (first[i] != INDEX_NONE)
			__builtin_prefetch(&shard->sessions[first[i]], 1);
	}
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		packet->session_index = INDEX_NONE;
		if (UNLIKELY(packet->kind != PACKET_KIND_SESSION))
			continue;
		if (LIKELY(first[i] != INDEX_NONE && is_first(&shard->sessions[first[i]], packet, keys[i]))) {
			packet->session_index = first[i];
			continue;
		}
		if (packet->in_port == PORT_INSIDE) {
			packet->session_index = session_find_inside(shard, keys[i], hashes[i]);
			continue;
		}
		const struct session_reply reply = reply_of(packet);
		packet->session_index = session_find_reply(shard, &reply, mapping_of(batch->policy, packet), hashes[i]);
	}
}
