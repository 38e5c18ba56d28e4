/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot as it arrives: a sealed memfd, copied into our own memory before anybody looks into it.
 *
 * Read with pread(), not mapped: reading can fail, but not fault. Owner: the caller. Thread: control.
 */
#ifndef POSTERN_IPC_SNAPSHOT_H
#define POSTERN_IPC_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>

#include "dataplane/nat/nat.h"

enum { SNAPSHOT_SIZE_MAX_BYTES = 256 << 20 };

struct snapshot {
	void *block; /* 64-byte aligned */
	size_t size_bytes;
};

/* False: not sealed, too large or unreadable; `ret_text` says which. The descriptor stays the caller's. */
bool snapshot_copy(int fd, struct snapshot *ret_snapshot, char ret_text[NAT_TEXT_SIZE_BYTES]);

void snapshot_free(struct snapshot *snapshot);

#endif
