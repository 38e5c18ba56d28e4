/* SPDX-License-Identifier: Apache-2.0 */
#include "control/watch.h"

#include <errno.h>
#include <event2/event.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

enum { READ_COUNT_MAX = 64 };

struct watch {
	int fd;
	struct event *readable;
	struct event *debounce;
	watch_changed_fn *changed;
	void *context;
	char name[NAME_MAX + 1]; /* of the file, in its directory */
	int main_watch;		 /* of that directory */
	int include_watches[CONFIG_INCLUDE_COUNT_MAX];
	char *include_paths[CONFIG_INCLUDE_COUNT_MAX];
	size_t include_count;
	bool include_missing;
	bool include_twice; /* one directory by two names: which files changed can not be told by either */
	struct config_changes changes;
	uint64_t since_ns; /* the first of them */
};

static const uint32_t watch_mask =
	IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | IN_ONLYDIR;

/* An included directory counts also as a whole: it may be moved away. */
static const uint32_t include_mask = IN_MOVE_SELF | IN_DELETE_SELF;

/* Kubernetes replaces all files of a mounted volume at once, by turning this link. */
static const char volume_link[] = "..data";

static void watch_debounced(evutil_socket_t fd, short what, void *context)
{
	struct watch *watch = context;
	struct config_changes changes = watch->changes;

	memset(&watch->changes, 0, sizeof(watch->changes));
	watch->since_ns = 0;
	watch->changed(watch->context, &changes);
	config_changes_clear(&changes);
}

/* Of the included directories; its index, or their count. */
static size_t watch_include_of(const struct watch *watch, int wd)
{
	size_t i = 0;

	while (i < watch->include_count && watch->include_watches[i] != wd)
		i++;
	return i;
}

/* Files that lead to another one are turned by a link whose name begins with two dots. */
static bool says_which(const struct watch *watch, const struct inotify_event *event)
{
	return event->len > 0 && (event->mask & IN_ISDIR) == 0 && strncmp(event->name, "..", 2) != 0 &&
	       !watch->include_twice;
}

/* A queue that overflowed may have hidden a change of ours; and of the main directory, that it has gone. */
static bool is_of_anything(const struct watch *watch, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW)
		return true;
	if (event->wd != watch->main_watch)
		return false;
	return (event->mask & IN_IGNORED) ||
	       (event->len > 0 && (watch->include_missing || strcmp(event->name, watch->name) == 0 ||
					  strcmp(event->name, volume_link) == 0));
}

/* What is told of a directory that is included from no more concerns nobody: also that it is watched no more. */
static bool watch_concerns(struct watch *watch, const struct inotify_event *event)
{
	size_t include = watch_include_of(watch, event->wd);

	if (is_of_anything(watch, event) || (include < watch->include_count && !says_which(watch, event)))
		watch->changes.unknown = true;
	else if (include < watch->include_count)
		config_changes_add(&watch->changes, watch->include_paths[include], event->name);
	else
		return false;
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* `begun`: the last event was a file that has come, and whose content may be under way. */
static void watch_wait(struct watch *watch, bool begun)
{
	uint64_t delay_ms = begun ? WATCH_BEGUN_QUIET_MS : WATCH_QUIET_MS, waited_ms;
	struct timeval delay = {0};

	if (watch->since_ns == 0)
		watch->since_ns = now_ns();
	waited_ms = (now_ns() - watch->since_ns) / 1000000;
	if (waited_ms + delay_ms > WATCH_DELAY_MAX_MS)
		delay_ms = waited_ms < WATCH_DELAY_MAX_MS ? WATCH_DELAY_MAX_MS - waited_ms : 0;
	delay.tv_usec = (suseconds_t)(delay_ms * 1000);
	event_add(watch->debounce, &delay);
}

static void watch_readable(evutil_socket_t fd, short what, void *context)
{
	struct watch *watch = context;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool concerned = false, begun = false;

	for (unsigned i = 0; i < READ_COUNT_MAX; i++) {
		ssize_t length_bytes = read(watch->fd, buffer, sizeof(buffer));

		if (length_bytes <= 0)
			break;
		for (ssize_t offset = 0; offset < length_bytes;) {
			const struct inotify_event *event = (const void *)(buffer + offset);

			if (watch_concerns(watch, event)) {
				concerned = true;
				begun = (event->mask & IN_CREATE) != 0;
			}
			offset += (ssize_t)(sizeof(*event) + event->len);
		}
	}
	if (concerned)
		watch_wait(watch, begun);
}

static enum status watch_start(struct watch *watch, const char *path, struct problems *problems)
{
	char directory_copy[PATH_MAX], name_copy[PATH_MAX];
	const char *directory, *name;

	if (strlen(path) >= sizeof(directory_copy)) {
		problems_add(problems, "--config: the path is too long");
		return STATUS_INVALID;
	}
	strcpy(directory_copy, path);
	strcpy(name_copy, path);
	directory = dirname(directory_copy);
	name = basename(name_copy);
	if (strlen(name) > NAME_MAX) {
		problems_add(problems, "--config: the file name is too long");
		return STATUS_INVALID;
	}
	strcpy(watch->name, name);
	watch->main_watch = inotify_add_watch(watch->fd, directory, watch_mask);
	if (watch->main_watch < 0) {
		problems_add(problems,
			"%s: changes can not be watched: %s: send SIGHUP after each change, or create the "
			"directory and restart",
			directory, strerror(errno));
		return STATUS_SYSTEM;
	}
	return STATUS_OK;
}

enum status watch_open(struct event_base *base, const char *path, watch_changed_fn *changed, void *context,
	struct watch **ret_watch, struct problems *problems)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	enum status status;

	if (watch == NULL)
		return STATUS_NO_MEMORY;
	watch->changed = changed;
	watch->context = context;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0) {
		problems_add(
			problems, "inotify is not available: %s: raise fs.inotify.max_user_instances", strerror(errno));
		free(watch);
		return STATUS_SYSTEM;
	}
	watch->readable = event_new(base, watch->fd, EV_READ | EV_PERSIST, watch_readable, watch);
	watch->debounce = event_new(base, -1, 0, watch_debounced, watch);
	if (watch->readable == NULL || watch->debounce == NULL)
		status = STATUS_NO_MEMORY;
	else
		status = watch_start(watch, path, problems);
	if (status != STATUS_OK) {
		watch_close(watch);
		return status;
	}
	event_add(watch->readable, NULL);
	*ret_watch = watch;
	return STATUS_OK;
}

