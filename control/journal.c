/* SPDX-License-Identifier: Apache-2.0 */
#include "control/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/file.h"

enum { CHECKSUM_DIGITS = 8 };

struct journal {
	char *path, *temporary_path, *directory;
	int fd; /* for appending */
	char *pending;
	size_t pending_bytes, pending_size_bytes;
	size_t record_count, pending_count;
	bool no_memory;
	bool rewriting;
	bool behind;	   /* a commit failed: the file lacks what its owner knows */
	size_t good_bytes; /* of the file; what is behind is half a line */
};

/* FNV-1a: against torn and damaged lines, not against an attacker, who could not write here. */
static uint32_t checksum_of(const char *text, size_t length_bytes)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < length_bytes; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619u;
	return hash;
}

/* The record in a line without its newline; NULL: damaged. */
static char *line_record(char *line, size_t length_bytes)
{
	char *record = line + CHECKSUM_DIGITS + 1, *end;
	unsigned long checksum;

	if (length_bytes <= CHECKSUM_DIGITS + 1 || line[CHECKSUM_DIGITS] != ' ' || strlen(line) != length_bytes)
		return NULL;
	checksum = strtoul(line, &end, 16);
	if (end != line + CHECKSUM_DIGITS || checksum != checksum_of(record, length_bytes - CHECKSUM_DIGITS - 1))
		return NULL;
	return record;
}

/*
 * All lines are looked at before the first record counts. NULL, or why the file is no good. What follows the last
 * newline was being written when the writer died.
 */
static const char *journal_parse(struct journal *journal, char *bytes, size_t length_bytes, journal_record_fn *record,
	void *context, bool *ret_discard)
{
	char *newline, *start = bytes;

	while ((newline = memchr(start, '\n', length_bytes - (size_t)(start - bytes))) != NULL) {
		*newline = '\0';
		if (line_record(start, (size_t)(newline - start)) == NULL)
			return "a line is damaged";
		journal->record_count++;
		start = newline + 1;
	}
	journal->good_bytes = (size_t)(start - bytes);
	for (char *line = bytes; line < start; line += strlen(line) + 1) {
		if (!record(context, line + CHECKSUM_DIGITS + 1)) {
			*ret_discard = true;
			return "a record makes no sense";
		}
	}
	return NULL;
}

static char *journal_read(const char *path, size_t *ret_length_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat file;
	size_t length_bytes = 0;
	char *bytes = NULL;

	if (fd < 0)
		return NULL;
	errno = EINVAL;
	if (fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_size <= JOURNAL_FILE_MAX_BYTES)
		bytes = malloc((size_t)file.st_size + 1);
	while (bytes != NULL && length_bytes < (size_t)file.st_size) {
		ssize_t got = read(fd, bytes + length_bytes, (size_t)file.st_size - length_bytes);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		length_bytes += (size_t)got;
	}
	close(fd);
	if (bytes == NULL)
		return NULL;
	bytes[length_bytes] = '\0';
	*ret_length_bytes = length_bytes;
	return bytes;
}

static void journal_load(
	struct journal *journal, journal_record_fn *record, void *context, bool *ret_discard, struct problems *warnings)
{
	size_t length_bytes;
	char *bytes = journal_read(journal->path, &length_bytes), aside[PATH_MAX];
	const char *why;

	if (bytes == NULL) {
		if (errno == ENOENT)
			return;
		why = strerror(errno);
	} else {
		why = journal_parse(journal, bytes, length_bytes, record, context, ret_discard);
		free(bytes);
	}
	if (why == NULL)
		return;
	journal->record_count = 0;
	journal->good_bytes = 0;
	snprintf(aside, sizeof(aside), "%s.bad", journal->path);
	if (rename(journal->path, aside) != 0)
		snprintf(aside, sizeof(aside), "%s", "nowhere");
	problems_add(
		warnings, "%s: can not be used: %s: nothing of it counts, it is kept as %s", journal->path, why, aside);
}

static enum status journal_failed(const struct journal *journal, struct problems *problems)
{
	problems_add(problems, "%s: can not be written: %s: free space there, or choose another --run-dir",
		journal->path, strerror(errno));
	return STATUS_SYSTEM;
}

