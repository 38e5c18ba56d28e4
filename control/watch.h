/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches one file through inotify on its directory, since editors and configuration management replace files by
 * rename, and whole directories of included files. A burst of changes is reported once, when nothing has followed for
 * WATCH_QUIET_MS, or WATCH_BEGUN_QUIET_MS behind a file that was only created and may still be written; but changes that
 * do not end are reported within WATCH_DELAY_MAX_MS. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_WATCH_H
#define POSTERN_CONTROL_WATCH_H

#include "control/config_changes.h"
#include "control/model.h"
#include "control/status.h"

struct event_base;
struct watch;

enum { WATCH_QUIET_MS = 20, WATCH_BEGUN_QUIET_MS = 50, WATCH_DELAY_MAX_MS = 1000 };

/* All since the last call; they are the watch's. */
typedef void watch_changed_fn(void *context, const struct config_changes *changes);

/* The directory must exist; the file need not. */
enum status watch_open(struct event_base *base, const char *path, watch_changed_fn *changed, void *context,
	struct watch **ret_watch, struct problems *problems);

/*
 * Any change in one of these directories counts from now on, and in no others of that kind. While one is missing, every
 * change beside the file counts, since that may be where it appears. `watch` NULL: does nothing.
 */
void watch_include(struct watch *watch, const struct config_directories *directories);

/*
 * The same for one more directory, before files are read from it: so that nothing is missed that changes while they are.
 * A struct watch as context, which may be NULL: for config_directories.noted.
 */
void watch_directory(void *context, const char *path);

void watch_close(struct watch *watch);

#endif
