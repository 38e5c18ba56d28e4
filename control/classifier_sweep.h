/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk through the classifier's maps of workers in small steps, for entries that nobody wants: somebody else's, or what
 * an error has left. Such an entry would let an interface through as a worker that is none (P1, P2). What a worker's own
 * entries must say is classifier_change()'s. Owner: control/admission_check.c. Thread: posternd's only one. Limit of a
 * step: CLASSIFIER_SWEEP_ENTRIES_MAX entries.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_SWEEP_H
#define POSTERN_CONTROL_CLASSIFIER_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"

struct classifier;

enum { CLASSIFIER_SWEEP_ENTRIES_MAX = 1024 };

/* Where the walk is; zero: at its beginning. */
struct classifier_sweep {
	unsigned map;	 /* which of them */
	uint32_t bucket; /* the next one; entries that come and go move no other */
	bool begun;	 /* `bucket` holds */
};

/* Whether somebody wants the entry of that key. `address`: host order. */
struct classifier_sweep_asks {
	bool (*has_worker)(void *context, uint32_t ifindex);
	bool (*has_delivery)(void *context, uint32_t vni, uint32_t address);
	void *context;
};

/*
 * One step; at the end the walk is at its beginning again, and `ret_done` is true. What nobody wants is deleted, and on
 * return no program can still be reading it.
 */
enum status classifier_sweep_step(const struct classifier *classifier, struct classifier_sweep *sweep,
	const struct classifier_sweep_asks *asks, size_t *ret_removed_count, bool *ret_done, struct problems *problems);

#endif
