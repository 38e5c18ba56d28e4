/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/sessions. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/api_change.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/daemon.h"

struct endpoint {
	bool given, port_given;
	uint32_t address;
	uint16_t port;
};

struct session_query {
	struct daemon *daemon;
	const struct revision *revision;
	const char *workspace; /* NULL: any */
	struct endpoint egress, remote;
	size_t limit;
	uint64_t now_ns;
	json_t *sessions;
	bool more;
};

/* "203.0.113.10" or "203.0.113.10:41234"; NULL is no endpoint, and fine. */
static bool endpoint_parse(const char *text, struct endpoint *ret_endpoint)
{
	struct endpoint endpoint = {.given = true};
	char address[INET_ADDRSTRLEN];
	struct in_addr parsed;
	const char *colon;
	size_t length;

	if (text == NULL)
		return true;
	colon = strchr(text, ':');
	length = colon != NULL ? (size_t)(colon - text) : strlen(text);
	if (length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	if (inet_pton(AF_INET, address, &parsed) != 1)
		return false;
	endpoint.address = ntohl(parsed.s_addr);
	if (colon != NULL) {
		char *end;
		unsigned long port = strtoul(colon + 1, &end, 10);

		if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > UINT16_MAX)
			return false;
		endpoint.port_given = true;
		endpoint.port = (uint16_t)port;
	}
	*ret_endpoint = endpoint;
	return true;
}

/* False: answered. */
static bool endpoint_asked(struct api_request *request, const char *name, struct endpoint *ret_endpoint)
{
	if (endpoint_parse(api_request_query(request, name), ret_endpoint))
		return true;
	api_answer_error(request, 400, "%s: must be ADDRESS or ADDRESS:PORT, such as 203.0.113.10:41234", name);
	return false;
}

static bool endpoint_fits(const struct endpoint *endpoint, uint32_t address, uint16_t port)
{
	return !endpoint->given || (endpoint->address == address && (!endpoint->port_given || endpoint->port == port));
}

/* The dataplane's own word for it; the configuration's where the slot has no name. */
static void session_workspace(
	const struct session_query *query, const struct session *session, char ret_id[ID_SIZE_BYTES])
{
	const struct model_workspace *workspace;

	if (counters_view_name(&query->daemon->counters, session->workspace_slot, ret_id))
		return;
	workspace = revision_workspace_of_vni(query->revision, session->vni_protocol >> 8);
	memset(ret_id, 0, ID_SIZE_BYTES);
	if (workspace != NULL)
		memcpy(ret_id, workspace->id, ID_SIZE_BYTES);
}

static bool session_match(const struct session *session, void *context)
{
	const struct session_query *query = context;
	char workspace[ID_SIZE_BYTES];

	if (!endpoint_fits(&query->egress, session->egress_address, session->egress_port) ||
		!endpoint_fits(&query->remote, session->remote_address, session->remote_port))
		return false;
	if (query->workspace == NULL)
		return true;
	session_workspace(query, session, workspace);
	return strcmp(query->workspace, workspace) == 0;
}

static json_t *protocol_json(uint32_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	default:
		return json_sprintf("%u", protocol);
	}
}

static bool session_take(const struct session *session, void *context)
{
	struct session_query *query = context;
	const struct sessions_view *view = &query->daemon->sessions;
	char workspace[ID_SIZE_BYTES];
	json_t *json;

	if (json_array_size(query->sessions) >= query->limit) {
		query->more = true;
		return false;
	}
	session_workspace(query, session, workspace);
	json = json_pack("{s:s, s:o, s:s, s:i}", "workspace", workspace, "protocol",
		protocol_json(session->vni_protocol & 0xff), "state", session_state_text(session->state), "vni",
		(int)(session->vni_protocol >> 8));
	json_object_set_new(json, "inside_address", api_address_json(session->inside_address));
	json_object_set_new(json, "inside_port", json_integer(session->inside_port));
	json_object_set_new(json, "egress_address", api_address_json(session->egress_address));
	json_object_set_new(json, "egress_port", json_integer(session->egress_port));
	json_object_set_new(json, "remote_address", api_address_json(session->remote_address));
	json_object_set_new(json, "remote_port", json_integer(session->remote_port));
	json_object_set_new(json, "vtep", api_address_json(session->vtep));
	json_object_set_new(json, "answered", json_boolean((session->flags & SESSION_ANSWERED) != 0));
	json_object_set_new(
		json, "age_seconds", json_real(sessions_view_age_s(view, session->created_tick, query->now_ns)));
	json_object_set_new(
		json, "idle_seconds", json_real(sessions_view_age_s(view, session->last_tick, query->now_ns)));
	json_array_append_new(query->sessions, json);
	return true;
}

