/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard: the state that one fast-path thread owns alone. Nothing in it is
 * shared but `counters`, `sessions` (others read them) and `wanted` (one
 * reader).
 */
#ifndef POSTERN_NAT_SHARD_H
#define POSTERN_NAT_SHARD_H

#include <assert.h>

#include "dataplane/nat/adjacency.h"
#include "dataplane/nat/hash.h"
#include "dataplane/nat/index.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/packet.h"
#include "dataplane/nat/policy.h"

enum {
	WANTED_SIZE = 64,  /* power of two */
	GIVEN_SIZE = 2048, /* power of two; more than one batch can give */
	PORT_FIRST = 1024, /* RFC 6056: from here up */
	PORT_TOTAL = 65536 - PORT_FIRST,
	PORT_TURN = 32, /* ports are dealt to the shards in turns of so many */
	PORT_MAP_WORDS = 65536 / 64,
	PORT_MAP_WAYS = 8,
};

/* What a shard remembers of a workspace, by slot. */
struct shard_workspace {
	uint32_t sessions, half_open;
	uint32_t guaranteed; /* sessions kept free for it, of this shard */
	uint32_t tallies;
	uint32_t born; /* whose buckets these are (identity.h) */
	/* Sessions by kind: [TCP, UDP, others][mapped]. Both kinds of one are there only after a change of the mode. */
	uint32_t kinds[3][2];
	/* Theoretical arrival times of the token buckets (GCRA, limits.h). */
	uint64_t session_ns, packet_ns, byte_ns, answer_ns;
	uint32_t sharers; /* shards that share its rates, as of sharers_tick (shard_sharers()) */
	uint32_t sharers_tick;
};

/* Which ports of one egress IP are taken towards one remote; only for remotes
 * where few are left (ports.c). */
struct port_map {
	uint32_t egress_address, remote_address; /* egress_address 0: unused */
	uint16_t egress_slot; /* of a shared address, each workspace's ports have a map of their own */
	uint16_t remote_port;
	uint8_t protocol;
	uint32_t count; /* ports that the map speaks of */
	uint32_t taken; /* of them */
	uint64_t words[PORT_MAP_WORDS];
};

/* Addresses whose MAC was missing: written by the shard, read by the control
 * thread. */
struct wanted_ring {
	uint32_t written, read; /* atomics; positions, not indexes */
	struct {
		uint32_t address, port;
	} slots[WANTED_SIZE];
};

struct datagram;

/* Fragments under way (fragment.h). */
struct fragments {
	struct datagram *datagrams;
	uint32_t *deadlines; /* tick by which a datagram ends; UINT32_MAX: free */
	struct index index;
	uint32_t free_datagram;
	uint32_t sweep_at;
	/* Places in use, and how many of the free ones are kept for who has not taken up what he is guaranteed. */
	uint32_t held, held_promised;
	uint32_t datagram_count[PORT_COUNT], datagrams_promised[PORT_COUNT];
	struct fragment_budget {
		uint8_t datagrams[PORT_COUNT], held;
		uint8_t datagrams_guaranteed, held_guaranteed;
	} * budgets; /* by workspace slot; the last one is the shared pool's */
};

struct tally;

/* Counts for the limits of workers and remotes (tally.h). */
struct tallies {
	struct tally *of;
	uint32_t count;
	uint32_t share; /* of one workspace */
	struct index index;
	uint32_t free_tally;
};

/* The range of addresses in which the last destination lay, and where it goes: most packets take the same way. */
struct route_recent {
	uint64_t length; /* 0: none */
	uint32_t first;
	uint16_t hop_index; /* in routes_spread: of the group */
};

struct nat_shard {
	/* Read by every packet. */
	struct hash_secret secret;
	struct session *sessions;
	struct index inside;  /* inside key → session, and wildcard key → leader of a mapping */
	struct index outside; /* outside key → session, or wildcard → leader */
	uint32_t *deadlines;  /* tick at which to look at a session again; UINT32_MAX:
				 free */
	struct counters_shard *counters;
	struct shard_workspace *workspaces; /* by slot */
	uint32_t now_tick;
	uint32_t sessions_max;
	uint64_t origin_ns;			       /* tick 0 */
	uint64_t now_ns;			       /* never goes back */
	struct route_recent routes_recent[PORT_COUNT]; /* under the adjacency of the present call */
	uint32_t ended;				       /* counts packets that left a batch before its end */
	uint32_t removals;			       /* counts freed session records: what was looked up before
				may be gone */

