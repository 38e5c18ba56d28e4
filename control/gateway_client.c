/* SPDX-License-Identifier: Apache-2.0 */
#include "control/gateway_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "control/scalar.h"

struct gateway_client {
	struct event_base *base;
	struct model_admission admission; /* its strings only */
	char api[MODEL_PATH_SIZE_BYTES];
	gateway_answer_fn *answered;
	void *context;
	struct bufferevent *stream;	 /* NULL: idle */
	struct event *deadline, *failed; /* `failed`: tells of a failure that was there at once */
	bool busy;
	bool connected;
	char why[GATEWAY_CLIENT_WHY_SIZE_BYTES];
};

/* Before the handler is called: it may send again. */
static void client_finish(struct gateway_client *client, int code, const json_t *json, const char *why)
{
	event_del(client->deadline);
	if (client->stream != NULL)
		bufferevent_free(client->stream);
	client->stream = NULL;
	client->busy = false;
	client->answered(client->context, code, json, why);
}

static void client_failed(struct gateway_client *client, const char *format, const char *detail)
{
	char why[GATEWAY_CLIENT_WHY_SIZE_BYTES];

	snprintf(why, sizeof(why), format, detail);
	client_finish(client, 0, NULL, why);
}

/* The status of "HTTP/1.1 200 OK"; 0: no HTTP. */
static int status_of(const char *answer)
{
	int code;

	return sscanf(answer, "HTTP/1.1 %3d ", &code) == 1 ? code : 0;
}

/* All of the answer is there: the server closes behind it. */
static void client_ended(struct gateway_client *client)
{
	struct evbuffer *input = bufferevent_get_input(client->stream);
	size_t size_bytes = evbuffer_get_length(input);
	char *answer = malloc(size_bytes + 1), *body;
	json_t *json = NULL;
	int code;

	if (answer == NULL) {
		client_failed(client, "%s", "out of memory");
		return;
	}
	evbuffer_remove(input, answer, size_bytes);
	answer[size_bytes] = '\0';
	code = status_of(answer);
	body = strstr(answer, "\r\n\r\n");
	if (code != 0 && body != NULL)
		json = json_loads(body + 4, 0, NULL);
	free(answer);
	if (json == NULL)
		client_failed(client, "%s", "its answer is no HTTP with JSON: is it a posternd of this version?");
	else
		client_finish(client, code, json, NULL);
	json_decref(json);
}

static void client_event(struct bufferevent *stream, short what, void *context)
{
	struct gateway_client *client = context;
	unsigned long tls_error;

	if (what & BEV_EVENT_CONNECTED) {
		client->connected = true;
		return;
	}
	if ((what & BEV_EVENT_EOF) || (client->connected && evbuffer_get_length(bufferevent_get_input(stream)) > 0)) {
		client_ended(client);
		return;
	}
	tls_error = bufferevent_get_openssl_error(stream);
	if (tls_error != 0)
		client_failed(client, "TLS: %s", ERR_reason_error_string(tls_error));
	else
		client_failed(client, "%s", evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

static void client_readable(struct bufferevent *stream, void *context)
{
	struct gateway_client *client = context;

	if (evbuffer_get_length(bufferevent_get_input(stream)) > GATEWAY_CLIENT_ANSWER_MAX_BYTES)
		client_failed(client, "%s", "its answer is too long");
}

static void client_expired(evutil_socket_t fd, short what, void *context)
{
	client_failed(context, "%s", "no answer in time");
}

static void client_failed_at_once(evutil_socket_t fd, short what, void *context)
{
	struct gateway_client *client = context;

	client_failed(client, "%s", client->why);
}

/* ---- connecting ---- */

static bool connect_unix(struct gateway_client *client)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = client->api + strlen("unix:");

	if (strlen(path) >= sizeof(address.sun_path)) {
		snprintf(client->why, sizeof(client->why), "the path of its socket is too long");
		return false;
	}
	memcpy(address.sun_path, path, strlen(path));
	client->stream = bufferevent_socket_new(client->base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream != NULL &&
		bufferevent_socket_connect(client->stream, (struct sockaddr *)&address, sizeof(address)) == 0)
		return true;
	snprintf(client->why, sizeof(client->why), "%s: %s", path, strerror(errno));
	return false;
}

/* This host's certificate, and whom to believe. NULL: `why`. */
static SSL_CTX *tls_context(struct gateway_client *client)
{
	const struct model_admission *files = &client->admission;
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
	const char *bad = NULL;

	ERR_clear_error();
	if (tls == NULL || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1)
		bad = "TLS";
	else if (SSL_CTX_load_verify_locations(tls, files->ca, NULL) != 1)
		bad = files->ca;
	else if (SSL_CTX_use_certificate_chain_file(tls, files->certificate) != 1)
		bad = files->certificate;
	else if (SSL_CTX_use_PrivateKey_file(tls, files->key, SSL_FILETYPE_PEM) != 1 ||
		 SSL_CTX_check_private_key(tls) != 1)
		bad = files->key;
	if (bad == NULL) {
		SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
		return tls;
	}
	snprintf(client->why, sizeof(client->why), "%s can not be used: %s", bad,
		ERR_reason_error_string(ERR_peek_last_error()));
	SSL_CTX_free(tls);
	return NULL;
}

/* The certificate must be for the very address that was asked for. */
static SSL *tls_session(struct gateway_client *client, const char *address)
{
	SSL_CTX *tls = tls_context(client);
	SSL *session = tls != NULL ? SSL_new(tls) : NULL;

	SSL_CTX_free(tls); /* the session holds it */
	if (session != NULL && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), address) == 1)
		return session;
	SSL_free(session);
	return NULL;
}

