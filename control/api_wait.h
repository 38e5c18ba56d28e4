/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that wait until the change which they tell of is in force: acknowledged by the dataplane, and on a worker
 * host in the classifier's maps. Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_WAIT_H
#define POSTERN_CONTROL_API_WAIT_H

#include "control/api_request.h"

/* So many wait at once: half of the connections of a server stay free for others. */
enum { API_WAIT_MAX_S = 10, API_WAIT_COUNT_MAX = 128 };

/*
 * Answers with `code` and `json` (taken; an object) as soon as what is desired now is in force, with "in_force": true
 * added. 202 with "in_force": false and the reason instead: at once when the query says wait=0 or
 * too many wait already, or after API_WAIT_MAX_S.
 * `fields`: see api_answer_with_fields(); copied.
 */
void api_wait_in_force(struct api_request *request, int code, const char *fields, json_t *json);

/* After whatever may have put something in force, and each second. */
void api_wait_check(struct daemon *daemon);

/* The request goes without its answer. */
void api_wait_forget(struct api_request *request);

#endif
