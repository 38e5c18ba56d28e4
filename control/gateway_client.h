/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker host's line to the API of one of its gateways: requests over its Unix socket, or over HTTPS with certificates
 * on both sides. One request at a time, each on a connection of its own. Nothing blocks. Owner: control/admission.c.
 * Thread: the event loop's. Limits: GATEWAY_CLIENT_ANSWER_MAX_BYTES, GATEWAY_CLIENT_TIMEOUT_S for a whole request.
 */
#ifndef POSTERN_CONTROL_GATEWAY_CLIENT_H
#define POSTERN_CONTROL_GATEWAY_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"

struct event_base;
struct gateway_client;

enum {
	GATEWAY_CLIENT_ANSWER_MAX_BYTES = 1024 * 1024,
	GATEWAY_CLIENT_TIMEOUT_S = 15,
	GATEWAY_CLIENT_WHY_SIZE_BYTES = 400
};

/* Once per request. `json` (NULL: there is no answer, and `why` says so) is the client's. A new request may be made. */
typedef void gateway_answer_fn(void *context, int code, const json_t *json, const char *why);

/* `admission`: whose files to use for https; both are copied, files are read at each connection, so may be renewed. */
enum status gateway_client_open(struct event_base *base, const struct model_admission *admission, const char *api,
	gateway_answer_fn *answered, void *context, struct gateway_client **ret_client);
void gateway_client_close(struct gateway_client *client);

bool gateway_client_is_busy(const struct gateway_client *client);

/* `body` NULL: none. Not while it is busy. */
void gateway_client_send(struct gateway_client *client, const char *method, const char *path, const json_t *body);

#endif
