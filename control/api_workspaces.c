/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/workspaces: the list with its counters, and each workspace as an object to read, write and delete. */
#include <stdio.h>
#include <string.h>

#include "control/api.h"
#include "control/api_change.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/apply.h"
#include "control/daemon.h"
#include "control/model_json.h"
#include "control/scalar.h"

static void serve_list(struct daemon *daemon, struct api_request *request)
{
	api_answer(request, 200, api_workspaces_json(daemon));
}

/* Answers 404 when there is none. */
static const struct model_workspace *find_or_answer(struct daemon *daemon, struct api_request *request)
{
	const struct model_workspace *workspace = api_find_workspace(daemon, request->parameters[0]);

	if (workspace == NULL)
		api_answer_error(request, 404, "there is no workspace %s", request->parameters[0]);
	return workspace;
}

static void serve_one(struct daemon *daemon, struct api_request *request)
{
	const struct model_workspace *workspace = find_or_answer(daemon, request);
	char source[SOURCE_TEXT_SIZE_BYTES], etag[API_ETAG_SIZE_BYTES], fields[API_ANSWER_FIELDS_SIZE_BYTES];
	const char *if_none_match;
	json_t *config;

	if (workspace == NULL)
		return;
	config = model_workspace_json(workspace);
	if_none_match = api_request_field(request, HTTP_FIELD_IF_NONE_MATCH);
	api_etag(config, etag);
	snprintf(fields, sizeof(fields), "ETag: %s\r\n", etag);
	if (if_none_match != NULL && api_etag_matches(if_none_match, etag)) {
		json_decref(config);
		api_answer_with_fields(request, 304, fields, json_object());
		return;
	}
	api_answer_with_fields(request, 200, fields,
		json_pack("{s:s, s:s, s:b, s:b, s:o}", "id", workspace->id, "source",
			model_source_text(&workspace->source, source), "editable",
			workspace->source.kind == MODEL_SOURCE_API, "in_force",
			apply_is_in_force(daemon, daemon->config.desired->sequence), "config", config));
}

/* The path's id in the body too, where it may be left out. False: answered. */
static bool set_id(struct api_request *request, json_t *body)
{
	const char *id = request->parameters[0];
	const json_t *given = json_object_get(body, "id");

	if (scalar_check_id(id) != NULL) {
		api_answer_error(
			request, 400, "%s: an id must be 1 to 63 of a-z, 0-9 and -, with no - at either end", id);
		return false;
	}
	if (!json_is_object(body)) {
		api_answer_error(request, 400, "the body must be a JSON object, the workspace");
		return false;
	}
	if (given != NULL && (!json_is_string(given) || strcmp(json_string_value(given), id) != 0)) {
		api_answer_error(request, 400, "id: must be %s as in the path, or be left out", id);
		return false;
	}
	json_object_set_new(body, "id", json_string(id));
	return true;
}

static void serve_put(struct daemon *daemon, struct api_request *request)
{
	struct api_change change = {.id = request->parameters[0], .needs_version = true};

	if (!set_id(request, request->body))
		return;
	change.current = api_find_workspace(daemon, change.id);
	change.wanted = json_incref(request->body);
	api_change_workspace(request, &change);
}

/* RFC 7396: objects are merged, null removes, everything else replaces. As deep as the body, so at most as jansson. */
static void merge_patch(json_t *target, const json_t *patch)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)patch, key, value)
	{
		json_t *old = json_object_get(target, key);

		if (json_is_null(value)) {
			json_object_del(target, key);
		} else if (json_is_object(value)) {
			json_t *inner = json_is_object(old) ? json_incref(old) : json_object();

			merge_patch(inner, value);
			json_object_set_new(target, key, inner);
		} else {
			json_object_set(target, key, value);
		}
	}
}

static void serve_patch(struct daemon *daemon, struct api_request *request)
{
	struct api_change change = {.id = request->parameters[0], .needs_version = true};

	change.current = find_or_answer(daemon, request);
	if (change.current == NULL || !set_id(request, request->body))
		return;
	change.wanted = model_workspace_json(change.current);
	merge_patch(change.wanted, request->body);
	api_change_workspace(request, &change);
}

static void serve_delete(struct daemon *daemon, struct api_request *request)
{
	struct api_change change = {.id = request->parameters[0], .needs_version = true};

	change.current = find_or_answer(daemon, request);
	if (change.current != NULL)
		api_change_workspace(request, &change);
}

const struct api_route api_workspaces_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/workspaces",
		.permission = API_READ,
		.serve = serve_list,
		.summary = "Every workspace with its counters.",
		.answer_schema = "Workspaces",
	},
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/workspaces/{id}",
		.permission = API_WORKSPACE_READ,
		.serve = serve_one,
		.summary = "One workspace as it is wanted, with its version as ETag.",
		.answer_schema = "WorkspaceObject",
	},
	{
		.method = HTTP_METHOD_PUT,
		.pattern = "/v1/workspaces/{id}",
		.permission = API_OPERATE,
		.serve = serve_put,
		.summary = "Makes a workspace, or replaces the version that If-Match names.",
		.query = API_QUERY_WAIT,
		.request_schema = "Workspace",
		.answer_schema = "WorkspaceChange",
		.conditional = true,
	},
	{
		.method = HTTP_METHOD_PATCH,
		.pattern = "/v1/workspaces/{id}",
		.permission = API_OPERATE,
		.serve = serve_patch,
		.summary = "Changes some keys of the version that If-Match names, by JSON Merge Patch (RFC 7396).",
		.query = API_QUERY_WAIT,
		.request_schema = "WorkspacePatch",
		.answer_schema = "WorkspaceChange",
		.conditional = true,
	},
	{
		.method = HTTP_METHOD_DELETE,
		.pattern = "/v1/workspaces/{id}",
		.permission = API_OPERATE,
		.serve = serve_delete,
		.summary = "Removes the version that If-Match names; its sessions end at once.",
		.query = API_QUERY_WAIT,
		.answer_schema = "WorkspaceChange",
		.conditional = true,
	},
	{.pattern = NULL},
};
