/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last samples of what the classifier has dropped, for `postern monitor`.
 *
 * Whoever watches asks again and again for what came after the last sample that it has seen. The programs take samples
 * only while somebody asks; DROP_MONITOR_IDLE_S after the last question they stop. Samples that a slow watcher has not
 * fetched are overwritten, and counted as lost with those that the programs could not take. Owner: the daemon. Thread:
 * the event loop's.
 */
#ifndef POSTERN_CONTROL_DROP_MONITOR_H
#define POSTERN_CONTROL_DROP_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"

struct classifier;

enum { DROP_MONITOR_SAMPLE_COUNT = 4096, DROP_MONITOR_IDLE_S = 5 };

struct drop_monitor {
	struct drop_sample *samples; /* sample n at n % DROP_MONITOR_SAMPLE_COUNT; NULL: nobody is watching */
	uint64_t count;		     /* of all since the daemon's start */
	uint64_t asked_ns;	     /* CLOCK_MONOTONIC, last */
};

/* Takes what is there over. The first time it makes the programs take samples. */
enum status drop_monitor_ask(struct drop_monitor *monitor, struct classifier *classifier, uint64_t now_ns);

/* The oldest that is still there at or after `from`. */
uint64_t drop_monitor_first(const struct drop_monitor *monitor, uint64_t from);
const struct drop_sample *drop_monitor_get(const struct drop_monitor *monitor, uint64_t number);

/* Each second. `classifier` may be NULL. */
void drop_monitor_tick(struct drop_monitor *monitor, struct classifier *classifier, uint64_t now_ns);
void drop_monitor_close(struct drop_monitor *monitor, struct classifier *classifier);

#endif
