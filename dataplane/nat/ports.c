/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/ports.h"

#include <string.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/limits.h"
#include "dataplane/nat/owner.h"
#include "dataplane/nat/pairing.h"
#include "dataplane/nat/session.h"

enum {
	/* Up to 80 % of the ports taken, so many tries fail once in a thousand times. */
	RANDOM_TRIES = 32,
	BUILD_BATCH = 32,
	CONFLICTS_FREE = 32, /* candidates of a map that may be in conflict before that costs as a map does */
	/* Maps are built at most once per millisecond, after a burst of as many as fit into BUILD_BURST_NS. */
	BUILD_NS = 1000000,
	BUILD_BURST_NS = 64 * BUILD_NS,
};

uint32_t ports_map_count(uint32_t sessions_max)
{
	/* Maps that are needed have most of a slice taken; eight times as many places, so that no set of them is short.
	 */
	uint32_t count = 2 * PORT_MAP_WAYS;
	while (count < sessions_max / (65536 / 8))
		count *= 2;
	return count;
}

/*
 * The ports of an address that a shard may give: its turns of PORT_TURN ports each, so that a reply's destination port
 * names its shard, and each block of a shared address has ports of every shard.
 */
struct span {
	uint32_t first;	 /* the first port of the first turn */
	uint32_t stride; /* from a turn to the next; PORT_TURN when there is one shard */
	uint32_t count;
};

static struct span span_of(const struct nat_shard *shard, const struct table_egress *egress)
{
	uint32_t first = shard->port_first, end = (uint32_t)shard->port_first + shard->port_count;
	if (egress->port_first > first)
		first = egress->port_first;
	if (egress->port_last != 0 && egress->port_last + 1u < end)
		end = egress->port_last + 1u;
	struct span span = {.first = first, .stride = PORT_TURN, .count = end > first ? end - first : 0};
	if (shard->shard_count == 1)
		return span;
	span.stride = PORT_TURN * shard->shard_count;
	uint32_t turn = (first + PORT_TURN - 1) / PORT_TURN;
	while (turn % shard->shard_count != shard->shard_index)
		turn++;
	span.first = turn * PORT_TURN;
	const uint32_t turns = span.first < end ? (end - span.first + span.stride - 1) / span.stride : 0;
	span.count = turns * PORT_TURN;
	return span;
}

static uint16_t span_port(const struct span *span, uint32_t i)
{
	if (span->stride == PORT_TURN)
		return (uint16_t)(span->first + i);
	return (uint16_t)(span->first + i / PORT_TURN * span->stride + i % PORT_TURN);
}

bool ports_mine(const struct nat_shard *shard, uint16_t port, uint8_t protocol)
{
	if (!owner_has_ports(protocol))
		return port == 0;
	if (port < shard->port_first || port >= (uint32_t)shard->port_first + shard->port_count)
		return false;
	return owner_of_port(shard->shard_count, port) == shard->shard_index;
}

static struct hash_key port_key(const struct ports_request *request, uint32_t egress, uint16_t port)
{
	return session_key_outside(egress, port, request->remote_address, request->remote_port, request->protocol);
}

static bool key_taken(const struct nat_shard *shard, const struct ports_request *request, uint32_t egress,
	uint16_t port, struct hash_key key, uint64_t hash)
{
	if (request->remote_address == 0)
		return session_find_mapped_port(shard, egress, port, request->protocol, hash) != INDEX_NONE;
	return session_find_outside(shard, key, hash) != INDEX_NONE;
}

static bool port_taken(
	const struct nat_shard *shard, const struct ports_request *request, const struct ports_choice *choice)
{
	return key_taken(shard, request, choice->egress_address, choice->port,
		port_key(request, choice->egress_address, choice->port), choice->hash);
}

/* The choice of a port, not yet known to be free. */
static void choose(
	const struct nat_shard *shard, const struct ports_request *request, uint16_t port, struct ports_choice *choice)
{
	choice->port = port;
	choice->hash = hash_one(&shard->secret, port_key(request, choice->egress_address, port));
}

