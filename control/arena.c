/* SPDX-License-Identifier: Apache-2.0 */
#include "control/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Chunks double: an arena of a few values is no larger than those need. */
enum { CHUNK_SIZE_MIN_BYTES = 1024, CHUNK_SIZE_MAX_BYTES = 64 * 1024 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used_bytes, size_bytes;
	alignas(max_align_t) char bytes[];
};

void *arena_allocate(struct arena *arena, size_t size_bytes)
{
	struct arena_chunk *chunk = arena->head;
	void *memory;

	if (size_bytes > SIZE_MAX / 2)
		return NULL;
	size_bytes = size_bytes ? (size_bytes + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1)
				: alignof(max_align_t);
	if (!chunk || chunk->size_bytes - chunk->used_bytes < size_bytes) {
		size_t room_bytes = chunk ? 2 * chunk->size_bytes : CHUNK_SIZE_MIN_BYTES;

		if (room_bytes > CHUNK_SIZE_MAX_BYTES)
			room_bytes = CHUNK_SIZE_MAX_BYTES;
		if (room_bytes < size_bytes)
			room_bytes = size_bytes;

		chunk = calloc(1, sizeof(*chunk) + room_bytes);
		if (!chunk)
			return NULL;
		chunk->size_bytes = room_bytes;
		chunk->next = arena->head;
		arena->head = chunk;
	}
	memory = chunk->bytes + chunk->used_bytes;
	chunk->used_bytes += size_bytes;
	return memory;
}

char *arena_copy_text(struct arena *arena, const char *text, size_t length_bytes)
{
	char *copy = arena_allocate(arena, length_bytes + 1);

	if (copy)
		memcpy(copy, text, length_bytes);
	return copy;
}

void arena_clear(struct arena *arena)
{
	struct arena_chunk *chunk = arena->head;

	while (chunk) {
		struct arena_chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
	arena->head = NULL;
}
