/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/region.h"

#include <string.h>
#include <sys/mman.h>

enum { LARGE_PAGE_BYTES = 2 << 20 };

bool region_allocate(size_t size_bytes, struct region *ret_region)
{
	void *memory;

	if (size_bytes == 0)
		size_bytes = 1;
	memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	if (size_bytes >= LARGE_PAGE_BYTES)
		(void)madvise(memory, size_bytes, MADV_HUGEPAGE); /* a wish: normal pages do as well */
	ret_region->memory = memory;
	ret_region->size_bytes = size_bytes;
	return true;
}

bool region_renew(struct region *region, size_t size_bytes)
{
	if (region->size_bytes >= size_bytes) {
		memset(region->memory, 0, size_bytes);
		return true;
	}
	region_free(region);
	return region_allocate(size_bytes + size_bytes / 4, region);
}

void region_free(struct region *region)
{
	if (region->memory != NULL)
		munmap(region->memory, region->size_bytes);
	region->memory = NULL;
	region->size_bytes = 0;
}
