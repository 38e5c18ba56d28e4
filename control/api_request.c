/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_request.h"

#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api_auth.h"
#include "control/api_wait.h"
#include "control/audit.h"
#include "control/daemon.h"

enum {
	ERROR_SIZE_BYTES = 1024,
	FIELDS_SIZE_BYTES = 160,
	UNWANTED_BODY_MAX_BYTES = 1024, /* is read, so that the client can finish, and ignored */
};

const char *api_request_query(const struct api_request *request, const char *name)
{
	return evhttp_find_header(&request->query, name);
}

const char *api_request_field(const struct api_request *request, enum http_field field)
{
	return request->exchange->request.fields[field];
}

void api_request_audit(const struct api_request *request, json_t *from, json_t *to)
{
	const struct http_request *head = &request->exchange->request;
	char what[API_PARAMETER_SIZE_BYTES + 128];

	snprintf(what, sizeof(what), "%s %.200s", http_method_text(head->method), head->path);
	audit_write(request->daemon->audit, request->caller.name, what, from, to);
}

/* ---- answers ---- */

static int buffer_append(const char *bytes, size_t length_bytes, void *context)
{
	return evbuffer_add(context, bytes, length_bytes);
}

/* Takes `json`. Also for exchanges that have no request yet. */
static void exchange_answer_json(struct http_exchange *exchange, int code, const char *fields, json_t *json)
{
	struct http_answer answer = {.code = code, .content_type = "application/json", .fields = fields};

	answer.body = evbuffer_new();
	if (answer.body == NULL || json == NULL ||
		json_dump_callback(json, buffer_append, answer.body, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0)
		answer.code = 500;
	else
		evbuffer_add(answer.body, "\n", 1);
	json_decref(json);
	http_exchange_answer(exchange, &answer);
	if (answer.body != NULL)
		evbuffer_free(answer.body);
}

static void exchange_answer_error(struct http_exchange *exchange, int code, const char *fields, const char *error)
{
	exchange_answer_json(exchange, code, fields, json_pack("{s:s}", "error", error));
}

void api_answer_with_fields(struct api_request *request, int code, const char *fields, json_t *json)
{
	exchange_answer_json(request->exchange, code, fields, json);
}

void api_answer(struct api_request *request, int code, json_t *json)
{
	exchange_answer_json(request->exchange, code, NULL, json);
}

void api_answer_error(struct api_request *request, int code, const char *format, ...)
{
	char error[ERROR_SIZE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, sizeof(error), format, arguments);
	va_end(arguments);
	exchange_answer_error(request->exchange, code, NULL, error);
}

void api_answer_text(struct api_request *request, int code, const char *content_type, struct evbuffer *body)
{
	struct http_answer answer = {.code = code, .content_type = content_type, .body = body};

	http_exchange_answer(request->exchange, &answer);
}

/* ---- from the server ---- */

static void answer_not_found(struct http_exchange *exchange, enum api_match match, const char *path, const char *allow)
{
	char fields[FIELDS_SIZE_BYTES], error[ERROR_SIZE_BYTES];

	if (match == API_MATCH_NONE) {
		snprintf(error, sizeof(error), "%.200s: there is no such path: docs/openapi.json lists them all", path);
		exchange_answer_error(exchange, 404, NULL, error);
		return;
	}
	snprintf(fields, sizeof(fields), "Allow: %s\r\n", allow);
	snprintf(error, sizeof(error), "%s: the method must be one of %s", http_method_text(exchange->request.method),
		allow);
	exchange_answer_error(exchange, 405, fields, error);
}

/* False: answered. */
static bool request_authorize(
	const struct api_endpoint *endpoint, struct http_exchange *exchange, struct api_request *request)
{
	const struct api_route *route = request->route;
	char why[API_AUTH_WHY_SIZE_BYTES], error[ERROR_SIZE_BYTES];

	if (route->permission == API_PUBLIC || (endpoint->metrics && !api_auth_metrics_wanted(endpoint->daemon)))
		return true;
	if (!api_auth_identify(endpoint->daemon, exchange, &request->caller, why)) {
		exchange_answer_error(exchange, 401, "WWW-Authenticate: Bearer\r\n", why);
		return false;
	}
	if (api_caller_may(&request->caller, route->permission, request->parameters[0]))
		return true;
	snprintf(error, sizeof(error), "%s %s takes the role %s, which %s has not", http_method_text(route->method),
		route->pattern, api_permission_text(route->permission), request->caller.name);
	exchange_answer_error(exchange, 403, NULL, error);
	return false;
}

static void request_begin(void *context, struct http_exchange *exchange, size_t *ret_body_max_bytes)
{
	const struct api_endpoint *endpoint = context;
	struct api_request *request = calloc(1, sizeof(*request));
	enum api_match match;
	char allow[64];

	if (request == NULL) {
		exchange_answer_error(exchange, 503, NULL, "posternd is out of memory");
		return;
	}
	TAILQ_INIT(&request->query);
	request->daemon = endpoint->daemon;
	request->exchange = exchange;
	exchange->user = request;
	match = api_routes_find(&endpoint->routes, exchange->request.method, exchange->request.path, &request->route,
		request->parameters, allow);
	if (match != API_MATCH_FOUND) {
		answer_not_found(exchange, match, exchange->request.path, allow);
		return;
	}
	if (!request_authorize(endpoint, exchange, request))
		return;
	if (exchange->request.query != NULL && *exchange->request.query != '\0' &&
		evhttp_parse_query_str(exchange->request.query, &request->query) != 0) {
		exchange_answer_error(exchange, 400, NULL, "the query can not be read: write ?name=value&name=value");
		return;
	}
	*ret_body_max_bytes = request->route->request_schema != NULL ? API_BODY_MAX_BYTES : UNWANTED_BODY_MAX_BYTES;
}

static bool is_json_type(const char *type)
{
	static const char json[] = "application/json";
	size_t length = strlen(json);

	return type == NULL ||
	       (strncasecmp(type, json, length) == 0 && (type[length] == '\0' || strchr("; \t", type[length])));
}

static void request_serve(void *context, struct http_exchange *exchange)
{
	struct api_request *request = exchange->user;
	json_error_t error;

	if (exchange->body_bytes > 0 && request->route->request_schema != NULL) {
		if (!is_json_type(exchange->request.fields[HTTP_FIELD_CONTENT_TYPE])) {
			api_answer_error(request, 415, "Content-Type: must be application/json");
			return;
		}
		request->body = json_loadb(exchange->body, exchange->body_bytes, JSON_REJECT_DUPLICATES, &error);
		if (request->body == NULL) {
			api_answer_error(request, 400, "the body is no JSON: line %d, column %d: %s", error.line,
				error.column, error.text);
			return;
		}
	} else if (request->route->request_schema != NULL) {
		api_answer_error(request, 400, "the body is missing: it must be a JSON object");
		return;
	}
	request->route->serve(request->daemon, request);
}

static void request_end(void *context, struct http_exchange *exchange)
{
	struct api_request *request = exchange->user;

	api_wait_forget(request);
	evhttp_clear_headers(&request->query);
	json_decref(request->body);
	free(request);
}

const struct http_handlers api_request_handlers = {
	.begin = request_begin,
	.serve = request_serve,
	.end = request_end,
};
