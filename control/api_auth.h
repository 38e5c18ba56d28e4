/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells who a caller is and what they may do: over the Unix socket by what the kernel says of the peer; over HTTPS by a
 * bearer token, or else by the client certificate. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_AUTH_H
#define POSTERN_CONTROL_API_AUTH_H

#include <stdbool.h>

#include "control/api_caller.h"
#include "control/http_server.h"

struct daemon;

enum { API_AUTH_WHY_SIZE_BYTES = 256 };

/* False: nobody that is known; `ret_why` is a sentence for the caller. */
bool api_auth_identify(struct daemon *daemon, const struct http_exchange *exchange, struct api_caller *ret_caller,
	char ret_why[API_AUTH_WHY_SIZE_BYTES]);

/* Does the configuration ask who scrapes the metrics? */
bool api_auth_metrics_wanted(const struct daemon *daemon);

#endif
