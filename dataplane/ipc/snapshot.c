/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/ipc/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SNAPSHOT_ALIGNMENT_BYTES = 64 };

bool snapshot_copy(int fd, struct snapshot *ret_snapshot, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int seals = fcntl(fd, F_GET_SEALS);
	struct snapshot snapshot;
	struct stat stat;
	size_t read_bytes = 0;

	if (seals < 0 || (seals & wanted) != wanted) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
			"the snapshot is no memfd sealed against writing, shrinking, growing and "
			"sealing");
		return false;
	}
	if (fstat(fd, &stat) != 0 || stat.st_size <= 0 || stat.st_size > SNAPSHOT_SIZE_MAX_BYTES) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the snapshot is empty or larger than %d bytes",
			SNAPSHOT_SIZE_MAX_BYTES);
		return false;
	}
	snapshot.size_bytes = (size_t)stat.st_size;
	snapshot.block = aligned_alloc(SNAPSHOT_ALIGNMENT_BYTES,
		(snapshot.size_bytes + SNAPSHOT_ALIGNMENT_BYTES - 1) & ~(size_t)(SNAPSHOT_ALIGNMENT_BYTES - 1));
	if (snapshot.block == NULL) {
		snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "no memory for a snapshot of %zu bytes", snapshot.size_bytes);
		return false;
	}
	while (read_bytes < snapshot.size_bytes) {
		ssize_t got = pread(
			fd, (char *)snapshot.block + read_bytes, snapshot.size_bytes - read_bytes, (off_t)read_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "the snapshot can not be read: %s",
				got < 0 ? strerror(errno) : "it ends early");
			snapshot_free(&snapshot);
			return false;
		}
		read_bytes += (size_t)got;
	}
	*ret_snapshot = snapshot;
	return true;
}

void snapshot_free(struct snapshot *snapshot)
{
	free(snapshot->block);
	snapshot->block = NULL;
	snapshot->size_bytes = 0;
}
