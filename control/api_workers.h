/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of this host over the API.
 *
 *   GET    /v1/workers               all; ?workspace= ?state= &limit=
 *   GET    /v1/workers/{interface}   one, with its counters
 *   POST   /v1/workers               adds one; answered when it is open, or after API_WAIT_MAX_S with 202 and the reason
 *   DELETE /v1/workers/{interface}   takes one away that came by the API; answered when it is closed
 *
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_WORKERS_H
#define POSTERN_CONTROL_API_WORKERS_H

#include <jansson.h>

struct daemon;
struct worker_spec;

enum { API_WORKER_LIMIT_DEFAULT = 1000, API_WORKER_LIMIT_MAX = 262144 };

/* What a source says of a worker, as it is taken and shown. */
json_t *api_workers_spec_json(const struct worker_spec *spec);

/* Answers the requests whose workers are open now; after every step of the admission. */
void api_workers_check(struct daemon *daemon);

#endif
