/* SPDX-License-Identifier: Apache-2.0 */
#include "control/http_server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/http_request.h"

/*
 * libevent's evhttp is not used for serving: it can not bound the number of connections, and its time-outs begin anew
 * with each byte, so that a client that trickles keeps its connection for ever. Buffers, listener and the query parser
 * are libevent's.
 */

enum http_phase { HTTP_READING, HTTP_ANSWERING, HTTP_LINGERING };

enum { LINGER_S = 1 };

struct http_connection {
	struct http_server *server;
	struct bufferevent *stream; /* NULL: the slot is free */
	struct event *deadline;
	enum http_phase phase;
};

struct http_server {
	const struct log *log;
	const struct http_route *routes;
	void *context;
	struct evconnlistener *listener;
	struct http_connection connections[HTTP_SERVER_CONNECTION_COUNT_MAX];
	unsigned connection_count;
	char unix_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* empty: TCP */
};

static const struct timeval request_timeout = {.tv_sec = HTTP_SERVER_REQUEST_TIMEOUT_S};
static const struct timeval answer_timeout = {.tv_sec = HTTP_SERVER_ANSWER_TIMEOUT_S};
static const struct timeval linger_timeout = {.tv_sec = LINGER_S};

/* ---- answering ---- */

static const char *reason_of(int code)
{
	switch (code) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 408:
		return "Request Timeout";
	case 413:
		return "Content Too Large";
	case 422:
		return "Unprocessable Content";
	case 431:
		return "Request Header Fields Too Large";
	case 501:
		return "Not Implemented";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Internal Server Error";
	}
}

static void connection_close(struct http_connection *connection)
{
	event_del(connection->deadline);
	bufferevent_free(connection->stream);
	connection->stream = NULL;
	if (connection->server->connection_count-- == HTTP_SERVER_CONNECTION_COUNT_MAX)
		evconnlistener_enable(connection->server->listener);
}

static void connection_answer(struct http_connection *connection, const struct http_answer *answer, bool head_only)
{
	struct evbuffer *output = bufferevent_get_output(connection->stream);

	evbuffer_add_printf(output,
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n"
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n",
		answer->code, reason_of(answer->code), answer->content_type, evbuffer_get_length(answer->body),
		answer->code == 405 ? "Allow: GET, HEAD, POST\r\n" : "");
	if (!head_only)
		evbuffer_add_buffer(output, answer->body);
	connection->phase = HTTP_ANSWERING;
	event_add(connection->deadline, &answer_timeout);
	bufferevent_enable(connection->stream, EV_WRITE);
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
	connection_answer(connection, &answer, false);
	evbuffer_free(answer.body);
}

static bool method_fits(const struct http_route *route, enum http_method method)
{
	return route->post ? method == HTTP_METHOD_POST : method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD;
}

/* 0: served; else the status to refuse with. */
static int server_route(struct http_server *server, const struct http_request *request, struct http_answer *answer)
{
	struct evkeyvalq query;
	int code = 404;

	TAILQ_INIT(&query);
	if (request->query != NULL && request->query[0] != '\0' && evhttp_parse_query_str(request->query, &query) != 0)
		return 400;
	for (const struct http_route *route = server->routes; route->path != NULL; route++) {
		if (strcmp(request->path, route->path) != 0)
			continue;
		code = 405;
		if (!method_fits(route, request->method))
			continue;
		route->serve(server->context, &query, answer);
		code = 0;
		break;
	}
	evhttp_clear_headers(&query);
	return code;
}

static void connection_serve(struct http_connection *connection, const struct http_request *request)
{
	struct http_answer answer = {.code = 200, .content_type = "text/plain; charset=utf-8"};
	int code;

	answer.body = evbuffer_new();
	if (answer.body == NULL) {
		connection_close(connection);
		return;
	}
	code = server_route(connection->server, request, &answer);
	if (code == 0)
		connection_answer(connection, &answer, request->method == HTTP_METHOD_HEAD);
	else
		connection_refuse(connection, code);
	evbuffer_free(answer.body);
}

/* ---- reading ---- */

