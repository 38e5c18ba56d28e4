/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains: egress IPs that an operator takes out of use by `postern drain`, whatever the files say of them.
 *
 *   DRAINING   no new sessions, the old ones live out. Until none is left, or the deadline has come, or it is forced
 *   RELEASED   the workspace has it no more, and for DRAIN_QUARANTINE_S nobody else gets it either: late packets of the
 *              old sessions, and allow-lists of the workspace's partners, belong to the workspace
 *   (gone)     once the quarantine is over and no file gives it to the workspace any more
 *
 * Cancelled at any time, the address is in use again as the files say. The drains are laid over each configuration that
 * is loaded, before it is compiled: so they survive reloads, and in DIR/state/drains.json restarts.
 *
 * Pure: no clock, no files. Seconds are Unix time of a clock that does not jump. Owner: the daemon. Thread: any one at a
 * time. Limit: DRAIN_COUNT_MAX at once.
 */
#ifndef POSTERN_CONTROL_DRAIN_H
#define POSTERN_CONTROL_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

enum { DRAIN_COUNT_MAX = 4096, DRAIN_QUARANTINE_S = 300 };

enum drain_state { DRAIN_DRAINING, DRAIN_RELEASED };

struct drain {
	uint32_t address;
	char workspace[ID_SIZE_BYTES];
	uint32_t state; /* enum drain_state */
	uint64_t started_s;
	uint64_t deadline_s; /* 0: none */
	uint64_t released_s; /* RELEASED */
	uint64_t sessions;   /* seen last; meaningful when counted */
	bool counted;	     /* the sessions were counted since it drains in the dataplane */
	bool cut;	     /* released although sessions were left */
	bool configured;     /* the last configuration gives it to the workspace */
};

/* Sorted by address. All zero: none. */
struct drains {
	struct drain *entries;
	size_t count;
};

void drains_clear(struct drains *drains);

/* NULL: none. */
struct drain *drains_find(const struct drains *drains, uint32_t address);

/*
 * Begins a drain, or gives one that is under way another deadline. STATUS_REFUSED: there are DRAIN_COUNT_MAX.
 * `ret_drain` is valid until the next change.
 */
enum status drains_begin(struct drains *drains, uint32_t address, const char *workspace, uint64_t now_s,
	uint64_t deadline_s, struct drain **ret_drain);

/* False: there is none. */
bool drains_cancel(struct drains *drains, uint32_t address);

/* Releases now, with what sessions there may be. */
void drain_release(struct drain *drain, uint64_t now_s);

/* What time and counted sessions bring about: releases, and ends of quarantines. True: the configuration must be laid
 * out anew. */
bool drains_step(struct drains *drains, uint64_t now_s);

/* Lays the drains over a model that was just loaded. STATUS_NO_MEMORY, or OK. */
enum status drains_apply(const struct drains *drains, struct model *model, uint64_t now_s, struct problems *warnings);

/* The model over which they were laid is the one that counts now: which of them do its files still have? */
void drains_note(struct drains *drains, const struct model *model);

#endif
