/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard's thread: receive, translate, send, for ever. One lcore, nothing shared but the view, a flag and, with several
 * shards, the rings between them; no allocation, lock, log or system call of its own per packet.
 *
 * Queues: all receive queues of both ports are counted through and dealt to the shards in turns. A shard that has a
 * transmit queue of its own uses that; where a port has fewer of them than there are shards, some share one, and take a
 * lock for each burst.
 *
 * With nothing to do for FORWARD_IDLE_NS it sleeps `idle_sleep_us` per loop, if that is not 0: on a machine of two cores
 * the kernel's side of AF_XDP needs the time, at the price of at most that much latency for the first packet.
 *
 * Owner: main() before forward_start() and after forward_stop(), the shard's thread in between.
 */
#ifndef POSTERN_IO_FORWARD_H
#define POSTERN_IO_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/io/clock.h"
#include "dataplane/io/handover.h"
#include "dataplane/io/port.h"
#include "dataplane/io/view.h"
#include "dataplane/nat/nat.h"

enum {
	FORWARD_BURST = 32,
	FORWARD_IDLE_NS = 1000000,
	FORWARD_TX_TRIES = 3,
	FORWARD_QUEUE_COUNT_MAX = PORT_COUNT * SHARD_COUNT_MAX,
};

static_assert((int)FORWARD_BURST <= (int)NAT_BATCH_MAX, "a burst is one batch of the core");

struct forward_queue {
	uint16_t port_id, queue_id; /* DPDK's */
	uint8_t port_index;	    /* enum port_index */
};

struct rte_mbuf;
struct rte_mempool;

struct forward_send_buffer {
	struct rte_mbuf *mbufs[FORWARD_BURST];
	uint32_t count;
};

struct forward_send_queue {
	uint16_t port_id, queue_id;  /* DPDK's */
	struct port_send_lock *lock; /* NULL: no other shard sends by this queue */
};

struct forward {
	struct nat_shard *shard;
	struct counters_shard *counters; /* for the loop's own two */
	const struct view *view;
	struct forward_queue queues[FORWARD_QUEUE_COUNT_MAX];
	uint32_t queue_count;
	uint32_t shard_index;
	struct forward_send_queue send_queues[PORT_COUNT];
	struct forward_send_buffer send[PORT_COUNT];
	const struct handover *handover;
	struct forward_send_buffer hand_over[SHARD_COUNT_MAX]; /* by the shard that owns them */
	struct rte_mempool *pool;			       /* of the ports' packets */
	uint32_t idle_sleep_us;
	unsigned lcore_id;
	uint32_t stop; /* control: wo, shard: ro */
	struct clock clock;
};

/* Gives the shard its queues, as said above. */
void forward_set_ports(struct forward *forward, struct ports *ports, uint32_t shard_count);

/* nat_config.spare, with a struct forward as context. Thread: the shard's. */
struct packet *forward_spare(void *context);

/* Launches the thread on `lcore_id`. False when that lcore is busy. */
bool forward_start(struct forward *forward, unsigned lcore_id);

/* Returns when the thread has ended. */
void forward_stop(struct forward *forward);

#endif
