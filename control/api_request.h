/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the API, from its head to its answer, which may come later.
 *
 * control/http_server.h brings the bytes; here the route is found, the caller identified and checked (before any of the
 * body is read), and the handler called. A handler answers exactly once: at once, or later with the `request` that it
 * keeps. After its answer the request is gone. Every error is {"error": "one sentence"}; several problems at once are
 * {"error": …, "problems": [{"pointer": "/vpcs/0/vni", "problem": "must be 1..16777215"}]}. Owner: the exchange.
 * Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_REQUEST_H
#define POSTERN_CONTROL_API_REQUEST_H

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "control/api_caller.h"
#include "control/api_route.h"
#include "control/http_server.h"
#include "control/status.h"

enum { API_ANSWER_FIELDS_SIZE_BYTES = 256 };

struct api_request {
	struct daemon *daemon;
	const struct api_route *route;
	struct api_caller caller;
	char parameters[API_PARAMETER_COUNT_MAX][API_PARAMETER_SIZE_BYTES]; /* "" beyond the pattern's */
	struct evkeyvalq query; /* decoded; look up with api_request_query() */
	json_t *body;		/* NULL: there is none. Always an object or array */
	struct http_exchange *exchange;
	struct { /* control/api_wait.h's own */
		bool queued;
		TAILQ_ENTRY(api_request) link;
		uint64_t sequence, deadline_ns;
		int code;
		char fields[API_ANSWER_FIELDS_SIZE_BYTES];
		json_t *json;
	} wait;
};

/* What a server serves, and to whom. */
struct api_endpoint {
	struct daemon *daemon;
	struct api_routes routes;
	bool metrics; /* API_READ is free unless `metrics.auth` asks for it */
};

/* For http_server_open(), with a struct api_endpoint as context. */
extern const struct http_handlers api_request_handlers;

/* NULL: not there. */
const char *api_request_query(const struct api_request *request, const char *name);
const char *api_request_field(const struct api_request *request, enum http_field field);

/*
 * What the request has changed, for the audit log; once it is so, before the answer. Takes `from` and `to`, see
 * audit.h.
 */
void api_request_audit(const struct api_request *request, json_t *from, json_t *to);

/* Each answers, and takes `json`. JSON of NULL is 500. */
void api_answer(struct api_request *request, int code, json_t *json);
/* `fields`: further header lines, each with CRLF; NULL: none. */
void api_answer_with_fields(struct api_request *request, int code, const char *fields, json_t *json);
void api_answer_error(struct api_request *request, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* `body` is emptied, and stays the caller's. */
void api_answer_text(struct api_request *request, int code, const char *content_type, struct evbuffer *body);

#endif
