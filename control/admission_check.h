/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the kernel still has what each worker of the host needs, though nothing seems to have changed: somebody may have
 * taken a program off an interface, or written to a map. In small steps, ten a second, so that nobody who comes waits for
 * it: a round takes 30 s, or 5 s where few workers are, and looks at every interface and every entry of the maps once.
 * What is amiss is mended as if the worker had just come; where that fails, it is closed, and its state says why.
 *
 * Owner: control/admission.c. Thread: posternd's only one. Limit of a step: a 300th of the workers, and
 * CLASSIFIER_SWEEP_ENTRIES_MAX entries of a map.
 */
#ifndef POSTERN_CONTROL_ADMISSION_CHECK_H
#define POSTERN_CONTROL_ADMISSION_CHECK_H

#include "control/status.h"

struct admission;
struct admission_check;
struct daemon;

enum { ADMISSION_CHECK_ROUND_MIN_S = 5, ADMISSION_CHECK_ROUND_MAX_S = 30 };

enum status admission_check_open(
	struct daemon *daemon, struct admission *admission, struct admission_check **ret_check);
void admission_check_close(struct admission_check *check);

/* The classifier was compared as a whole: from here on, by steps. */
void admission_check_start(struct admission_check *check);

#endif
