/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tallies: how many sessions a worker has, or a workspace towards one remote. Kept only where a limit asks for it, so
 * that nobody else pays; a session knows by its flags which of its tallies to take back.
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
	uint32_t sessions;
	uint32_t half_open; /* free: number of the next free one */
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

/* NULL: there is none. */
struct tally *tally_find(struct nat_shard *shard, struct hash_key key);
/* Finds or makes it; NULL when the workspace has too many. */
struct tally *tally_get(struct nat_shard *shard, struct hash_key key);
/* Forgets it if it counts nothing. */
void tally_put(struct nat_shard *shard, struct tally *tally);

#endif
