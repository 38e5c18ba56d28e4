/* SPDX-License-Identifier: Apache-2.0 */
#include "control/sessions_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_COUNT = 4096, RECHECK_MAX = 3 };

static bool shape_is_sound(const struct sessions_file *file, uint64_t size_bytes)
{
	uint64_t shard_bytes;

	if (file->magic != SESSIONS_MAGIC || file->version != SESSIONS_VERSION ||
		file->record_size_bytes != sizeof(struct session) || file->shard_count == 0 ||
		file->shard_count > SHARD_COUNT_MAX || file->sessions_max == 0 ||
		file->sessions_max > size_bytes / sizeof(struct session))
		return false;
	shard_bytes = file->sessions_max * sizeof(struct session);
	for (uint32_t i = 0; i < file->shard_count; i++) {
		uint64_t offset_bytes = file->shard_offset_bytes[i];

		if (offset_bytes < sizeof(*file) || offset_bytes > size_bytes ||
			size_bytes - offset_bytes < shard_bytes)
			return false;
	}
	return true;
}

enum status sessions_view_open(int fd, struct sessions_view *ret_view, struct problems *problems)
{
	struct sessions_file file;
	struct stat status;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size < (off_t)sizeof(file) ||
		pread(fd, &file, sizeof(file), 0) != (ssize_t)sizeof(file)) {
		problems_add(problems, "the dataplane's session file is too short");
		close(fd);
		return STATUS_INVALID;
	}
	if (!shape_is_sound(&file, (uint64_t)status.st_size)) {
		problems_add(problems, "the dataplane's session file is of another version or shape");
		close(fd);
		return STATUS_INVALID;
	}
	ret_view->fd = fd;
	ret_view->shard_count = file.shard_count;
	ret_view->sessions_max = file.sessions_max;
	ret_view->tick_origin_monotonic_ns = file.tick_origin_monotonic_ns;
	memcpy(ret_view->shard_offset_bytes, file.shard_offset_bytes, sizeof(file.shard_offset_bytes));
	return STATUS_OK;
}

void sessions_view_close(struct sessions_view *view)
{
	if (view->fd >= 0)
		close(view->fd);
	memset(view, 0, sizeof(*view));
	view->fd = -1;
}

/* The same connection? Its counters, its state and its clock may go on meanwhile. */
static bool same_session(const struct session *a, const struct session *b)
{
	return a->inside_address == b->inside_address && a->remote_address == b->remote_address &&
	       a->inside_port == b->inside_port && a->remote_port == b->remote_port &&
	       a->vni_protocol == b->vni_protocol && a->egress_address == b->egress_address &&
	       a->egress_port == b->egress_port && a->created_tick == b->created_tick;
}

/* Two readings in a row that agree; the last one is given. False: the record is in motion, or has gone. */
static bool view_read_again(const struct sessions_view *view, uint64_t offset_bytes, const struct session *first,
	struct session *ret_session)
{
	struct session before = *first, now;

	for (unsigned i = 0; i < RECHECK_MAX; i++) {
		if (pread(view->fd, &now, sizeof(now), (off_t)offset_bytes) != (ssize_t)sizeof(now))
			return false;
		if (now.state == SESSION_FREE || now.state >= SESSION_STATE_COUNT)
			return false;
		if (same_session(&before, &now)) {
			*ret_session = now;
			return true;
		}
		before = now;
	}
	return false;
}

enum chunk_result { CHUNK_DONE, CHUNK_ENOUGH };

static enum chunk_result view_scan_chunk(const struct sessions_view *view, const struct session *chunk, size_t count,
	uint64_t offset_bytes, sessions_match_fn *match, sessions_take_fn *take, void *context)
{
	for (size_t i = 0; i < count; i++) {
		struct session session;

		if (chunk[i].state == SESSION_FREE || chunk[i].state >= SESSION_STATE_COUNT ||
			!match(&chunk[i], context))
			continue;
		if (!view_read_again(view, offset_bytes + i * sizeof(session), &chunk[i], &session) ||
			!match(&session, context))
			continue;
		if (!take(&session, context))
			return CHUNK_ENOUGH;
	}
	return CHUNK_DONE;
}

bool sessions_view_scan(
	const struct sessions_view *view, sessions_match_fn *match, sessions_take_fn *take, void *context)
{
	struct session *chunk;
	bool complete = true;

	if (view->fd < 0)
		return false;
	chunk = malloc(CHUNK_COUNT * sizeof(*chunk));
	if (chunk == NULL)
		return false;
	for (uint32_t shard = 0; shard < view->shard_count; shard++) {
		for (uint64_t index = 0; index < view->sessions_max; index += CHUNK_COUNT) {
			uint64_t offset_bytes = view->shard_offset_bytes[shard] + index * sizeof(*chunk);
			uint64_t left = view->sessions_max - index;
			size_t wanted_bytes = (size_t)(left < CHUNK_COUNT ? left : CHUNK_COUNT) * sizeof(*chunk);
			ssize_t got_bytes = pread(view->fd, chunk, wanted_bytes, (off_t)offset_bytes);

			if (got_bytes < (ssize_t)wanted_bytes)
				complete = false;
			if (got_bytes <= 0)
				break;
			if (view_scan_chunk(view, chunk, (size_t)got_bytes / sizeof(*chunk), offset_bytes, match, take,
				    context) == CHUNK_ENOUGH) {
				free(chunk);
				return complete;
			}
		}
	}
	free(chunk);
	return complete;
}

double sessions_view_age_s(const struct sessions_view *view, uint32_t tick, uint64_t now_monotonic_ns)
{
	uint64_t at_ns = view->tick_origin_monotonic_ns + ((uint64_t)tick << SESSION_TICK_SHIFT);

	return now_monotonic_ns > at_ns ? (double)(now_monotonic_ns - at_ns) / 1e9 : 0;
}
