/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/workspaces/ID/egress-ips: the list that users put on their allow-lists, and its single addresses. */
#include <stdio.h>
#include <string.h>

#include "control/api.h"
#include "control/api_change.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/daemon.h"
#include "control/model_json.h"
#include "control/scalar.h"

/* ---- the list, as it is in force ---- */

static const struct model_workspace *find_in_force(const struct daemon *daemon, const char *id)
{
	const struct revision *in_force = daemon->apply.in_force;

	for (size_t i = 0; in_force != NULL && i < in_force->model->workspace_count; i++) {
		if (strcmp(in_force->model->workspaces[i].id, id) == 0)
			return &in_force->model->workspaces[i];
	}
	return NULL;
}

static void append_addresses(json_t *list, const uint32_t *addresses, size_t count, const char *state)
{
	for (size_t i = 0; i < count; i++)
		json_array_append_new(
			list, json_pack("{s:o, s:s}", "address", api_address_json(addresses[i]), "state", state));
}

static void append_shared_ports(json_t *list, const struct daemon *daemon, const char *id)
{
	static const char *const states[] = {"active", "draining"};
	const struct shared_pool_range *found;
	size_t count = shared_pool_find(&daemon->apply.in_force->shared_pool, id, &found);

	for (size_t i = 0; i < count; i++) {
		if (found[i].state == SHARED_POOL_QUARANTINE)
			continue;
		json_array_append_new(
			list, json_pack("{s:o, s:s, s:i, s:i}", "address", api_address_json(found[i].address), "state",
				      states[found[i].state], "port_first", (int)found[i].port_first, "port_last",
				      found[i].port_first + found[i].port_count - 1));
	}
}

static void serve_list(struct daemon *daemon, struct api_request *request)
{
	const struct model_workspace *workspace = find_in_force(daemon, request->parameters[0]);
	const char *if_none_match;
	char etag[API_ETAG_SIZE_BYTES], fields[API_ANSWER_FIELDS_SIZE_BYTES];
	json_t *list;

	if (workspace == NULL) {
		api_answer_error(request, 404, "no workspace %s is in force here", request->parameters[0]);
		return;
	}
	list = json_array();
	append_addresses(list, workspace->egress_ips, workspace->egress_ip_count, "active");
	append_addresses(list, workspace->draining_ips, workspace->draining_ip_count, "draining");
	append_shared_ports(list, daemon, workspace->id);
	if_none_match = api_request_field(request, HTTP_FIELD_IF_NONE_MATCH);
	api_etag(list, etag);
	snprintf(fields, sizeof(fields), "ETag: %s\r\n", etag);
	if (if_none_match != NULL && api_etag_matches(if_none_match, etag)) {
		json_decref(list);
		api_answer_with_fields(request, 304, fields, json_object());
		return;
	}
	api_answer_with_fields(request, 200, fields,
		json_pack("{s:s, s:I, s:o}", "workspace", workspace->id, "generation",
			(json_int_t)daemon->apply.acknowledged_generation, "egress_ips", list));
}

/* ---- one address ---- */

/* False: answered. `ret_change.wanted` is the workspace as it is wanted now, to be changed. */
static bool begin_change(
	struct daemon *daemon, struct api_request *request, struct api_change *ret_change, uint32_t *ret_address)
{
	const char *id = request->parameters[0], *ip = request->parameters[1];
	const struct model_workspace *workspace = api_find_workspace(daemon, id);

	if (scalar_parse_ipv4(ip, ret_address) != NULL) {
		api_answer_error(request, 400, "%s: must be an IPv4 address such as 203.0.113.10", ip);
		return false;
	}
	if (workspace == NULL) {
		api_answer_error(request, 404, "there is no workspace %s", id);
		return false;
	}
	if (workspace->egress_shared) {
		api_answer_error(request, 409,
			"workspace %s is on the shared pool: PUT it with egress.ips to give it addresses of its own",
			id);
		return false;
	}
	ret_change->id = id;
	ret_change->current = workspace;
	ret_change->wanted = model_workspace_json(workspace);
	return true;
}

/* Was it there? */
static bool list_remove(json_t *list, const char *address)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *element = json_string_value(json_array_get(list, i));

		if (element != NULL && strcmp(element, address) == 0) {
			json_array_remove(list, i);
			return true;
		}
	}
	return false;
}

