/* SPDX-License-Identifier: Apache-2.0 */
#include "control/http_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <malloc.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/http_socket.h"

/*
 * libevent's evhttp is not used for serving: it can not bound the number of connections, and its time-outs begin anew
 * with each byte, so that a client that trickles keeps its connection for ever. Buffers, TLS and listener are
 * libevent's.
 */

enum http_phase {
	HTTP_FREE,
	HTTP_READING, /* the TLS handshake and the head */
	HTTP_BODY,    /* `begin` was called */
	HTTP_SERVING, /* in a handler's hands, now or for later */
	HTTP_ANSWERING,
	HTTP_LINGERING,
};

enum { LINGER_S = 1 };

struct http_connection {
	struct http_exchange exchange; /* first: an exchange is its connection */
	struct http_server *server;
	struct bufferevent *stream; /* NULL while serving: the client has gone */
	struct event *deadline;
	enum http_phase phase;
	uint64_t number; /* of its acceptance, to tell the oldest */
	size_t body_max_bytes;
	char *head, *body;
};

struct http_server {
	struct http_server_options options;
	struct event_base *base;
	struct evconnlistener *listener;
	struct http_connection connections[HTTP_SERVER_CONNECTION_COUNT_MAX];
	unsigned connection_count;
	uint64_t accepted_count;
	bool full_logged;
	char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: TCP */
};

static const struct timeval request_timeout = {.tv_sec = HTTP_SERVER_REQUEST_TIMEOUT_S};
static const struct timeval answer_timeout = {.tv_sec = HTTP_SERVER_ANSWER_TIMEOUT_S};
static const struct timeval linger_timeout = {.tv_sec = LINGER_S};

/* ---- answering ---- */

static const char *reason_of(int code)
{
	static const struct {
		int code;
		const char *text;
	} reasons[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{422, "Unprocessable Content"},
		{428, "Precondition Required"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"},
		{507, "Insufficient Storage"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].code == code)
			return reasons[i].text;
	}
	return "Internal Server Error";
}

static bool connection_is_begun(const struct http_connection *connection)
{
	return connection->phase == HTTP_BODY || connection->phase == HTTP_SERVING;
}

/* What the request took, and its handlers' part. */
static void connection_end_exchange(struct http_connection *connection)
{
	if (connection_is_begun(connection) && connection->exchange.user != NULL)
		connection->server->options.handlers->end(connection->server->options.context, &connection->exchange);
	free(connection->head);
	free(connection->body);
	connection->head = NULL;
	connection->body = NULL;
	memset(&connection->exchange, 0, sizeof(connection->exchange));
}

static void connection_free_stream(struct http_connection *connection)
{
	if (connection->stream == NULL)
		return;
	event_del(connection->deadline);
	bufferevent_free(connection->stream);
	connection->stream = NULL;
}

static void connection_close(struct http_connection *connection)
{
	struct http_server *server = connection->server;

	connection_end_exchange(connection);
	connection_free_stream(connection);
	connection->phase = HTTP_FREE;
	if (server->connection_count-- == HTTP_SERVER_CONNECTION_COUNT_MAX && server->listener != NULL)
		evconnlistener_enable(server->listener);
}

/*
 * Clients that ask for much and take nothing would hold as much memory as they like: the oldest give way to `newest`.
 * What they held lies between what others hold, so that free() alone would not give it back to the system.
 */
static void server_limit_answers(struct http_server *server, const struct http_connection *newest)
{
	for (bool closed = false;; closed = true) {
		struct http_connection *oldest = NULL;
		size_t held_bytes = 0;

		for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
			struct http_connection *connection = &server->connections[i];

			if (connection->phase != HTTP_ANSWERING || connection == newest)
				continue;
			held_bytes += evbuffer_get_length(bufferevent_get_output(connection->stream));
			if (oldest == NULL || connection->number < oldest->number)
				oldest = connection;
		}
		if (held_bytes <= HTTP_SERVER_ANSWERS_MAX_BYTES) {
			if (closed)
				malloc_trim(0);
			return;
		}
		connection_close(oldest);
	}
}

