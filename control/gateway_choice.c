/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateway_choice.h"

/* FNV-1a of the name, then the finisher of splitmix64 over name and address: a name's last letter moves every bit. */
static uint64_t name_hash(const char *name)
{
	uint64_t hash = 14695981039346656037u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211u;
	return hash;
}

static uint64_t score_of(uint64_t name, uint32_t address)
{
	uint64_t mixed = name + (uint64_t)address * 0x9e3779b97f4a7c15u;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
	return mixed ^ mixed >> 31;
}

uint32_t gateway_choose(const char *workspace, const uint32_t *addresses, const bool *up, size_t count)
{
	uint64_t name = name_hash(workspace), best_score = 0;
	uint32_t best = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t score = score_of(name, addresses[i]);

		if (up && !up[i])
			continue;
		if (best == 0 || score > best_score || (score == best_score && addresses[i] > best)) {
			best = addresses[i];
			best_score = score;
		}
	}
	return best;
}
