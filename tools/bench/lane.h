/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The measured path: source → buffers → pipeline → buffers → sink, in batches as in production.
 *
 *   LANE_EMPTY     source and sink alone: what is taken off the others
 *   LANE_FORWARD   parse, route, TTL, checksum, link header; no translation
 *   LANE_NAT       nat_process() and nat_upkeep(), as the forwarding loop calls them
 *   LANE_RTE_HASH  the same stages as LANE_NAT, but sessions are found by rte_hash (rival.h)
 *   LANE_STAGES    the stages of LANE_NAT with the time taken between them
 *
 * Owner: a scenario. Thread: the one that measures; it must be one that EAL knows, for the pool's cache.
 */
#ifndef POSTERN_BENCH_LANE_H
#define POSTERN_BENCH_LANE_H

#include "dataplane/io/clock.h"
#include "dataplane/io/forward.h"
#include "tools/bench/frames.h"
#include "tools/bench/rival.h"

enum lane_variant { LANE_EMPTY, LANE_FORWARD, LANE_NAT, LANE_RTE_HASH, LANE_STAGES, LANE_VARIANT_COUNT };

/* X(name) */
#define LANE_STAGES_LIST(X)                                                                                            \
	X(receive)                                                                                                     \
	X(parse)                                                                                                       \
	X(classify)                                                                                                    \
	X(fragment)                                                                                                    \
	X(find)                                                                                                        \
	X(translate)                                                                                                   \
	X(rewrite)                                                                                                     \
	X(guard)                                                                                                       \
	X(emit)                                                                                                        \
	X(send)                                                                                                        \
	X(upkeep)

enum lane_stage {
#define LANE_STAGE_ENUM(name) LANE_STAGE_##name,
	LANE_STAGES_LIST(LANE_STAGE_ENUM)
#undef LANE_STAGE_ENUM
		LANE_STAGE_COUNT
};

struct lane {
	struct gateway *gateway;
	struct frames *frames;
	const struct rival *rival; /* LANE_RTE_HASH needs it */
	struct rte_mempool *pool;
	struct clock clock;
	/* Instead of the clock, when not 0: each batch takes that long. So that runs repeat to the instruction. */
	uint64_t batch_ns;
	uint64_t ahead_ns; /* of the clock; without it, the time */
	struct memory_heap pool_heap;

	uint64_t sent, forwarded;
	uint64_t stage_cycles[LANE_STAGE_COUNT];
	uint64_t timer_cycles; /* what reading the counter costs */
	/* Buffers that the sink keeps for a while, as a port's descriptors do; 0: it returns them at once. */
	uint32_t descriptor_count, descriptor_at;
	struct rte_mbuf **descriptors;
};

/* `descriptor_count`: a multiple of FORWARD_BURST, or 0. `batch_ns` 0: the real clock. */
bool lane_open(
	struct lane *ret_lane, enum memory_pages pages, uint32_t descriptor_count, uint64_t batch_ns, char *ret_text);
void lane_close(struct lane *lane);

/* TSC cycles of that many batches. */
uint64_t lane_run(struct lane *lane, enum lane_variant variant, uint32_t batch_count);

/* Sends each frame once through LANE_NAT. */
void lane_pass(struct lane *lane);

/* Now, by the lane's clock. */
static inline uint64_t lane_now_ns(struct lane *lane)
{
	if (lane->batch_ns == 0)
		return clock_now_ns(&lane->clock) + lane->ahead_ns;
	return lane->ahead_ns += lane->batch_ns;
}

#endif
