/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between shards: a ring for each pair, by which a packet goes from the shard that received it to the one that owns it
 * (dataplane/nat/owner.h). One producer and one consumer each, so that nothing is locked, and packets of a flow keep
 * their order.
 *
 * Owner: main() makes and frees them while no shard runs. Threads: ring [from][to] is written by shard `from` and read
 * by shard `to` alone. Limits: HANDOVER_RING_COUNT packets in each; what does not fit is dropped as handover_full.
 */
#ifndef POSTERN_IO_HANDOVER_H
#define POSTERN_IO_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/nat/nat.h"

enum { HANDOVER_RING_COUNT = 512 };

struct rte_mbuf;
struct rte_ring;

struct handover {
	uint32_t shard_count;
	struct rte_ring *rings[SHARD_COUNT_MAX][SHARD_COUNT_MAX]; /* [from][to]; NULL for a shard itself */
};

/* For a single shard there are none. False: out of memory, `ret_text` says so. */
bool handover_open(struct handover *ret_handover, uint32_t shard_count, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Frees the packets that are still in them, too. */
void handover_close(struct handover *handover);

/* How many of the packets fitted, from the first on. */
uint32_t handover_put(
	const struct handover *handover, uint32_t from, uint32_t to, struct rte_mbuf *const mbufs[], uint32_t count);

/* At most `count` packets that shard `from` has for shard `to`. */
uint32_t handover_take(
	const struct handover *handover, uint32_t from, uint32_t to, struct rte_mbuf *mbufs[], uint32_t count);

#endif