/* The list at that key of `egress`; made when it is not there. */
static json_t *egress_list(json_t *workspace, const char *key)
{
	json_t *egress = json_object_get(workspace, "egress");

	if (egress == NULL) {
		egress = json_object();
		json_object_set_new(workspace, "egress", egress);
	}
	if (json_object_get(egress, key) == NULL)
		json_object_set_new(egress, key, json_array());
	return json_object_get(egress, key);
}

/* Out of both lists. */
static bool egress_remove(json_t *workspace, const char *address)
{
	bool active = list_remove(egress_list(workspace, "ips"), address);
	bool draining = list_remove(egress_list(workspace, "draining"), address);

	return active || draining;
}

static void serve_put(struct daemon *daemon, struct api_request *request)
{
	struct api_change change = {0};
	char address_text[SCALAR_SIZE_BYTES];
	uint32_t address;

	if (!begin_change(daemon, request, &change, &address))
		return;
	scalar_format_ipv4(address, address_text);
	for (size_t i = 0; i < change.current->egress_ip_count; i++) {
		if (change.current->egress_ips[i] == address) {
			api_change_workspace(request, &change); /* says that it is so already */
			return;
		}
	}
	egress_remove(change.wanted, address_text);
	json_array_append_new(egress_list(change.wanted, "ips"), json_string(address_text));
	api_change_workspace(request, &change);
}

struct session_count {
	uint32_t address;
	uint64_t count;
};

static bool session_is_of(const struct session *session, void *context)
{
	const struct session_count *count = context;

	return session->egress_address == count->address;
}

static bool session_count_one(const struct session *session, void *context)
{
	struct session_count *count = context;

	count->count++;
	return true;
}

static void serve_delete(struct daemon *daemon, struct api_request *request)
{
	struct session_count sessions = {0};
	struct api_change change = {0};
	bool complete;
	const char *force;
	char address_text[SCALAR_SIZE_BYTES];

	if (!begin_change(daemon, request, &change, &sessions.address))
		return;
	scalar_format_ipv4(sessions.address, address_text);
	if (!egress_remove(change.wanted, address_text)) {
		api_answer_error(request, 404, "%s is no egress IP of workspace %s", address_text, change.id);
		json_decref(change.wanted);
		return;
	}
	force = api_request_query(request, "force");
	complete = sessions_view_scan(&daemon->sessions, session_is_of, session_count_one, &sessions);
	/* Without a dataplane there is nobody whose sessions could be counted: they are in its file, and live on. */
	if (!complete && sessions.count == 0 && (force == NULL || strcmp(force, "1") != 0)) {
		api_answer_error(request, 409,
			"the sessions of %s can not be counted now: ask again when postern-dataplane is there, or cut "
			"them off with ?force=1",
			address_text);
		json_decref(change.wanted);
		return;
	}
	if (sessions.count > 0 && (force == NULL || strcmp(force, "1") != 0)) {
		api_answer_error(request, 409,
			"%s has %llu live sessions: drain it and wait, or cut them off with ?force=1", address_text,
			(unsigned long long)sessions.count);
		json_decref(change.wanted);
		return;
	}
	api_change_workspace(request, &change);
}

const struct api_route api_egress_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/workspaces/{id}/egress-ips",
		.permission = API_WORKSPACE_READ,
		.serve = serve_list,
		.summary = "The addresses that the workspace's traffic leaves with, as they are in force now.",
		.answer_schema = "EgressIps",
	},
	{
		.method = HTTP_METHOD_PUT,
		.pattern = "/v1/workspaces/{id}/egress-ips/{ip}",
		.permission = API_OPERATE,
		.serve = serve_put,
		.summary = "Gives the workspace this address; one that is draining is taken back into use.",
		.query = API_QUERY_WAIT,
		.answer_schema = "WorkspaceChange",
		.conditional = true,
	},
	{
		.method = HTTP_METHOD_DELETE,
		.pattern = "/v1/workspaces/{id}/egress-ips/{ip}",
		.permission = API_OPERATE,
		.serve = serve_delete,
		.summary = "Takes the address away; 409 while it has live sessions, unless forced.",
		.query = "force: 1 cuts live sessions off. | " API_QUERY_WAIT,
		.answer_schema = "WorkspaceChange",
		.conditional = true,
	},
	{.pattern = NULL},
};
