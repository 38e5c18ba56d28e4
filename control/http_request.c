/* SPDX-License-Identifier: Apache-2.0 */
#include "control/http_request.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { BAD_REQUEST = 400, TOO_LARGE = 413, NOT_IMPLEMENTED = 501, BAD_VERSION = 505, LENGTH_DIGITS_MAX = 9 };

static const char token_characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

/* Cuts the text at the next CRLF. NULL: there is none. */
static char *line_take(char **rest)
{
	char *line = *rest, *end = strstr(line, "\r\n");

	if (end == NULL)
		return NULL;
	*end = '\0';
	*rest = end + 2;
	return line;
}

static bool has_control_character(const char *line)
{
	for (; *line != '\0'; line++) {
		unsigned char c = (unsigned char)*line;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static const char *const method_texts[] = {
	[HTTP_METHOD_GET] = "GET",
	[HTTP_METHOD_HEAD] = "HEAD",
	[HTTP_METHOD_POST] = "POST",
	[HTTP_METHOD_PUT] = "PUT",
	[HTTP_METHOD_PATCH] = "PATCH",
	[HTTP_METHOD_DELETE] = "DELETE",
	[HTTP_METHOD_OTHER] = "",
};

static const char *const field_names[HTTP_FIELD_COUNT] = {
	[HTTP_FIELD_CONTENT_LENGTH] = "Content-Length",
	[HTTP_FIELD_CONTENT_TYPE] = "Content-Type",
	[HTTP_FIELD_AUTHORIZATION] = "Authorization",
	[HTTP_FIELD_IF_MATCH] = "If-Match",
	[HTTP_FIELD_IF_NONE_MATCH] = "If-None-Match",
};

const char *http_method_text(enum http_method method)
{
	return method_texts[method];
}

static enum http_method method_of(const char *text)
{
	for (unsigned method = 0; method < HTTP_METHOD_OTHER; method++) {
		if (strcmp(text, method_texts[method]) == 0)
			return method;
	}
	return HTTP_METHOD_OTHER;
}

/* METHOD SP TARGET SP VERSION, one space each. */
static int request_line_parse(char *line, struct http_request *request)
{
	char *target = strchr(line, ' '), *version, *query;

	if (target == NULL)
		return BAD_REQUEST;
	*target++ = '\0';
	version = strchr(target, ' ');
	if (version == NULL)
		return BAD_REQUEST;
	*version++ = '\0';
	if (line[0] == '\0' || line[strspn(line, token_characters)] != '\0' || target[0] != '/')
		return BAD_REQUEST;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return strncmp(version, "HTTP/", 5) == 0 ? BAD_VERSION : BAD_REQUEST;
	query = strchr(target, '?');
	if (query != NULL)
		*query++ = '\0';
	request->method = method_of(line);
	request->path = target;
	request->query = query;
	return 0;
}

static int length_parse(const char *value, size_t *ret_length_bytes)
{
	size_t digits = strspn(value, "0123456789"), length_bytes = 0;

	if (digits == 0 || value[digits] != '\0')
		return BAD_REQUEST;
	if (digits > LENGTH_DIGITS_MAX)
		return TOO_LARGE;
	for (size_t i = 0; i < digits; i++)
		length_bytes = length_bytes * 10 + (size_t)(value[i] - '0');
	*ret_length_bytes = length_bytes;
	return 0;
}

static int field_parse(char *line, struct http_request *request)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (colon == NULL || colon == line)
		return BAD_REQUEST;
	*colon = '\0';
	if (line[strspn(line, token_characters)] != '\0')
		return BAD_REQUEST;
	value = colon + 1 + strspn(colon + 1, " \t");
	for (end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		end[-1] = '\0';
	if (strcasecmp(line, "Transfer-Encoding") == 0)
		return NOT_IMPLEMENTED;
	for (unsigned field = 0; field < HTTP_FIELD_COUNT; field++) {
		if (strcasecmp(line, field_names[field]) != 0)
			continue;
		if (request->fields[field] != NULL)
			return BAD_REQUEST;
		request->fields[field] = value;
		return field == HTTP_FIELD_CONTENT_LENGTH ? length_parse(value, &request->body_bytes) : 0;
	}
	return 0;
}

int http_request_parse(char *head, size_t length_bytes, struct http_request *ret_request)
{
	struct http_request request = {0};
	char *rest = head, *line;
	int code;

	if (strlen(head) != length_bytes)
		return BAD_REQUEST;
	line = line_take(&rest);
	if (line == NULL || has_control_character(line))
		return BAD_REQUEST;
	code = request_line_parse(line, &request);
	while (code == 0) {
		line = line_take(&rest);
		if (line == NULL || has_control_character(line))
			return BAD_REQUEST;
		if (line[0] == '\0') {
			*ret_request = request;
			return 0;
		}
		code = field_parse(line, &request);
	}
	return code;
}