/* Would an answer meet a session of the other mapping mode? */
static bool port_conflicts(
	const struct nat_shard *shard, const struct ports_request *request, uint32_t egress, uint16_t port)
{
	if (LIKELY(!request->mixed))
		return false;
	const struct session_reply reply = {
		.egress = egress,
		.remote = request->towards_address,
		.port = port,
		.remote_port = request->towards_port,
		.protocol = request->protocol,
	};
	const struct hash_key key = session_reply_key(&reply, POLICY_MAPPING_ENDPOINT_DEPENDENT);
	return session_find_reply(shard, &reply, POLICY_MAPPING_ENDPOINT_DEPENDENT, hash_one(&shard->secret, key)) !=
	       INDEX_NONE;
}

/* What a map is about. */
struct map_key {
	uint32_t egress_address, remote_address;
	uint16_t egress_slot, remote_port;
	uint8_t protocol;
};

static struct port_map *map_set(const struct nat_shard *shard, const struct map_key *key)
{
	const uint64_t hash =
		hash_mix(((uint64_t)key->egress_address << 32 | key->remote_address) ^ shard->secret.words[2] ^
			 hash_mix((uint64_t)key->egress_slot << 32 | (uint64_t)key->remote_port << 8 | key->protocol));
	return &shard->port_maps[(hash & shard->port_map_set_mask) * PORT_MAP_WAYS];
}

static struct port_map *map_find(const struct nat_shard *shard, const struct map_key *key)
{
	if (shard->port_maps_used == 0)
		return NULL;
	struct port_map *set = map_set(shard, key);
	for (unsigned way = 0; way < PORT_MAP_WAYS; way++)
		if (set[way].egress_address == key->egress_address && set[way].egress_slot == key->egress_slot &&
			set[way].remote_address == key->remote_address && set[way].remote_port == key->remote_port &&
			set[way].protocol == key->protocol)
			return &set[way];
	return NULL;
}

/* Builds the map of one egress IP towards one remote: looks at every port of the span, once. */
static struct port_map *map_build(struct nat_shard *shard, const struct ports_request *request,
	const struct map_key *key, const struct span *span)
{
	struct port_map *set = map_set(shard, key);
	struct port_map *map = &set[0];
	for (unsigned way = 1; way < PORT_MAP_WAYS; way++)
		if (map->egress_address != 0 && (set[way].egress_address == 0 || set[way].taken < map->taken))
			map = &set[way];
	shard->port_maps_used += map->egress_address == 0;
	memset(map->words, 0xff, sizeof(map->words)); /* ports outside of the span stay taken */
	map->egress_address = key->egress_address;
	map->egress_slot = key->egress_slot;
	map->remote_address = key->remote_address;
	map->remote_port = key->remote_port;
	map->protocol = key->protocol;
	map->count = span->count;
	map->taken = 0;
	for (uint32_t from = 0; from < span->count; from += BUILD_BATCH) {
		const uint32_t end = from + BUILD_BATCH < span->count ? from + BUILD_BATCH : span->count;
		struct hash_key keys[BUILD_BATCH];
		uint64_t hashes[BUILD_BATCH];
		for (uint32_t i = from; i < end; i++)
			keys[i - from] = port_key(request, key->egress_address, span_port(span, i));
		hash_batch(&shard->secret, keys, end - from, hashes);
		for (uint32_t i = from; i < end; i++)
			index_prefetch(&shard->outside, hashes[i - from]);
		for (uint32_t i = from; i < end; i++) {
			const uint16_t port = span_port(span, i);
			if (key_taken(shard, request, key->egress_address, port, keys[i - from], hashes[i - from]))
				map->taken++;
			else
				map->words[port / 64] &= ~(1ull << (port % 64));
		}
	}
	return map;
}

/* The free port of a word that comes first from a random one on. */
static uint16_t word_choose(struct nat_shard *shard, uint32_t word, uint64_t free_ports)
{
	const unsigned turn = (unsigned)shard_random_below(shard, 64);
	const uint64_t turned = free_ports >> turn | (turn != 0 ? free_ports << (64 - turn) : 0);
	return (uint16_t)(word * 64 + ((unsigned)__builtin_ctzll(turned) + turn) % 64);
}

