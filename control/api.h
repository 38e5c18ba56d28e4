/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API: every table of routes, one per noun. Over DIR/posternd.sock for the command line, and over HTTPS where the
 * configuration says so. What each route does: docs/openapi.json, which follows these tables.
 *
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_H
#define POSTERN_CONTROL_API_H

#include "control/api_route.h"

extern const struct api_routes api_routes;

/* One table per noun, in control/api_NOUN.c. */
extern const struct api_route api_config_routes[];
extern const struct api_route api_apply_routes[];
extern const struct api_route api_drains_routes[];
extern const struct api_route api_egress_routes[];
extern const struct api_route api_gateways_routes[];
extern const struct api_route api_hosts_routes[], api_mappings_routes[];
extern const struct api_route api_monitor_routes[];
extern const struct api_route api_refusals_routes[];
extern const struct api_route api_sessions_routes[];
extern const struct api_route api_status_routes[];
extern const struct api_route api_workers_routes[];
extern const struct api_route api_workspaces_routes[];

/* Of every route that changes something: see control/api_wait.h. */
#define API_QUERY_WAIT "wait: 0 answers at once with 202, without waiting until the change is in force."

#define API_SOCKET_NAME "posternd.sock"

enum { API_SESSION_LIMIT_DEFAULT = 100, API_SESSION_LIMIT_MAX = 10000 };

#endif
