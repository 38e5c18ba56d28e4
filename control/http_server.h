/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small, strict HTTP server on libevent: over TCP, with or without TLS, and over a Unix socket.
 *
 * One request per connection. Limits: 8 KiB of headers; a body as large as the handler of its head allows;
 * HTTP_SERVER_CONNECTION_COUNT_MAX connections, and when all are taken, the one that has been at its request, or at
 * taking its answer, for longest gives way to the next client; 5 s for the whole request however slowly it trickles in,
 * TLS handshake and all; 30 s to take the answer, then closed; answers that wait to be taken hold at most
 * HTTP_SERVER_ANSWERS_MAX_BYTES together and one more, else the oldest give way. How long a handler takes to answer is
 * its own affair.
 * Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_HTTP_SERVER_H
#define POSTERN_CONTROL_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/http_request.h"
#include "control/log.h"
#include "control/status.h"

struct evbuffer;
struct event_base;
struct http_server;
struct ssl_st;

enum {
	HTTP_SERVER_CONNECTION_COUNT_MAX = 256,
	HTTP_SERVER_HEADER_MAX_BYTES = 8 * 1024,
	HTTP_SERVER_REQUEST_TIMEOUT_S = 5,
	HTTP_SERVER_ANSWER_TIMEOUT_S = 30,
	HTTP_SERVER_ANSWERS_MAX_BYTES = 64 * 1024 * 1024,
};

struct http_answer {
	int code;
	const char *content_type;
	const char *fields;    /* further header lines, each with its CRLF; NULL: none */
	struct evbuffer *body; /* emptied; the caller frees it. NULL: none */
};

/* Who is at the other end, as the kernel or the TLS handshake says. */
struct http_peer {
	bool local; /* over the Unix socket; uid, gid and pid are the kernel's word for it */
	uid_t uid;
	gid_t gid;
	pid_t pid;
	char address[64];   /* TCP: "192.0.2.1:4711"; else empty */
	struct ssl_st *tls; /* NULL: no TLS */
};

/* One request and its answer. Belongs to the server; valid from `begin` to `end`. */
struct http_exchange {
	struct http_request request;
	struct http_peer peer;
	const char *body; /* terminated; NULL until `serve` */
	size_t body_bytes;
	void *user; /* the handlers' own */
};

struct http_handlers {
	/*
	 * The head is there, the body may not be: look at who asks for what, and answer here what needs no body. Else
	 * `ret_body_max_bytes`; a larger one is refused with 413 before it is read.
	 */
	void (*begin)(void *context, struct http_exchange *exchange, size_t *ret_body_max_bytes);
	/* The body is there too. To be answered once, here or any time later. */
	void (*serve)(void *context, struct http_exchange *exchange);
	/* After the answer, or when the connection went before `serve`; only if `user` is set. */
	void (*end)(void *context, struct http_exchange *exchange);
};

/*
 * Asked for each accepted connection. False: close it. True with NULL: without TLS; else its new session, given away.
 */
typedef bool http_tls_fn(void *context, struct ssl_st **ret_session);

struct http_server_options {
	const struct log *log;
	const struct http_handlers *handlers; /* must outlive the server */
	void *context;			      /* of handlers and tls */
	const char *name;		      /* for messages: "metrics.listen" */
	http_tls_fn *tls;		      /* NULL: never */
};

/* It does not listen yet. */
enum status http_server_open(
	struct event_base *base, const struct http_server_options *options, struct http_server **ret_server);
/* Instead of where it listens now; on failure that goes on. Connections go on in any case. */
enum status http_server_listen_tcp(
	struct http_server *server, const char *address, uint16_t port, struct problems *problems);
/* The same. Replaces a socket that nobody listens on; see control/http_socket.h. */
enum status http_server_listen_unix(struct http_server *server, const char *path, struct problems *problems);
/* No new connections from now on; those that are there go on. */
void http_server_stop(struct http_server *server);
bool http_server_is_listening(const struct http_server *server);
/*
 * At once; exchanges in handlers' hands are gone with it. A Unix socket is removed. Not from a handler. NULL is fine.
 */
void http_server_close(struct http_server *server);

/* Once per exchange. `end` has been called when it returns, and the exchange must not be looked at any more. */
void http_exchange_answer(struct http_exchange *exchange, const struct http_answer *answer);

unsigned http_server_connection_count(const struct http_server *server);

#endif
