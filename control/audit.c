/* SPDX-License-Identifier: Apache-2.0 */
#include "control/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TIME_SIZE_BYTES = 40 };

struct audit {
	const struct log *log;
	char path[PATH_MAX]; /* empty: none yet */
	int fd;		     /* -1: not open */
	uint64_t failure_count;
};

struct audit *audit_open(const struct log *log)
{
	struct audit *audit = calloc(1, sizeof(*audit));

	if (audit == NULL)
		return NULL;
	audit->log = log;
	audit->fd = -1;
	return audit;
}

static void audit_forget_file(struct audit *audit)
{
	if (audit->fd >= 0)
		close(audit->fd);
	audit->fd = -1;
}

void audit_close(struct audit *audit)
{
	if (audit == NULL)
		return;
	audit_forget_file(audit);
	free(audit);
}

void audit_set_path(struct audit *audit, const char *path)
{
	if (strcmp(audit->path, path) == 0)
		return;
	audit_forget_file(audit);
	snprintf(audit->path, sizeof(audit->path), "%s", path);
}

/* Is what we have open still what the path leads to? */
static bool audit_is_current(const struct audit *audit)
{
	struct stat here, there;

	return audit->fd >= 0 && fstat(audit->fd, &here) == 0 && stat(audit->path, &there) == 0 &&
	       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static bool audit_reopen(struct audit *audit)
{
	audit_forget_file(audit);
	/* O_NONBLOCK: a FIFO that nobody reads must not stop the daemon. */
	audit->fd =
		open(audit->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0640);
	return audit->fd >= 0;
}

/* A line that did not fit is taken back, so that the next one stands by itself. */
static bool audit_append(struct audit *audit, const char *line, size_t length_bytes)
{
	struct stat before;
	ssize_t written;

	if (fstat(audit->fd, &before) != 0)
		return false;
	do
		written = write(audit->fd, line, length_bytes);
	while (written < 0 && errno == EINTR);
	if (written == (ssize_t)length_bytes)
		return true;
	if (written >= 0) {
		if (S_ISREG(before.st_mode) && ftruncate(audit->fd, before.st_size) != 0)
			audit_forget_file(audit);
		errno = ENOSPC;
	}
	return false;
}

/* RFC 3339, UTC, microseconds. */
static void time_text(char ret_text[TIME_SIZE_BYTES])
{
	struct timespec now;
	struct tm parts;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	length = strftime(ret_text, TIME_SIZE_BYTES, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(ret_text + length, TIME_SIZE_BYTES - length, ".%06ldZ", now.tv_nsec / 1000);
}

void audit_write(struct audit *audit, const char *who, const char *what, json_t *from, json_t *to)
{
	char time[TIME_SIZE_BYTES], *line = NULL;
	json_t *record;
	bool done = false;

	time_text(time);
	record = json_pack("{s:s, s:s, s:s, s:o, s:o}", "time", time, "who", who, "what", what, "from",
		from != NULL ? from : json_null(), "to", to != NULL ? to : json_null());
	if (record != NULL)
		line = json_dumps(record, JSON_COMPACT);
	json_decref(record);
	errno = ENOMEM;
	if (line != NULL && audit->path[0] != '\0' && (audit_is_current(audit) || audit_reopen(audit))) {
		size_t length_bytes = strlen(line);

		line[length_bytes] = '\n'; /* in the terminator's place */
		done = audit_append(audit, line, length_bytes + 1);
	}
	if (!done) {
		audit->failure_count++;
		log_error(audit->log, "the audit log can not be written, a change is missing in it file=%s: %s",
			audit->path, strerror(errno));
	}
	free(line);
}

uint64_t audit_failure_count(const struct audit *audit)
{
	return audit->failure_count;
}
