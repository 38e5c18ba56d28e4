/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api.h"

static const struct api_route *const tables[] = {
	api_status_routes,
	api_sessions_routes,
	api_refusals_routes,
	api_config_routes,
	api_workspaces_routes,
	api_egress_routes,
	api_gateways_routes,
	api_hosts_routes,
	api_mappings_routes,
	api_workers_routes,
	api_monitor_routes,
	api_drains_routes,
	api_apply_routes,
};

const struct api_routes api_routes = {.tables = tables, .count = sizeof(tables) / sizeof(tables[0])};
