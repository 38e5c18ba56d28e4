/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP request: bytes in, method, path and query out. Pure; strict where leniency has hurt others
 * (folded lines, repeated or signed lengths, control characters, other transfer encodings are all refused). RFC 9112.
 */
#ifndef POSTERN_CONTROL_HTTP_REQUEST_H
#define POSTERN_CONTROL_HTTP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

enum http_method { HTTP_METHOD_GET, HTTP_METHOD_HEAD, HTTP_METHOD_POST, HTTP_METHOD_OTHER };

struct http_request {
	enum http_method method;
	const char *path;  /* in the parsed text */
	const char *query; /* still encoded; NULL: none */
	size_t body_bytes; /* announced; not checked against a limit */
};

/*
 * `head`: terminated text up to and including the empty line, `length_bytes` without the terminator; it is cut up in
 * place. 0, or the HTTP status to refuse with.
 */
int http_request_parse(char *head, size_t length_bytes, struct http_request *ret_request);

#endif
