/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/session.h"

#include "dataplane/nat/ports.h"
#include "dataplane/nat/tally.h"

struct search {
	const struct session *sessions;
	struct hash_key key;
};

static struct hash_key key_inside_of(const struct session *session)
{
	return session_key_inside(session->inside_address, session->inside_port, session->remote_address,
		session->remote_port, session->vni_protocol >> 8, (uint8_t)session->vni_protocol);
}

static struct hash_key key_mapping_of(const struct session *session)
{
	return session_key_inside(session->inside_address, session->inside_port, 0, 0, session->vni_protocol >> 8,
		(uint8_t)session->vni_protocol);
}

static struct hash_key key_outside_of(const struct session *session)
{
	return session_key_outside(session->egress_address, session->egress_port, session->remote_address,
		session->remote_port, (uint8_t)session->vni_protocol);
}

static struct hash_key key_mapped_port_of(const struct session *session)
{
	return session_key_outside(session->egress_address, session->egress_port, 0, 0, (uint8_t)session->vni_protocol);
}

static inline bool keys_equal(struct hash_key a, struct hash_key b)
{
	return ((a.low ^ b.low) | (a.high ^ b.high)) == 0;
}

static inline bool is_inside(const void *context, uint32_t entry)
{
	const struct search *search = context;
	return session_is_inside(&search->sessions[entry], search->key);
}

static inline bool is_mapping(const void *context, uint32_t entry)
{
	const struct search *search = context;
	const struct session *session = &search->sessions[entry];
	return (session->flags & SESSION_LEADS_INSIDE) && keys_equal(key_mapping_of(session), search->key);
}

static inline bool is_outside(const void *context, uint32_t entry)
{
	const struct search *search = context;
	const struct session *session = &search->sessions[entry];
	return (session->flags & SESSION_MAPPED) == 0 && keys_equal(key_outside_of(session), search->key);
}

static inline bool is_mapped_port(const void *context, uint32_t entry)
{
	const struct search *search = context;
	const struct session *session = &search->sessions[entry];
	return (session->flags & SESSION_LEADS_OUTSIDE) && keys_equal(key_mapped_port_of(session), search->key);
}

uint32_t session_find_inside(const struct nat_shard *shard, struct hash_key key, uint64_t hash)
{
	const struct search search = {shard->sessions, key};
	return index_find(&shard->inside, hash, is_inside, &search);
}

uint32_t session_find_mapping(const struct nat_shard *shard, struct hash_key key, uint64_t hash)
{
	const struct search search = {shard->sessions, key};
	return index_find(&shard->inside, hash, is_mapping, &search);
}

uint32_t session_find_outside(const struct nat_shard *shard, struct hash_key key, uint64_t hash)
{
	const struct search search = {shard->sessions, key};
	return index_find(&shard->outside, hash, is_outside, &search);
}

uint32_t session_find_mapped_port(
	const struct nat_shard *shard, uint32_t egress, uint16_t port, uint8_t protocol, uint64_t hash)
{
	const struct search search = {shard->sessions, session_key_outside(egress, port, 0, 0, protocol)};
	return index_find(&shard->outside, hash, is_mapped_port, &search);
}

/* The mapping owns the port; has it a session with that remote? */
static uint32_t find_in_mapping(const struct nat_shard *shard, uint32_t leader, const struct session_reply *reply)
{
	const struct session *of = &shard->sessions[leader];
	if (LIKELY(of->remote_address == reply->remote && of->remote_port == reply->remote_port))
		return leader;
	const struct hash_key key = session_key_inside(of->inside_address, of->inside_port, reply->remote,
		reply->remote_port, of->vni_protocol >> 8, (uint8_t)of->vni_protocol);
	const uint32_t index = session_find_inside(shard, key, hash_one(&shard->secret, key));
	if (index == INDEX_NONE)
		return INDEX_NONE;
	const struct session *session = &shard->sessions[index];
	return session->egress_address == reply->egress && session->egress_port == reply->port ? index : INDEX_NONE;
}

uint32_t session_find_reply(
	const struct nat_shard *shard, const struct session_reply *reply, enum policy_mapping mapping, uint64_t hash)
{
	/* A workspace's mapping may have changed under live sessions, so the other
	 * kind is asked too. */
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		const struct hash_key key = session_reply_key(reply, mapping);
		if (attempt > 0)
			hash = hash_one(&shard->secret, key);
		if (mapping == POLICY_MAPPING_ENDPOINT_DEPENDENT) {
			const uint32_t index = session_find_outside(shard, key, hash);
			if (index != INDEX_NONE)
				return index;
			mapping = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
		} else {
			const uint32_t leader =
				session_find_mapped_port(shard, reply->egress, reply->port, reply->protocol, hash);
			const uint32_t index =
				leader != INDEX_NONE ? find_in_mapping(shard, leader, reply) : INDEX_NONE;
			if (index != INDEX_NONE)
				return index;
			mapping = POLICY_MAPPING_ENDPOINT_DEPENDENT;
		}
	}
	return INDEX_NONE;
}

