/* SPDX-License-Identifier: Apache-2.0 */
#include "control/next_hop_group.h"

#include <math.h>

static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 31) * 0x7fb5d329728ea185u;
	value = (value ^ value >> 27) * 0x81dadef4bc2dd44du;
	return value ^ value >> 33;
}

/* The least wins: exponentially distributed with the weight as its rate, so each wins in proportion to its weight. */
static double score(const struct next_hop_member *member, unsigned slot)
{
	double uniform = (double)((mix((uint64_t)member->address << 16 | slot) >> 11) + 1) * 0x1p-53;

	return -log(uniform) / member->weight;
}

void next_hop_group_fill(const struct next_hop_member *members, size_t count, struct adjacency_group *ret_group)
{
	for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++) {
		const struct next_hop_member *best = &members[0];
		double best_score = score(best, slot);

		for (size_t i = 1; i < count; i++) {
			double its_score = score(&members[i], slot);

			if (its_score < best_score || (its_score == best_score && members[i].address < best->address)) {
				best = &members[i];
				best_score = its_score;
			}
		}
		ret_group->next_hops[slot] = best->next_hop_index;
	}
}
