/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it goes, in sentences: what degrades the service now, what is worth knowing, and whether the gateway is ready.
 * Computed anew from the daemon each time. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_HEALTH_H
#define POSTERN_CONTROL_HEALTH_H

#include <stdbool.h>

#include "control/status.h"

struct daemon;

struct health {
	struct problems reasons; /* none: all is well */
	struct problems notes;
	bool ready; /* the configuration that is wanted is the one in force, and traffic can flow */
};

void health_check(const struct daemon *daemon, struct health *ret_health);
void health_clear(struct health *health);

/* Is the process there and its control thread alive? */
bool health_dataplane_up(const struct daemon *daemon);

#endif
