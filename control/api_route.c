/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_route.h"

#include <stdio.h>
#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One segment, percent-decoded (RFC 3986, 2.1). False: broken, too long, or with characters that no name here has. */
static bool segment_decode(const char *segment, size_t length, char ret_text[API_PARAMETER_SIZE_BYTES])
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)segment[i];

		if (c == '%') {
			int high = i + 2 < length ? hex_value(segment[i + 1]) : -1;
			int low = high >= 0 ? hex_value(segment[i + 2]) : -1;

			if (low < 0)
				return false;
			c = (unsigned char)(high * 16 + low);
			i += 2;
		}
		if (c <= ' ' || c > '~' || c == '/' || used + 1 == API_PARAMETER_SIZE_BYTES)
			return false;
		ret_text[used++] = (char)c;
	}
	ret_text[used] = '\0';
	return used > 0;
}

static bool pattern_fits(
	const char *pattern, const char *path, char ret_parameters[API_PARAMETER_COUNT_MAX][API_PARAMETER_SIZE_BYTES])
{
	unsigned count = 0;

	for (unsigned i = 0; i < API_PARAMETER_COUNT_MAX; i++)
		ret_parameters[i][0] = '\0';
	while (*pattern == '/' && *path == '/') {
		size_t pattern_length = strcspn(++pattern, "/"), path_length = strcspn(++path, "/");

		if (*pattern == '{') {
			if (count == API_PARAMETER_COUNT_MAX ||
				!segment_decode(path, path_length, ret_parameters[count++]))
				return false;
		} else if (pattern_length != path_length || memcmp(pattern, path, path_length) != 0) {
			return false;
		}
		pattern += pattern_length;
		path += path_length;
	}
	return *pattern == '\0' && *path == '\0';
}

static bool method_fits(enum http_method wanted, enum http_method method)
{
	return wanted == method || (wanted == HTTP_METHOD_GET && method == HTTP_METHOD_HEAD);
}

enum api_match api_routes_find(const struct api_routes *routes, enum http_method method, const char *path,
	const struct api_route **ret_route, char ret_parameters[API_PARAMETER_COUNT_MAX][API_PARAMETER_SIZE_BYTES],
	char ret_allow[64])
{
	char parameters[API_PARAMETER_COUNT_MAX][API_PARAMETER_SIZE_BYTES], allow[64] = "";
	size_t used = 0;

	for (size_t i = 0; i < routes->count; i++) {
		for (const struct api_route *route = routes->tables[i]; route->pattern != NULL; route++) {
			if (!pattern_fits(route->pattern, path, parameters))
				continue;
			if (method_fits(route->method, method)) {
				memcpy(ret_parameters, parameters, sizeof(parameters));
				*ret_route = route;
				return API_MATCH_FOUND;
			}
			used += (size_t)snprintf(allow + used, sizeof(allow) - used, "%s%s%s", used > 0 ? ", " : "",
				http_method_text(route->method), route->method == HTTP_METHOD_GET ? ", HEAD" : "");
		}
	}
	if (used == 0)
		return API_MATCH_NONE;
	memcpy(ret_allow, allow, sizeof(allow));
	return API_MATCH_OTHER_METHOD;
}
