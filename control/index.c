/* SPDX-License-Identifier: Apache-2.0 */
#include "control/index.h"

#include <stdlib.h>
#include <string.h>

enum { SLOT_COUNT_FIRST = 64, KEYS_SIZE_FIRST_BYTES = 1024 };

/* Open addressing with linear probing, at most half full. */
struct hash_index_slot {
	uint32_t hash; /* 0: free */
	uint32_t key_size_bytes;
	size_t key_offset_bytes;
	uint64_t value;
};

/* A word at a time, each folded in by the two halves of a product, so that the low bits depend on all of it. */
static uint32_t hash_key(const void *key, size_t key_size_bytes)
{
	const unsigned char *bytes = key;
	uint64_t hash = 0xcbf29ce484222325u ^ key_size_bytes;

	while (key_size_bytes > 0) {
		size_t part_bytes = key_size_bytes < sizeof(uint64_t) ? key_size_bytes : sizeof(uint64_t);
		uint64_t word = 0;
		unsigned __int128 product;

		memcpy(&word, bytes, part_bytes);
		product = (unsigned __int128)(hash ^ word) * 0x9e3779b97f4a7c15u;
		hash = (uint64_t)product ^ (uint64_t)(product >> 64);
		bytes += part_bytes;
		key_size_bytes -= part_bytes;
	}
	hash ^= hash >> 32;
	return (uint32_t)hash ? (uint32_t)hash : 1;
}

/* The key's slot, or the free one where it would go. There is always a free one. */
static struct hash_index_slot *find_slot(
	const struct hash_index *map, uint32_t hash, const void *key, size_t key_size_bytes)
{
	size_t mask = map->slot_count - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct hash_index_slot *slot = &map->slots[i];

		if (slot->hash == 0 || (slot->hash == hash && slot->key_size_bytes == key_size_bytes &&
					       memcmp(map->keys + slot->key_offset_bytes, key, key_size_bytes) == 0))
			return slot;
	}
}

static bool grow_slots(struct hash_index *map, size_t count)
{
	struct hash_index_slot *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return false;
	for (size_t i = 0; i < map->slot_count; i++) {
		size_t at = map->slots[i].hash & (count - 1);

		if (map->slots[i].hash == 0)
			continue;
		while (slots[at].hash != 0)
			at = (at + 1) & (count - 1);
		slots[at] = map->slots[i];
	}
	free(map->slots);
	map->slots = slots;
	map->slot_count = count;
	return true;
}

static bool reserve_key(struct hash_index *map, size_t key_size_bytes)
{
	size_t size_bytes = map->keys_size_bytes ? map->keys_size_bytes : KEYS_SIZE_FIRST_BYTES;
	char *keys;

	while (size_bytes - map->keys_used_bytes < key_size_bytes)
		size_bytes *= 2;
	if (size_bytes == map->keys_size_bytes)
		return true;
	keys = realloc(map->keys, size_bytes);
	if (!keys)
		return false;
	map->keys = keys;
	map->keys_size_bytes = size_bytes;
	return true;
}

bool index_reserve(struct hash_index *map, size_t count)
{
	size_t slot_count = SLOT_COUNT_FIRST;

	while (slot_count < (count + 1) * 2)
		slot_count *= 2;
	return slot_count <= map->slot_count || grow_slots(map, slot_count);
}

enum index_outcome index_add(
	struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t value, uint64_t *ret_existing)
{
	uint32_t hash = hash_key(key, key_size_bytes);
	struct hash_index_slot *slot;

	if ((map->used_count + 1) * 2 > map->slot_count &&
		!grow_slots(map, map->slot_count ? map->slot_count * 2 : SLOT_COUNT_FIRST))
		return INDEX_NO_MEMORY;
	if (!reserve_key(map, key_size_bytes))
		return INDEX_NO_MEMORY;
	slot = find_slot(map, hash, key, key_size_bytes);
	if (slot->hash != 0) {
		if (ret_existing)
			*ret_existing = slot->value;
		return INDEX_EXISTS;
	}
	memcpy(map->keys + map->keys_used_bytes, key, key_size_bytes);
	*slot = (struct hash_index_slot){
		.hash = hash,
		.key_size_bytes = (uint32_t)key_size_bytes,
		.key_offset_bytes = map->keys_used_bytes,
		.value = value,
	};
	map->keys_used_bytes += key_size_bytes;
	map->used_count++;
	return INDEX_ADDED;
}

bool index_find(const struct hash_index *map, const void *key, size_t key_size_bytes, uint64_t *ret_value)
{
	const struct hash_index_slot *slot;

	if (map->slot_count == 0)
		return false;
	slot = find_slot(map, hash_key(key, key_size_bytes), key, key_size_bytes);
	if (slot->hash == 0)
		return false;
	*ret_value = slot->value;
	return true;
}

void index_clear(struct hash_index *map)
{
	free(map->slots);
	free(map->keys);
	memset(map, 0, sizeof(*map));
}
