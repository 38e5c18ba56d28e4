/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/drains; PUT and DELETE /v1/drains/{ip}. */
#include <string.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/api_wait.h"
#include "control/daemon.h"
#include "control/drain_control.h"
#include "control/drain_file.h"
#include "control/scalar.h"

static void serve_list(struct daemon *daemon, struct api_request *request)
{
	json_t *array = json_array();

	for (size_t i = 0; i < daemon->drains.count; i++)
		json_array_append_new(array, drain_json(&daemon->drains.entries[i], daemon_steady_unix_s(daemon)));
	api_answer(request, 200, json_pack("{s:o}", "drains", array));
}

static bool parse_address(struct api_request *request, uint32_t *ret_address)
{
	const char *hint = scalar_parse_ipv4(request->parameters[0], ret_address);

	if (hint != NULL)
		api_answer_error(request, 400, "the egress IP must be an IPv4 address, such as 203.0.113.10");
	return hint == NULL;
}

/* NULL: it does not drain. */
static json_t *known_json(const struct daemon *daemon, uint32_t address)
{
	const struct drain *drain = drains_find(&daemon->drains, address);

	return drain != NULL ? drain_json(drain, daemon_steady_unix_s(daemon)) : NULL;
}

static void answer_problem(struct api_request *request, enum status status, struct problems *problems)
{
	const char *line = problems->count > 0 ? problems->lines[0] : "posternd is out of memory";

	api_answer_error(request, status == STATUS_INVALID || status == STATUS_REFUSED ? 409 : 503, "%s", line);
	problems_clear(problems);
}

static void serve_put(struct daemon *daemon, struct api_request *request)
{
	const char *deadline = api_request_query(request, "deadline"), *force = api_request_query(request, "force");
	struct problems problems = {0};
	uint64_t deadline_s = 0;
	uint32_t address;
	enum status status;
	json_t *was;

	if (!parse_address(request, &address))
		return;
	if (deadline != NULL && (scalar_parse_duration(deadline, &deadline_s) != NULL || deadline_s == 0 ||
					deadline_s > DRAIN_DEADLINE_MAX_S)) {
		api_answer_error(request, 400, "deadline: must be a duration such as 90s or 2h, 1s..30d");
		return;
	}
	was = known_json(daemon, address);
	status = drain_control_begin(daemon, address, deadline_s, force != NULL && strcmp(force, "1") == 0, &problems);
	if (status == STATUS_OK) {
		api_request_audit(request, was, known_json(daemon, address));
		api_wait_in_force(request, 200, NULL, known_json(daemon, address));
	} else {
		json_decref(was);
		answer_problem(request, status, &problems);
	}
}

static void serve_delete(struct daemon *daemon, struct api_request *request)
{
	struct problems problems = {0};
	uint32_t address;
	enum status status;
	json_t *was;

	if (!parse_address(request, &address))
		return;
	was = known_json(daemon, address);
	status = drain_control_cancel(daemon, address, &problems);
	if (status == STATUS_OK) {
		api_request_audit(request, was, NULL);
		api_wait_in_force(
			request, 200, NULL, json_pack("{s:s, s:b}", "address", request->parameters[0], "cancelled", 1));
	} else {
		json_decref(was);
		answer_problem(request, status, &problems);
	}
}

const struct api_route api_drains_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/drains",
		.permission = API_READ,
		.serve = serve_list,
		.summary = "Egress IPs that drain, or were released and are in quarantine.",
		.answer_schema = "Drains",
	},
	{
		.method = HTTP_METHOD_PUT,
		.pattern = "/v1/drains/{ip}",
		.permission = API_OPERATE,
		.serve = serve_put,
		.summary = "Takes an egress IP out of use: no new sessions, released when none is left.",
		.query = "deadline: A duration after which it is released with what sessions there are. | force: 1 "
			 "releases it now.",
		.answer_schema = "Drain",
	},
	{
		.method = HTTP_METHOD_DELETE,
		.pattern = "/v1/drains/{ip}",
		.permission = API_OPERATE,
		.serve = serve_delete,
		.summary = "Cancels the drain: the address is in use again as the files say.",
		.answer_schema = "DrainCancelled",
	},
	{.pattern = NULL},
};
