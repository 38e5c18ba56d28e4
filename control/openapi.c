/* SPDX-License-Identifier: Apache-2.0 */
#include "control/openapi.h"

#include <stdio.h>
#include <string.h>

#include "control/model_json.h"
#include "control/version.h"

enum { NAME_SIZE_BYTES = 160 };

/* ---- bodies, by the field table ---- */

static json_t *section_schema(const struct field_section *section, bool all_optional);

static json_t *value_schema(const struct field *field)
{
	char allowed[FIELD_WHY_SIZE_BYTES];
	json_t *json;

	switch (field->type) {
	case FIELD_INTEGER:
		return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)field->min, "maximum",
			(json_int_t)field->max);
	case FIELD_BOOL:
		return json_pack("{s:s}", "type", "boolean");
	case FIELD_CHOICE:
		json = json_array();
		for (size_t i = 0; field->choices[i] != NULL; i++)
			json_array_append_new(json, json_string(field->choices[i]));
		return json_pack("{s:s, s:o}", "type", "string", "enum", json);
	case FIELD_COUNT:
	case FIELD_DURATION:
	case FIELD_RATE:
	case FIELD_PORTS:
	case FIELD_PROTOCOL:
		field_allowed_text(field, allowed);
		return json_pack("{s:[s, s], s:s}", "type", "integer", "string", "description", allowed);
	default:
		field_allowed_text(field, allowed);
		return json_pack("{s:s, s:s}", "type", "string", "description", allowed);
	}
}

static json_t *field_schema(const struct field *field, bool all_optional)
{
	json_t *json = field->type == FIELD_MAP ? section_schema(field->section, all_optional && !field->list)
						: value_schema(field);

	if (field->list)
		json = json_pack("{s:s, s:o, s:I, s:I}", "type", "array", "items", json, "minItems",
			(json_int_t)field->min, "maxItems", (json_int_t)field->max);
	if (field->word != NULL)
		json = json_pack("{s:[o, {s:s}]}", "oneOf", json, "const", field->word);
	if (json_object_get(json, "description") == NULL)
		json_object_set_new(json, "description", json_string(field->doc));
	return json;
}

/* `all_optional`: of a merge patch, where null removes a key. */
static json_t *section_schema(const struct field_section *section, bool all_optional)
{
	json_t *properties = json_object(), *required = json_array();

	for (uint32_t i = 0; i < section->field_count; i++) {
		const struct field *field = &section->fields[i];
		json_t *schema = field_schema(field, all_optional);

		if (all_optional)
			schema = json_pack("{s:[o, {s:s}]}", "anyOf", schema, "type", "null");
		json_object_set_new(properties, field->key, schema);
		/* The path has the id. */
		if (field->default_text == NULL && !all_optional && strcmp(section->path, "workspaces[]") != 0)
			json_array_append_new(required, json_string(field->key));
	}
	return json_pack("{s:s, s:s, s:b, s:o, s:o}", "type", "object", "description", section->doc,
		"additionalProperties", 0, "properties", properties, "required", required);
}

/* ---- answers ---- */