/* Serves or refuses once the whole request is there; else waits for more. */
static void connection_read_request(struct http_connection *connection)
{
	struct evbuffer *input = bufferevent_get_input(connection->stream);
	struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
	struct http_request request;
	char head[HTTP_SERVER_HEADER_MAX_BYTES + 1];
	size_t head_bytes;
	int code;

	if (end.pos < 0 || end.pos + 4 > HTTP_SERVER_HEADER_MAX_BYTES) {
		if (end.pos >= 0 || evbuffer_get_length(input) >= HTTP_SERVER_HEADER_MAX_BYTES)
			connection_refuse(connection, 431);
		return;
	}
	head_bytes = (size_t)end.pos + 4;
	evbuffer_copyout(input, head, head_bytes);
	head[head_bytes] = '\0';
	code = http_request_parse(head, head_bytes, &request);
	if (code == 0 && request.body_bytes > HTTP_SERVER_BODY_MAX_BYTES)
		code = 413;
	if (code != 0) {
		connection_refuse(connection, code);
		return;
	}
	/* No route wants a body; it is only read so that the client can finish. */
	if (evbuffer_get_length(input) - head_bytes >= request.body_bytes)
		connection_serve(connection, &request);
}

static void connection_readable(struct bufferevent *stream, void *context)
{
	struct http_connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(stream);

	if (connection->phase == HTTP_READING)
		connection_read_request(connection);
	else
		evbuffer_drain(input, evbuffer_get_length(input));
}

/* The answer is out. Closing with unread input would reset the connection, and the client might lose the answer. */
static void connection_written(struct bufferevent *stream, void *context)
{
	struct http_connection *connection = context;
	struct evbuffer *input = bufferevent_get_input(stream);

	if (connection->phase != HTTP_ANSWERING || evbuffer_get_length(bufferevent_get_output(stream)) > 0)
		return;
	connection->phase = HTTP_LINGERING;
	shutdown(bufferevent_getfd(stream), SHUT_WR);
	event_add(connection->deadline, &linger_timeout);
	evbuffer_drain(input, evbuffer_get_length(input));
	if (!(bufferevent_get_enabled(stream) & EV_READ))
		connection_close(connection);
}

static void connection_event(struct bufferevent *stream, short what, void *context)
{
	struct http_connection *connection = context;

	/* A client may close its side after the request, and wait for the answer. libevent has disabled reading then.
	 */
	if (connection->phase == HTTP_ANSWERING && (what & BEV_EVENT_EOF))
		return;
	connection_close(connection);
}

static void connection_expired(evutil_socket_t fd, short what, void *context)
{
	struct http_connection *connection = context;

	if (connection->phase == HTTP_READING)
		connection_refuse(connection, 408);
	else
		connection_close(connection);
}

static void server_accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
	int address_length, void *context)
{
	struct http_server *server = context;
	struct http_connection *connection = NULL;

	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX && connection == NULL; i++) {
		if (server->connections[i].stream == NULL)
			connection = &server->connections[i];
	}
	if (connection != NULL)
		connection->stream =
			bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
	if (connection == NULL || connection->stream == NULL) {
		close(fd);
		return;
	}
	connection->phase = HTTP_READING;
	bufferevent_setcb(connection->stream, connection_readable, connection_written, connection_event, connection);
	bufferevent_setwatermark(
		connection->stream, EV_READ, 0, HTTP_SERVER_HEADER_MAX_BYTES + HTTP_SERVER_BODY_MAX_BYTES);
	bufferevent_enable(connection->stream, EV_READ);
	event_add(connection->deadline, &request_timeout);
	if (++server->connection_count == HTTP_SERVER_CONNECTION_COUNT_MAX) {
		log_warning(server->log, "all connections are taken, further clients wait at=%s limit=%d",
			server->unix_path[0] != '\0' ? server->unix_path : "metrics", HTTP_SERVER_CONNECTION_COUNT_MAX);
		evconnlistener_disable(listener);
	}
}

/* ---- life ---- */

