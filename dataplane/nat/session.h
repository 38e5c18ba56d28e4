/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session table of a shard: records of one cache line, found by two indexes
 * (index.h).
 *
 * Endpoint-dependent (RFC 4787 section 4.1): one entry in each index, by the
 * full tuple inside and outside.
 *
 * Endpoint-independent: sessions of one inside address and port form a ring and
 * share egress address and port, which nobody else may use. Each session has
 * its entry in the inside index; one of the ring leads: it has a second entry
 * there and the ring's only entry in the outside index, both under wildcard
 * keys (remote 0). So a mapping costs no record of its own, and a reply whose
 * remote is the leader's is found in two cache lines, as with
 * endpoint-dependent mapping.
 *
 * Life of a record: free → filled → published (state written last) → removed
 * (state first) → free. Records are removed by session_remove() only; every
 * removal counts `removals` up, so that whoever looked up before knows to look
 * again.
 */
#ifndef POSTERN_NAT_SESSION_H
#define POSTERN_NAT_SESSION_H

#include <string.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/shard.h"

enum { PORT_DNS = 53 };

static inline struct hash_key session_key_inside(
	uint32_t address, uint16_t port, uint32_t remote, uint16_t remote_port, uint32_t vni, uint8_t protocol)
{
	return (struct hash_key){
		.low = (uint64_t)remote << 32 | address,
		.high = (uint64_t)(vni << 8 | protocol) << 32 | (uint32_t)remote_port << 16 | port,
	};
}

static inline struct hash_key session_key_outside(
	uint32_t egress, uint16_t port, uint32_t remote, uint16_t remote_port, uint8_t protocol)
{
	return (struct hash_key){
		.low = (uint64_t)remote << 32 | egress,
		.high = (uint64_t)protocol << 32 | (uint32_t)remote_port << 16 | port,
	};
}

/* Compares the record's first 16 bytes, which are laid out as the key is. */
static inline bool session_is_inside(const struct session *session, struct hash_key key)
{
	struct hash_key of;
	memcpy(&of, session, sizeof(of));
	return ((of.low ^ key.low) | (of.high ^ key.high)) == 0;
}

/* By full inside tuple. INDEX_NONE: none. `hash` is of `key`. */
uint32_t session_find_inside(const struct nat_shard *shard, struct hash_key key, uint64_t hash);

/* The key under which a mapping's leader stands in the inside index. */
static inline struct hash_key session_key_mapping(uint32_t address, uint16_t port, uint32_t vni, uint8_t protocol)
{
	return session_key_inside(address, port, 0, 0, vni, protocol);
}

/* The leader of the mapping of an inside address and port. `hash` is of `key`, a session_key_mapping(). */
uint32_t session_find_mapping(const struct nat_shard *shard, struct hash_key key, uint64_t hash);

/* Endpoint-dependent sessions, by full outside tuple. */
uint32_t session_find_outside(const struct nat_shard *shard, struct hash_key key, uint64_t hash);

/* The leader of the mapping that owns an egress address and port. */
uint32_t session_find_mapped_port(
	const struct nat_shard *shard, uint32_t egress, uint16_t port, uint8_t protocol, uint64_t hash);

/* A packet from outside: which session does it belong to? */
struct session_reply {
	uint32_t egress, remote;
	uint16_t port, remote_port;
	uint8_t protocol;
};

/* The key under which that session is found first, given the workspace's
 * mapping of the protocol. */
static inline struct hash_key session_reply_key(const struct session_reply *reply, enum policy_mapping mapping)
{
	const bool dependent = mapping == POLICY_MAPPING_ENDPOINT_DEPENDENT;
	return session_key_outside(reply->egress, reply->port, dependent ? reply->remote : 0,
		dependent ? reply->remote_port : 0, reply->protocol);
}

/* INDEX_NONE: none. `hash` is of session_reply_key(reply, mapping). Filtering
 * is address- and port-dependent. */
uint32_t session_find_reply(
	const struct nat_shard *shard, const struct session_reply *reply, enum policy_mapping mapping, uint64_t hash);

static inline unsigned session_kind(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP ? 0 : protocol == PROTOCOL_UDP ? 1 : 2;
}

/* Has the workspace sessions of the other mapping mode left, which may own ports that lookups by `mapping` do not see?
 */
static inline bool session_kinds_mixed(
	const struct nat_shard *shard, uint32_t workspace_slot, enum policy_mapping mapping, uint8_t protocol)
{
	const unsigned kind = session_kind(protocol);
	return kind != 2 &&
	       shard->workspaces[workspace_slot].kinds[kind][mapping == POLICY_MAPPING_ENDPOINT_DEPENDENT] != 0;
}

enum session_ring {
	SESSION_RING_NONE,	/* endpoint-dependent */
	SESSION_RING_NEW,	/* endpoint-independent, the first of its mapping */
	SESSION_RING_JOIN,	/* …, joins the ring of `leader`, shares its egress address
				   and port */
	SESSION_RING_SUPERSEDE, /* …, a new mapping for what `leader` has led inside:
				   its egress IP takes no more */
};

/* How a session enters the indexes. The hashes are of its keys; those of no use to the ring may be anything. */
struct session_entry {
	enum session_ring ring;
	uint32_t leader;
	uint64_t inside_hash;
	uint64_t outside_hash; /* not with SESSION_RING_JOIN */
	uint64_t mapping_hash; /* with SESSION_RING_NEW and SESSION_RING_SUPERSEDE */
};

/*
 * Makes a session of `prototype` (everything but ring, times and created_policy
 * filled in). INDEX_NONE when the table is full; then nothing has changed. The
 * tuples must be free: CHECK in the indexes' users, by lookup before.
 */
uint32_t session_create(struct nat_shard *shard, const struct session *prototype, const struct session_entry *entry,
	uint32_t policy_sequence);

/*
 * For recover.c: a complete record, in no index and no ring, becomes a session again. False when another one has its
 * tuple; then nothing has changed.
 */
bool session_reenter(struct nat_shard *shard, uint32_t index);

void session_remove(struct nat_shard *shard, uint32_t index);

/* Sets the tick at which the sweep looks at it again: when it will have been
 * idle for that long. */
static inline void session_arm(struct nat_shard *shard, uint32_t index, uint32_t timeout_ticks)
{
	shard->deadlines[index] = shard->sessions[index].last_tick + timeout_ticks;
}

static inline bool session_half_open(unsigned state)
{
	return state == SESSION_TCP_SYN_OUT || state == SESSION_TCP_SYN_BOTH;
}

/* The one place where a session changes state: keeps the counts of half-open ones. */
void session_set_state(struct nat_shard *shard, struct session *session, unsigned state);

/* How long it may be idle, by its state and its workspace's timers. */
static inline uint32_t session_timeout_ticks(const struct session *session, const struct table_workspace *workspace)
{
	if (session->state == SESSION_UDP_ANSWERED && session->remote_port == PORT_DNS)
		return workspace->timeout_dns_ticks;
	const uint32_t ticks = workspace->timeout_ticks[session->state];
	/* A RST that does not fit shortens the time of its state, and never lengthens it. */
	if (UNLIKELY(session->flags & SESSION_DOUBTFUL) && ticks > workspace->timeout_transitory_ticks)
		return workspace->timeout_transitory_ticks;
	return ticks;
}

#endif
