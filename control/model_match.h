/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which workspace of one model is which of another, by its id, and which have not changed: so that what compares two
 * configurations looks closely at the few that have. Pure. Owner: the caller. Thread: any one at a time.
 */
#ifndef POSTERN_CONTROL_MODEL_MATCH_H
#define POSTERN_CONTROL_MODEL_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

#define MODEL_MATCH_NONE UINT32_MAX

struct model_match {
	uint32_t *old_of_new; /* index in old->workspaces, by that in new's; MODEL_MATCH_NONE: it is new */
	uint32_t *new_of_old;
	bool *same; /* by the index in the new one: equal in every value. Only changed order and place are not told */
	size_t removed_count;
};

/* STATUS_NO_MEMORY, or OK; then model_match_clear(). */
enum status model_match(const struct model *old, const struct model *new, struct model_match *ret_match);
void model_match_clear(struct model_match *match);

#endif
