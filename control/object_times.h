/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Since when each workspace and each of its egress IPs is wanted as it is, and in force as it is: one pair of times an
 * object, beside a model. Pure. Owner: the revision of the model. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_OBJECT_TIMES_H
#define POSTERN_CONTROL_OBJECT_TIMES_H

#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

enum object_time_kind { OBJECT_WANTED, OBJECT_IN_FORCE, OBJECT_TIME_KIND_COUNT };

/* Unix seconds; 0: it is not. */
struct object_time {
	double since_s[OBJECT_TIME_KIND_COUNT];
};

/* All zero: nothing. */
struct object_times {
	struct object_time *workspaces; /* by their index in the model */
	struct object_time *ips;	/* of each workspace its egress IPs, then its draining ones */
	uint32_t *ip_first;		/* of each workspace in `ips` */
};

enum status object_times_make(const struct model *model, struct object_times *ret_times);
void object_times_clear(struct object_times *times);

/*
 * What is the same in `before` (NULL model: nothing was) is so since then, the rest since now. STATUS_NO_MEMORY: all of
 * it is since now.
 */
enum status object_times_carry(struct object_times *times, const struct model *model,
	const struct object_times *before_times, const struct model *before, enum object_time_kind kind, double now_s);

/* Of the address `index` of a workspace: its egress IPs, and behind them its draining ones. */
const struct object_time *object_times_ip(const struct object_times *times, size_t workspace_index, size_t index);

#endif
