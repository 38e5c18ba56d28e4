/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/identity.h"

#include <string.h>

#include "dataplane/nat/check.h"
#include "dataplane/nat/hash.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/snapshot.h"

/*
 * One kind of identity at a time: a pass that finds the snapshot's records
 * among the present owners, then a pass that gives free slots to the rest.
 * Mostly the records stand in the order of their slots, so the slot behind the
 * last one that was found is looked at first; what is not there is looked up in
 * a scratch hash by (owner slot, number, id), which is made only then. The
 * scratch holds slot + 1.
 */
struct kind {
	struct identity *slots;
	char (*ids)[ID_SIZE_BYTES]; /* NULL: the kind has no id of its own */
	uint32_t slot_count;
	uint32_t free_hint; /* no free slot below this one */
	uint32_t guess;	    /* where the next record's slot probably is */
	bool hashed;
	uint32_t *scratch;
	uint32_t scratch_mask;
	uint8_t *kept; /* per slot: the snapshot has it */
};

struct wanted {
	const char *id; /* NULL when the kind has none */
	uint64_t incarnation;
	uint32_t owner_slot, number, ports;
	bool owner_is_new;
};

enum { SCRATCH_SLOTS_PER_RECORD = 2 };

static uint32_t scratch_slot_count(uint32_t record_count)
{
	uint32_t count = 16;
	while (count < record_count * SCRATCH_SLOTS_PER_RECORD)
		count *= 2;
	return count;
}

static uint32_t largest_kind(void)
{
	return WORKER_COUNT_MAX;
}

size_t identities_size(void)
{
	return sizeof(struct identities);
}

static bool slots_sound(const struct identity *slots, uint32_t count, uint32_t sequence)
{
	for (uint32_t slot = 0; slot < count; slot++)
		if (slots[slot].born > sequence && slots[slot].born != IDENTITY_UNBORN)
			return false;
	return true;
}

bool identities_sound(const struct identities *identities)
{
	const uint32_t sequence = identities->sequence;
	return sequence < IDENTITY_UNBORN / 2 && slots_sound(identities->workspaces, WORKSPACE_COUNT_MAX, sequence) &&
	       slots_sound(identities->vpcs, VPC_COUNT_MAX, sequence) &&
	       slots_sound(identities->egress_ips, EGRESS_IP_COUNT_MAX, sequence) &&
	       slots_sound(identities->workers, WORKER_COUNT_MAX, sequence);
}

size_t identities_scratch_size(const struct policy_snapshot *snapshot)
{
	(void)snapshot;
	return scratch_slot_count(largest_kind()) * sizeof(uint32_t) + largest_kind();
}

static uint64_t id_hash(const char *id, uint32_t owner_slot, uint32_t number)
{
	uint64_t hash = hash_mix((uint64_t)owner_slot << 32 | number);
	for (unsigned i = 0; id != NULL && i < ID_SIZE_BYTES; i += 8) {
		uint64_t word;
		memcpy(&word, id + i, sizeof(word));
		if (word == 0)
			break;
		hash = hash_mix(hash ^ word);
	}
	return hash;
}

static void kind_begin(struct kind *kind, void *scratch)
{
	kind->scratch = scratch;
	kind->scratch_mask = scratch_slot_count(kind->slot_count) - 1;
	kind->kept = (uint8_t *)scratch + ((size_t)kind->scratch_mask + 1) * sizeof(uint32_t);
	kind->free_hint = 0;
	kind->guess = 0;
	kind->hashed = false;
	memset(kind->kept, 0, kind->slot_count);
}

static void kind_hash(struct kind *kind)
{
	kind->hashed = true;
	memset(kind->scratch, 0, ((size_t)kind->scratch_mask + 1) * sizeof(uint32_t));
	for (uint32_t slot = 0; slot < kind->slot_count; slot++) {
		const struct identity *identity = &kind->slots[slot];
		if (identity->born == IDENTITY_UNBORN || identity->born == 0)
			continue;
		uint64_t at = id_hash(kind->ids ? kind->ids[slot] : NULL, identity->owner_slot, identity->number);
		while (kind->scratch[at & kind->scratch_mask] != 0)
			at++;
		kind->scratch[at & kind->scratch_mask] = slot + 1;
	}
}

static bool slot_is(const struct kind *kind, uint32_t slot, const struct wanted *wanted)
{
	const struct identity *identity = &kind->slots[slot];
	return identity->born != IDENTITY_UNBORN && identity->born != 0 && identity->owner_slot == wanted->owner_slot &&
	       identity->number == wanted->number && identity->ports == wanted->ports &&
	       (wanted->id == NULL || strncmp(kind->ids[slot], wanted->id, ID_SIZE_BYTES) == 0);
}

