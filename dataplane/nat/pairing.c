/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/pairing.h"

#include <string.h>

#include "dataplane/nat/hash.h"
#include "dataplane/nat/snapshot.h"

struct pairing {
	struct identities *identities;
	struct policy_tables *tables;
	const struct policy_worker *workers;
	const struct policy_vpc *vpcs;
	const struct identity_slots *slots;
	uint32_t *index_of_slot; /* of an egress IP: in egress_lists; PAIRING_NONE */
	uint32_t *worker_count;	 /* by index in egress_lists */
};

size_t pairing_scratch_size(uint32_t egress_count)
{
	return (EGRESS_IP_COUNT_MAX + (size_t)egress_count) * sizeof(uint32_t);
}

/* Where the egress IP that the worker was given stands in the tables; PAIRING_NONE if it has none in service. */
static uint32_t kept(const struct pairing *pairing, uint32_t slot, uint16_t workspace_slot)
{
	const struct identities *identities = pairing->identities;
	const struct identity_pairing *of = &identities->pairings[slot];
	if (of->since == 0 || of->since < identities->workers[slot].born || of->egress_slot >= EGRESS_IP_COUNT_MAX ||
		of->since < identities->egress_ips[of->egress_slot].born)
		return PAIRING_NONE;
	const uint32_t index = pairing->index_of_slot[of->egress_slot];
	if (index == PAIRING_NONE)
		return PAIRING_NONE;
	const struct table_egress *egress = &pairing->tables->egress_lists[index];
	return egress->state == POLICY_EGRESS_ACTIVE && egress->workspace_slot == workspace_slot ? index : PAIRING_NONE;
}

/* The one in service that the fewest workers have; of several, the first from one on that a hash of the worker says. */
static uint32_t least_used(
	const struct pairing *pairing, const struct policy_worker *worker, const struct table_workspace *workspace)
{
	const uint32_t count = workspace->egress_count;
	const uint32_t weighed = count < PAIRING_WEIGHED_MAX ? count : PAIRING_WEIGHED_MAX;
	const uint64_t turn = hash_mix((uint64_t)pairing->vpcs[worker->vpc_index].vni << 32 | worker->address) >> 32;
	uint32_t best = PAIRING_NONE, at = (uint32_t)((turn * count) >> 32);
	for (uint32_t i = 0; i < weighed; i++, at = at + 1 < count ? at + 1 : 0) {
		const uint32_t index = workspace->egress_first + at;
		if (pairing->tables->egress_lists[index].state == POLICY_EGRESS_ACTIVE &&
			(best == PAIRING_NONE || pairing->worker_count[index] < pairing->worker_count[best]))
			best = index;
	}
	return best;
}

void pairing_assign(struct identities *identities, struct policy_tables *tables, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, void *scratch)
{
	const uint32_t egress_count = snapshot_count(snapshot, POLICY_EGRESS_IPS);
	const uint32_t worker_count = snapshot_count(snapshot, POLICY_WORKERS);
	struct pairing pairing = {
		.identities = identities,
		.tables = tables,
		.workers = snapshot_table(snapshot, POLICY_WORKERS),
		.vpcs = snapshot_table(snapshot, POLICY_VPCS),
		.slots = slots,
		.index_of_slot = scratch,
		.worker_count = (uint32_t *)scratch + EGRESS_IP_COUNT_MAX,
	};
	memset(pairing.index_of_slot, 0xff, EGRESS_IP_COUNT_MAX * sizeof(uint32_t));
	memset(pairing.worker_count, 0, egress_count * sizeof(uint32_t));
	for (uint32_t i = 0; i < egress_count; i++)
		pairing.index_of_slot[slots->egress_ips[i]] = i;
	/* Those that have one first: the new ones go where room is. */
	for (uint32_t i = 0; i < worker_count; i++) {
		const uint32_t workspace_slot =
			slots->workspaces[pairing.vpcs[pairing.workers[i].vpc_index].workspace_index];
		const uint32_t index = kept(&pairing, slots->workers[i], (uint16_t)workspace_slot);
		tables->workers[slots->workers[i]].egress_index = index;
		if (index != PAIRING_NONE)
			pairing.worker_count[index]++;
	}
	for (uint32_t i = 0; i < worker_count; i++) {
		const uint32_t slot = slots->workers[i];
		if (tables->workers[slot].egress_index != PAIRING_NONE)
			continue;
		const struct policy_worker *worker = &pairing.workers[i];
		const uint32_t workspace_slot = slots->workspaces[pairing.vpcs[worker->vpc_index].workspace_index];
		const uint32_t index = least_used(&pairing, worker, &tables->workspaces[workspace_slot]);
		tables->workers[slot].egress_index = index;
		if (index == PAIRING_NONE)
			continue;
		pairing.worker_count[index]++;
		identities->pairings[slot] = (struct identity_pairing){
			.egress_slot = slots->egress_ips[index],
			.since = identities->sequence,
		};
	}
}
