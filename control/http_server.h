/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small, strict HTTP server on libevent: over TCP for Prometheus and probes, over a Unix socket for the command line.
 *
 * Limits: 8 KiB of headers, 1 KiB of body, 256 connections (more wait in the kernel's backlog), one request per
 * connection, 5 s for the whole request however slowly it trickles in, 30 s to take the answer, then closed. Only the
 * methods of the routes are accepted. Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_HTTP_SERVER_H
#define POSTERN_CONTROL_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "control/log.h"
#include "control/status.h"

struct evbuffer;
struct evkeyvalq;
struct event_base;
struct http_server;

enum {
	HTTP_SERVER_CONNECTION_COUNT_MAX = 256,
	HTTP_SERVER_HEADER_MAX_BYTES = 8 * 1024,
	HTTP_SERVER_BODY_MAX_BYTES = 1024,
	HTTP_SERVER_REQUEST_TIMEOUT_S = 5,
	HTTP_SERVER_ANSWER_TIMEOUT_S = 30,
};

struct http_answer {
	int code;		  /* 200 unless the route sets it */
	const char *content_type; /* text/plain unless the route sets it */
	struct evbuffer *body;
};

/* `query`: the decoded parameters; look up with evhttp_find_header(). */
typedef void http_route_fn(void *context, const struct evkeyvalq *query, struct http_answer *answer);

struct http_route {
	bool post; /* POST instead of GET and HEAD */
	const char *path;
	http_route_fn *serve;
};

/* `routes` ends with a path of NULL and must outlive the server. */
enum status http_server_open_tcp(struct event_base *base, const struct log *log, const char *address, uint16_t port,
	const struct http_route *routes, void *context, struct http_server **ret_server, struct problems *problems);
/* Replaces a socket that nobody listens on; mode 0660. */
enum status http_server_open_unix(struct event_base *base, const struct log *log, const char *path,
	const struct http_route *routes, void *context, struct http_server **ret_server, struct problems *problems);
/* A Unix socket is removed. Not to be called by a route of its own. */
void http_server_close(struct http_server *server);

unsigned http_server_connection_count(const struct http_server *server);

#endif
