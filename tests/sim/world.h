/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NAT core in a box, for the simulator, the exhaustive search and the fuzzers: one shard, its policy and its
 * adjacency as drafts that are changed and put in force, and a clock that the test moves.
 */
#ifndef POSTERN_TESTS_SIM_WORLD_H
#define POSTERN_TESTS_SIM_WORLD_H

#include "dataplane/nat/identity.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/shard.h"

#define WORLD_IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define WORLD_GATEWAY_INSIDE WORLD_IP(10, 100, 0, 1)
#define WORLD_GATEWAY_OUTSIDE WORLD_IP(198, 51, 100, 2)
#define WORLD_SECOND 1000000000ull

enum {
	WORLD_RECORDS_MAX = 64,
	WORLD_FRAME_MAX = 2304,
	WORLD_HEADROOM = 128,
	WORLD_BLOCK_MAX = 65536,
	WORLD_FRAMES = 1024,
};

/* Tables of a policy snapshot under construction. */
struct world_draft {
	struct policy_snapshot header;
	struct policy_workspace workspaces[WORLD_RECORDS_MAX];
	struct policy_vpc vpcs[WORLD_RECORDS_MAX];
	struct policy_cidr cidrs[WORLD_RECORDS_MAX];
	struct policy_egress_ip egress_ips[WORLD_RECORDS_MAX];
	struct policy_worker workers[WORLD_RECORDS_MAX];
	struct policy_rule rules[WORLD_RECORDS_MAX];
	struct policy_vtep_prefix vteps[WORLD_RECORDS_MAX];
	uint32_t counts[POLICY_TABLE_COUNT];
};

struct world_adjacency {
	struct adjacency_snapshot header;
	struct adjacency_next_hop next_hops[8];
	struct adjacency_route routes[16];
	struct adjacency_group groups[2];
};

/* A frame with room around it, and its descriptor, whose owner it is. */
struct world_frame {
	uint8_t buffer[WORLD_HEADROOM + WORLD_FRAME_MAX];
	struct packet packet;
	uint64_t handle; /* 0: the core made it */
	struct world_frame *next;
};

struct world {
	struct world_draft draft;
	struct world_adjacency adjacency;
	struct identities *identities;
	struct counters *counters;
	struct counters_shard *counts; /* of the only shard */
	struct nat_shard *shard;
	struct session *sessions;
	struct nat_config config;
	struct nat_view view;
	size_t shard_bytes, counters_bytes;
	void *tables[2]; /* in force, and spare */
	size_t tables_bytes[2];
	void *adjacency_tables; /* grown to what one of them has needed */
	size_t adjacency_bytes;
	uint64_t block[WORLD_BLOCK_MAX / 8]; /* the policy in force, in the first block_bytes; behind it zeros */
	size_t block_bytes;
	uint64_t now_ns, generation;
	struct world_frame *frames, *free_frames;
	uint32_t frames_used;
};

struct world *world_new(uint32_t sessions_max, uint32_t shard_index, uint32_t shard_count, uint64_t seed);
/* The same memory, a new gateway. */
void world_restart(struct world *world, uint32_t shard_index, uint32_t shard_count, uint64_t seed);
void world_free(struct world *world);
/*
 * Another process takes these over (P5), as far as they are sound: a shard with indexes of its own over the records, and
 * no policy yet, which must be built on these identities. They stay the caller's.
 */
void world_take_over(struct world *world, struct session *sessions, struct identities *identities);

/* Compiles a draft; returns the size in bytes of the block. */
size_t world_compile(const struct world_draft *draft, uint64_t generation, void *ret_block, size_t block_bytes);
/* Puts the drafts in force. The draft must be valid: abort() otherwise. */
const struct policy_snapshot *world_policy(struct world *world);
const struct adjacency_snapshot *world_adjacency(struct world *world);
/* An ordinary adjacency: three worker hosts 10.100.0.2 to .4, a default route outside. */
void world_adjacency_default(struct world *world);
/* Header, trusted VTEPs 10.100.0.0/24, one workspace. */
void world_draft_default(struct world_draft *draft);

/* A frame of the pool that holds these bytes; NULL when the pool is empty. Lengths above WORLD_FRAME_MAX are lies. */
struct world_frame *world_frame_new(struct world *world, unsigned in_port, const uint8_t *bytes, uint32_t length_bytes);
void world_frame_free(struct world *world, struct world_frame *frame);
/* Runs one batch and counts what is sent. */
void world_process(struct world *world, struct world_frame *const frames[], uint32_t count);
/* What the core hands over besides; NULL: no more. */
struct world_frame *world_take(struct world *world);
/* NULL: the conservation law holds, nothing is left (`empty`), and the guard never fired. */
const char *world_law(const struct world *world);
const char *world_empty(const struct world *world);

#endif