static bool map_choose(
	struct nat_shard *shard, const struct ports_request *request, const struct port_map *map, uint16_t *ret_port)
{
	if (map->taken >= map->count)
		return false;
	uint32_t word = shard_random_below(shard, PORT_MAP_WORDS), conflicts = 0;
	for (uint32_t i = 0; i < PORT_MAP_WORDS; i++, word = (word + 1) % PORT_MAP_WORDS) {
		uint64_t free_ports = ~map->words[word];
		while (free_ports != 0) {
			const uint16_t port = word_choose(shard, word, free_ports);
			if (LIKELY(!port_conflicts(shard, request, map->egress_address, port))) {
				*ret_port = port;
				return true;
			}
			free_ports &= ~(1ull << port % 64);
			if (++conflicts == CONFLICTS_FREE &&
				!limits_take_burst(&shard->port_map_ns, BUILD_NS, BUILD_BURST_NS, shard->now_ns))
				return false;
		}
	}
	return false;
}

static bool port_free(
	const struct nat_shard *shard, const struct ports_request *request, const struct ports_choice *choice)
{
	return !port_taken(shard, request, choice) &&
	       !port_conflicts(shard, request, choice->egress_address, choice->port);
}

static struct map_key map_key_of(const struct ports_request *request, const struct table_egress *egress)
{
	return (struct map_key){
		.egress_address = egress->address,
		.remote_address = request->remote_address,
		.egress_slot = egress->slot,
		.remote_port = request->remote_port,
		.protocol = request->protocol,
	};
}

static bool port_on(struct nat_shard *shard, const struct ports_request *request, const struct table_egress *egress,
	const struct ports_hint *hint, struct ports_choice *choice)
{
	*choice = (struct ports_choice){.egress_address = egress->address, .egress_slot = egress->slot};
	if (!owner_has_ports(
		    request->protocol)) { /* by address alone: one worker per egress IP and remote, and none on a
						shared one */
		choose(shard, request, 0, choice);
		return egress->port_first == 0 && !port_taken(shard, request, choice);
	}
	const struct span span = span_of(shard, egress);
	if (span.count == 0)
		return false;
	const struct map_key key = map_key_of(request, egress);
	const struct port_map *map = map_find(shard, &key);
	for (unsigned attempt = 0; map == NULL && attempt < RANDOM_TRIES; attempt++) {
		if (attempt == 0 && hint != NULL && hint->drawn && hint->egress == egress) {
			choice->port = hint->port;
			choice->hash = hint->hash;
		} else {
			choose(shard, request, span_port(&span, shard_random_below(shard, span.count)), choice);
		}
		if (port_free(shard, request, choice))
			return true;
	}
	/* Looking at a whole range costs; who makes maps displace each other is refused, and slows nobody else (P7). */
	if (map == NULL && !limits_take_burst(&shard->port_map_ns, BUILD_NS, BUILD_BURST_NS, shard->now_ns))
		return false;
	if (map == NULL)
		map = map_build(shard, request, &key, &span);
	uint16_t port;
	if (!map_choose(shard, request, map, &port))
		return false;
	choose(shard, request, port, choice);
	return true;
}

/* The IP that the policy says for this worker: by its prefix, or as pairing.h gave it; in egress_lists, or PAIRING_NONE.
 * Out of the way of whose VPC says nothing. */
static __attribute__((noinline)) uint32_t policy_says(const struct ports_request *request)
{
	const struct policy_tables *policy = request->policy;
	if (request->vpc->flags & TABLE_VPC_PREFERS) {
		const uint32_t index = policy_egress_preferred(policy, request->vpc, request->inside_address);
		if (index != UINT32_MAX && policy->egress_lists[index].state == POLICY_EGRESS_ACTIVE)
			return index;
	}
	if ((request->vpc->flags & TABLE_VPC_ANY_LISTED) == 0)
		return PAIRING_NONE;
	const uint32_t slot = policy_worker_slot(policy, request->vni, request->inside_address);
	return slot != SESSION_NO_WORKER ? policy->workers[slot].egress_index : PAIRING_NONE;
}

/* What the policy says; else rendezvous hashing: another IP of the workspace may come or go without moving the worker from
 * its own. */
static inline __attribute__((always_inline)) uint32_t preferred_egress(const struct nat_shard *shard,
	const struct ports_request *request, const struct table_egress *list, uint32_t count)
{
	if (count == 1)
		return 0;
	if (UNLIKELY(request->vpc->flags & (TABLE_VPC_PREFERS | TABLE_VPC_ANY_LISTED))) {
		const uint32_t said = policy_says(request);
		if (said != PAIRING_NONE)
			return said - request->workspace->egress_first;
	}
	const uint64_t worker =
		hash_mix(((uint64_t)request->vni << 32 | request->inside_address) ^ shard->secret.words[3]);
	if (count > PAIRING_WEIGHED_MAX)
		return (uint32_t)(((worker >> 32) * count) >> 32);
	uint32_t best = 0;
	uint64_t best_weight = 0;
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t weight =
			(worker ^ (uint64_t)list[i].address * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
		if (list[i].state == POLICY_EGRESS_ACTIVE && weight >= best_weight) {
			best = i;
			best_weight = weight;
		}
	}
	return best;
}