/* Out of the way of who has no tallies. */
static __attribute__((noinline)) void tally_half_open(
	struct nat_shard *shard, const struct session *session, uint32_t change)
{
	tally_find(shard, tally_keys_of(session).of[TALLY_WORKER])->half_open += change;
}

static __attribute__((noinline)) void tally_sessions(
	struct nat_shard *shard, const struct session *session, uint32_t change)
{
	const struct tally_keys keys = tally_keys_of(session);
	for (unsigned i = 0; i < keys.count; i++) {
		struct tally *tally = tally_find(shard, keys.of[i]);
		tally->sessions += change;
		tally_put(shard, tally);
	}
}

void session_set_state(struct nat_shard *shard, struct session *session, unsigned state)
{
	const uint32_t change = (uint32_t)session_half_open(state) - (uint32_t)session_half_open(session->state);
	session->state = (uint8_t)state;
	if (LIKELY(change == 0))
		return;
	shard->workspaces[session->workspace_slot].half_open += change;
	if (session->flags & SESSION_TALLIED)
		tally_half_open(shard, session, change);
}

/* Counts of the workspace, and of what its tallies are of; `change` is 1 or -1. */
static void session_count(struct nat_shard *shard, const struct session *session, int32_t change)
{
	struct shard_workspace *workspace = &shard->workspaces[session->workspace_slot];
	if (change < 0 && workspace->sessions <= workspace->guaranteed)
		shard->guaranteed_unused++;
	if (change > 0 && workspace->sessions < workspace->guaranteed)
		shard->guaranteed_unused--;
	workspace->sessions += (uint32_t)change;
	workspace->kinds[session_kind((uint8_t)session->vni_protocol)][(session->flags & SESSION_MAPPED) != 0] +=
		(uint32_t)change;
	shard->counters->sessions_active += (uint64_t)(int64_t)change;
	shard->counters->workspaces[session->workspace_slot].sessions_active += (uint64_t)(int64_t)change;
	if (UNLIKELY(session->flags & SESSION_TALLIED))
		tally_sessions(shard, session, (uint32_t)change);
}

/* All index entries of a session, or none of them. */
static bool enter_indexes(struct nat_shard *shard, uint32_t index, const struct session_entry *entry)
{
	if (!index_insert(&shard->inside, entry->inside_hash, index))
		return false;
	if (entry->ring == SESSION_RING_JOIN)
		return true;
	if (index_insert(&shard->outside, entry->outside_hash, index)) {
		if (entry->ring == SESSION_RING_NONE)
			return true;
		if (entry->ring == SESSION_RING_SUPERSEDE) {
			index_replace(&shard->inside, entry->mapping_hash, entry->leader, index);
			return true;
		}
		if (index_insert(&shard->inside, entry->mapping_hash, index))
			return true;
		index_remove(&shard->outside, entry->outside_hash, index);
	}
	index_remove(&shard->inside, entry->inside_hash, index);
	return false;
}

static void ring_join(struct session *sessions, uint32_t index, uint32_t leader)
{
	sessions[index].previous = leader;
	sessions[index].next = sessions[leader].next;
	sessions[sessions[leader].next].previous = index;
	sessions[leader].next = index;
}

uint32_t session_create(struct nat_shard *shard, const struct session *prototype, const struct session_entry *entry,
	uint32_t policy_sequence)
{
	const uint32_t index = shard->free_session;
	const enum session_ring ring = entry->ring;
	if (index == INDEX_NONE)
		return INDEX_NONE;
	struct session *session = &shard->sessions[index];
	const uint32_t next_free = session->next;
	if (LIKELY(next_free != INDEX_NONE)) { /* the one that comes next has waited for long */
		__builtin_prefetch(&shard->sessions[next_free], 1);
		__builtin_prefetch(&shard->deadlines[next_free], 1);
	}

	/* Not published before it is complete, for readers in other processes and for who rebuilds after a crash. */
	struct session complete = *prototype;
	complete.state = SESSION_FREE;
	*session = complete;
	session->last_tick = session->created_tick = shard->now_tick;
	session->created_policy = policy_sequence;
	session->next = session->previous = index;
	if (ring != SESSION_RING_NONE)
		session->flags |= SESSION_MAPPED;
	if (ring == SESSION_RING_NEW || ring == SESSION_RING_SUPERSEDE)
		session->flags |= SESSION_LEADS_INSIDE | SESSION_LEADS_OUTSIDE;
	if (!enter_indexes(shard, index, entry)) {
		session->next = next_free;
		return INDEX_NONE;
	}
	if (ring == SESSION_RING_JOIN)
		ring_join(shard->sessions, index, entry->leader);
	if (ring == SESSION_RING_SUPERSEDE)
		shard->sessions[entry->leader].flags &= (uint8_t)~SESSION_LEADS_INSIDE;
	shard->free_session = next_free;
	if (ring != SESSION_RING_JOIN)
		ports_note(shard, session, true);

	session_count(shard, session, 1);
	shard->counters->sessions_created++;
	shard->counters->workspaces[session->workspace_slot].sessions_created++;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	session_set_state(shard, session, prototype->state);
	return index;
}