/* Named the same, the slot's owner is the same only if neither it nor its owner is another one of that name. */
static uint32_t kind_keep(struct kind *kind, uint32_t slot, const struct wanted *wanted)
{
	kind->guess = slot + 1;
	return !wanted->owner_is_new && kind->slots[slot].incarnation == wanted->incarnation ? slot : UINT32_MAX;
}

/* The slot of the same object in the policy before, or UINT32_MAX. */
static uint32_t kind_find(struct kind *kind, const struct wanted *wanted)
{
	if (kind->guess < kind->slot_count && slot_is(kind, kind->guess, wanted))
		return kind_keep(kind, kind->guess, wanted);
	if (!kind->hashed)
		kind_hash(kind);
	uint64_t at = id_hash(wanted->id, wanted->owner_slot, wanted->number);
	for (; kind->scratch[at & kind->scratch_mask] != 0; at++) {
		const uint32_t slot = kind->scratch[at & kind->scratch_mask] - 1;
		if (slot_is(kind, slot, wanted))
			return kind_keep(kind, slot, wanted);
	}
	return UINT32_MAX;
}

static void kind_free_the_gone(struct kind *kind)
{
	for (uint32_t slot = 0; slot < kind->slot_count; slot++)
		if (!kind->kept[slot])
			kind->slots[slot].born = IDENTITY_UNBORN;
}

static uint32_t kind_take(struct kind *kind, const struct wanted *wanted, uint32_t sequence)
{
	while (kind->slots[kind->free_hint].born != IDENTITY_UNBORN) {
		kind->free_hint++;
		CHECK(kind->free_hint < kind->slot_count); /* the snapshot's counts were
							      checked against the limits */
	}
	const uint32_t slot = kind->free_hint;
	kind->slots[slot] = (struct identity){
		.incarnation = wanted->incarnation,
		.born = sequence,
		.owner_slot = wanted->owner_slot,
		.number = wanted->number,
		.ports = wanted->ports,
	};
	if (kind->ids != NULL)
		strncpy(kind->ids[slot], wanted->id, ID_SIZE_BYTES);
	return slot;
}

/* `describe` tells what record i of the snapshot is; `ret_slots[i]` receives
 * its slot. */
static void kind_assign(struct kind *kind, const struct identities *identities, const struct policy_snapshot *snapshot,
	uint32_t record_count, const struct identity_slots *slots,
	struct wanted (*describe)(
		const struct identities *, const struct policy_snapshot *, const struct identity_slots *, uint32_t),
	uint32_t *ret_slots)
{
	for (uint32_t i = 0; i < record_count; i++) {
		const struct wanted wanted = describe(identities, snapshot, slots, i);
		ret_slots[i] = kind_find(kind, &wanted);
		if (ret_slots[i] != UINT32_MAX)
			kind->kept[ret_slots[i]] = 1;
	}
	kind_free_the_gone(kind);
	for (uint32_t i = 0; i < record_count; i++) {
		if (ret_slots[i] != UINT32_MAX)
			continue;
		const struct wanted wanted = describe(identities, snapshot, slots, i);
		ret_slots[i] = kind_take(kind, &wanted, identities->sequence);
	}
}

static struct wanted describe_workspace(const struct identities *identities, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, uint32_t i)
{
	(void)identities;
	(void)slots;
	const struct policy_workspace *workspace =
		&((const struct policy_workspace *)snapshot_table(snapshot, POLICY_WORKSPACES))[i];
	return (struct wanted){.id = workspace->id, .incarnation = workspace->incarnation};
}

static bool born_now(const struct identities *identities, const struct identity *identity)
{
	return identity->born == identities->sequence;
}

static struct wanted describe_vpc(const struct identities *identities, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, uint32_t i)
{
	const struct policy_vpc *vpc = &((const struct policy_vpc *)snapshot_table(snapshot, POLICY_VPCS))[i];
	const uint32_t owner = slots->workspaces[vpc->workspace_index];
	return (struct wanted){
		.id = vpc->id,
		.incarnation = vpc->incarnation,
		.owner_slot = owner,
		.number = vpc->vni,
		.owner_is_new = born_now(identities, &identities->workspaces[owner]),
	};
}

static struct wanted describe_egress_ip(const struct identities *identities, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, uint32_t i)
{
	const struct policy_egress_ip *ip =
		&((const struct policy_egress_ip *)snapshot_table(snapshot, POLICY_EGRESS_IPS))[i];
	const uint32_t owner = slots->workspaces[ip->workspace_index];
	return (struct wanted){
		.incarnation = ip->incarnation,
		.owner_slot = owner,
		.number = ip->address,
		.ports = (uint32_t)ip->port_first << 16 | ip->port_last,
		.owner_is_new = born_now(identities, &identities->workspaces[owner]),
	};
}

