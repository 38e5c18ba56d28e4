/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tallies: how many sessions a worker has, a workspace towards one remote, or a worker towards one remote; how many
 * fragments of a worker wait. Kept only where a limit asks for it, so that nobody else pays; a session knows by its flags
 * which of its tallies to take back.
 *
 * Owner and thread: the shard's. Each workspace that asks for such limits has an equal share of the
 * tallies; who has used up its own is refused, and takes nobody else's.
 */
#ifndef POSTERN_NAT_TALLY_H
#define POSTERN_NAT_TALLY_H

#include "dataplane/nat/shard.h"

enum { TALLIES_MIN = 4096 };

struct tally {
	struct hash_key key; /* all 0: free */
	uint64_t session_ns; /* token bucket of new sessions */
	uint32_t sessions;   /* or fragments */
	uint32_t half_open;  /* free: number of the next free one */
};
static_assert(sizeof(struct tally) == 32, "two a cache line");

uint32_t tallies_count_max(uint32_t sessions_max);
size_t tallies_size(uint32_t sessions_max);
void tallies_init(struct tallies *tallies, void *memory, uint32_t sessions_max);

/* Keys carry the slot of the workspace whose share the tally is of, in the lowest 16 bits of `low`. */
static inline struct hash_key tally_key_worker(uint16_t workspace_slot, uint32_t vni, uint32_t address)
{
	return (struct hash_key){(uint64_t)address << 32 | workspace_slot, (uint64_t)vni << 32};
}

static inline struct hash_key tally_key_remote(
	uint16_t workspace_slot, uint32_t remote, uint16_t remote_port, uint8_t protocol)
{
	return (struct hash_key){
		(uint64_t)remote << 32 | (uint32_t)remote_port << 16 | workspace_slot, 1ull << 63 | protocol};
}

/* Of a worker towards a remote. A VNI is never 0: no other key has something in these 24 bits of `high`. */
static inline struct hash_key tally_key_pair(struct hash_key remote, uint32_t address, uint32_t vni_protocol)
{
	return (struct hash_key){remote.low, (uint64_t)address << 32 | vni_protocol};
}

/* Fragments of a worker that wait. */
static inline struct hash_key tally_key_fragments(uint16_t workspace_slot, uint32_t vni, uint32_t address)
{
	struct hash_key key = tally_key_worker(workspace_slot, vni, address);
	key.high |= 1;
	return key;
}

/* The tallies of a session, by its flags. The first two are always there together. */
enum { TALLY_WORKER, TALLY_REMOTE, TALLY_PAIR, TALLIES_OF_SESSION };

struct tally_keys {
	unsigned count;
	struct hash_key of[TALLIES_OF_SESSION];
};

static inline struct tally_keys tally_keys_of(const struct session *session)
{
	struct tally_keys keys = {0};
	if ((session->flags & SESSION_TALLIED) == 0)
		return keys;
	keys.of[TALLY_WORKER] =
		tally_key_worker(session->workspace_slot, session->vni_protocol >> 8, session->inside_address);
	keys.of[TALLY_REMOTE] = tally_key_remote(
		session->workspace_slot, session->remote_address, session->remote_port, (uint8_t)session->vni_protocol);
	keys.of[TALLY_PAIR] = tally_key_pair(keys.of[TALLY_REMOTE], session->inside_address, session->vni_protocol);
	keys.count = session->flags & SESSION_TALLIED_PAIR ? TALLIES_OF_SESSION : TALLY_PAIR;
	return keys;
}

/* NULL: there is none. */
struct tally *tally_find(struct nat_shard *shard, struct hash_key key);
/* Finds or makes it; NULL when the workspace has too many. */
struct tally *tally_get(struct nat_shard *shard, struct hash_key key);
/* Forgets it if it counts nothing. */
void tally_put(struct nat_shard *shard, struct tally *tally);

#endif
