/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of the mapping table, and what became of each: control/mapping.h. */
#include "control/api_request.h"
#include "control/api_route.h"
#include "control/api_status.h"
#include "control/daemon.h"
#include "control/scalar.h"

static json_t *mapping_json(const struct mapping *mapping)
{
	char prefix[SCALAR_SIZE_BYTES];

	scalar_format_cidr(mapping->address, mapping->prefix_length_bits, prefix);
	return json_pack("{s:s, s:o, s:I, s:I, s:s, s:s, s:s, s:s}", "prefix", prefix, "egress_ip",
		api_address_json(mapping->egress_ip), "realm", (json_int_t)mapping->realm, "metric",
		(json_int_t)mapping->metric, "state", mapping_state_text(mapping->state), "workspace",
		mapping->workspace, "vpc", mapping->vpc, "reason", mapping->why);
}

static void serve_mappings(struct daemon *daemon, struct api_request *request)
{
	const struct revision *desired = daemon->config.desired;
	const struct model_gateway *gateway = daemon_gateway(daemon);
	json_t *array = json_array();

	for (size_t i = 0; desired != NULL && desired->mappings != NULL && i < desired->mappings->count; i++)
		json_array_append_new(array, mapping_json(&desired->mappings->entries[i]));
	api_answer(request, 200,
		json_pack("{s:I, s:o}", "table", gateway != NULL ? (json_int_t)gateway->mapping_table : (json_int_t)0,
			"mappings", array));
}

const struct api_route api_mappings_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/mappings",
		.permission = API_READ,
		.serve = serve_mappings,
		.summary = "The routes of the kernel's mapping table, and why one is not in use.",
		.answer_schema = "Mappings",
	},
	{.pattern = NULL},
};