/* Into the ring that owns its egress port, or a new one; it leads inside if nobody does. */
static bool reenter_mapping(struct nat_shard *shard, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	const uint8_t protocol = (uint8_t)session->vni_protocol;
	const uint64_t port_hash = hash_one(&shard->secret, key_mapped_port_of(session));
	const uint64_t mapping_hash = hash_one(&shard->secret, key_mapping_of(session));
	const uint32_t owner =
		session_find_mapped_port(shard, session->egress_address, session->egress_port, protocol, port_hash);
	const uint32_t leader = session_find_mapping(shard, key_mapping_of(session), mapping_hash);
	if (owner != INDEX_NONE) {
		if (!keys_equal(key_mapping_of(&shard->sessions[owner]), key_mapping_of(session)))
			return false; /* the port is another mapping's */
		ring_join(shard->sessions, index, owner);
		return true;
	}
	if (!index_insert(&shard->outside, port_hash, index))
		return false;
	session->flags |= SESSION_LEADS_OUTSIDE;
	if (leader != INDEX_NONE)
		return true;
	if (!index_insert(&shard->inside, mapping_hash, index)) {
		index_remove(&shard->outside, port_hash, index);
		return false;
	}
	session->flags |= SESSION_LEADS_INSIDE;
	return true;
}

static bool reenter_dependent(struct nat_shard *shard, uint32_t index)
{
	const struct hash_key key = key_outside_of(&shard->sessions[index]);
	const uint64_t hash = hash_one(&shard->secret, key);
	return session_find_outside(shard, key, hash) == INDEX_NONE && index_insert(&shard->outside, hash, index);
}

bool session_reenter(struct nat_shard *shard, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	const struct hash_key key = key_inside_of(session);
	const uint64_t hash = hash_one(&shard->secret, key);
	if (session_find_inside(shard, key, hash) != INDEX_NONE || !index_insert(&shard->inside, hash, index))
		return false;
	if (!(session->flags & SESSION_MAPPED ? reenter_mapping(shard, index) : reenter_dependent(shard, index))) {
		index_remove(&shard->inside, hash, index);
		return false;
	}
	session_count(shard, session, 1);
	shard->workspaces[session->workspace_slot].half_open += session_half_open(session->state);
	return true;
}

/* Takes a session out of its ring; what it led is led by its neighbour, or ends
 * with it. */
static void ring_leave(struct nat_shard *shard, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	const uint32_t heir = session->next;
	const uint64_t mapping = hash_one(&shard->secret, key_mapping_of(session));
	const uint64_t port = hash_one(&shard->secret, key_mapped_port_of(session));
	if (heir == index) {
		if (session->flags & SESSION_LEADS_INSIDE)
			index_remove(&shard->inside, mapping, index);
		CHECK(session->flags & SESSION_LEADS_OUTSIDE);
		index_remove(&shard->outside, port, index);
		ports_note(shard, session, false);
		return;
	}
	struct session *next = &shard->sessions[heir];
	if (session->flags & SESSION_LEADS_INSIDE)
		index_replace(&shard->inside, mapping, index, heir);
	if (session->flags & SESSION_LEADS_OUTSIDE)
		index_replace(&shard->outside, port, index, heir);
	next->flags |= session->flags & (SESSION_LEADS_INSIDE | SESSION_LEADS_OUTSIDE);
	next->previous = session->previous;
	shard->sessions[session->previous].next = heir;
}

void session_remove(struct nat_shard *shard, uint32_t index)
{
	struct session *session = &shard->sessions[index];
	CHECK(session->state != SESSION_FREE);
	session_set_state(shard, session, SESSION_FREE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	index_remove(&shard->inside, hash_one(&shard->secret, key_inside_of(session)), index);
	if (session->flags & SESSION_MAPPED) {
		ring_leave(shard, index);
	} else {
		index_remove(&shard->outside, hash_one(&shard->secret, key_outside_of(session)), index);
		ports_note(shard, session, false);
	}
	session_count(shard, session, -1);
	shard->deadlines[index] = UINT32_MAX;
	session->flags = 0;
	session->next = shard->free_session;
	shard->free_session = index;
	shard->removals++;
}