	/* Read by new sessions, and by what is spread over several next hops. */
	struct route_recent routes_spread[PORT_COUNT]; /* as routes_recent */
	uint32_t free_session;			       /* head of the free list, linked by session.next;
					    INDEX_NONE: full */
	uint16_t port_first, port_count;	       /* the external ports, dealt to the shards in turns (ports.c) */
	uint64_t random_state[2];
	struct port_map *port_maps; /* sets of PORT_MAP_WAYS */
	uint32_t port_map_set_mask;
	uint32_t port_maps_used;
	uint64_t port_map_ns; /* token bucket of their building */

	/* Upkeep. */
	uint32_t sweep_at;	 /* next deadline to look at */
	uint64_t sweep_ns;	 /* until when deadlines have been counted as due */
	uint64_t sweep_due;	 /* how many are to be looked at */
	uint32_t stale_at;	 /* next session to check after a policy swap; sessions_max:
				    done */
	uint32_t stale_sequence; /* the policy that the check is for */
	uint32_t shard_index, shard_count;
	const struct counters_shard *all_counters; /* of all shards that share the traffic; others write them */
	bool hand_over;	    /* what other shards own is theirs (owner.h); else all that comes is ours */
	uint32_t recovered; /* sessions taken over from an earlier process */

	struct tallies tallies;
	uint32_t guaranteed_unused; /* sum over the workspaces of what is kept free and not taken up */
	bool any_guaranteed;
	uint32_t limits_sequence; /* the policy swap that `guaranteed` is of */

	/* Fragments. */
	struct fragments fragments;
	bool fragments_resolved; /* some held ones may go on */
	uint16_t ip_id;		 /* next ID of a packet that may be fragmented (RFC 6864) */
	uint16_t ip_id_step;	 /* power of two, at least the number of shards: no two of them give the same ID */

	/* Packets of this batch that go to an egress IP of this gateway: they come in again from outside. */
	struct packet *hairpins[NAT_BATCH_MAX];
	uint32_t hairpin_count;

	/* Packets to hand over besides the batch (nat_take). */
	struct packet *(*spare)(void *context);
	void *spare_context;
	uint32_t given_head, given_tail; /* positions */
	struct packet *given[GIVEN_SIZE];

	struct wanted_ring wanted;
};

/* A batch on its way through the stages (pipeline.c). */
struct batch {
	const struct policy_tables *policy;
	const struct adjacency_tables *adjacency;
	uint32_t count;
	bool taken;			    /* handed over by the shard that received it */
	uint32_t ended;			    /* the shard's, when the batch was compacted last */
	uint32_t removals;		    /* the shard's, when the sessions were looked up */
	struct packet *live[NAT_BATCH_MAX]; /* those without a verdict */
	/* Between find and translate: some outbound packets have no session yet; the hashes of all sessions' keys. */
	bool any_missing;
	uint64_t hashes[NAT_BATCH_MAX];
};

/* Time only goes forward; the tick follows. */
static inline void shard_set_time(struct nat_shard *shard, uint64_t now_ns)
{
	if (now_ns > shard->now_ns)
		shard->now_ns = now_ns;
	shard->now_tick = (uint32_t)((shard->now_ns - shard->origin_ns) >> SESSION_TICK_SHIFT);
}

/* Another call: the adjacency may be another one. */
static inline void shard_routes_forget(struct nat_shard *shard)
{
	for (unsigned port = 0; port < PORT_COUNT; port++)
		shard->routes_recent[port].length = shard->routes_spread[port].length = 0;
}

/* xorshift128+: for port choice under a secret seed; observers see ports, never
 * the state's 128 bits at once. */
static inline uint64_t shard_random(struct nat_shard *shard)
{
	uint64_t x = shard->random_state[0];
	const uint64_t y = shard->random_state[1];
	shard->random_state[0] = y;
	x ^= x << 23;
	shard->random_state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	return shard->random_state[1] + y;
}

/* A workspace's state, to take from its buckets: who comes into the slot of one that has gone begins with full ones. */
static inline struct shard_workspace *shard_buckets(
	struct nat_shard *shard, const struct policy_tables *policy, uint16_t workspace_slot)
{
	struct shard_workspace *state = &shard->workspaces[workspace_slot];
	const uint32_t born = policy->workspaces[workspace_slot].born;
	if (UNLIKELY(state->born != born)) {
		state->born = born;
		state->session_ns = state->packet_ns = state->byte_ns = state->answer_ns = 0;
	}
	return state;
}

