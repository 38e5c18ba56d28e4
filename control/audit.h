/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: every change that somebody asks for, by the API or in a file, one JSON object a line: {"time", "who",
 * "what", "from", "to"}.
 *
 * Mode 0640. The file is opened anew when it was renamed or removed, so log rotation needs no signal. A line is written
 * whole or not at all. Secrets never get here: the configuration has none, keys and tokens are named by their files.
 * Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_AUDIT_H
#define POSTERN_CONTROL_AUDIT_H

#include <jansson.h>
#include <stdint.h>

#include "control/log.h"

struct audit;

/* `log` must outlive it: who can not write there is told so. */
struct audit *audit_open(const struct log *log);
void audit_close(struct audit *audit); /* NULL is fine */

/* Where it goes; the same path again does nothing. */
void audit_set_path(struct audit *audit, const char *path);

/*
 * `who`: the caller's name, or "file PATH". `what`: "PUT /v1/workspaces/acme". `from` and `to` are taken; NULL is null:
 * there was, or is, nothing.
 */
void audit_write(struct audit *audit, const char *who, const char *what, json_t *from, json_t *to);

/* Records that could not be written; for the metrics. */
uint64_t audit_failure_count(const struct audit *audit);

#endif
