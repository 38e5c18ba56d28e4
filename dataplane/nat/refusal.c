/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destinations that are refused most. Fixed memory: sets of a few places; a newcomer wears the least frequent one
 * of its set down and takes its place when that has reached zero, so that what is refused often stays and a scan leaves
 * no trace.
 */
#include "dataplane/nat/stages.h"

enum { REFUSAL_WAYS = 4, REFUSAL_SETS = COUNTERS_REFUSALS / REFUSAL_WAYS };

void refusal_note(struct nat_shard *shard, const struct packet *packet, enum drop_reason reason)
{
	const uint16_t port = packet->protocol == 1 ? 0 : packet->destination_port;
	const uint64_t hash =
		hash_mix((uint64_t)packet->destination << 32 | (uint32_t)port << 16 | packet->workspace_slot);
	struct counters_refusal *set = &shard->counters->refusals[hash % REFUSAL_SETS * REFUSAL_WAYS];
	struct counters_refusal *least = &set[0];
	for (unsigned way = 0; way < REFUSAL_WAYS; way++) {
		struct counters_refusal *of = &set[way];
		if (of->address == packet->destination && of->port == port && of->protocol == packet->protocol &&
			of->reason == (uint8_t)reason && of->workspace_slot == packet->workspace_slot) {
			of->count++;
			return;
		}
		if (of->count < least->count)
			least = of;
	}
	if (least->count > 1) {
		least->count--;
		return;
	}
	*least = (struct counters_refusal){
		.address = packet->destination,
		.port = port,
		.protocol = packet->protocol,
		.reason = (uint8_t)reason,
		.workspace_slot = packet->workspace_slot,
		.count = 1,
	};
}
