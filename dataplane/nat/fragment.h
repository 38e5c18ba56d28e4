/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments without reassembly (RFC 4787 REQ-14): the first fragment carries
 * the ports and is translated like any packet; the others of its datagram
 * follow it. Those that come before the first are held, within limits per
 * workspace; to an address of the shared pool, within one of the pool's own,
 * since whose they are is said by their first one's port alone.
 *
 * A datagram is known by the workspace's tunnel (or the outside), both
 * addresses, protocol and IP ID, so that fragments of two workspaces never
 * meet. Which of its 8-byte units have been seen is kept as a bitmap: a
 * fragment that overlaps what was seen is dropped, and one that overlaps in
 * part spoils the datagram (RFC 5722, RFC 3128, RFC 1858).
 *
 * With several shards, fragments from outside meet at their home (owner.h). Where the first one's port says that another
 * shard owns the session, they are handed over to it, the first one first; there they are fragments like any other.
 *
 * Owner and thread: the shard's. Limits: below; full means a counted drop.
 */
#ifndef POSTERN_NAT_FRAGMENT_H
#define POSTERN_NAT_FRAGMENT_H

#include "dataplane/nat/shard.h"

enum {
	DATAGRAMS_MAX = 4096,		   /* per shard; half of them for what comes from inside, half from outside */
	DATAGRAMS_PER_WORKSPACE_MAX = 128, /* each way */
	HELD_PER_DATAGRAM_MAX = 16,
	HELD_PER_WORKSPACE_MAX = 64,
	HELD_MAX = 512, /* per shard: buffers are the ports' too */
	/* To each held fragment that is guaranteed belong so many datagrams each way, as to those there are. */
	DATAGRAMS_PER_HELD_GUARANTEED = DATAGRAMS_MAX / PORT_COUNT / HELD_MAX,
	FRAGMENTS_POOL = WORKSPACE_COUNT_MAX, /* the shared pool's budget, behind those of the workspaces */
	DATAGRAM_TIMEOUT_TICKS = 56,	      /* 15 s (RFC 791 section 3.2) */
	DATAGRAM_UNITS = 65536 / 8,
};

enum datagram_state { DATAGRAM_FREE = 0, DATAGRAM_WAITING, DATAGRAM_KNOWN, DATAGRAM_SPOILT, DATAGRAM_AWAY };

struct datagram {
	uint32_t source, destination, vni; /* vni 0: from outside */
	uint16_t id;
	uint8_t protocol;
	uint8_t state;		     /* enum datagram_state */
	uint16_t workspace_slot;     /* WORKSPACE_NONE: of the shared pool, and its first one has not come */
	uint16_t payer;		     /* of the held ones: number of a budget */
	bool worker_pays;	     /* so does the worker, by a tally */
	uint16_t new_id;	     /* outbound */
	uint32_t sequence;	     /* policy swap under which its first piece came: who was born later is another */
	uint32_t session_index;	     /* KNOWN */
	struct hash_key session_key; /* inside key of that session: is it still the same one? */
	uint32_t next_free;
	uint16_t units_seen, units_total; /* total 0: the last fragment has not come */
	uint8_t held_count;
	uint8_t owner; /* AWAY: the shard that translates it */
	struct packet *held[HELD_PER_DATAGRAM_MAX];
	uint64_t seen[DATAGRAM_UNITS / 64];
};

size_t fragments_size(void);
void fragments_init(struct fragments *fragments, void *memory);

/* Stage: takes note of every fragment; holds those whose first has not come. */
void fragment_batch(struct nat_shard *shard, struct batch *batch);

/*
 * Whose a later fragment to a shared egress address is: known once its first one has come. Until then it is nobody's
 * (WORKSPACE_NONE), and waits at the pool's expense.
 */
enum drop_reason fragment_owner(struct nat_shard *shard, struct packet *packet);

/*
 * What a workspace is guaranteed of the places that all share: kept free for it whatever the others do. After a policy
 * swap: begin, then each slot.
 */
struct fragment_floor {
	uint32_t held, datagrams;
};
void fragment_guarantees_begin(struct fragments *fragments);
void fragment_guarantee(struct fragments *fragments, uint32_t slot, struct fragment_floor floor);

/* The first fragment has its session: the others may follow. Those held are
 * handed to fragment_follow(). */
void fragment_resolve(struct nat_shard *shard, const struct packet *first);
/* The first fragment was refused: so are the others. */
void fragment_refuse(struct nat_shard *shard, const struct packet *first, enum drop_reason reason);

/* A later fragment of a known datagram: who it is, where to. DROP_NONE:
 * session_index, vni, vtep and hop are set. */
enum drop_reason fragment_translate(struct nat_shard *shard, const struct batch *batch, struct packet *packet);

/* Up to NAT_BATCH_MAX held fragments whose first has been resolved, to go
 * through the later stages; their number. */
uint32_t fragment_released(struct nat_shard *shard, struct packet *ret_packets[NAT_BATCH_MAX]);

/* Ends datagrams whose time is up, some per call. */
void fragment_upkeep(struct nat_shard *shard);

#endif