static const struct {
	const char *name, *json;
} answers[] = {
	{"Error", "{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"string\"},"
		  "\"problems\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"problem\"],"
		  "\"properties\":{\"pointer\":{\"type\":\"string\"},\"problem\":{\"type\":\"string\"}}}}}}"},
	{"WorkspaceObject",
		"{\"type\":\"object\",\"required\":[\"id\",\"source\",\"editable\",\"in_force\",\"config\"],"
		"\"properties\":{\"id\":{\"type\":\"string\"},\"source\":{\"type\":\"string\"},"
		"\"editable\":{\"type\":\"boolean\"},\"in_force\":{\"type\":\"boolean\"},"
		"\"config\":{\"$ref\":\"#/components/schemas/Workspace\"}}}"},
	{"WorkspaceChange",
		"{\"type\":\"object\",\"required\":[\"id\",\"config\",\"in_force\"],\"properties\":{"
		"\"id\":{\"type\":\"string\"},\"in_force\":{\"type\":\"boolean\"},\"reason\":{\"type\":\"string\"},"
		"\"config\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/Workspace\"},{\"type\":\"null\"}]}}}"},
	{"EgressIps",
		"{\"type\":\"object\",\"required\":[\"workspace\",\"generation\",\"egress_ips\"],\"properties\":{"
		"\"workspace\":{\"type\":\"string\"},\"generation\":{\"type\":\"integer\"},\"egress_ips\":{"
		"\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"address\",\"state\"],"
		"\"properties\":{\"address\":{\"type\":\"string\"},\"state\":{\"enum\":[\"active\",\"draining\"]},"
		"\"port_first\":{\"type\":\"integer\"},\"port_last\":{\"type\":\"integer\"}}}}}}"},
	{"Status",
		"{\"type\":\"object\",\"required\":[\"state\",\"reasons\",\"ready\",\"version\",\"config\"],"
		"\"properties\":{\"state\":{\"enum\":[\"ok\",\"degraded\"]},\"reasons\":{\"type\":\"array\","
		"\"items\":{\"type\":\"string\"}},\"ready\":{\"type\":\"boolean\"},\"version\":{\"type\":\"string\"},"
		"\"config\":{\"type\":\"object\"},\"privileges\":{\"type\":\"object\",\"required\":[\"uid\","
		"\"capabilities\"],"
		"\"properties\":{\"uid\":{\"type\":\"integer\"},\"capabilities\":{\"type\":\"string\"}}}}}"},
	{"Workspaces", "{\"type\":\"object\",\"required\":[\"workspaces\"],\"properties\":{\"workspaces\":{"
		       "\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"id\",\"configured\","
		       "\"egress_ips\",\"state\"],\"properties\":{\"id\":{\"type\":\"string\"},\"configured\":{\"type\":"
		       "\"boolean\"},\"egress_ips\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"state\":{"
		       "\"type\":\"object\",\"required\":[\"desired\",\"actual\",\"reason\",\"since_unix_seconds\","
		       "\"egress\"],\"properties\":{\"desired\":{\"enum\":[\"present\",\"absent\"]},\"actual\":{"
		       "\"enum\":[\"present\",\"outdated\",\"absent\"]},\"reason\":{\"type\":\"string\"},"
		       "\"since_unix_seconds\":{\"type\":\"number\"},\"egress\":{\"type\":\"array\",\"items\":{"
		       "\"type\":\"object\",\"required\":[\"address\",\"desired\",\"actual\",\"reason\","
		       "\"since_unix_seconds\"],\"properties\":{\"address\":{\"type\":\"string\"},\"desired\":{"
		       "\"enum\":[\"active\",\"draining\",\"absent\"]},\"actual\":{\"enum\":[\"active\",\"draining\","
		       "\"absent\"]},\"reason\":{\"type\":\"string\"},\"since_unix_seconds\":{\"type\":\"number\"}}"
		       "}}}}}}}}}"},
	{"Sessions",
		"{\"type\":\"object\",\"required\":[\"sessions\",\"more\",\"complete\"],\"properties\":{"
		"\"sessions\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"more\":{\"type\":\"boolean\"},"
		"\"complete\":{\"type\":\"boolean\"}}}"},
	{"Drops", "{\"type\":\"object\",\"required\":[\"dataplane\",\"classifier\",\"steering\"],\"properties\":{"
		  "\"dataplane\":{\"type\":\"array\"},\"classifier\":{\"type\":\"array\"},\"steering\":{\"type\":"
		  "\"array\"}}}"},
	{"Reload", "{\"type\":\"object\",\"required\":[\"valid\",\"errors\",\"desired_generation\"],\"properties\":{"
		   "\"valid\":{\"type\":\"boolean\"},\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
		   "\"desired_generation\":{\"type\":\"integer\"}}}"},
};