/* Several shards may send from one address: each has IDs of its own, also when they begin again from 0. */
static inline uint16_t shard_ip_id(struct nat_shard *shard)
{
	const uint16_t id = shard->ip_id;
	shard->ip_id = (uint16_t)(id + shard->ip_id_step);
	return id;
}

/* A number in [0, bound), without division. */
static inline uint32_t shard_random_below(struct nat_shard *shard, uint32_t bound)
{
	return (uint32_t)(((shard_random(shard) >> 32) * bound) >> 32);
}

/* Sessions of a workspace on all shards: exact, but for what the others do in this very moment. */
static inline uint64_t shard_sessions_of(const struct nat_shard *shard, uint16_t workspace_slot)
{
	uint64_t sessions = shard->workspaces[workspace_slot].sessions;
	if (LIKELY(!shard->hand_over))
		return sessions;
	for (uint32_t i = 0; i < shard->shard_count; i++)
		if (i != shard->shard_index)
			sessions += __atomic_load_n(
				&shard->all_counters[i].workspaces[workspace_slot].sessions_active, __ATOMIC_RELAXED);
	return sessions;
}

/*
 * Among how many shards a workspace's rates are divided: this one, and those where it has sessions. Asked anew each
 * tick, so that a workspace whose workers are all on one shard has all of its rate there.
 */
static inline uint32_t shard_sharers(struct nat_shard *shard, uint16_t workspace_slot)
{
	struct shard_workspace *workspace = &shard->workspaces[workspace_slot];
	if (LIKELY(!shard->hand_over))
		return 1;
	if (workspace->sharers != 0 && workspace->sharers_tick == shard->now_tick)
		return workspace->sharers;
	workspace->sharers = 1;
	workspace->sharers_tick = shard->now_tick;
	for (uint32_t i = 0; i < shard->shard_count; i++)
		if (i != shard->shard_index &&
			__atomic_load_n(&shard->all_counters[i].workspaces[workspace_slot].sessions_active,
				__ATOMIC_RELAXED) != 0)
			workspace->sharers++;
	return workspace->sharers;
}

/* Ends a packet. The caller takes it off the batch (its stage's loop keeps only
 * what is pending). */
static inline void shard_drop(struct nat_shard *shard, struct packet *packet, enum drop_reason reason)
{
	packet->verdict = PACKET_DROP;
	packet->drop_reason = (uint8_t)reason;
	shard->ended++;
	shard->counters->drops[packet->in_port][reason]++;
	if (packet->workspace_slot != WORKSPACE_NONE)
		shard->counters->workspaces[packet->workspace_slot].dropped_packets++;
}

/* Hands a packet with its verdict over besides the batch. */
static inline void shard_give(struct nat_shard *shard, struct packet *packet)
{
	CHECK(shard->given_head - shard->given_tail < GIVEN_SIZE);
	shard->given[shard->given_head++ % GIVEN_SIZE] = packet;
}

/* A call begins: sets all of the batch but its arrays. */
static inline void batch_begin(
	struct nat_shard *shard, const struct nat_view *view, struct batch *ret_batch, uint32_t count, uint64_t now_ns)
{
	CHECK(count <= NAT_BATCH_MAX);
	shard_set_time(shard, now_ns);
	shard_routes_forget(shard);
	/* Member by member: the arrays need no zeros. */
	ret_batch->policy = view->policy;
	ret_batch->adjacency = view->adjacency;
	ret_batch->count = count;
	ret_batch->taken = false;
	ret_batch->ended = shard->ended;
	ret_batch->removals = shard->removals;
	ret_batch->any_missing = false;
}

/* Keeps what has no verdict yet, in order; nothing to do when no packet has ended since the last time. */
static inline void batch_compact(const struct nat_shard *shard, struct batch *batch)
{
	if (LIKELY(batch->ended == shard->ended))
		return;
	batch->ended = shard->ended;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < batch->count; i++) {
		batch->live[kept] = batch->live[i];
		kept += batch->live[i]->verdict == PACKET_PENDING;
	}
	batch->count = kept;
}

#endif
