/* SPDX-License-Identifier: Apache-2.0 */
#include "control/listeners.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/audit.h"
#include "control/daemon.h"
#include "control/http_server.h"
#include "control/metrics.h"
#include "control/tls.h"

/* ---- certificate and keys ---- */

static bool https_session(void *context, struct ssl_st **ret_session)
{
	struct api_endpoint *endpoint = context;

	*ret_session = tls_session(endpoint->daemon->listeners.tls);
	return *ret_session != NULL;
}

static bool metrics_session(void *context, struct ssl_st **ret_session)
{
	struct api_endpoint *endpoint = context;

	*ret_session = NULL;
	return !endpoint->daemon->listeners.metrics_with_tls || https_session(context, ret_session);
}

/* Keeps since when it has been so, and says what that means: a key that was taken off the file may be a stolen one. */
static void note_stale(
	struct daemon *daemon, enum listeners_trust trust, bool stale, bool has_another, const char *file)
{
	static const char *const names[TRUST_COUNT] = {
		[TRUST_CLIENT_CA] = "client certificates", [TRUST_TOKEN_KEYS] = "tokens"};
	struct listeners *listeners = &daemon->listeners;

	if (!stale) {
		listeners->stale_since_ns[trust] = 0;
		return;
	}
	if (listeners->stale_since_ns[trust] == 0)
		listeners->stale_since_ns[trust] = daemon_monotonic_ns();
	if (!has_another)
		problems_add(&listeners->problems, "%s: can not be used: %s are refused until it can: mend it", file,
			names[trust]);
	else if (listeners_trust(daemon, trust))
		problems_add(&listeners->problems,
			"%s: has changed and can not be used: %s are judged by the one before, until api.trust_grace "
			"is "
			"over: mend it",
			file, names[trust]);
	else
		problems_add(&listeners->problems,
			"%s: has not been usable for longer than api.trust_grace: %s are refused until it is: mend it",
			file, names[trust]);
}

double listeners_stale_s(const struct daemon *daemon, enum listeners_trust trust)
{
	uint64_t since_ns = daemon->listeners.stale_since_ns[trust];

	return since_ns != 0 ? (double)(daemon_monotonic_ns() - since_ns) / 1e9 : 0;
}

bool listeners_trust(const struct daemon *daemon, enum listeners_trust trust)
{
	const struct revision *desired = daemon->config.desired;

	return daemon->listeners.stale_since_ns[trust] == 0 ||
	       (desired != NULL && listeners_stale_s(daemon, trust) < desired->model->api.trust_grace_s);
}

static void refresh_tls(struct daemon *daemon, const struct model_api *api)
{
	struct listeners *listeners = &daemon->listeners;
	bool changed;

	if (tls_refresh(listeners->tls, api, &changed, &listeners->problems) == STATUS_OK && changed &&
		api->certificate[0] != '\0')
		log_info(&daemon->log, "certificate loaded file=%s", api->certificate);
	note_stale(daemon, TRUST_CLIENT_CA, tls_client_ca_is_stale(listeners->tls),
		tls_expiry_unix_s(listeners->tls) > 0, api->client_ca);
}

/* Another content has another stamp; 0: the file is not there. */
static uint64_t file_stamp(const char *path)
{
	struct stat about;

	if (stat(path, &about) != 0)
		return 0;
	return ((uint64_t)about.st_mtim.tv_sec * 1000000000u + (uint64_t)about.st_mtim.tv_nsec) ^
	       ((uint64_t)about.st_ino << 20) ^ (uint64_t)about.st_size;
}

static void refresh_token_keys(struct daemon *daemon, const struct model_api *api)
{
	struct listeners *listeners = &daemon->listeners;
	uint64_t stamp;

	if (api->jwks[0] == '\0') {
		listeners->token_keys.count = 0;
		listeners->token_keys_path[0] = '\0';
		note_stale(daemon, TRUST_TOKEN_KEYS, false, false, "");
		return;
	}
	stamp = file_stamp(api->jwks);
	if (strcmp(listeners->token_keys_path, api->jwks) == 0 && stamp != 0 && stamp == listeners->token_keys_stamp) {
		note_stale(daemon, TRUST_TOKEN_KEYS, false, false, "");
		return;
	}
	if (jwt_keys_load(api->jwks, &listeners->token_keys, &listeners->problems) != STATUS_OK) {
		note_stale(daemon, TRUST_TOKEN_KEYS, true, listeners->token_keys.count > 0, api->jwks);
		return;
	}
	note_stale(daemon, TRUST_TOKEN_KEYS, false, false, "");
	listeners->token_keys_stamp = stamp;
	snprintf(listeners->token_keys_path, sizeof(listeners->token_keys_path), "%s", api->jwks);
	log_info(&daemon->log, "keys of tokens loaded file=%s keys=%zu", api->jwks, listeners->token_keys.count);
}

/* ---- addresses ---- */

