/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/rival.h"

#include <stdio.h>
#include <string.h>

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/session.h"

enum { HASH_BYTES_PER_ENTRY = 160, HASH_BYTES_MIN = 64 << 20 };

static struct rte_hash *hash_create(const char *name, uint32_t entries, int socket)
{
	const struct rte_hash_parameters parameters = {
		.name = name,
		.entries = entries,
		.key_len = sizeof(struct hash_key),
		.hash_func = rte_hash_crc,
		.socket_id = socket,
		/* Else it refuses entries before it is full. */
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	return rte_hash_create(&parameters);
}

static struct hash_key key_inside(const struct session *session, bool mapping)
{
	return session_key_inside(session->inside_address, session->inside_port, mapping ? 0 : session->remote_address,
		mapping ? 0 : session->remote_port, session->vni_protocol >> 8, (uint8_t)session->vni_protocol);
}

static struct hash_key key_outside(const struct session *session)
{
	const bool mapped = session->flags & SESSION_MAPPED;

	return session_key_outside(session->egress_address, session->egress_port, mapped ? 0 : session->remote_address,
		mapped ? 0 : session->remote_port, (uint8_t)session->vni_protocol);
}

static bool add(struct rte_hash *hash, struct hash_key key, uint32_t index)
{
	return rte_hash_add_key_data(hash, &key, (void *)(uintptr_t)index) == 0;
}

static bool fill(struct rival *rival, const struct gateway *gateway)
{
	bool done = true;

	for (uint32_t i = 0; done && i < gateway->config.sessions_max; i++) {
		const struct session *session = &gateway->config.sessions[i];

		if (session->state == SESSION_FREE)
			continue;
		done = add(rival->inside, key_inside(session, false), i);
		if (done && (session->flags & SESSION_LEADS_INSIDE))
			done = add(rival->inside, key_inside(session, true), i);
		if (done && ((session->flags & SESSION_MAPPED) == 0 || (session->flags & SESSION_LEADS_OUTSIDE)))
			done = add(rival->outside, key_outside(session), i);
	}
	return done;
}

bool rival_open(struct rival *ret_rival, const struct gateway *gateway, char *ret_text)
{
	const uint32_t sessions_max = gateway->config.sessions_max;
	const enum memory_pages pages =
		gateway->plan.pages == MEMORY_PAGES_NORMAL ? MEMORY_PAGES_NORMAL : MEMORY_PAGES_LARGE;
	struct rival rival = {};

	if (!memory_heap_open(HASH_BYTES_MIN + 3 * (size_t)sessions_max * HASH_BYTES_PER_ENTRY, pages, "rte_hash",
		    &rival.heap, ret_text))
		return false;
	rival.inside = hash_create("inside", 2 * sessions_max, rival.heap.socket);
	rival.outside = rival.inside != NULL ? hash_create("outside", sessions_max, rival.heap.socket) : NULL;
	if (rival.outside == NULL || !fill(&rival, gateway)) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "rte_hash does not hold the sessions: %s",
			rte_strerror(rte_errno));
		rival_close(&rival);
		return false;
	}
	*ret_rival = rival;
	return true;
}

void rival_close(struct rival *rival)
{
	rte_hash_free(rival->inside);
	rte_hash_free(rival->outside);
	memory_heap_close(&rival->heap);
	*rival = (struct rival){};
}

static struct hash_key key_of(const struct policy_tables *policy, const struct packet *packet, bool inside)
{
	const struct session_reply reply = {
		packet->destination, packet->source, packet->destination_port, packet->source_port, packet->protocol};

	if (inside)
		return session_key_inside(packet->source, packet->source_port, packet->destination,
			packet->destination_port, packet->vni, packet->protocol);
	return session_reply_key(
		&reply, policy_mapping_of(&policy->workspaces[packet->workspace_slot], packet->protocol));
}

void rival_find_batch(const struct rival *rival, struct nat_shard *shard, struct batch *batch)
{
	struct hash_key keys[NAT_BATCH_MAX];
	const void *pointers[NAT_BATCH_MAX];
	void *found[NAT_BATCH_MAX];
	uint64_t hits = 0;
	const bool inside = batch->count > 0 && batch->live[0]->in_port == PORT_INSIDE;

	for (uint32_t i = 0; i < batch->count; i++) {
		keys[i] = key_of(batch->policy, batch->live[i], inside);
		pointers[i] = &keys[i];
	}
	if (batch->count == 0 || rte_hash_lookup_bulk_data(inside ? rival->inside : rival->outside, pointers,
					 batch->count, &hits, found) < 0)
		hits = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		batch->live[i]->session_index = hits >> i & 1 ? (uint32_t)(uintptr_t)found[i] : INDEX_NONE;
		if (batch->live[i]->session_index == INDEX_NONE) /* for who creates one */
			batch->hashes[i] = hash_one(&shard->secret, keys[i]);
		if (batch->live[i]->session_index != INDEX_NONE)
			__builtin_prefetch(&shard->sessions[batch->live[i]->session_index], 1);
	}
	if (inside)
		return;
	/* Endpoint-independent: the mapping's leader is the session, if the remote is its own. */
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		const struct session *session = &shard->sessions[packet->session_index];

		if (packet->session_index != INDEX_NONE &&
			(session->remote_address != packet->source || session->remote_port != packet->source_port))
			packet->session_index = INDEX_NONE;
	}
}
