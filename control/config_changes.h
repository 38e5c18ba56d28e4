/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a configuration have changed since it was read, as control/watch.c has seen it and
 * control/config_parts.c takes it: so that of ten thousand files one is looked at.
 *
 * Owner: the watch. Thread: the event loop's. Limits: of more than CONFIG_CHANGE_COUNT_MAX files it is only known that
 * something has changed.
 */
#ifndef POSTERN_CONTROL_CONFIG_CHANGES_H
#define POSTERN_CONTROL_CONFIG_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

enum { CONFIG_CHANGE_COUNT_MAX = 64 };

/* All zero is none. */
struct config_changes {
	bool unknown; /* any file may have; the paths do not count */
	size_t count;
	char *paths[CONFIG_CHANGE_COUNT_MAX]; /* each once: "directory/name", also of names that are no part of it */
};

/* Without memory: unknown. */
void config_changes_add(struct config_changes *changes, const char *directory, const char *name);

void config_changes_clear(struct config_changes *changes);

#endif
