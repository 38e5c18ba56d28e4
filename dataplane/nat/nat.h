/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NAT core, seen from outside: packet bytes, time, randomness and policy
 * in; verdicts and bytes out.
 *
 * Pure C: no DPDK, no clock, no malloc, no system call. The same object code
 * runs under DPDK (dataplane/io), in the tests, in the fuzzers and in the
 * benchmark.
 *
 * Threads: a shard belongs to one thread. Policy tables and adjacency tables
 * are read-only once built; the caller swaps the pointers between two calls and
 * keeps the old ones until every shard has begun another call (QSBR).
 */
#ifndef POSTERN_NAT_NAT_H
#define POSTERN_NAT_NAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/contract/adjacency.h"
#include "dataplane/contract/counters.h"
#include "dataplane/contract/policy.h"
#include "dataplane/contract/sessions.h"
#include "dataplane/nat/packet.h"

/* ---- policy: snapshot → tables (control thread) ---- */

/* Every identity the gateway has known, with a stable slot each; see
 * dataplane/nat/identity.h. Zero-initialised memory.
 */
struct identities;
size_t identities_size(void);
/* Can they have come from identities_size() bytes of ours? For what lay in a file. */
bool identities_sound(const struct identities *identities);

/* What the pipeline looks things up in; see dataplane/nat/policy.h. */
struct policy_tables;

enum { NAT_TEXT_SIZE_BYTES = 192 };

/*
 * Is the block a whole, consistent snapshot? On false, `ret_text` says in one
 * sentence what is wrong. `size_bytes` is what was received; the block must be
 * 8-byte aligned and stay unchanged from here on.
 */
bool policy_snapshot_check(const void *block, size_t size_bytes, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Upper bound of the memory that policy_tables_build() needs for a checked
 * snapshot. */
size_t policy_tables_size(const struct policy_snapshot *snapshot);

/*
 * Builds tables from a checked snapshot into `memory` (64-byte aligned, zeroed,
 * policy_tables_size() bytes) and gives every identity its slot. NULL when
 * identities are used up (ret_text says which); then nothing has changed. After
 * success the caller must put the tables in force: the identities have moved
 * on.
 */
struct policy_tables *policy_tables_build(void *memory, struct identities *identities,
	const struct policy_snapshot *snapshot, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Writes the names of the workspace slots; zeroes, in every shard, the counters
 * of a slot that has a new owner. */
void identities_publish(const struct identities *identities, struct counters *counters);

/* ---- adjacency: snapshot → tables (control thread) ---- */

struct adjacency_tables;
bool adjacency_snapshot_check(const void *block, size_t size_bytes, char ret_text[NAT_TEXT_SIZE_BYTES]);
size_t adjacency_tables_size(const struct adjacency_snapshot *snapshot);
struct adjacency_tables *adjacency_tables_build(void *memory, const struct adjacency_snapshot *snapshot);

/* ---- a shard (its own thread) ---- */

struct nat_shard;

struct nat_config {
	uint32_t shard_index, shard_count; /* index < count <= SHARD_COUNT_MAX */
	uint32_t sessions_max;		   /* power of two, 1024..2^26 */
	uint8_t secret[32];		   /* random; keys the hashes and the port choice; per process */
	uint64_t now_ns;		   /* monotonic; all later times are not before it, or are treated as equal */
	uint64_t origin_ns;		   /* tick 0 of the session records; not after now_ns */
	/*
	 * The records are an earlier process's, with the same origin: take its sessions over. The policy that is put in
	 * force first must be a new one, built on that process's identities; under it every record is judged anew.
	 */
	bool recover;
	const struct identities *identities; /* with `recover`: that process's, read by nat_shard_init() only */
	/*
	 * Several shards share the traffic: what another one owns (owner.h) gets the verdict PACKET_HAND_OVER. Else all
	 * that comes is taken for this shard's, whatever shard_count says.
	 */
	bool hand_over;
	const struct counters_shard *all_counters; /* hand_over: of all of them, by shard; read for the limits */
	struct session *sessions;	 /* sessions_max records, zeroed or left by an
					    earlier process, 64-byte aligned */
	struct counters_shard *counters; /* zeroed */
	/*
	 * A fresh packet for the core to fill, from the caller's pool: data, owner
	 * and headroom_bytes (at least PACKET_HEADROOM_MIN_BYTES) set, room for
	 * PACKET_SPARE_BYTES at data. NULL when the pool is empty. May be NULL
	 * itself: then what would need one is dropped and counted.
	 */
	struct packet *(*spare)(void *context);
	void *spare_context;
};

/* Memory for a shard without its session records; 64-byte aligned, zeroed, best
 * on large pages. */
size_t nat_shard_size(const struct nat_config *config);

/* NULL when the configuration is out of range. */
struct nat_shard *nat_shard_init(void *memory, const struct nat_config *config);

/* Sessions taken over by nat_shard_init(). */
uint32_t nat_recovered(const struct nat_shard *shard);

/* What is in force. `policy` NULL: everything is dropped as no_policy.
 * `adjacency` NULL: as no_route. */
struct nat_view {
	const struct policy_tables *policy;
	const struct adjacency_tables *adjacency;
};

/*
 * Translates a batch of at most NAT_BATCH_MAX packets. Afterwards every packet
 * has a verdict, and every drop is counted. The caller counts what it sends
 * (nat_count_tx) and what the port would not take (nat_count_tx_full).
 */
void nat_process(struct nat_shard *shard, const struct nat_view *view, struct packet *const packets[], uint32_t count,
	uint64_t now_ns);

/* The same for packets that another shard has handed over: they were received, and are counted so, there. */
void nat_process_taken(struct nat_shard *shard, const struct nat_view *view, struct packet *const packets[],
	uint32_t count, uint64_t now_ns);

/*
 * Packets that the core hands over besides the batch: held ones that may go on
 * or have waited too long, and made ones. Call until NULL after nat_process()
 * and nat_upkeep(). The verdict is PACKET_FORWARD, PACKET_DROP (counted
 * already: free it) or PACKET_HAND_OVER.
 */
struct packet *nat_take(struct nat_shard *shard);

/* Call once per loop, with and without packets: expires sessions, at most a
 * fixed number of slots per call. */
void nat_upkeep(struct nat_shard *shard, const struct nat_view *view, uint64_t now_ns);

/* Counters the caller feeds. */
void nat_count_tx(struct nat_shard *shard, unsigned port, uint64_t packets, uint64_t bytes);
void nat_count_tx_full(struct nat_shard *shard, unsigned in_port, uint64_t packets);
/* What has been brought to its shard, and what its ring had no room for. */
void nat_count_handed_over(struct nat_shard *shard, uint64_t packets);
void nat_count_handover_full(struct nat_shard *shard, unsigned in_port, uint64_t packets);
void nat_count_rx_drop(struct nat_shard *shard, unsigned in_port, enum drop_reason reason, uint64_t bytes);

/* An address whose MAC was missing, oldest first; false when there is none. One
 * reader thread. */
bool nat_wanted_neighbour(struct nat_shard *shard, uint32_t *ret_address, uint32_t *ret_port);

#endif