/* The old address goes on when the new one can not be had. True: it listens somewhere else now, or not any more. */
static bool listen_at(struct http_server *server, const char *address, uint16_t port, char current_address[64],
	uint16_t *current_port, struct problems *problems)
{
	if (port == *current_port && strcmp(address, current_address) == 0)
		return false;
	if (port == 0)
		http_server_stop(server);
	else if (http_server_listen_tcp(server, address, port, problems) != STATUS_OK)
		return false;
	*current_port = port;
	snprintf(current_address, 64, "%s", address);
	return true;
}

static void listen_https(struct daemon *daemon, const struct model_api *api)
{
	struct listeners *listeners = &daemon->listeners;

	if (listen_at(listeners->https, api->address, api->port, listeners->https_address, &listeners->https_port,
		    &listeners->problems) &&
		listeners->https_port != 0)
		log_info(&daemon->log, "API at https://%s:%u", listeners->https_address, listeners->https_port);
}

static void listen_metrics(struct daemon *daemon, const struct model *model)
{
	struct listeners *listeners = &daemon->listeners;
	bool with_tls = (model->metrics_flags & MODEL_METRICS_TLS) != 0;
	bool changed = listen_at(listeners->metrics, model->metrics_address, model->metrics_port,
		listeners->metrics_address, &listeners->metrics_port, &listeners->problems);

	changed = changed || with_tls != listeners->metrics_with_tls;
	listeners->metrics_with_tls = with_tls;
	if (changed && listeners->metrics_port != 0)
		log_info(&daemon->log, "metrics at %s://%s:%u/metrics", with_tls ? "https" : "http",
			listeners->metrics_address, listeners->metrics_port);
}

static void set_audit_path(struct daemon *daemon)
{
	const struct revision *desired = daemon->config.desired;
	char path[PATH_MAX];

	if (desired != NULL && desired->model->api.audit_log[0] != '\0') {
		audit_set_path(daemon->audit, desired->model->api.audit_log);
		return;
	}
	snprintf(path, sizeof(path), "%s/audit.log", daemon->options.run_dir);
	audit_set_path(daemon->audit, path);
}

static bool problems_are_equal(const struct problems *left, const struct problems *right)
{
	if (left->count != right->count)
		return false;
	for (size_t i = 0; i < left->count; i++) {
		if (strcmp(left->lines[i], right->lines[i]) != 0)
			return false;
	}
	return true;
}

void listeners_apply(struct daemon *daemon)
{
	struct listeners *listeners = &daemon->listeners;
	struct problems before = listeners->problems;

	set_audit_path(daemon);
	if (daemon->config.desired == NULL)
		return;
	memset(&listeners->problems, 0, sizeof(listeners->problems));
	refresh_tls(daemon, &daemon->config.desired->model->api);
	refresh_token_keys(daemon, &daemon->config.desired->model->api);
	listen_https(daemon, &daemon->config.desired->model->api);
	listen_metrics(daemon, daemon->config.desired->model);
	if (!problems_are_equal(&before, &listeners->problems))
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &listeners->problems);
	problems_clear(&before);
}

/* ---- life ---- */

static enum status open_server(struct daemon *daemon, const char *name, const struct api_routes *routes,
	http_tls_fn *tls, struct api_endpoint **ret_endpoint, struct http_server **ret_server)
{
	struct http_server_options options = {
		.log = &daemon->log, .handlers = &api_request_handlers, .name = name, .tls = tls};

	*ret_endpoint = calloc(1, sizeof(**ret_endpoint));
	if (*ret_endpoint == NULL)
		return STATUS_NO_MEMORY;
	(*ret_endpoint)->daemon = daemon;
	(*ret_endpoint)->routes = *routes;
	options.context = *ret_endpoint;
	return http_server_open(daemon->base, &options, ret_server);
}

enum status listeners_open(struct daemon *daemon, struct problems *problems)
{
	struct listeners *listeners = &daemon->listeners;
	char path[PATH_MAX];
	enum status status;

	set_audit_path(daemon);
	listeners->tls = tls_open();
	if (listeners->tls == NULL)
		return STATUS_NO_MEMORY;
	status = open_server(daemon, API_SOCKET_NAME, &api_routes, NULL, &listeners->local_endpoint, &listeners->local);
	if (status == STATUS_OK)
		status = open_server(daemon, "api.listen", &api_routes, https_session, &listeners->https_endpoint,
			&listeners->https);
	if (status == STATUS_OK)
		status = open_server(daemon, "metrics.listen", &metrics_routes, metrics_session,
			&listeners->metrics_endpoint, &listeners->metrics);
	if (status != STATUS_OK)
		return status;
	listeners->metrics_endpoint->metrics = true;
	snprintf(path, sizeof(path), "%s/%s", daemon->options.run_dir, API_SOCKET_NAME);
	return http_server_listen_unix(listeners->local, path, problems);
}

void listeners_close(struct daemon *daemon)
{
	struct listeners *listeners = &daemon->listeners;

	http_server_close(listeners->local);
	http_server_close(listeners->https);
	http_server_close(listeners->metrics);
	free(listeners->local_endpoint);
	free(listeners->https_endpoint);
	free(listeners->metrics_endpoint);
	tls_close(listeners->tls);
	problems_clear(&listeners->problems);
}
