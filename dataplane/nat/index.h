/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash index from keys to record numbers: ten entries in one cache line,
 * two candidate lines per key.
 *
 *  0                    20      22      24                                64
 *  |tag 0 … tag 9       |overfl.|unused |entry 0 … entry 9                |
 *
 * The index does not know the keys: it yields candidates whose 16-bit tag fits,
 * and the caller compares. An entry lives in its home line or, when that was
 * full, in the alternate one; `overflow` counts the entries at home here that
 * live elsewhere, so that a miss nearly always costs one line.
 *
 * Owner and thread: the shard's. Memory: the caller's. Nothing is allocated;
 * full means false.
 */
#ifndef POSTERN_NAT_INDEX_H
#define POSTERN_NAT_INDEX_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { INDEX_WAYS = 10, INDEX_BUCKETS_MIN = 16 };

#define INDEX_AWAY 0x80000000u /* in an entry: lives in its alternate line */
#define INDEX_NONE 0x7fffffffu

struct index_bucket {
	uint16_t tags[INDEX_WAYS]; /* 0: free */
	uint16_t overflow;
	uint16_t reserved;
	uint32_t entries[INDEX_WAYS];
} __attribute__((aligned(64)));
static_assert(sizeof(struct index_bucket) == 64, "one cache line");

struct index {
	struct index_bucket *buckets;
	uint32_t mask;	/* number of buckets - 1 */
	uint32_t count; /* entries */
};

/* Buckets for that many entries: a power of two, at most 80 % full. */
uint32_t index_bucket_count(uint64_t entry_count_max);
void index_init(struct index *index, void *memory, uint32_t bucket_count);

/* False when both lines are full and no neighbour could move. `entry` <
 * INDEX_NONE. */
bool index_insert(struct index *index, uint64_t hash, uint32_t entry);
/* Both need the entry to be there: CHECK. */
void index_remove(struct index *index, uint64_t hash, uint32_t entry);
void index_replace(struct index *index, uint64_t hash, uint32_t old_entry, uint32_t new_entry);

static inline uint16_t index_tag(uint64_t hash)
{
	const uint16_t tag = (uint16_t)(hash >> 48);
	return tag != 0 ? tag : 1;
}

static inline uint32_t index_home(const struct index *index, uint64_t hash)
{
	return (uint32_t)hash & index->mask;
}

/* The other line of an entry; its own inverse. Differs from `bucket`, since
 * there are at least two. */
static inline uint32_t index_alternate(const struct index *index, uint32_t bucket, uint16_t tag)
{
	return (bucket ^ (((uint32_t)tag * 0x9e3779b1u) >> 8 | 1)) & index->mask;
}

static inline void index_prefetch(const struct index *index, uint64_t hash)
{
	__builtin_prefetch(&index->buckets[index_home(index, hash)]);
}

/* Bit i is set when way i has that tag. */
static inline uint32_t index_match(const struct index_bucket *bucket, uint16_t tag)
{
#if defined(__SSE2__)
	const __m128i wanted = _mm_set1_epi16((short)tag);
	const __m128i low = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)bucket->tags), wanted);
	const __m128i high = _mm_cmpeq_epi16(_mm_loadl_epi64((const __m128i *)&bucket->tags[8]), wanted);
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high)) & ((1u << INDEX_WAYS) - 1);
#else
	uint32_t matches = 0;
	for (unsigned way = 0; way < INDEX_WAYS; way++)
		matches |= (uint32_t)(bucket->tags[way] == tag) << way;
	return matches;
#endif
}

/*
 * Looks for an entry. `is_it(context, entry)` compares the record's key; it is
 * inlined. INDEX_NONE when absent.
 */
static inline __attribute__((always_inline)) uint32_t index_find(const struct index *index, uint64_t hash,
	bool (*is_it)(const void *context, uint32_t entry), const void *context)
{
	const uint16_t tag = index_tag(hash);
	uint32_t number = index_home(index, hash);
	const struct index_bucket *bucket = &index->buckets[number];
	for (unsigned line = 0; line < 2; line++) {
		for (uint32_t matches = index_match(bucket, tag); matches != 0; matches &= matches - 1) {
			const uint32_t entry = bucket->entries[__builtin_ctz(matches)] & ~INDEX_AWAY;
			if (is_it(context, entry))
				return entry;
		}
		if (bucket->overflow == 0)
			return INDEX_NONE;
		number = index_alternate(index, number, tag);
		bucket = &index->buckets[number];
		if (line == 1)
			break;
	}
	return INDEX_NONE;
}

/*
 * The first candidate in the home line, for prefetching its record. INDEX_NONE when there is none; then *ret_overflow
 * says whether the alternate line must be asked.
 */
static inline uint32_t index_first(const struct index *index, uint64_t hash, bool *ret_overflow)
{
	const struct index_bucket *bucket = &index->buckets[index_home(index, hash)];
	const uint32_t matches = index_match(bucket, index_tag(hash));
	if (matches != 0)
		return bucket->entries[__builtin_ctz(matches)] & ~INDEX_AWAY;
	*ret_overflow = bucket->overflow != 0;
	return INDEX_NONE;
}

static inline const struct index_bucket *index_second_line(const struct index *index, uint64_t hash)
{
	return &index->buckets[index_alternate(index, index_home(index, hash), index_tag(hash))];
}

/* The same for the alternate line. */
static inline uint32_t index_second(const struct index *index, uint64_t hash)
{
	const struct index_bucket *bucket = index_second_line(index, hash);
	const uint32_t matches = index_match(bucket, index_tag(hash));
	return matches != 0 ? bucket->entries[__builtin_ctz(matches)] & ~INDEX_AWAY : INDEX_NONE;
}

#endif
