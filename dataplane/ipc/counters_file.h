/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of contract/counters.h: a memfd that only this process can write (sealed against later writable mappings).
 *
 * Owner: main(). Thread: control makes it; each shard writes its own block.
 */
#ifndef POSTERN_IPC_COUNTERS_FILE_H
#define POSTERN_IPC_COUNTERS_FILE_H

#include <stdbool.h>

#include "dataplane/nat/nat.h"

struct counters_file {
	int fd; /* to hand out */
	struct counters *counters;
	size_t size_bytes;
};

bool counters_file_open(uint32_t shard_count, struct counters_file *ret_file, char ret_text[NAT_TEXT_SIZE_BYTES]);
void counters_file_close(struct counters_file *file);

#endif
