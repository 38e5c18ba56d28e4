/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_malloc.h>

enum { LARGE_PAGE_BYTES = 2 << 20, NORMAL_PAGE_BYTES = 4096 };

static size_t align_up(size_t size_bytes, size_t alignment_bytes)
{
	return (size_bytes + alignment_bytes - 1) & ~(alignment_bytes - 1);
}

bool memory_start(unsigned cpu, char ret_text[BENCH_TEXT_SIZE_BYTES])
{
	char directory[] = "/tmp/postern-bench-XXXXXX", path[64], lcores[32];
	char *arguments[] = {(char[]){"postern-bench"}, lcores, (char[]){"--no-huge"}, (char[]){"-m"}, (char[]){"64"},
		(char[]){"--no-pci"}, (char[]){"--no-telemetry"}, (char[]){"--no-shconf"}, (char[]){"--iova-mode=va"},
		(char[]){"--log-level=error"}, (char[]){"--file-prefix=bench"}};
	int result;

	/* EAL makes a directory for itself even without shared configuration. */
	if (mkdtemp(directory) == NULL || setenv("RUNTIME_DIRECTORY", directory, 1) != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "can not make a directory in /tmp: %s", strerror(errno));
		return false;
	}
	snprintf(lcores, sizeof(lcores), "--lcores=0@%u", cpu);
	result = rte_eal_init((int)(sizeof(arguments) / sizeof(arguments[0])), arguments);
	snprintf(path, sizeof(path), "%s/dpdk/bench", directory);
	(void)rmdir(path);
	snprintf(path, sizeof(path), "%s/dpdk", directory);
	(void)rmdir(path);
	(void)rmdir(directory);
	if (result < 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "DPDK does not start: %s", rte_strerror(rte_errno));
		return false;
	}
	return true;
}

void memory_stop(void)
{
	rte_eal_cleanup();
}

static void *map(size_t size_bytes, int flags, int fd)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	return memory != MAP_FAILED ? memory : NULL;
}

/* Shared memory with a file behind it: where the kernel gives no large pages to tmpfs, these are normal ones. */
static void *map_file(size_t size_bytes)
{
	int fd = memfd_create("postern-bench", MFD_CLOEXEC);
	void *memory = NULL;

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, (off_t)size_bytes) == 0)
		memory = map(size_bytes, MAP_SHARED, fd);
	close(fd);
	if (memory != NULL)
		(void)madvise(memory, size_bytes, MADV_HUGEPAGE);
	return memory;
}

bool memory_allocate(size_t size_bytes, enum memory_pages pages, struct memory_block *ret_block,
	char ret_text[BENCH_TEXT_SIZE_BYTES])
{
	struct memory_block block = {.size_bytes = size_bytes};
	size_t rounded_bytes = align_up(size_bytes, LARGE_PAGE_BYTES);

	block.mapped_bytes = rounded_bytes;
	if (pages == MEMORY_PAGES_LARGE) {
		block.kind = "huge";
		block.mapped = map(rounded_bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	} else if (pages == MEMORY_PAGES_FILE) {
		block.kind = "file";
		block.mapped = map_file(rounded_bytes);
	}
	if (block.mapped == NULL) {
		/* One more, so that a whole number of large pages lies in it. */
		block.kind = pages == MEMORY_PAGES_NORMAL ? "normal" : "transparent";
		block.mapped_bytes = rounded_bytes + LARGE_PAGE_BYTES;
		block.mapped = map(block.mapped_bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (block.mapped == NULL) {
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES,
				"no memory for %zu MiB: free some, or leave out the largest scenarios",
				block.mapped_bytes >> 20);
			return false;
		}
		(void)madvise(block.mapped, block.mapped_bytes,
			pages == MEMORY_PAGES_NORMAL ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
	}
	block.memory = (void *)align_up((size_t)block.mapped, LARGE_PAGE_BYTES);
	if (pages == MEMORY_PAGES_FILE)
		block.memory = block.mapped;
	memset(block.memory, 0, rounded_bytes);
	*ret_block = block;
	return true;
}

void memory_free(struct memory_block *block)
{
	if (block->mapped != NULL)
		munmap(block->mapped, block->mapped_bytes);
	*block = (struct memory_block){};
}

bool memory_heap_open(size_t size_bytes, enum memory_pages pages, const char *name, struct memory_heap *ret_heap,
	char ret_text[BENCH_TEXT_SIZE_BYTES])
{
	struct memory_heap heap = {};
	size_t rounded_bytes = align_up(size_bytes, LARGE_PAGE_BYTES);

	if (!memory_allocate(rounded_bytes, pages, &heap.block, ret_text))
		return false;
	snprintf(heap.name, sizeof(heap.name), "%s", name);
	if (rte_malloc_heap_create(heap.name) != 0 ||
		rte_malloc_heap_memory_add(heap.name, heap.block.memory, rounded_bytes, NULL,
			(unsigned)(rounded_bytes / LARGE_PAGE_BYTES), LARGE_PAGE_BYTES) != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "DPDK takes no heap of %zu MiB: %s", rounded_bytes >> 20,
			rte_strerror(rte_errno));
		memory_free(&heap.block);
		return false;
	}
	heap.socket = rte_malloc_heap_get_socket(heap.name);
	*ret_heap = heap;
	return true;
}

void memory_heap_close(struct memory_heap *heap)
{
	if (heap->block.memory == NULL)
		return;
	rte_malloc_heap_memory_remove(
		heap->name, heap->block.memory, align_up(heap->block.size_bytes, LARGE_PAGE_BYTES));
	rte_malloc_heap_destroy(heap->name);
	memory_free(&heap->block);
}
