/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slots of a group of next hops (contract/adjacency.h), by weighted rendezvous hashing: each slot goes to the next
 * hop that scores best for it, and the score knows nothing of the others. So a next hop that goes leaves the slots of
 * all others as they are, and one that comes back gets its own again; also after a restart, since nothing is
 * remembered.
 *
 * Pure. Thread: any one. Limit: NEXT_HOP_MEMBER_COUNT_MAX of a group; the further ones are not used.
 */
#ifndef POSTERN_CONTROL_NEXT_HOP_GROUP_H
#define POSTERN_CONTROL_NEXT_HOP_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/adjacency.h"

enum { NEXT_HOP_MEMBER_COUNT_MAX = 64 };

struct next_hop_member {
	uint32_t address; /* of the neighbour; each once in a group */
	uint32_t weight;  /* from 1; its share of the slots is its share of the sum, within some percent */
	uint16_t next_hop_index;
};

/* `count`: at least 1. The order of the members does not matter. */
void next_hop_group_fill(const struct next_hop_member *members, size_t count, struct adjacency_group *ret_group);

#endif