static enum status server_new(struct event_base *base, const struct log *log, const struct http_route *routes,
	void *context, struct http_server **ret_server)
{
	struct http_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return STATUS_NO_MEMORY;
	server->log = log;
	server->routes = routes;
	server->context = context;
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

/* Takes the socket, also on failure. */
static enum status server_listen(
	struct http_server *server, struct event_base *base, int socket, struct problems *problems)
{
	server->listener = evconnlistener_new(
		base, server_accepted, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, SOMAXCONN, socket);
	if (server->listener != NULL)
		return STATUS_OK;
	problems_add(problems, "can not listen: %s", strerror(errno));
	close(socket);
	return STATUS_SYSTEM;
}

static enum status bind_tcp(const char *address, uint16_t port, int *ret_socket, struct problems *problems)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_PASSIVE,
	};
	struct addrinfo *found = NULL;
	char port_text[8];
	int on = 1, fd = -1;

	snprintf(port_text, sizeof(port_text), "%u", port);
	if (getaddrinfo(address, port_text, &hints, &found) != 0) {
		problems_add(problems, "metrics.listen: %s: not an address", address);
		return STATUS_INVALID;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
		problems_add(problems, "metrics.listen: %s:%u: %s: choose a free address and port of this machine",
			address, port, strerror(errno));
		freeaddrinfo(found);
		if (fd >= 0)
			close(fd);
		return STATUS_SYSTEM;
	}
	freeaddrinfo(found);
	*ret_socket = fd;
	return STATUS_OK;
}

enum status http_server_open_tcp(struct event_base *base, const struct log *log, const char *address, uint16_t port,
	const struct http_route *routes, void *context, struct http_server **ret_server, struct problems *problems)
{
	struct http_server *server;
	enum status status = server_new(base, log, routes, context, &server);
	int socket;

	if (status != STATUS_OK)
		return status;
	status = bind_tcp(address, port, &socket, problems);
	if (status == STATUS_OK)
		status = server_listen(server, base, socket, problems);
	if (status != STATUS_OK) {
		http_server_close(server);
		return status;
	}
	*ret_server = server;
	return STATUS_OK;
}

static enum status bind_unix(const char *path, int *ret_socket, struct problems *problems)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		problems_add(problems, "%s: too long for a Unix socket: choose a shorter --run-dir", path);
		return STATUS_INVALID;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The run directory's lock is ours, so what lies there was left by a predecessor. */
	unlink(path);
	/* The mode of the socket is that of the file, less the umask: never wider than wanted, not even for a moment.
	 */
	if (fd < 0 || fchmod(fd, 0660) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
		chmod(path, 0660) != 0) {
		problems_add(problems, "%s: can not be made: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return STATUS_SYSTEM;
	}
	*ret_socket = fd;
	return STATUS_OK;
}

enum status http_server_open_unix(struct event_base *base, const struct log *log, const char *path,
	const struct http_route *routes, void *context, struct http_server **ret_server, struct problems *problems)
{
	struct http_server *server;
	enum status status = server_new(base, log, routes, context, &server);
	int socket;

	if (status != STATUS_OK)
		return status;
	status = bind_unix(path, &socket, problems);
	if (status == STATUS_OK) {
		strcpy(server->unix_path, path);
		status = server_listen(server, base, socket, problems);
	}
	if (status != STATUS_OK) {
		http_server_close(server);
		return status;
	}
	*ret_server = server;
	return STATUS_OK;
}

void http_server_close(struct http_server *server)
{
	if (server == NULL)
		return;
	for (unsigned i = 0; i < HTTP_SERVER_CONNECTION_COUNT_MAX; i++) {
		if (server->connections[i].stream != NULL)
			bufferevent_free(server->connections[i].stream);
		if (server->connections[i].deadline != NULL)
			event_free(server->connections[i].deadline);
	}
	if (server->listener != NULL)
		evconnlistener_free(server->listener);
	if (server->unix_path[0] != '\0')
		unlink(server->unix_path);
	free(server);
}

unsigned http_server_connection_count(const struct http_server *server)
{
	return server->connection_count;
}