static bool watch_has(const int *watches, size_t count, int wd)
{
	for (size_t i = 0; i < count; i++) {
		if (watches[i] == wd)
			return true;
	}
	return false;
}

/* It has not that one yet. */
static void watch_add_include(struct watch *watch, int wd, const char *path)
{
	char *copy = strdup(path);

	watch->include_twice = watch->include_twice || copy == NULL;
	watch->include_paths[watch->include_count] = copy;
	watch->include_watches[watch->include_count++] = wd;
}

/* The main file's own directory keeps what is watched there: IN_MASK_ADD. */
static int watch_add(const struct watch *watch, const char *path)
{
	return inotify_add_watch(watch->fd, path, watch_mask | include_mask | IN_MASK_ADD);
}

void watch_directory(void *context, const char *path)
{
	struct watch *watch = context;
	int wd = watch != NULL && watch->include_count < CONFIG_INCLUDE_COUNT_MAX ? watch_add(watch, path) : -1;

	if (wd >= 0 && !watch_has(watch->include_watches, watch->include_count, wd))
		watch_add_include(watch, wd, path);
}

static void watch_forget_paths(struct watch *watch)
{
	for (size_t i = 0; i < watch->include_count; i++)
		free(watch->include_paths[i]);
	watch->include_count = 0;
}

void watch_include(struct watch *watch, const struct config_directories *directories)
{
	int before[CONFIG_INCLUDE_COUNT_MAX];
	size_t before_count;

	if (watch == NULL)
		return;
	before_count = watch->include_count;
	memcpy(before, watch->include_watches, sizeof(before));
	watch_forget_paths(watch);
	watch->include_missing = watch->include_twice = false;
	for (size_t i = 0; i < directories->count; i++) {
		int wd = watch_add(watch, directories->paths[i]);

		if (wd < 0)
			watch->include_missing = true;
		else if (watch_has(watch->include_watches, watch->include_count, wd))
			watch->include_twice = true;
		else
			watch_add_include(watch, wd, directories->paths[i]);
	}
	for (size_t i = 0; i < before_count; i++) {
		if (before[i] != watch->main_watch &&
			!watch_has(watch->include_watches, watch->include_count, before[i]))
			inotify_rm_watch(watch->fd, before[i]);
	}
}

void watch_close(struct watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->readable != NULL)
		event_free(watch->readable);
	if (watch->debounce != NULL)
		event_free(watch->debounce);
	watch_forget_paths(watch);
	config_changes_clear(&watch->changes);
	close(watch->fd);
	free(watch);
}