static bool connect_https(struct gateway_client *client)
{
	char address[SCALAR_SIZE_BYTES];
	struct sockaddr_storage storage;
	int length = sizeof(storage);
	const char *where = client->api + strlen("https://");
	uint16_t port;
	SSL *session;

	snprintf(client->why, sizeof(client->why), "%s: no connection can be made", where);
	if (scalar_parse_listen(where, address, &port) != NULL ||
		evutil_parse_sockaddr_port(where, (struct sockaddr *)&storage, &length) != 0)
		return false;
	session = tls_session(client, address);
	if (session == NULL)
		return false;
	client->stream = bufferevent_openssl_socket_new(
		client->base, -1, session, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
	if (client->stream == NULL) {
		SSL_free(session);
		return false;
	}
	bufferevent_openssl_set_allow_dirty_shutdown(client->stream, 1); /* the JSON has an end of its own */
	return bufferevent_socket_connect(client->stream, (struct sockaddr *)&storage, length) == 0;
}

void gateway_client_send(struct gateway_client *client, const char *method, const char *path, const json_t *body)
{
	static const struct timeval timeout = {.tv_sec = GATEWAY_CLIENT_TIMEOUT_S}, at_once = {0};
	char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
	bool connecting;

	client->busy = true;
	client->connected = false;
	connecting = strncmp(client->api, "unix:", 5) == 0 ? connect_unix(client) : connect_https(client);
	if (!connecting || (body != NULL && text == NULL)) {
		free(text);
		event_add(client->failed, &at_once);
		return;
	}
	bufferevent_setcb(client->stream, client_readable, NULL, client_event, client);
	evbuffer_add_printf(bufferevent_get_output(client->stream),
		"%s %s HTTP/1.1\r\nHost: postern\r\nConnection: close\r\nContent-Type: application/json\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		method, path, text != NULL ? strlen(text) : 0, text != NULL ? text : "");
	free(text);
	bufferevent_enable(client->stream, EV_READ | EV_WRITE);
	event_add(client->deadline, &timeout);
}

/* ---- life ---- */

enum status gateway_client_open(struct event_base *base, const struct model_admission *admission, const char *api,
	gateway_answer_fn *answered, void *context, struct gateway_client **ret_client)
{
	struct gateway_client *client = calloc(1, sizeof(*client));

	if (client == NULL)
		return STATUS_NO_MEMORY;
	client->base = base;
	client->admission = *admission;
	client->admission.gateways = NULL;
	client->admission.gateway_count = 0;
	snprintf(client->api, sizeof(client->api), "%s", api);
	client->answered = answered;
	client->context = context;
	client->deadline = event_new(base, -1, 0, client_expired, client);
	client->failed = event_new(base, -1, 0, client_failed_at_once, client);
	if (client->deadline == NULL || client->failed == NULL) {
		gateway_client_close(client);
		return STATUS_NO_MEMORY;
	}
	*ret_client = client;
	return STATUS_OK;
}

void gateway_client_close(struct gateway_client *client)
{
	if (client == NULL)
		return;
	if (client->stream != NULL)
		bufferevent_free(client->stream);
	if (client->deadline != NULL)
		event_free(client->deadline);
	if (client->failed != NULL)
		event_free(client->failed);
	free(client);
}

bool gateway_client_is_busy(const struct gateway_client *client)
{
	return client->busy;
}
