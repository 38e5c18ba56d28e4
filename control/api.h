/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line asks: JSON over HTTP on DIR/posternd.sock.
 *
 *   GET  /v1/status       state, reasons, dataplane, policy, ports, top drops and workspaces
 *   GET  /v1/workspaces   every workspace with its counters
 *   GET  /v1/sessions     live ones; ?workspace= &egress= &remote= &limit=, addresses with or without :PORT
 *   GET  /v1/drops        every reason with count, rate and explanation
 *   GET  /v1/config       the configuration that is wanted, as YAML
 *   POST /v1/reload       422 with the errors when the file is not valid
 *
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_H
#define POSTERN_CONTROL_API_H

#include "control/http_server.h"

/* For http_server_open_unix(), with the daemon as context. */
extern const struct http_route api_routes[];

#define API_SOCKET_NAME "posternd.sock"

enum { API_SESSION_LIMIT_DEFAULT = 100, API_SESSION_LIMIT_MAX = 10000 };

#endif
