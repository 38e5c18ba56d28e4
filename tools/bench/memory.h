/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The benchmark's memory: EAL without files and devices, and the pages that tables, buffers and rte_hash lie on.
 *
 * EAL runs on normal pages (--no-huge), which never fails; whatever is measured lies in regions of their own, on the
 * pages that were asked for, and rte_hash and the packet buffers in a DPDK heap on such a region. So both session
 * tables that are compared have the same pages.
 *
 * Owner: main(). Thread: its.
 */
#ifndef POSTERN_BENCH_MEMORY_H
#define POSTERN_BENCH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_TEXT_SIZE_BYTES = 256 };

enum memory_pages {
	MEMORY_PAGES_LARGE,  /* hugepages where free, else transparent large pages */
	MEMORY_PAGES_FILE,   /* as LARGE, but session records in shared memory, as in a session file on a tmpfs */
	MEMORY_PAGES_NORMAL, /* 4 KiB everywhere */
};

struct memory_block {
	void *memory; /* zeroed, aligned to a large page; NULL: none */
	size_t size_bytes;
	size_t mapped_bytes;
	void *mapped;
	const char *kind; /* "huge", "transparent", "file", "normal" */
};

/* Starts EAL on the CPU. False: `ret_text` says why. Once per process. */
bool memory_start(unsigned cpu, char ret_text[BENCH_TEXT_SIZE_BYTES]);
void memory_stop(void);

/* Every page is touched, so that no fault is measured. */
bool memory_allocate(size_t size_bytes, enum memory_pages pages, struct memory_block *ret_block,
	char ret_text[BENCH_TEXT_SIZE_BYTES]);
void memory_free(struct memory_block *block);

/* A DPDK heap on such a block. Its socket, for rte_*_create(); false: `ret_text`. */
struct memory_heap {
	struct memory_block block;
	char name[32];
	int socket;
};

bool memory_heap_open(size_t size_bytes, enum memory_pages pages, const char *name, struct memory_heap *ret_heap,
	char ret_text[BENCH_TEXT_SIZE_BYTES]);
void memory_heap_close(struct memory_heap *heap);

#endif