static struct wanted describe_worker(const struct identities *identities, const struct policy_snapshot *snapshot,
	const struct identity_slots *slots, uint32_t i)
{
	const struct policy_worker *worker =
		&((const struct policy_worker *)snapshot_table(snapshot, POLICY_WORKERS))[i];
	const uint32_t owner = slots->vpcs[worker->vpc_index];
	return (struct wanted){
		.incarnation = worker->incarnation,
		.owner_slot = owner,
		.number = worker->address,
		.owner_is_new = born_now(identities, &identities->vpcs[owner]),
	};
}

/* Memory that was only zeroed: nobody is born. */
static void identities_first_use(struct identities *identities)
{
	struct kind kinds[] = {
		{.slots = identities->workspaces, .slot_count = WORKSPACE_COUNT_MAX},
		{.slots = identities->vpcs, .slot_count = VPC_COUNT_MAX},
		{.slots = identities->egress_ips, .slot_count = EGRESS_IP_COUNT_MAX},
		{.slots = identities->workers, .slot_count = WORKER_COUNT_MAX},
	};
	memset(identities->pairings, 0, sizeof(identities->pairings));
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (uint32_t slot = 0; slot < kinds[k].slot_count; slot++)
			kinds[k].slots[slot].born = IDENTITY_UNBORN;
}

void identities_assign(struct identities *identities, const struct policy_snapshot *snapshot, void *scratch,
	const struct identity_slots *slots)
{
	if (identities->sequence == 0)
		identities_first_use(identities);
	identities->sequence++;
	CHECK(identities->sequence < IDENTITY_UNBORN);

	struct kind kind = {
		.slots = identities->workspaces,
		.ids = identities->workspace_ids,
		.slot_count = WORKSPACE_COUNT_MAX,
	};
	kind_begin(&kind, scratch);
	kind_assign(&kind, identities, snapshot, snapshot_count(snapshot, POLICY_WORKSPACES), slots, describe_workspace,
		slots->workspaces);

	kind = (struct kind){.slots = identities->vpcs, .ids = identities->vpc_ids, .slot_count = VPC_COUNT_MAX};
	kind_begin(&kind, scratch);
	kind_assign(
		&kind, identities, snapshot, snapshot_count(snapshot, POLICY_VPCS), slots, describe_vpc, slots->vpcs);

	kind = (struct kind){.slots = identities->egress_ips, .slot_count = EGRESS_IP_COUNT_MAX};
	kind_begin(&kind, scratch);
	kind_assign(&kind, identities, snapshot, snapshot_count(snapshot, POLICY_EGRESS_IPS), slots, describe_egress_ip,
		slots->egress_ips);

	kind = (struct kind){.slots = identities->workers, .slot_count = WORKER_COUNT_MAX};
	kind_begin(&kind, scratch);
	kind_assign(&kind, identities, snapshot, snapshot_count(snapshot, POLICY_WORKERS), slots, describe_worker,
		slots->workers);
}

/* What was refused to the one before is not the new owner's. */
static void refusals_forget(struct counters_shard *shard, uint32_t slot)
{
	for (unsigned i = 0; i < COUNTERS_REFUSALS; i++)
		if (shard->refusals[i].workspace_slot == slot)
			memset(&shard->refusals[i], 0, sizeof(shard->refusals[i]));
}

void identities_publish(const struct identities *identities, struct counters *counters)
{
	for (uint32_t slot = 0; slot < WORKSPACE_COUNT_MAX; slot++) {
		struct counters_workspace_name *name = &counters->names[slot];
		const struct identity *identity = &identities->workspaces[slot];
		if (identity->born == IDENTITY_UNBORN || identity->born == 0) {
			name->id[0] = '\0';
			continue;
		}
		if (name->epoch == identity->born)
			continue;
		/* A new owner: its counters begin at 0, except the gauge of sessions, which
		 * the shards own. */
		for (uint32_t shard = 0; shard < counters->shard_count; shard++) {
			struct counters_workspace *of = &counters->shards[shard].workspaces[slot];
			of->out_packets = of->out_bytes = of->in_packets = of->in_bytes = 0;
			of->sessions_created = of->sessions_refused = of->dropped_packets = 0;
			refusals_forget(&counters->shards[shard], slot);
		}
		memcpy(name->id, identities->workspace_ids[slot], ID_SIZE_BYTES);
		name->epoch = identity->born;
	}
}
