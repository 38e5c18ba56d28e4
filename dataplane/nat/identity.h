/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identities: which workspace, VPC, egress IP and worker a slot stands for,
 * over all policies.
 *
 * A session stores slots and the number of the policy swap under which it was
 * created (`created_policy`). Each slot stores the swap number at which its
 * present owner was born. A session is live only if none of its slots was born
 * after it: that is the whole proof that a reused VNI, worker address or egress
 * IP never matches old state (P2), and costs four bytes a session. A slot
 * without an owner is "born" at IDENTITY_UNBORN, which no session reaches.
 *
 * Owner and thread: the control thread; shards see only the copies in struct
 * policy_tables.
 */
#ifndef POSTERN_NAT_IDENTITY_H
#define POSTERN_NAT_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/policy.h"

#define IDENTITY_UNBORN UINT32_MAX

struct identity {
	uint64_t incarnation;
	uint32_t born;	     /* swap number; IDENTITY_UNBORN: the slot is free */
	uint32_t owner_slot; /* the workspace's (VPC, egress IP) or the VPC's (worker) */
	uint32_t number;     /* VNI or address; 0 for workspaces */
	uint32_t ports;	     /* egress IP: first << 16 | last */
};

/* Which egress IP a worker was given: pairing.h. */
struct identity_pairing {
	uint32_t egress_slot;
	uint32_t since; /* swap number; who was born later did not give or get it. 0: none */
};

struct identities {
	uint32_t sequence; /* number of the last policy swap; the first is 1 */
	struct identity workspaces[WORKSPACE_COUNT_MAX];
	struct identity vpcs[VPC_COUNT_MAX];
	struct identity egress_ips[EGRESS_IP_COUNT_MAX];
	struct identity workers[WORKER_COUNT_MAX];
	struct identity_pairing pairings[WORKER_COUNT_MAX]; /* by worker's slot */
	char workspace_ids[WORKSPACE_COUNT_MAX][ID_SIZE_BYTES];
	char vpc_ids[VPC_COUNT_MAX][ID_SIZE_BYTES];
};

/* Slots of the records of one snapshot, by their index in it. */
struct identity_slots {
	uint32_t *workspaces, *vpcs, *egress_ips, *workers;
};

/* Memory for the scratch tables of identities_assign(), by snapshot. */
size_t identities_scratch_size(const struct policy_snapshot *snapshot);

/*
 * Counts `sequence` up, keeps the slots of what is the same as before, frees
 * those of what has gone, and gives the rest new ones, born now. Fills `slots`
 * (arrays of the snapshot's counts).
 */
void identities_assign(struct identities *identities, const struct policy_snapshot *snapshot, void *scratch,
	const struct identity_slots *slots);

#endif
