/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's rte_hash in the place of the session table's indexes: the same keys, the same session records, bulk lookups of
 * a whole batch. It is what the session table is measured against.
 *
 * Owner: a scenario. Thread: the one that measures. Holds the sessions that the gateway had when it was opened.
 */
#ifndef POSTERN_BENCH_RIVAL_H
#define POSTERN_BENCH_RIVAL_H

#include "dataplane/nat/shard.h"
#include "tools/bench/gateway.h"

struct rte_hash;

struct rival {
	struct rte_hash *inside, *outside;
	struct memory_heap heap;
};

bool rival_open(struct rival *ret_rival, const struct gateway *gateway, char *ret_text);
void rival_close(struct rival *rival);

/* Does what find_batch() does, by rte_hash. All packets of the batch come from one port. */
void rival_find_batch(const struct rival *rival, struct nat_shard *shard, struct batch *batch);

#endif
