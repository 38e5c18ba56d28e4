/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan: what a new configuration would change, for `postern plan` and for the log. Pure: looks, and changes
 * nothing.
 *
 * A configuration's journey, each station a file:
 *
 *   FILE.yaml ──► yaml_tree ──► model_parse ──► model_check ──► model ──► plan ──► what will change, in words
 *                 bytes to a    by the table    rules across    typed,      │
 *                 tree with     in fields:      values; all     immutable   │
 *                 file:line     type, range,    errors at                   ▼
 *                               default         once                     compile ──► policy snapshot, one block
 *                                                                                      │ sealed memfd
 *   then posternd applies it:                                                          ▼
 *     1. the snapshot goes to the dataplane, which acknowledges its generation (control/dataplane_client.h)
 *     2. the worker host's BPF maps and devices follow (control/classifier.h)
 *     3. steering of the ports comes last (control/steer.h); removals go the other way round
 *
 * An error at any station ends the journey: nothing is applied, the last good configuration stays in force.
 * model_print() turns a model back into a file. To add a key: the file of its section, which control/fields_table.h
 * names, and control/model.h for its place.
 *
 * What is the same object, here as in the dataplane (contract/policy.h): a workspace by its id; a VPC by workspace, id
 * and VNI; an egress IP by workspace and address; a worker by its VPC and address. Anything else is one removed and one
 * added.
 */
#ifndef POSTERN_CONTROL_PLAN_H
#define POSTERN_CONTROL_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "control/model.h"
#include "control/status.h"

enum plan_kind { PLAN_ADD, PLAN_REMOVE, PLAN_CHANGE };

struct plan_change {
	enum plan_kind kind;
	bool needs_restart;	       /* of postern-dataplane: ports are opened once */
	char workspace[ID_SIZE_BYTES]; /* whose it is; empty: nobody's alone */
	char *text;		       /* one line: "+ egress IP 203.0.113.10 of workspace acme" */
};

struct plan {
	struct plan_change *changes; /* removals and changes in the old file's order, then additions in the new one's */
	size_t count, capacity;
	bool needs_restart; /* of any change */
};

/* `old` NULL: nothing is in force yet. `ret_plan` needs plan_clear(). */
enum status plan_make(const struct model *old, const struct model *new, struct plan *ret_plan);

void plan_clear(struct plan *plan);

/* Equal in every value of the configuration; where they stand does not count. Of models the order does. */
bool plan_workspaces_equal(const struct model_workspace *a, const struct model_workspace *b);
bool plan_models_equal(const struct model *a, const struct model *b);

#endif
