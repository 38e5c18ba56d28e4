/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters: a memfd that the dataplane owns and writes and posternd maps read-only.
 *
 * Writers: each shard writes only its own block, with plain 64-bit stores (a reader sees whole values on
 * x86-64 and arm64). Readers sum over the shards. Counters only grow while the process lives; a new process
 * starts from 0 (`start_unix_ns` tells).
 *
 * Law, per shard, once the shard is quiescent:
 *     rx + taken_over == tx + sum(drops) + held + handed_over + absorbed - generated
 */
#ifndef POSTERN_CONTRACT_COUNTERS_H
#define POSTERN_CONTRACT_COUNTERS_H

#include <stdint.h>

#include "dataplane/contract/drop_reasons.h"
#include "dataplane/contract/policy.h"

#define COUNTERS_MAGIC 0x434e5452u /* "CNTR" */
#define COUNTERS_VERSION 3u

/* X(name, "help"): of a shard as a whole. Gauges are marked. */
#define SHARD_COUNTERS(X)                                                                                              \
	X(loops, "iterations of the shard's loop")                                                                     \
	X(busy_loops, "iterations that had packets")                                                                   \
	X(handed_over, "packets passed to their owning shard")                                                         \
	X(taken_over, "packets that other shards passed to this one")                                                  \
	X(held, "packets kept for later: fragments waiting for their first (gauge)")                                   \
	X(generated, "packets made by the gateway: ICMP errors, RSTs, further fragments")                              \
	X(absorbed, "packets that ended here by design, such as a reassembled fragment")                               \
	X(sessions_active, "sessions in the table (gauge)")                                                            \
	X(sessions_created, "sessions created")                                                                        \
	X(sessions_expired, "sessions ended by their timer")                                                           \
	X(sessions_stale, "sessions ended because their worker, VPC or IP has gone")                                   \
	X(sessions_closed, "sessions ended by TCP close")                                                              \
	X(guard_violations, "packets stopped by the isolation guard (must stay 0)")

/* X(name, "help"): per workspace slot. */
#define WORKSPACE_COUNTERS(X)                                                                                          \
	X(out_packets, "packets translated outbound")                                                                  \
	X(out_bytes, "bytes translated outbound (inner IP length)")                                                    \
	X(in_packets, "packets translated inbound")                                                                    \
	X(in_bytes, "bytes translated inbound (inner IP length)")                                                      \
	X(sessions_created, "sessions created")                                                                        \
	X(sessions_refused, "sessions refused, for whatever reason")                                                   \
	X(dropped_packets, "packets of the workspace dropped, for whatever reason")                                    \
	X(sessions_active, "sessions in the table (gauge)")

struct counters_port {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};

/* A destination that was refused to a workspace, and how often: approximate, the most frequent ones stay (refusal.c).
 */
struct counters_refusal {
	uint32_t address; /* 0: unused */
	uint16_t port;
	uint8_t protocol;
	uint8_t reason; /* enum drop_reason */
	uint32_t workspace_slot;
	uint32_t reserved;
	uint64_t count;
};

enum { COUNTERS_REFUSALS = 64 };

#define COUNTER_FIELD(name, help) uint64_t name;

struct counters_workspace {
	WORKSPACE_COUNTERS(COUNTER_FIELD)
} __attribute__((aligned(64)));

struct counters_shard {
	SHARD_COUNTERS(COUNTER_FIELD)
	struct counters_port ports[PORT_COUNT];
	uint64_t drops[PORT_COUNT][DROP_REASON_COUNT]; /* by the port the packet came in by */
	struct counters_refusal refusals[COUNTERS_REFUSALS];
	struct counters_workspace workspaces[WORKSPACE_COUNT_MAX]; /* by workspace slot */
} __attribute__((aligned(4096)));

/* Which workspace a slot stands for. Written by the dataplane's control thread at each policy swap. */
struct counters_workspace_name {
	char id[ID_SIZE_BYTES]; /* empty: the slot is free */
	uint64_t epoch;		/* counts the slot's owners; when it changed, the slot's counters began anew */
};

struct counters {
	uint32_t magic;
	uint32_t version;
	uint64_t size_bytes;
	uint64_t start_unix_ns;
	uint32_t process_id;
	uint32_t shard_count;
	uint64_t policy_generation;	 /* in force */
	uint64_t adjacency_generation;	 /* in force */
	uint64_t heartbeat_monotonic_ns; /* of the control thread */
	uint64_t policy_swaps;
	uint64_t policy_refusals;
	uint64_t sessions_max; /* per shard */
	uint32_t port_count;   /* ports open */
	uint32_t reserved;
	char port_device[PORT_COUNT][INTERFACE_NAME_SIZE_BYTES]; /* DPDK driver, e.g. "net_af_xdp" */
	uint64_t
		port_missed[PORT_COUNT]; /* lost before a shard saw them, by the driver's account; read once a second */
	struct counters_workspace_name names[WORKSPACE_COUNT_MAX];
	struct counters_shard shards[]; /* shard_count of them, page-aligned */
} __attribute__((aligned(4096)));

#endif
