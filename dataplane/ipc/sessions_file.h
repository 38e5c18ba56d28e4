/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of contract/sessions.h: DIR/sessions. The file of an earlier process is taken over as it is, if it fits
 * (P5); else a new one takes its name, so that a reader of the old one keeps what it has mapped.
 *
 * Owner: main(). Thread: control makes it; each shard writes its own records.
 */
#ifndef POSTERN_IPC_SESSIONS_FILE_H
#define POSTERN_IPC_SESSIONS_FILE_H

#include <stdbool.h>

#include "dataplane/nat/nat.h"

struct sessions_file_map {
	int read_only_fd; /* to hand out */
	struct sessions_file *file;
	size_t size_bytes;
	bool in_memory; /* false: on a disk, which deserves a warning */
};

/* False: there is none (ret_text is empty), or it does not fit (ret_text says why); then create one. */
bool sessions_file_reopen(const char *run_dir, uint32_t shard_count, uint64_t sessions_max,
	struct sessions_file_map *ret_map, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Would a file of ours of that size have this header, and identities that can be built on? Else *ret_why says what not. */
bool sessions_file_sound(const struct sessions_file *file, uint32_t shard_count, uint64_t sessions_max,
	size_t size_bytes, const char **ret_why);

bool sessions_file_create(const char *run_dir, uint32_t shard_count, uint64_t sessions_max,
	struct sessions_file_map *ret_map, char ret_text[NAT_TEXT_SIZE_BYTES]);

/* Unmaps; the file stays. */
void sessions_file_close(struct sessions_file_map *map);

static inline struct identities *sessions_file_identities(const struct sessions_file_map *map, uint32_t copy)
{
	return (struct identities *)((char *)map->file + map->file->identities_offset_bytes[copy]);
}

static inline struct session *sessions_file_shard(const struct sessions_file_map *map, uint32_t shard_index)
{
	return (struct session *)((char *)map->file + map->file->shard_offset_bytes[shard_index]);
}

#endif
