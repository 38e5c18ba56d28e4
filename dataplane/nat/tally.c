/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/tally.h"
#include "dataplane/nat/layout.h"

uint32_t tallies_count_max(uint32_t sessions_max)
{
	return sessions_max / 16 > TALLIES_MIN ? sessions_max / 16 : TALLIES_MIN;
}

size_t tallies_size(uint32_t sessions_max)
{
	const uint32_t count = tallies_count_max(sessions_max);
	return index_bucket_count(count) * sizeof(struct index_bucket) + layout_lines(count * sizeof(struct tally));
}

void tallies_init(struct tallies *tallies, void *memory, uint32_t sessions_max)
{
	const uint32_t count = tallies_count_max(sessions_max);
	index_init(&tallies->index, memory, index_bucket_count(count));
	tallies->of = (struct tally *)((uint8_t *)memory + index_bucket_count(count) * sizeof(struct index_bucket));
	tallies->count = tallies->share = count;
	for (uint32_t i = 0; i < count; i++)
		tallies->of[i].half_open = i + 1 < count ? i + 1 : INDEX_NONE;
}

struct tally_search {
	const struct tally *of;
	struct hash_key key;
};

static inline bool is_tally(const void *context, uint32_t entry)
{
	const struct tally_search *search = context;
	return search->of[entry].key.low == search->key.low && search->of[entry].key.high == search->key.high;
}

struct tally *tally_find(struct nat_shard *shard, struct hash_key key)
{
	const struct tally_search search = {shard->tallies.of, key};
	const uint32_t found = index_find(&shard->tallies.index, hash_one(&shard->secret, key), is_tally, &search);
	return found != INDEX_NONE ? &shard->tallies.of[found] : NULL;
}

static uint32_t *share_used(struct nat_shard *shard, struct hash_key key)
{
	return &shard->workspaces[(uint16_t)key.low].tallies;
}

struct tally *tally_get(struct nat_shard *shard, struct hash_key key)
{
	struct tally *tally = tally_find(shard, key);
	if (tally != NULL)
		return tally;
	struct tallies *tallies = &shard->tallies;
	const uint32_t fresh = tallies->free_tally;
	if (fresh == INDEX_NONE || *share_used(shard, key) >= shard->tallies.share ||
		!index_insert(&tallies->index, hash_one(&shard->secret, key), fresh))
		return NULL;
	tally = &tallies->of[fresh];
	tallies->free_tally = tally->half_open;
	(*share_used(shard, key))++;
	*tally = (struct tally){.key = key};
	return tally;
}

void tally_put(struct nat_shard *shard, struct tally *tally)
{
	if (tally->sessions != 0)
		return;
	const uint32_t index = (uint32_t)(tally - shard->tallies.of);
	index_remove(&shard->tallies.index, hash_one(&shard->secret, tally->key), index);
	(*share_used(shard, tally->key))--;
	*tally = (struct tally){.half_open = shard->tallies.free_tally};
	shard->tallies.free_tally = index;
}
