/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains at work: counts the sessions, releases, remembers in DIR/state, and has the configuration laid out anew.
 * What a drain is: control/drain.h. Thread: the event loop's. Limit: the sessions are counted every
 * DRAIN_COUNT_INTERVAL_TICKS, and only while something drains.
 */
#ifndef POSTERN_CONTROL_DRAIN_CONTROL_H
#define POSTERN_CONTROL_DRAIN_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "control/status.h"

struct daemon;

enum { DRAIN_COUNT_INTERVAL_TICKS = 2, DRAIN_DEADLINE_MAX_S = 30 * 86400 };

/* Before the first configuration is loaded. A file that can not be used is told, and no reason to stay away. */
void drain_control_open(struct daemon *daemon);

/* Each second. */
void drain_control_tick(struct daemon *daemon);

/*
 * STATUS_INVALID: no workspace has the address as its own. STATUS_REFUSED: too many. STATUS_SYSTEM: it could not be
 * stored; nothing has changed. `deadline_s`: from now; 0: none. `force`: released at once.
 */
enum status drain_control_begin(
	struct daemon *daemon, uint32_t address, uint64_t deadline_s, bool force, struct problems *problems);

/* STATUS_INVALID: it does not drain. */
enum status drain_control_cancel(struct daemon *daemon, uint32_t address, struct problems *problems);

#endif
