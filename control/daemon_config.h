/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the daemon comes to the configuration that is wanted (struct daemon_config in control/daemon.h): from the files, a
 * change by the API, or its last good one; and each time, what follows from it is set going. One thread.
 */
#ifndef POSTERN_CONTROL_DAEMON_CONFIG_H
#define POSTERN_CONTROL_DAEMON_CONFIG_H

#include <stdbool.h>

#include "control/daemon.h"

/* At start: the file; else what was in force last; else nothing, and wait for the file. */
void daemon_load_first(struct daemon *daemon);

/* Reads the file again; true when it is valid. What is wrong is in `config.errors`. */
bool daemon_reload(struct daemon *daemon);

/* The same where the watch has seen what has changed since. */
struct config_changes;
bool daemon_reload_changes(struct daemon *daemon, const struct config_changes *changes);

/*
 * Main files that are on trial: control/staged.h. Reads the file again without its guard; and what a file would be as
 * the main one, without any effect.
 */
bool daemon_reload_forced(struct daemon *daemon);
enum status daemon_try_file(
	struct daemon *daemon, const char *path, struct revision **ret_revision, struct problems *problems);

/*
 * A change of one fragment of the API (`text` NULL: it goes), in two steps. First what the configuration would be: a
 * revision that commit or revision_release() takes, or all that is wrong with it. Nothing has happened yet. `id`: the
 * workspace that is changed, which alone the guard on changes that remove much lets go.
 */
enum status daemon_try_change(struct daemon *daemon, const char *id, const char *name, const char *text,
	struct revision **ret_revision, struct problems *problems);
/* Then it is stored and desired; or nothing has happened. Takes the reference in any case. */
enum status daemon_commit_change(struct daemon *daemon, const char *name, const char *text, struct revision *revision,
	struct problems *problems);

/* The registrations are others: compiles and sends them. False: it can not be done now; `ret_why`. */
bool daemon_registrations_changed(struct daemon *daemon, struct problems *ret_why);

/* Each second: ranges that have drained long enough go, without a reload. */
void daemon_renew(struct daemon *daemon);

#endif
