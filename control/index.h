/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index: byte-string key → 64-bit value, by hashing. For uniqueness checks and look-ups over 100,000 objects.
 * Owner: whoever opened it; keys are copied. Thread: any one at a time. Limits: memory, keys below 4 GiB in sum.
 * The hash is not keyed: only the operator's own configuration comes in here.
 */
#ifndef POSTERN_CONTROL_INDEX_H
#define POSTERN_CONTROL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty index. */
struct hash_index {
	struct hash_index_slot *slots;
	size_t slot_count, used_count;
	char *keys;
	size_t keys_used_bytes, keys_size_bytes;
};

enum index_outcome { INDEX_ADDED, INDEX_EXISTS, INDEX_NO_MEMORY };

/* Room for so many keys in all; an index that gets more grows. False: no memory. */
bool index_reserve(struct hash_index *map, size_t count);

/* Adds the key unless it is there; then `ret_existing` (may be NULL) is its value, and nothing changes. */
enum index_outcome index_add(
	struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t value, uint64_t *ret_existing);

bool index_find(const struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t *ret_value);

void index_clear(struct hash_index *map);

#endif