static void connection_answer(struct http_connection *connection, const struct http_answer *answer)
{
	struct evbuffer *output;
	size_t body_bytes = answer->body != NULL ? evbuffer_get_length(answer->body) : 0;

	if (connection->stream == NULL) {
		connection_close(connection);
		return;
	}
	output = bufferevent_get_output(connection->stream);
	evbuffer_add_printf(output, "HTTP/1.1 %d %s\r\n", answer->code, reason_of(answer->code));
	if (answer->code != 204 && answer->code != 304)
		evbuffer_add_printf(
			output, "Content-Type: %s\r\nContent-Length: %zu\r\n", answer->content_type, body_bytes);
	evbuffer_add_printf(output,
		"Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n",
		answer->fields != NULL ? answer->fields : "");
	if (connection->exchange.request.method != HTTP_METHOD_HEAD && body_bytes > 0)
		evbuffer_add_buffer(output, answer->body);
	connection_end_exchange(connection); /* what the answer is made of may have been its */
	connection->phase = HTTP_ANSWERING;
	event_add(connection->deadline, &answer_timeout);
	bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
	server_limit_answers(connection->server, connection);
}

void http_exchange_answer(struct http_exchange *exchange, const struct http_answer *answer)
{
	connection_answer((struct http_connection *)exchange, answer);
}

static void connection_refuse(struct http_connection *connection, int code)
{
	struct http_answer answer = {.code = code, .content_type = "text/plain; charset=utf-8"};

	answer.body = evbuffer_new();
	if (answer.body == NULL) {
		connection_close(connection);
		return;
	}
	evbuffer_add_printf(answer.body, "%s\n", reason_of(code));
	connection_answer(connection, &answer);
	evbuffer_free(answer.body);
}

/* ---- reading ---- */

/* Serves once the whole body is there; else waits for more. */
static void connection_read_body(struct http_connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	size_t body_bytes = connection->exchange.request.body_bytes;

	if (evbuffer_get_length(input) < body_bytes)
		return;
	connection->body = malloc(body_bytes + 1);
	if (connection->body == NULL) {
		connection_refuse(connection, 503);
		return;
	}
	evbuffer_remove(input, connection->body, body_bytes);
	connection->body[body_bytes] = '\0';
	connection->exchange.body = connection->body;
	connection->exchange.body_bytes = body_bytes;
	connection->phase = HTTP_SERVING;
	event_del(connection->deadline);
	connection->server->options.handlers->serve(connection->server->options.context, &connection->exchange);
}

static void connection_begin(struct http_connection *connection)
{
	const struct http_server_options *options = &connection->server->options;

	connection->phase = HTTP_BODY;
	connection->body_max_bytes = 0;
	options->handlers->begin(options->context, &connection->exchange, &connection->body_max_bytes);
	if (connection->phase != HTTP_BODY)
		return; /* answered */
	if (connection->exchange.request.body_bytes > connection->body_max_bytes) {
		connection_refuse(connection, 413);
		return;
	}
	bufferevent_setwatermark(
		connection->stream, EV_READ, 0, HTTP_SERVER_HEADER_MAX_BYTES + connection->body_max_bytes);
	connection_read_body(connection);
}

/* Begins or refuses once the head is there; else waits for more. */
static void connection_read_head(struct http_connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	size_t head_bytes;
	int code;

	if (end.pos < 0 || end.pos + 4 > HTTP_SERVER_HEADER_MAX_BYTES) {
		if (end.pos >= 0 || evbuffer_get_length(input) >= HTTP_SERVER_HEADER_MAX_BYTES)
			connection_refuse(connection, 431);
		return;
	}
	head_bytes = (size_t)end.pos + 4;
	connection->head = malloc(head_bytes + 1);
	if (connection->head == NULL) {
		connection_refuse(connection, 503);
		return;
	}
	evbuffer_remove(input, connection->head, head_bytes);
	connection->head[head_bytes] = '\0';
	code = http_request_parse(connection->head, head_bytes, &connection->exchange.request);
	if (code != 0)
		connection_refuse(connection, code);
	else
		connection_begin(connection);
}