struct ports_hint ports_foresee(struct nat_shard *shard, const struct ports_request *request)
{
	const struct table_egress *list = &request->policy->egress_lists[request->workspace->egress_first];
	const uint32_t count = request->workspace->egress_count;
	if (count == 0 || !owner_has_ports(request->protocol))
		return (struct ports_hint){.egress = NULL};
	const struct table_egress *egress = &list[preferred_egress(shard, request, list, count)];
	struct ports_hint hint = {.egress = egress};
	const struct span span = span_of(shard, egress);
	const struct map_key key = map_key_of(request, egress);
	if (span.count == 0 || map_find(shard, &key) != NULL)
		return hint;
	hint.port = span_port(&span, shard_random_below(shard, span.count));
	hint.hash = hash_one(&shard->secret, port_key(request, egress->address, hint.port));
	hint.drawn = true;
	index_prefetch(&shard->outside, hint.hash);
	return hint;
}

enum ports_result ports_allocate(struct nat_shard *shard, const struct ports_request *request,
	const struct ports_hint *hint, struct ports_choice *ret_choice)
{
	const struct table_egress *list = &request->policy->egress_lists[request->workspace->egress_first];
	const uint32_t count = request->workspace->egress_count;
	if (count == 0)
		return PORTS_NO_EGRESS_IP;
	uint32_t at = hint != NULL && hint->egress != NULL ? (uint32_t)(hint->egress - list)
							   : preferred_egress(shard, request, list, count);
	bool active = false;
	for (uint32_t i = 0; i < count; i++, at = at + 1 < count ? at + 1 : 0) {
		if (list[at].state != POLICY_EGRESS_ACTIVE)
			continue;
		active = true;
		struct ports_choice choice;
		if (!port_on(shard, request, &list[at], hint, &choice))
			continue;
		*ret_choice = choice;
		return PORTS_OK;
	}
	return active ? PORTS_EXHAUSTED : PORTS_NO_EGRESS_IP;
}

static void map_note(struct nat_shard *shard, const struct session *session, uint16_t egress_slot, bool taken)
{
	const bool mapped = session->flags & SESSION_MAPPED;
	const struct map_key key = {
		.egress_address = session->egress_address,
		.remote_address = mapped ? 0 : session->remote_address,
		.egress_slot = egress_slot,
		.remote_port = mapped ? 0 : session->remote_port,
		.protocol = (uint8_t)session->vni_protocol,
	};
	struct port_map *map = map_find(shard, &key);
	if (map == NULL)
		return;
	const uint64_t bit = 1ull << (session->egress_port % 64);
	uint64_t *word = &map->words[session->egress_port / 64];
	/* Who noted it before it was built, or its successor's map: ports_note_gone(). */
	if (((*word & bit) != 0) == taken)
		return;
	*word ^= bit;
	if (taken) {
		map->taken++;
		return;
	}
	map->taken--;
	if (map->taken < map->count / 4) { /* far below where one is built, lest it be built again at once */
		map->egress_address = 0;   /* random tries do again */
		shard->port_maps_used--;
	}
}

void ports_note(struct nat_shard *shard, const struct session *session, bool taken)
{
	map_note(shard, session, session->egress_slot, taken);
}

void ports_note_gone(struct nat_shard *shard, const struct policy_tables *policy, uint32_t session_index)
{
	const struct session *session = &shard->sessions[session_index];
	const struct table_egress *now = policy_egress_owner(policy, session->egress_address, session->egress_port);
	const bool last = (session->flags & SESSION_MAPPED) == 0 || session->next == session_index;
	if (last && now != NULL && now->slot != session->egress_slot)
		map_note(shard, session, now->slot, false);
}

bool ports_shareable(const struct nat_shard *shard, const struct ports_request *request, const struct session *leader)
{
	return !port_conflicts(shard, request, leader->egress_address, leader->egress_port);
}