static json_t *schemas_json(const struct api_routes *routes)
{
	json_t *schemas = json_object();

	json_object_set_new(schemas, "Workspace", section_schema(model_workspace_section(), false));
	json_object_set_new(schemas, "WorkspacePatch", section_schema(model_workspace_section(), true));
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		json_object_set_new(schemas, answers[i].name, json_loads(answers[i].json, 0, NULL));
	for (size_t i = 0; i < routes->count; i++) {
		for (const struct api_route *route = routes->tables[i]; route->pattern != NULL; route++) {
			const char *const names[] = {route->request_schema, route->answer_schema};

			/* What has no description of its own is at least an object. */
			for (unsigned j = 0; j < 2; j++) {
				if (names[j] != NULL && json_object_get(schemas, names[j]) == NULL)
					json_object_set_new(schemas, names[j], json_pack("{s:s}", "type", "object"));
			}
		}
	}
	return schemas;
}

/* ---- paths ---- */

static json_t *content_json(const char *schema)
{
	char reference[NAME_SIZE_BYTES];

	snprintf(reference, sizeof(reference), "#/components/schemas/%s", schema);
	return json_pack("{s:{s:{s:s}}}", "application/json", "schema", "$ref", reference);
}

static void append_parameter(json_t *list, const char *in, const char *name, size_t name_length, const char *doc)
{
	json_t *json = json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", name, name_length, "in", in, "required",
		strcmp(in, "path") == 0, "schema", "type", "string");

	if (doc != NULL)
		json_object_set_new(json, "description", json_string(doc));
	json_array_append_new(list, json);
}

static json_t *parameters_json(const struct api_route *route)
{
	json_t *list = json_array();
	const char *at = route->pattern;

	while ((at = strchr(at, '{')) != NULL) {
		append_parameter(list, "path", at + 1, strcspn(at, "}") - 1, NULL);
		at++;
	}
	for (at = route->query; at != NULL && *at != '\0';) {
		size_t name_length = strcspn(at, ":");
		const char *end = strstr(at, " | "), *doc = at + name_length + strspn(at + name_length, ": ");
		char text[512];

		snprintf(text, sizeof(text), "%.*s", (int)(end != NULL ? end - doc : (long)strlen(doc)), doc);
		append_parameter(list, "query", at, name_length, text);
		at = end != NULL ? end + 3 : NULL;
	}
	if (route->conditional)
		append_parameter(
			list, "header", "If-Match", strlen("If-Match"), "The ETag of the version that is meant, or *.");
	return list;
}

static json_t *operation_json(const struct api_route *route)
{
	json_t *answer = json_pack("{s:s}", "description", "Done."), *json;

	if (route->answer_schema != NULL)
		json_object_set_new(answer, "content", content_json(route->answer_schema));
	json = json_pack("{s:s, s:s, s:o, s:{s:o, s:{s:s, s:o}}}", "summary", route->summary, "x-role",
		api_permission_text(route->permission), "parameters", parameters_json(route), "responses", "2XX",
		answer, "default", "description", "Not done: one sentence says why.", "content", content_json("Error"));
	if (route->request_schema != NULL)
		json_object_set_new(json, "requestBody",
			json_pack("{s:b, s:o}", "required", 1, "content", content_json(route->request_schema)));
	return json;
}

json_t *openapi_json(const struct api_routes *routes)
{
	static const char *const keys[] = {
		[HTTP_METHOD_GET] = "get",
		[HTTP_METHOD_POST] = "post",
		[HTTP_METHOD_PUT] = "put",
		[HTTP_METHOD_PATCH] = "patch",
		[HTTP_METHOD_DELETE] = "delete",
	};
	json_t *paths = json_object();

	for (size_t i = 0; i < routes->count; i++) {
		for (const struct api_route *route = routes->tables[i]; route->pattern != NULL; route++) {
			json_t *path = json_object_get(paths, route->pattern);

			if (path == NULL) {
				path = json_object();
				json_object_set_new(paths, route->pattern, path);
			}
			json_object_set_new(path, keys[route->method], operation_json(route));
		}
	}
	return json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:o, s:{s:{s:s, s:s, s:s}}}}", "openapi", "3.1.0", "info",
		"title", "Postern", "version", POSTERN_VERSION, "paths", paths, "components", "schemas",
		schemas_json(routes), "securitySchemes", "bearer", "type", "http", "scheme", "bearer", "bearerFormat",
		"JWT");
}