static bool limit_parse(const char *text, size_t *ret_limit)
{
	unsigned long value;
	char *end;

	if (text == NULL) {
		*ret_limit = API_SESSION_LIMIT_DEFAULT;
		return true;
	}
	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value == 0 || value > API_SESSION_LIMIT_MAX)
		return false;
	*ret_limit = value;
	return true;
}

static bool is_egress_ip(const struct daemon *daemon, uint32_t address)
{
	const struct model *model = daemon->config.desired->model;

	for (size_t i = 0; i < model->workspace_count; i++) {
		const struct model_workspace *workspace = &model->workspaces[i];

		if (model_addresses_have(workspace->egress_ips, workspace->egress_ip_count, address) ||
			model_addresses_have(workspace->draining_ips, workspace->draining_ip_count, address))
			return true;
	}
	return model_addresses_have(model->shared_pool_ips, model->shared_pool_ip_count, address) ||
	       model_addresses_have(model->released_ips, model->released_ip_count, address);
}

/* Without a session: that of a name that is mistaken there is none would sound like an answer. False: answered. */
static bool session_query_is_known(const struct session_query *query, struct api_request *request)
{
	const struct daemon *daemon = query->daemon;

	if (query->workspace != NULL && api_find_workspace(query->daemon, query->workspace) == NULL) {
		api_answer_error(request, 404, "there is no workspace %s", query->workspace);
		return false;
	}
	if (query->egress.given && daemon_gateway(daemon) != NULL && !is_egress_ip(daemon, query->egress.address)) {
		api_answer_error(request, 404, "that address is no egress IP of this gateway");
		return false;
	}
	return true;
}

static void serve_sessions(struct daemon *daemon, struct api_request *request)
{
	struct session_query query = {
		.daemon = daemon,
		.revision = daemon->apply.in_force != NULL ? daemon->apply.in_force : daemon->config.desired,
		.workspace = api_request_query(request, "workspace"),
		.now_ns = daemon_monotonic_ns(),
	};
	bool complete;

	if (!limit_parse(api_request_query(request, "limit"), &query.limit)) {
		api_answer_error(request, 400, "limit: must be 1..10000");
		return;
	}
	if (!endpoint_asked(request, "egress", &query.egress) || !endpoint_asked(request, "remote", &query.remote))
		return;
	query.sessions = json_array();
	complete = sessions_view_scan(&daemon->sessions, session_match, session_take, &query);
	if (json_array_size(query.sessions) == 0 && !session_query_is_known(&query, request)) {
		json_decref(query.sessions);
		return;
	}
	api_answer(request, 200,
		json_pack("{s:o, s:b, s:b}", "sessions", query.sessions, "more", query.more, "complete", complete));
}

const struct api_route api_sessions_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/sessions",
		.permission = API_READ,
		.serve = serve_sessions,
		.summary = "Live sessions: who uses which address and port.",
		.query = "workspace: Its id. | egress: ADDRESS or ADDRESS:PORT. | remote: ADDRESS or ADDRESS:PORT. | "
			 "limit: At most so many, 1..10000; default 100.",
		.answer_schema = "Sessions",
	},
	{.pattern = NULL},
};
