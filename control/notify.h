/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how posternd, or postern-dataplane, does, by the datagrams that sd_notify(3) documents. Does nothing when
 * $NOTIFY_SOCKET is not set. Thread: any; never blocks.
 */
#ifndef POSTERN_CONTROL_NOTIFY_H
#define POSTERN_CONTROL_NOTIFY_H

#include <stdbool.h>

/* `state`: "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…"; several are separated by newlines. */
void notify_send(const char *state);

/* Is a WATCHDOG=1 expected of this process? */
bool notify_watchdog_wanted(void);

#endif
