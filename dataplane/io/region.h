/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for what is large and lives long: tables, shards, identities. Zeroed, page-aligned, on large pages where the
 * kernel has them. Owner: who allocates. Thread: control.
 */
#ifndef POSTERN_IO_REGION_H
#define POSTERN_IO_REGION_H

#include <stdbool.h>
#include <stddef.h>

struct region {
	void *memory; /* NULL: none */
	size_t size_bytes;
};

/* False when the system has none left. */
bool region_allocate(size_t size_bytes, struct region *ret_region);

/*
 * Zeroed anew, at least so large: the memory that the region has, if that does, else other with some room to grow. What
 * is built again and again in the same size pays no page faults. False: none left; the region is empty then.
 */
bool region_renew(struct region *region, size_t size_bytes);

/* Also of an empty region; it is empty afterwards. */
void region_free(struct region *region);

#endif
