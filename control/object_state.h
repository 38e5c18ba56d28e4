/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wanted of a workspace and of each of its egress IPs, what is in force, why these differ, and since when it is
 * so: for the API. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_OBJECT_STATE_H
#define POSTERN_CONTROL_OBJECT_STATE_H

#include <jansson.h>

struct daemon;
struct model_workspace;

/*
 * {"desired", "actual", "reason", "since_unix_seconds", "egress": [the same of each address]}, 0 where that is not
 * known; NULL: no memory.
 * `wanted`: the one with this id in the desired configuration; NULL: there is none.
 */
json_t *object_state_json(const struct daemon *daemon, const char *id, const struct model_workspace *wanted);

#endif
