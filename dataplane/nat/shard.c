/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/shard.h"
#include "dataplane/nat/layout.h"

#include <string.h>

#include "dataplane/nat/fragment.h"
#include "dataplane/nat/ports.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"
#include "dataplane/nat/tally.h"

enum { SESSIONS_MIN = 1024, SESSIONS_MAX = 1 << 26 };

/* A session has one entry in each index; the leader of a mapping has a second
 * one inside. */
static uint32_t inside_buckets(const struct nat_config *config)
{
	return index_bucket_count(2 * (uint64_t)config->sessions_max);
}

static uint32_t outside_buckets(const struct nat_config *config)
{
	return index_bucket_count(config->sessions_max);
}

size_t nat_shard_size(const struct nat_config *config)
{
	return layout_lines(sizeof(struct nat_shard)) + inside_buckets(config) * sizeof(struct index_bucket) +
	       outside_buckets(config) * sizeof(struct index_bucket) +
	       layout_lines(config->sessions_max * sizeof(uint32_t)) +
	       layout_lines(WORKSPACE_COUNT_MAX * sizeof(struct shard_workspace)) +
	       layout_lines(ports_map_count(config->sessions_max) * sizeof(struct port_map)) + fragments_size() +
	       tallies_size(config->sessions_max);
}

static void sessions_clear(struct nat_shard *shard)
{
	for (uint32_t i = 0; i < shard->sessions_max; i++) {
		shard->sessions[i].state = SESSION_FREE;
		shard->sessions[i].flags = 0;
		shard->sessions[i].next = i + 1 < shard->sessions_max ? i + 1 : INDEX_NONE;
	}
	shard->free_session = 0;
	memset(shard->deadlines, 0xff, shard->sessions_max * sizeof(uint32_t));
}

struct nat_shard *nat_shard_init(void *memory, const struct nat_config *config)
{
	if (config->sessions_max < SESSIONS_MIN || config->sessions_max > SESSIONS_MAX || config->shard_count == 0 ||
		config->shard_count > SHARD_COUNT_MAX || config->shard_index >= config->shard_count ||
		config->origin_ns > config->now_ns || (config->recover && config->identities == NULL) ||
		(config->hand_over && config->all_counters == NULL) || (uintptr_t)memory % 64 != 0 ||
		(uintptr_t)config->sessions % 64 != 0)
		return NULL;
	uint8_t *at = memory;
	struct nat_shard *shard = memory;
	at += layout_lines(sizeof(*shard));
	hash_secret_init(&shard->secret, config->secret);
	shard->sessions = config->sessions;
	shard->sessions_max = config->sessions_max;
	shard->counters = config->counters;
	shard->shard_index = config->shard_index;
	shard->shard_count = config->shard_count;
	shard->hand_over = config->hand_over;
	shard->all_counters = config->all_counters;
	index_init(&shard->inside, at, inside_buckets(config));
	at += inside_buckets(config) * sizeof(struct index_bucket);
	index_init(&shard->outside, at, outside_buckets(config));
	at += outside_buckets(config) * sizeof(struct index_bucket);
	shard->deadlines = (uint32_t *)at;
	at += layout_lines(config->sessions_max * sizeof(uint32_t));
	shard->workspaces = (struct shard_workspace *)at;
	at += layout_lines(WORKSPACE_COUNT_MAX * sizeof(struct shard_workspace));
	shard->port_maps = (struct port_map *)at;
	at += layout_lines(ports_map_count(config->sessions_max) * sizeof(struct port_map));
	fragments_init(&shard->fragments, at);
	at += fragments_size();
	tallies_init(&shard->tallies, at, config->sessions_max);
	shard->spare = config->spare;
	shard->spare_context = config->spare_context;
	shard->port_map_set_mask = ports_map_count(config->sessions_max) / PORT_MAP_WAYS - 1;

	shard->port_first = PORT_FIRST;
	shard->port_count = PORT_TOTAL;
	for (unsigned word = 0; word < 2; word++)
		shard->random_state[word] = hash_mix(shard->secret.words[word] + 1 + config->shard_index) | 1;
	shard->ip_id_step = 1;
	while (shard->ip_id_step < config->shard_count)
		shard->ip_id_step = (uint16_t)(shard->ip_id_step * 2);
	shard->ip_id = (uint16_t)((shard_random(shard) & ~(uint64_t)(shard->ip_id_step - 1u)) | config->shard_index);
	shard->origin_ns = config->origin_ns;
	shard->now_ns = shard->sweep_ns = config->now_ns;
	shard_set_time(shard, config->now_ns);
	shard->stale_at = shard->sessions_max;
	if (config->recover)
		shard->recovered = recover_sessions(shard, config->identities);
	else
		sessions_clear(shard);
	return shard;
}

