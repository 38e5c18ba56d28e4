/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ipc/counters_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static uint64_t unix_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool counters_file_open(uint32_t shard_count, struct counters_file *ret_file, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	struct counters_file file = {
		.size_bytes = sizeof(struct counters) + shard_count * sizeof(struct counters_shard)};
	void *memory = MAP_FAILED;

	file.fd = memfd_create("postern-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (file.fd >= 0 && ftruncate(file.fd, (off_t)file.size_bytes) == 0)
		memory = mmap(NULL, file.size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.fd, 0);
	if (memory == MAP_FAILED ||
		fcntl(file.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "no shared memory for the counters (%zu bytes): %s",
			file.size_bytes, strerror(errno));
		if (memory != MAP_FAILED)
			munmap(memory, file.size_bytes);
		if (file.fd >= 0)
			close(file.fd);
		return false;
	}
	file.counters = memory;
	file.counters->version = COUNTERS_VERSION;
	file.counters->size_bytes = file.size_bytes;
	file.counters->start_unix_ns = unix_now_ns();
	file.counters->process_id = (uint32_t)getpid();
	file.counters->shard_count = shard_count;
	file.counters->magic = COUNTERS_MAGIC;
	*ret_file = file;
	return true;
}

void counters_file_close(struct counters_file *file)
{
	munmap(file->counters, file->size_bytes);
	close(file->fd);
}
