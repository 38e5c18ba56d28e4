/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/gateways, POST /v1/gateways/{address}/down and /up. */
#include "control/api.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/apply_host.h"
#include "control/daemon.h"
#include "control/gateways.h"
#include "control/scalar.h"

static const char *state_text(const struct gateways_row *row)
{
	if (row->operator_down)
		return "down by an operator";
	if (row->silent)
		return row->up ? "used, since none answers" : "down, does not answer";
	return "up";
}

static json_t *gateway_json(const struct gateways_row *row)
{
	return json_pack("{s:o, s:b, s:s, s:b, s:b, s:I}", "address", api_address_json(row->address), "up", row->up,
		"state", state_text(row), "operator_down", row->operator_down, "probed", row->probed, "changes",
		(json_int_t)row->changes);
}

static void serve_gateways(struct daemon *daemon, struct api_request *request)
{
	json_t *array = json_array();

	for (size_t i = 0; i < gateways_count(daemon->gateways); i++) {
		struct gateways_row row = gateways_get(daemon->gateways, i);

		json_array_append_new(array, gateway_json(&row));
	}
	api_answer(request, 200, json_pack("{s:o}", "gateways", array));
}

static bool is_operator_down(const struct daemon *daemon, uint32_t address)
{
	for (size_t i = 0; i < gateways_count(daemon->gateways); i++) {
		struct gateways_row row = gateways_get(daemon->gateways, i);

		if (row.address == address)
			return row.operator_down;
	}
	return false;
}

static void set_gateway(struct daemon *daemon, struct api_request *request, bool down)
{
	struct problems problems = {0};
	enum status status;
	uint32_t address;
	bool was_down;

	if (scalar_parse_ipv4(request->parameters[0], &address) != NULL) {
		api_answer_error(
			request, 400, "%s: must be an IPv4 address such as 10.100.0.1", request->parameters[0]);
		return;
	}
	was_down = is_operator_down(daemon, address);
	status = gateways_operator(daemon->gateways, address, down, &problems);
	/* It is so now, also when that could not be stored. */
	if (status != STATUS_INVALID && was_down != down)
		api_request_audit(request, json_pack("{s:b}", "operator_down", was_down),
			json_pack("{s:b}", "operator_down", down));
	if (status != STATUS_INVALID)
		apply_host_gateways(daemon);
	if (status != STATUS_OK)
		api_answer_error(request, status == STATUS_INVALID ? 404 : 503, "%s",
			problems.count > 0 ? problems.lines[0] : "posternd is out of memory");
	else
		serve_gateways(daemon, request);
	problems_clear(&problems);
}

static void serve_down(struct daemon *daemon, struct api_request *request)
{
	set_gateway(daemon, request, true);
}

static void serve_up(struct daemon *daemon, struct api_request *request)
{
	set_gateway(daemon, request, false);
}

const struct api_route api_gateways_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/gateways",
		.permission = API_READ,
		.serve = serve_gateways,
		.summary = "The gateways of this worker host, and which of them are up.",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/gateways/{address}/down",
		.permission = API_OPERATE,
		.serve = serve_down,
		.summary = "Workspaces that use this gateway move to another one, until it is taken up again.",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/gateways/{address}/up",
		.permission = API_OPERATE,
		.serve = serve_up,
		.summary = "The gateway is used again.",
	},
	{.pattern = NULL},
};