uint32_t nat_recovered(const struct nat_shard *shard)
{
	return shard->recovered;
}

struct packet *nat_take(struct nat_shard *shard)
{
	if (LIKELY(shard->given_tail == shard->given_head))
		return NULL;
	return shard->given[shard->given_tail++ % GIVEN_SIZE];
}

/* Of `total` places, what a workspace is guaranteed that says POLICY_GUARANTEED_SHARE. A number stands for so many times
 * `each`. */
static uint32_t guaranteed_share(const struct table_guarantees *guarantees, uint64_t total, uint32_t each)
{
	if (guarantees->share_count == 0 || guarantees->sum * each >= total / 2)
		return 0;
	return (uint32_t)((total / 2 - guarantees->sum * each) / guarantees->share_count);
}

void shard_guarantees(struct nat_shard *shard, const struct policy_tables *policy)
{
	if (LIKELY(shard->limits_sequence == policy->sequence))
		return;
	shard->limits_sequence = policy->sequence;
	shard->tallies.share = shard->tallies.count / (policy->tallied_count > 0 ? policy->tallied_count : 1);
	if (!policy->any_guaranteed && !shard->any_guaranteed)
		return;
	shard->any_guaranteed = policy->any_guaranteed;
	shard->guaranteed_unused = 0;
	fragment_guarantees_begin(&shard->fragments);
	const uint64_t sessions = (uint64_t)shard->sessions_max * shard->shard_count;
	const uint32_t share = guaranteed_share(&policy->session_guarantees, sessions, 1);
	const struct fragment_floor fragments_share = {
		guaranteed_share(&policy->fragment_guarantees, HELD_MAX, 1),
		guaranteed_share(
			&policy->fragment_guarantees, DATAGRAMS_MAX / PORT_COUNT, DATAGRAMS_PER_HELD_GUARANTEED),
	};
	for (uint32_t slot = 0; slot < WORKSPACE_COUNT_MAX; slot++) {
		struct shard_workspace *workspace = &shard->workspaces[slot];
		uint32_t guaranteed = policy->workspaces[slot].guaranteed;
		if (guaranteed == POLICY_GUARANTEED_SHARE)
			guaranteed = share < policy->workspaces[slot].sessions_max
					     ? share
					     : policy->workspaces[slot].sessions_max;
		workspace->guaranteed = guaranteed / shard->shard_count;
		if (workspace->guaranteed > workspace->sessions)
			shard->guaranteed_unused += workspace->guaranteed - workspace->sessions;
		const struct table_workspace *of = &policy->workspaces[slot];
		struct fragment_floor floor = fragments_share;
		if (of->fragments_guaranteed != POLICY_GUARANTEED_SHARE)
			floor = (struct fragment_floor){
				of->fragments_guaranteed, of->fragments_guaranteed * DATAGRAMS_PER_HELD_GUARANTEED};
		if (floor.held > of->fragments_held_max)
			floor.held = of->fragments_held_max;
		fragment_guarantee(&shard->fragments, slot, floor);
	}
}

void nat_count_tx(struct nat_shard *shard, unsigned port, uint64_t packets, uint64_t bytes)
{
	shard->counters->ports[port].tx_packets += packets;
	shard->counters->ports[port].tx_bytes += bytes;
}

void nat_count_tx_full(struct nat_shard *shard, unsigned in_port, uint64_t packets)
{
	shard->counters->drops[in_port][DROP_TX_FULL] += packets;
}

void nat_count_handed_over(struct nat_shard *shard, uint64_t packets)
{
	shard->counters->handed_over += packets;
}

void nat_count_handover_full(struct nat_shard *shard, unsigned in_port, uint64_t packets)
{
	shard->counters->drops[in_port][DROP_HANDOVER_FULL] += packets;
}

void nat_count_rx_drop(struct nat_shard *shard, unsigned in_port, enum drop_reason reason, uint64_t bytes)
{
	shard->counters->ports[in_port].rx_packets++;
	shard->counters->ports[in_port].rx_bytes += bytes;
	shard->counters->drops[in_port][reason]++;
}
