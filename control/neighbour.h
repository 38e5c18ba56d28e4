/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which neighbours the kernel is made to know. The dataplane's packets never pass the kernel's stack, so nothing else
 * would make it ask: an unresolved one is asked for each second, a stale one is refreshed each 30 s.
 *
 *  - lasting: gateways of routes and the VTEPs configured as /32; the kernel is asked to keep them by itself too
 *    (NTF_EXT_MANAGED, Linux 5.16), so that they stay fresh while posternd is away;
 *  - requested: what the dataplane asked for. Given up after NEIGHBOUR_ATTEMPT_MAX attempts; it will ask again.
 *
 * Owner: control/rib.c. Thread: the event loop's. Limit: NEIGHBOUR_COUNT_MAX entries; more are ignored, but a
 * lasting one takes the place of a requested one.
 */
#ifndef POSTERN_CONTROL_NEIGHBOUR_H
#define POSTERN_CONTROL_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/rib_snapshot.h"

enum { NEIGHBOUR_COUNT_MAX = 4096, NEIGHBOUR_ATTEMPT_MAX = 10 };

struct neighbour_wanted {
	uint32_t address;
	uint8_t port; /* enum port_index */
	bool lasting;
	bool seen;	   /* in the present round of neighbours_begin() … neighbours_end() */
	uint32_t attempts; /* since it was last resolved */
	uint64_t asked_ns; /* 0: never */
};

struct neighbours {
	struct neighbour_wanted *wanted;
	size_t count;
};

/* Asks the kernel to resolve; `keep`: and to keep it. */
typedef void neighbour_ask_fn(void *context, uint32_t interface_index, uint32_t address, bool keep);

void neighbours_free(struct neighbours *neighbours);

/* The lasting ones are told anew after each change of the routes. */
void neighbours_begin(struct neighbours *neighbours);
void neighbours_want_lasting(struct neighbours *neighbours, unsigned port, uint32_t address);
void neighbours_end(struct neighbours *neighbours);

void neighbours_request(struct neighbours *neighbours, unsigned port, uint32_t address);

/* Asks for all that are due at `now_ns`. */
void neighbours_tick(struct neighbours *neighbours, const struct rib_view *view, uint64_t now_ns, neighbour_ask_fn *ask,
	void *context);

#endif
