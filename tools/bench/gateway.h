/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway in memory: policy, adjacency and one shard, built by the core's own functions from snapshots as posternd
 * sends them.
 *
 * Addresses: workspace w has the VNI w + 1 and the VPC 10.0.0.0/8; its workers are 10.0.0.1 and on. The egress IPs of
 * all workspaces are 20.0.0.1 and on. Inside, everything comes from the worker host 10.100.0.2; outside stands a
 * router.
 *
 * Owner: a scenario. Thread: the one that measures; gateway_apply() may be called by another while that one reads
 * through `view`.
 */
#ifndef POSTERN_BENCH_GATEWAY_H
#define POSTERN_BENCH_GATEWAY_H

#include "dataplane/io/view.h"
#include "dataplane/nat/check.h"
#include "dataplane/nat/nat.h"
#include "tools/bench/memory.h"

#define ADDRESS(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

enum { GATEWAY_FRAME_MTU_BYTES = 1600 };

struct gateway_plan {
	uint32_t sessions_max;
	uint32_t workspace_count;	   /* at least 1 */
	uint32_t egress_per_workspace;	   /* at least 1 */
	uint32_t workers_per_workspace;	   /* listed ones; 0: the VPCs list none */
	bool vxlan;			   /* else plain inside, and one workspace */
	uint8_t mapping_udp;		   /* enum policy_mapping */
	struct policy_limits first_limits; /* of workspace 0 */
	uint64_t seed;
	enum memory_pages pages;
};

struct gateway {
	struct gateway_plan plan;
	struct nat_config config;
	struct nat_shard *shard;
	struct counters *counters;
	struct identities *identities;
	struct view view;
	uint64_t generation;
	/* Of the last gateway_apply(). */
	uint64_t check_ns, build_ns, swap_ns;

	struct memory_block shard_block, sessions_block, counters_block, identities_block;
	struct memory_block policy_block, adjacency_block;
};

bool gateway_open(struct gateway *ret_gateway, const struct gateway_plan *plan, uint64_t now_ns, char *ret_text);
void gateway_close(struct gateway *gateway);

/* The plan's policy as a new generation, built and swapped in; the old tables are freed once no reader has them. */
bool gateway_apply(struct gateway *gateway, char *ret_text);

/* Forgets every session: a new shard on the old memory. */
void gateway_clear(struct gateway *gateway, uint64_t now_ns);

/* All memory that the sessions need, per session that the table can hold. */
double gateway_bytes_per_session(const struct gateway *gateway);

static inline uint32_t gateway_vni(uint32_t workspace)
{
	return workspace + 1;
}

static inline uint32_t gateway_worker_address(uint32_t worker)
{
	return ADDRESS(10, 0, 0, 1) + worker;
}

static inline uint32_t gateway_egress_address(uint32_t index)
{
	return ADDRESS(20, 0, 0, 1) + index;
}

/* The policy of a plan as one block (malloc). NULL: out of memory. */
struct policy_snapshot *gateway_snapshot(const struct gateway_plan *plan, uint64_t generation);

#endif
