/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API's routes: which handler serves which method and path, who may ask, and what docs/openapi.json says of it.
 *
 * A handler lives in control/api_NOUN.c, in a table `api_NOUN_routes` that control/api.c lists. To add a route is to
 * add a line there: matching, permissions, OpenAPI and the test that compares them follow the table. Read-only; thread:
 * the event loop's.
 */
#ifndef POSTERN_CONTROL_API_ROUTE_H
#define POSTERN_CONTROL_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "control/api_caller.h"
#include "control/http_request.h"

struct api_request;
struct daemon;

enum { API_PARAMETER_COUNT_MAX = 3, API_PARAMETER_SIZE_BYTES = 128, API_BODY_MAX_BYTES = 1024 * 1024 };

/* Answers `request` once, now or later: see control/api_request.h. */
typedef void api_handler_fn(struct daemon *daemon, struct api_request *request);

struct api_route {
	enum http_method method; /* GET serves HEAD too */
	const char *pattern;	 /* "/v1/workspaces/{id}/egress-ips/{ip}"; a parameter is one whole segment */
	enum api_permission permission;
	api_handler_fn *serve;
	const char *summary; /* one line, for OpenAPI */
	/* OpenAPI: "limit: At most so many; 1..10000. | remote: …"; NULL: no query parameters. */
	const char *query;
	/* OpenAPI: names under components/schemas (control/api_schema.h); NULL: no body. */
	const char *request_schema, *answer_schema;
	bool conditional; /* takes If-Match */
};

/* Every table ends with a pattern of NULL. */
struct api_routes {
	const struct api_route *const *tables;
	size_t count;
};

enum api_match { API_MATCH_NONE, API_MATCH_OTHER_METHOD, API_MATCH_FOUND };

/*
 * `ret_parameters`: the path's, in the pattern's order, decoded; those left are "". `ret_allow` with
 * API_MATCH_OTHER_METHOD: "GET, HEAD, PUT".
 */
enum api_match api_routes_find(const struct api_routes *routes, enum http_method method, const char *path,
	const struct api_route **ret_route, char ret_parameters[API_PARAMETER_COUNT_MAX][API_PARAMETER_SIZE_BYTES],
	char ret_allow[64]);

#endif