static void connection_readable(struct bufferevent *stream, void *context)
{
	struct http_connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(stream);

	if (connection->phase == HTTP_READING)
		connection_read_head(connection);
	else if (connection->phase == HTTP_BODY)
		connection_read_body(connection);
	else
		evbuffer_drain(input, evbuffer_get_length(input));
}

/* The answer is out. Closing with unread input would reset the connection, and the client might lose the answer. */
static void connection_written(struct bufferevent *stream, void *context)
{
	struct http_connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(stream);
	SSL *tls;

	if (connection->phase != HTTP_ANSWERING || evbuffer_get_length(bufferevent_get_output(stream)) > 0)
		return;
	connection->phase = HTTP_LINGERING;
	tls = bufferevent_openssl_get_ssl(stream);
	if (tls != NULL)
		SSL_shutdown(tls);
	shutdown(bufferevent_getfd(stream), SHUT_WR);
	event_add(connection->deadline, &linger_timeout);
	evbuffer_drain(input, evbuffer_get_length(input));
	if (!(bufferevent_get_enabled(stream) & EV_READ))
		connection_close(connection);
}

static void connection_event(struct bufferevent *stream, short what, void *context)
{
	struct http_connection *connection = context;

	if (what & BEV_EVENT_CONNECTED)
		return; /* the TLS handshake is done */
	/* A client may close its side after the request, and wait for the answer. libevent has disabled reading then.
	 */
	if ((connection->phase == HTTP_ANSWERING || connection->phase == HTTP_SERVING) && (what & BEV_EVENT_EOF))
		return;
	if (connection->phase == HTTP_SERVING)
		connection_free_stream(connection); /* its handler still has the exchange */
	else
		connection_close(connection);
}

static void connection_expired(evutil_socket_t fd, short what, void *context)
{
	struct http_connection *connection = context;

	/* Whoever has not come through the handshake would not understand an answer. */
	if (connection->phase == HTTP_BODY ||
		(connection->phase == HTTP_READING &&
			(connection->exchange.peer.tls == NULL || SSL_is_init_finished(connection->exchange.peer.tls))))
		connection_refuse(connection, 408);
	else
		connection_close(connection);
}

/* ---- accepting ---- */

static struct http_connection *server_find_free(struct http_server *server)
{
	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
		if (server->connections[i].phase == HTTP_FREE)
			return &server->connections[i];
	}
	return NULL;
}

/* Who is waited for. Whom a handler serves has been let in, and is answered within the handler's time. */
static bool connection_may_give_way(const struct http_connection *connection)
{
	return connection->phase != HTTP_FREE && connection->phase != HTTP_SERVING;
}

/* Of those before `newest` that may give way, the one that came first; NULL: none may. */
static struct http_connection *server_find_oldest(struct http_server *server, const struct http_connection *newest)
{
	struct http_connection *oldest = NULL;

	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
		struct http_connection *connection = &server->connections[i];

		if (connection_may_give_way(connection) && connection != newest &&
			(oldest == NULL || connection->number < oldest->number))
			oldest = connection;
	}
	return oldest;
}

static bool peer_read(
	struct http_server *server, int fd, const struct sockaddr *address, int address_length, struct http_peer *peer)
{
	char host[48], port[8];
	struct ucred credentials;
	socklen_t length = sizeof(credentials);

