/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change of the configuration does to a live session: docs/nat.md, "Changes of the policy, and live sessions".
 * Pure, for `postern plan`. It knows of registered workers only what the session itself says: one whose address a VPC's
 * list did not have, while only listed ones could send, is registered.
 */
#ifndef POSTERN_CONTROL_PLAN_SESSIONS_H
#define POSTERN_CONTROL_PLAN_SESSIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/index.h"
#include "control/model.h"

/* Host order. */
struct plan_session {
	const char *workspace;
	uint32_t vni, inside_address, egress_address, vtep;
};

/* The workspaces of both by their ids. All zero is none. */
struct plan_sessions {
	const struct model *old, *new;
	struct hash_index old_by_id, new_by_id;
};

/* False: no memory. The models must outlive it. */
bool plan_sessions_open(struct plan_sessions *ret_sessions, const struct model *old, const struct model *new);
void plan_sessions_close(struct plan_sessions *sessions);

/* Whether the session ends when `new` takes the place of `old`, and would not without. */
bool plan_session_ends(const struct plan_sessions *sessions, const struct plan_session *session);

/* Whether any of the workspace may; where not, there is no need to look at them. */
bool plan_sessions_may_end(const struct plan_sessions *sessions, const char *workspace);

/* Whether sessions may end of workspaces that the plan does not name: by what is everybody's. */
bool plan_sessions_of_all(const struct model *old, const struct model *new);

#endif
