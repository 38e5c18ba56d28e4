/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/config, POST /v1/reload. */
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/daemon_config.h"

static void serve_config(struct daemon *daemon, struct api_request *request)
{
	const struct revision *desired = daemon->config.desired;
	struct evbuffer *body;
	char *text;

	if (desired == NULL) {
		api_answer_error(request, 404, "there is no configuration: posternd waits for a valid file");
		return;
	}
	body = evbuffer_new();
	text = api_request_query(request, "sources") != NULL ? model_print_with_sources(desired->model)
							     : model_print(desired->model);
	if (body == NULL || text == NULL || evbuffer_add(body, text, strlen(text)) != 0)
		api_answer_error(request, 503, "posternd is out of memory");
	else
		api_answer_text(request, 200, "application/yaml", body);
	free(text);
	if (body != NULL)
		evbuffer_free(body);
}

static void serve_reload(struct daemon *daemon, struct api_request *request)
{
	const char *force = api_request_query(request, "force");
	bool valid = force != NULL && force[0] == '1' ? daemon_reload_forced(daemon) : daemon_reload(daemon);
	const struct problems *errors = &daemon->config.errors;
	json_t *array = json_array();

	for (size_t i = 0; i < errors->count; i++)
		json_array_append_new(array, json_string(errors->lines[i]));
	api_answer(request, valid ? 200 : 422,
		json_pack("{s:b, s:o, s:I}", "valid", valid, "errors", array, "desired_generation",
			(json_int_t)daemon->apply.desired_generation));
}

const struct api_route api_config_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/config",
		.permission = API_READ,
		.serve = serve_config,
		.summary = "The configuration that is wanted, as YAML, defaults written out.",
		.query = "sources: With a comment before each object that says where it comes from.",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/reload",
		.permission = API_OPERATE,
		.serve = serve_reload,
		.summary = "Reads the files again; 422 when they are not valid, and nothing changes.",
		.query = "force: 1 takes also what removes more workspaces than change_limits allows.",
		.answer_schema = "Reload",
	},
	{.pattern = NULL},
};
