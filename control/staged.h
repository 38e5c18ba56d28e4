/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `postern apply`: a new main file on trial. The command puts it beside the configured one, as `.NAME.apply`; here it
 * is validated in that place, so that what it includes is found, and renamed over the configured one. With a time to
 * confirm, the old file stays as `.NAME.rollback` until then, and comes back unless the change is confirmed; also over
 * a restart of posternd, and at once at its start when the time is over or unknown (after a reboot).
 *
 * And the guard on every reload: a change that removes more workspaces than change_limits allows is refused unless it
 * is forced. Owner of struct daemon_staged: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_STAGED_H
#define POSTERN_CONTROL_STAGED_H

#include <stdbool.h>
#include <stdint.h>

#include "control/status.h"

struct daemon;
struct model;

enum { STAGED_CONFIRM_MAX_S = 86400 };

/*
 * False: more workspaces of `old` would go than it allows; the problem says how many. `asked`: the workspace that
 * somebody has asked for by name, which may go; NULL: none.
 */
bool staged_guard(const struct model *old, const struct model *new, const char *asked, struct problems *problems);

/* Before the first configuration is loaded: rolls back what was not confirmed in time. */
void staged_open(struct daemon *daemon);

/* Each second. */
void staged_tick(struct daemon *daemon);

/*
 * `confirm_s`: 0: at once for good. STATUS_INVALID, STATUS_REFUSED, STATUS_SYSTEM: nothing has changed; unless what the
 * file includes goes bad between its validation and its loading, for good: then it is in place, and the problem says
 * so.
 */
enum status staged_apply(struct daemon *daemon, uint64_t confirm_s, bool force, struct problems *problems);

/* STATUS_REFUSED: nothing waits for it. */
enum status staged_confirm(struct daemon *daemon, struct problems *problems);
enum status staged_rollback(struct daemon *daemon, struct problems *problems);

#endif
