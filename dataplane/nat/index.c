/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/index.h"

#include "dataplane/nat/check.h"

uint32_t index_bucket_count(uint64_t entry_count_max)
{
	uint64_t buckets = INDEX_BUCKETS_MIN;
	while (buckets * INDEX_WAYS * 4 < entry_count_max * 5)
		buckets *= 2;
	return (uint32_t)buckets;
}

void index_init(struct index *index, void *memory, uint32_t bucket_count)
{
	CHECK(bucket_count >= INDEX_BUCKETS_MIN && (bucket_count & (bucket_count - 1)) == 0);
	CHECK((uintptr_t)memory % 64 == 0);
	*index = (struct index){.buckets = memory, .mask = bucket_count - 1};
}

static bool bucket_put(struct index_bucket *bucket, uint16_t tag, uint32_t entry)
{
	const uint32_t free_ways = index_match(bucket, 0);
	if (free_ways == 0)
		return false;
	const unsigned way = (unsigned)__builtin_ctz(free_ways);
	bucket->tags[way] = tag;
	bucket->entries[way] = entry;
	return true;
}

/*
 * Makes room in a full line by moving one of its entries to that entry's other
 * line. One step only: at the 80 % that index_bucket_count() allows, twenty
 * candidates nearly always include a movable one.
 */
static bool bucket_make_room(struct index *index, uint32_t number)
{
	struct index_bucket *bucket = &index->buckets[number];
	for (unsigned way = 0; way < INDEX_WAYS; way++) {
		const uint16_t tag = bucket->tags[way];
		const uint32_t other_number = index_alternate(index, number, tag);
		struct index_bucket *other = &index->buckets[other_number];
		const uint32_t entry = bucket->entries[way];
		if (!bucket_put(other, tag, entry ^ INDEX_AWAY))
			continue;
		if (entry & INDEX_AWAY)
			other->overflow--; /* it has come home */
		else
			bucket->overflow++;
		bucket->tags[way] = 0;
		return true;
	}
	return false;
}

bool index_insert(struct index *index, uint64_t hash, uint32_t entry)
{
	CHECK(entry < INDEX_NONE);
	const uint16_t tag = index_tag(hash);
	const uint32_t home = index_home(index, hash);
	const uint32_t alternate = index_alternate(index, home, tag);
	if (bucket_put(&index->buckets[home], tag, entry)) {
		index->count++;
		return true;
	}
	if (!bucket_put(&index->buckets[alternate], tag, entry | INDEX_AWAY)) {
		if (bucket_make_room(index, home)) {
			CHECK(bucket_put(&index->buckets[home], tag, entry));
			index->count++;
			return true;
		}
		if (!bucket_make_room(index, alternate))
			return false;
		CHECK(bucket_put(&index->buckets[alternate], tag, entry | INDEX_AWAY));
	}
	index->buckets[home].overflow++;
	index->count++;
	return true;
}

struct index_place {
	struct index_bucket *bucket;
	unsigned way;
	bool away;
};

static struct index_place index_locate(struct index *index, uint64_t hash, uint32_t entry)
{
	const uint16_t tag = index_tag(hash);
	uint32_t number = index_home(index, hash);
	for (unsigned line = 0; line < 2; line++) {
		struct index_bucket *bucket = &index->buckets[number];
		for (uint32_t matches = index_match(bucket, tag); matches != 0; matches &= matches - 1) {
			const unsigned way = (unsigned)__builtin_ctz(matches);
			/* The mark must fit too: both lines may hold the same record under two
			 * keys of one tag. */
			if (bucket->entries[way] == (line == 0 ? entry : entry | INDEX_AWAY))
				return (struct index_place){bucket, way, line == 1};
		}
		number = index_alternate(index, number, tag);
	}
	CHECK(!"an entry to remove is in the index");
	__builtin_unreachable();
}

void index_remove(struct index *index, uint64_t hash, uint32_t entry)
{
	const struct index_place place = index_locate(index, hash, entry);
	place.bucket->tags[place.way] = 0;
	if (place.away)
		index->buckets[index_home(index, hash)].overflow--;
	index->count--;
}

void index_replace(struct index *index, uint64_t hash, uint32_t old_entry, uint32_t new_entry)
{
	const struct index_place place = index_locate(index, hash, old_entry);
	place.bucket->entries[place.way] = new_entry | (place.away ? INDEX_AWAY : 0);
}
