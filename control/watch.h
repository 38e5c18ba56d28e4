/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches one file through inotify on its directory, since editors and configuration management replace files by
 * rename, and whole directories of included files. A burst of changes is reported once, 50 ms after its last one.
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_WATCH_H
#define POSTERN_CONTROL_WATCH_H

#include "control/model.h"
#include "control/status.h"

struct event_base;
struct watch;

typedef void watch_changed_fn(void *context);

/* The directory must exist; the file need not. */
enum status watch_open(struct event_base *base, const char *path, watch_changed_fn *changed, void *context,
	struct watch **ret_watch, struct problems *problems);

/*
 * Any change in one of these directories counts from now on, and in no others of that kind. While one is missing, every
 * change beside the file counts, since that may be where it appears. `watch` NULL: does nothing.
 */
void watch_include(struct watch *watch, const struct config_directories *directories);

void watch_close(struct watch *watch);

#endif