	if (server->unix_path[0] != '\0') {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
			return false;
		peer->local = true;
		peer->uid = credentials.uid;
		peer->gid = credentials.gid;
		peer->pid = credentials.pid;
		return true;
	}
	if (getnameinfo(address, (socklen_t)address_length, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return false;
	snprintf(peer->address, sizeof(peer->address), strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
	return true;
}

/* Takes the socket, also on failure. */
static struct bufferevent *stream_new(struct http_server *server, int fd, SSL *tls)
{
	struct bufferevent *stream;

	if (tls == NULL)
		stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE);
	else
		stream = bufferevent_openssl_socket_new(
			server->base, fd, tls, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
	if (stream != NULL)
		return stream;
	SSL_free(tls);
	close(fd);
	return NULL;
}

static void connection_open(
	struct http_connection *connection, int fd, const struct sockaddr *address, int address_length)
{
	struct http_server *server = connection->server;
	struct http_peer peer = {0};

	if (!peer_read(server, fd, address, address_length, &peer) ||
		(server->options.tls != NULL && !server->options.tls(server->options.context, &peer.tls))) {
		close(fd);
		return;
	}
	connection->stream = stream_new(server, fd, peer.tls);
	if (connection->stream == NULL)
		return;
	connection->exchange.peer = peer;
	connection->phase = HTTP_READING;
	connection->number = ++server->accepted_count;
	bufferevent_setcb(connection->stream, connection_readable, connection_written, connection_event, connection);
	bufferevent_setwatermark(connection->stream, EV_READ, 0, HTTP_SERVER_HEADER_MAX_BYTES);
	bufferevent_enable(connection->stream, EV_READ);
	event_add(connection->deadline, &request_timeout);
	server->connection_count++;
}

static void server_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int address_length, void *context)
{
	struct http_server *server = context;
	struct http_connection *connection = server_find_free(server), *oldest;

	if (connection == NULL) {
		close(fd);
		return;
	}
	connection_open(connection, fd, address, address_length);
	if (server->connection_count < HTTP_SERVER_CONNECTION_COUNT_MAX)
		return;
	if (!server->full_logged)
		log_warning(server->options.log,
			"all connections are taken, the oldest give way at=%s limit=%d (said once)",
			server->options.name, HTTP_SERVER_CONNECTION_COUNT_MAX);
	server->full_logged = true;
	oldest = server_find_oldest(server, connection);
	if (oldest != NULL)
		connection_close(oldest);
	else
		evconnlistener_disable(listener); /* the next ones wait in the kernel's backlog */
}

/* ---- life ---- */

enum status http_server_open(
	struct event_base *base, const struct http_server_options *options, struct http_server **ret_server)
{
	struct http_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return STATUS_NO_MEMORY;
	server->options = *options;
	server->base = base;
	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
		server->connections[i].server = server;
		server->connections[i].deadline = evtimer_new(base, connection_expired, &server->connections[i]);
		if (server->connections[i].deadline == NULL) {
			http_server_close(server);
			return STATUS_NO_MEMORY;
		}
	}
	*ret_server = server;
	return STATUS_OK;
}

void http_server_stop(struct http_server *server)
{
	if (server->listener != NULL)
		evconnlistener_free(server->listener);
	server->listener = NULL;
	if (server->unix_path[0] != '\0')
		unlink(server->unix_path);
	server->unix_path[0] = '\0';
}

bool http_server_is_listening(const struct http_server *server)
{
	return server->listener != NULL;
}

/* Takes the socket, also on failure. */
static enum status server_listen(struct http_server *server, int socket, struct problems *problems)
{
	struct evconnlistener *listener = evconnlistener_new(server->base, server_accepted, server,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN, socket);

	if (listener == NULL) {
		problems_add(problems, "%s: can not listen: %s", server->options.name, strerror(errno));
		close(socket);
		return STATUS_SYSTEM;
	}
	http_server_stop(server);
	server->listener = listener;
	return STATUS_OK;
}

enum status http_server_listen_tcp(
	struct http_server *server, const char *address, uint16_t port, struct problems *problems)
{
	int socket;
	enum status status = http_socket_tcp(server->options.name, address, port, &socket, problems);

	return status == STATUS_OK ? server_listen(server, socket, problems) : status;
}

enum status http_server_listen_unix(struct http_server *server, const char *path, struct problems *problems)
{
	int socket;
	enum status status = http_socket_unix(server->options.log, path, &socket, problems);

	if (status == STATUS_OK)
		status = server_listen(server, socket, problems);
	if (status == STATUS_OK)
		strcpy(server->unix_path, path);
	return status;
}

void http_server_close(struct http_server *server)
{
	if (server == NULL)
		return;
	http_server_stop(server);
	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
		struct http_connection *connection = &server->connections[i];

		if (connection->phase != HTTP_FREE) {
			connection_end_exchange(connection);
			connection_free_stream(connection);
		}
		if (connection->deadline != NULL)
			event_free(connection->deadline);
	}
	free(server);
}

unsigned http_server_connection_count(const struct http_server *server)
{
	return server->connection_count;
}
