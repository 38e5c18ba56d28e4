/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP request: bytes in, method, path and query out. Pure; strict where leniency has hurt others
 * (folded lines, repeated or signed lengths, control characters, other transfer encodings are all refused). RFC 9112.
 */
#ifndef POSTERN_CONTROL_HTTP_REQUEST_H
#define POSTERN_CONTROL_HTTP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

enum http_method {
	HTTP_METHOD_GET,
	HTTP_METHOD_HEAD,
	HTTP_METHOD_POST,
	HTTP_METHOD_PUT,
	HTTP_METHOD_PATCH,
	HTTP_METHOD_DELETE,
	HTTP_METHOD_OTHER,
};

/* The fields that somebody here looks at. Each may be there once at most; a second one is refused. */
enum http_field {
	HTTP_FIELD_CONTENT_LENGTH,
	HTTP_FIELD_CONTENT_TYPE,
	HTTP_FIELD_AUTHORIZATION,
	HTTP_FIELD_IF_MATCH,
	HTTP_FIELD_IF_NONE_MATCH,
	HTTP_FIELD_COUNT,
};

struct http_request {
	enum http_method method;
	const char *path;		      /* in the parsed text */
	const char *query;		      /* still encoded; NULL: none */
	const char *fields[HTTP_FIELD_COUNT]; /* values without blanks around; NULL: not there */
	size_t body_bytes;		      /* announced; not checked against a limit */
};

/* "GET"; "" for HTTP_METHOD_OTHER. */
const char *http_method_text(enum http_method method);

/*
 * `head`: terminated text up to and including the empty line, `length_bytes` without the terminator; it is cut up in
 * place. 0, or the HTTP status to refuse with.
 */
int http_request_parse(char *head, size_t length_bytes, struct http_request *ret_request);

#endif