enum status journal_open(const char *directory, const char *name, journal_record_fn *record, void *context,
	struct journal **ret_journal, bool *ret_discard, struct problems *problems, struct problems *warnings)
{
	struct journal *journal = calloc(1, sizeof(*journal));
	bool discard = false;
	enum status status;

	if (journal == NULL)
		return STATUS_NO_MEMORY;
	journal->fd = -1;
	journal->directory = strdup(directory);
	if (journal->directory == NULL || asprintf(&journal->path, "%s/%s", directory, name) < 0 ||
		asprintf(&journal->temporary_path, "%s/.%s.new", directory, name) < 0) {
		journal_close(journal);
		return STATUS_NO_MEMORY;
	}
	journal_load(journal, record, context, &discard, warnings);
	journal->fd = open(journal->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->fd < 0 || ftruncate(journal->fd, (off_t)journal->good_bytes) != 0) {
		status = journal_failed(journal, problems);
		journal_close(journal);
		return status;
	}
	*ret_journal = journal;
	*ret_discard = discard;
	return STATUS_OK;
}

void journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal->path);
	free(journal->temporary_path);
	free(journal->directory);
	free(journal->pending);
	free(journal);
}

void journal_add(struct journal *journal, const char *record)
{
	size_t length_bytes = strlen(record), needed = CHECKSUM_DIGITS + 1 + length_bytes + 1;

	if (journal->pending_bytes + needed + 1 > journal->pending_size_bytes) {
		size_t size_bytes = 2 * (journal->pending_bytes + needed + 1);
		char *more = realloc(journal->pending, size_bytes);

		if (more == NULL) {
			journal->no_memory = true;
			return;
		}
		journal->pending = more;
		journal->pending_size_bytes = size_bytes;
	}
	journal->pending_bytes += (size_t)snprintf(journal->pending + journal->pending_bytes, needed + 1,
		"%08" PRIx32 " %s\n", checksum_of(record, length_bytes), record);
	journal->pending_count++;
}

/* As file_replace(); but the new file stays open, and is the journal as soon as it has the name. */
static bool journal_replace(struct journal *journal)
{
	int fd = open(journal->temporary_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	int directory_fd;
	bool synced;

	if (fd < 0)
		return false;
	if (!file_write_all(fd, journal->pending, journal->pending_bytes) || fsync(fd) != 0 ||
		rename(journal->temporary_path, journal->path) != 0) {
		int error = errno;

		close(fd);
		unlink(journal->temporary_path);
		errno = error;
		return false;
	}
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	/* From here on this is the file, whether its name is on disk yet or not. */
	journal->good_bytes = journal->pending_bytes;
	journal->record_count = journal->pending_count;
	directory_fd = open(journal->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	synced = directory_fd >= 0 && fsync(directory_fd) == 0;
	if (directory_fd >= 0)
		close(directory_fd);
	return synced;
}

/* What can not be taken back is cut off by the next commit. */
static bool journal_append(struct journal *journal)
{
	if (ftruncate(journal->fd, (off_t)journal->good_bytes) != 0 ||
		!file_write_all(journal->fd, journal->pending, journal->pending_bytes) || fdatasync(journal->fd) != 0)
		return false;
	journal->good_bytes += journal->pending_bytes;
	journal->record_count += journal->pending_count;
	return true;
}

enum status journal_commit(struct journal *journal, struct problems *problems)
{
	bool written = false;

	if (journal->no_memory)
		errno = ENOMEM;
	else
		written = journal->rewriting ? journal_replace(journal) : journal_append(journal);
	/* An append that goes well does not make up for an earlier one that did not: only the whole does. */
	journal->behind = !written || (journal->behind && !journal->rewriting);
	journal->pending_bytes = 0;
	journal->pending_count = 0;
	journal->no_memory = false;
	journal->rewriting = false;
	return written ? STATUS_OK : journal_failed(journal, problems);
}

size_t journal_record_count(const struct journal *journal)
{
	return journal->record_count;
}

bool journal_is_behind(const struct journal *journal)
{
	return journal->behind;
}

void journal_rewrite(struct journal *journal)
{
	journal->pending_bytes = 0;
	journal->pending_count = 0;
	journal->no_memory = false;
	journal->rewriting = true;
}
