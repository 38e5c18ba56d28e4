/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: many small, zeroed allocations that live and die together (a YAML tree, a model).
 * Owner: whoever holds the struct. Thread: any one at a time. Limit: memory; NULL tells that it ran out.
 */
#ifndef POSTERN_CONTROL_ARENA_H
#define POSTERN_CONTROL_ARENA_H

#include <stddef.h>

struct arena_chunk;

/* All zero is an empty arena. */
struct arena {
	struct arena_chunk *head;
};

/* Zeroed and aligned for every type; also for size 0 a distinct address. NULL: no memory. */
void *arena_allocate(struct arena *arena, size_t size_bytes);

/* A NUL-terminated copy. */
char *arena_copy_text(struct arena *arena, const char *text, size_t length_bytes);

void arena_clear(struct arena *arena);

#endif
