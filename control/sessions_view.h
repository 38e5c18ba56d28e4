/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane's sessions (contract/sessions.h), read while the dataplane goes on writing them.
 *
 * Read by pread() instead of a mapping: a file that another process truncates can then shorten an answer, but not kill
 * posternd by SIGBUS. A record that matches is read a second time, and counts only if it is still the same connection.
 * Owner: the daemon. Thread: posternd's only one; a full scan reads 64 bytes per slot.
 */
#ifndef POSTERN_CONTROL_SESSIONS_VIEW_H
#define POSTERN_CONTROL_SESSIONS_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "control/status.h"
#include "dataplane/contract/sessions.h"

struct sessions_view {
	int fd; /* -1: none */
	uint32_t shard_count;
	uint64_t sessions_max; /* per shard */
	uint64_t tick_origin_monotonic_ns;
	uint64_t shard_offset_bytes[SHARD_COUNT_MAX];
};

#define SESSIONS_VIEW_NONE                                                                                             \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

/* Takes the descriptor, also on failure. STATUS_INVALID: not of this version, or its sizes contradict each other. */
enum status sessions_view_open(int fd, struct sessions_view *ret_view, struct problems *problems);
void sessions_view_close(struct sessions_view *view);

/* Called for each live record (first sight, unchecked); true: it is wanted. */
typedef bool sessions_match_fn(const struct session *session, void *context);
/* Called for each wanted record, checked; false: enough. */
typedef bool sessions_take_fn(const struct session *session, void *context);

/* False when the file could not be read to its end. */
bool sessions_view_scan(
	const struct sessions_view *view, sessions_match_fn *match, sessions_take_fn *take, void *context);

/* Seconds from `tick` to `now_monotonic_ns`; 0 when it lies ahead. */
double sessions_view_age_s(const struct sessions_view *view, uint32_t tick, uint64_t now_monotonic_ns);

#endif
