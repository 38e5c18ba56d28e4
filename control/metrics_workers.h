/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of the workers on this host; of each one only where `metrics.per_worker` says so. Thread: the event
 * loop's.
 */
#ifndef POSTERN_CONTROL_METRICS_WORKERS_H
#define POSTERN_CONTROL_METRICS_WORKERS_H

struct daemon;
struct metrics_text;

void metrics_workers_write(struct daemon *daemon, struct metrics_text *text);

#endif
