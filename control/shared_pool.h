/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared pool: which workspace has which ports of which address of the pool.
 *
 * A workspace that says `egress: shared` has one active range, and keeps it over reloads and restarts. A range's life:
 *
 *   active ──► draining ──► quarantine ──► free
 *     ▲            │             │
 *     └────────────┴─────────────┘  its own workspace comes back
 *
 *   active      new sessions
 *   draining    its workspace has IPs of its own now, or a range of another size: the old sessions live out, for
 *               shared_pool.linger; in the policy
 *   quarantine  nobody's for SHARED_POOL_QUARANTINE_S, so that no late packet meets a new owner; not in the policy.
 *               Straight from active when the workspace has gone, or the address has left the pool
 *
 * Pure: time comes in as Unix seconds. A `since_s` that lies ahead of it counts as now, so a clock that was set back
 * only prolongs. Owner of a table: whoever holds it; 0 is an empty one. Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_SHARED_POOL_H
#define POSTERN_CONTROL_SHARED_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

enum {
	SHARED_POOL_PORT_FIRST = 1024, /* the first boundary of a block that is no privileged port's */
	SHARED_POOL_PORT_COUNT = 65536 - SHARED_POOL_PORT_FIRST,
	SHARED_POOL_QUARANTINE_S = 300,
	SHARED_POOL_RANGE_COUNT_MAX = 131072, /* in a file */
};

enum shared_pool_state { SHARED_POOL_ACTIVE, SHARED_POOL_DRAINING, SHARED_POOL_QUARANTINE, SHARED_POOL_STATE_COUNT };

struct shared_pool_range {
	char workspace[ID_SIZE_BYTES];
	uint32_t address;
	uint16_t port_first, port_count; /* multiples of POLICY_PORT_BLOCK */
	uint32_t state;			 /* enum shared_pool_state */
	uint64_t since_s;		 /* in this state */
};

struct shared_pool_table {
	struct shared_pool_range *ranges; /* sorted by workspace, then state */
	size_t count, capacity;
};

void shared_pool_clear(struct shared_pool_table *table);
enum status shared_pool_copy(const struct shared_pool_table *from, struct shared_pool_table *ret_table);

/* Has the same workspace the same range in the same state? */
bool shared_pool_has(const struct shared_pool_table *table, const struct shared_pool_range *range);

/* Appends; shared_pool_sort() afterwards. */
enum status shared_pool_add(struct shared_pool_table *table, const struct shared_pool_range *range);
void shared_pool_sort(struct shared_pool_table *table);

/* Of a sorted table: whole blocks, no two ranges overlap, one active range per workspace. */
bool shared_pool_is_valid(const struct shared_pool_table *table);

/* The workspace's ranges, the active one first. Returns their number; `ret_first` is NULL when it is 0. */
size_t shared_pool_find(
	const struct shared_pool_table *table, const char *workspace, const struct shared_pool_range **ret_first);

/*
 * Before shared_pool_assign(), when the dataplane may still work by `in_force`: what is in use there has not begun to
 * drain or to rest, whatever `table` says.
 */
void shared_pool_hold(struct shared_pool_table *table, const struct shared_pool_table *in_force, uint64_t now_s);

/*
 * Gives every workspace that wants one its range, and moves the others along. STATUS_INVALID: there is no room for
 * all; `table` is as before. Deterministic. Whoever can not get a range of a changed size keeps the old one, with a
 * warning.
 */
enum status shared_pool_assign(struct shared_pool_table *table, const struct model *model, uint64_t now_s,
	struct problems *problems, struct problems *warnings);

/* A range has drained long enough: assign again. */
bool shared_pool_is_due(const struct shared_pool_table *table, const struct model *model, uint64_t now_s);

#endif
