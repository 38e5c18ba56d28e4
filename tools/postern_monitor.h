/* SPDX-License-Identifier: Apache-2.0 */
/* `postern monitor`: dropped packets as they come, until it is stopped. */
#ifndef POSTERN_TOOLS_POSTERN_MONITOR_H
#define POSTERN_TOOLS_POSTERN_MONITOR_H

#include <stdbool.h>

/* The exit code. `workspace`, `limit` (how many packets): NULL when not given. */
int postern_monitor(const char *run_dir, bool json, const char *workspace, const char *limit);

#endif
