/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The field table from the file's own keys on; control/fields_table.h names the files of the longer sections. How to
 * read a line of it: struct field in control/fields.h.
 */
#include "control/fields_table.h"

static const struct field metrics_fields[] = {
	{.key = "listen",
		.type = FIELD_LISTEN,
		.default_text = "off",
		VALUE(struct model, metrics_address),
		.second_offset = offsetof(struct model, metrics_port),
		.doc = "Where Prometheus finds the metrics, over HTTP."},
	{.key = "per_worker",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_PER_WORKER,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether there are metrics of each worker too. They are as many as workers come and go."},
	{.key = "tls",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_TLS,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether they are served over HTTPS, with api.certificate."},
	{.key = "auth",
		.type = FIELD_BOOL,
		.bit = MODEL_METRICS_AUTH,
		.default_text = "false",
		VALUE(struct model, metrics_flags),
		.doc = "Whether who scrapes must have the role read, by certificate or token as at the API. Takes tls. "
		       "/healthz and /readyz stay open."},
};
SECTION(metrics_section, "metrics", metrics_fields, struct model, FIELD_NOWHERE, "The metrics endpoint.");

static const struct field shared_pool_fields[] = {
	{.key = "ips",
		.type = FIELD_IPV4,
		RANGE(0, EGRESS_IP_COUNT_MAX),
		.default_text = "",
		LIST(struct model, shared_pool_ips, shared_pool_ip_count),
		.doc = "Public addresses of the pool. An address that is removed here is cut off at once."},
	{.key = "ports_per_workspace",
		.type = FIELD_INTEGER,
		RANGE(POLICY_PORT_BLOCK, 64512),
		.multiple_of = POLICY_PORT_BLOCK,
		.default_text = "4096",
		VALUE(struct model, shared_pool_ports),
		.doc = "Ports of each workspace, on one of the addresses; an address serves 64512 of them. A workspace "
		       "that has a range already moves to one of the new size, as far as there is room; the old one "
		       "drains."},
	{.key = "linger",
		.type = FIELD_DURATION,
		RANGE(0, FIELD_TIMER_MAX_S),
		.default_text = "1d",
		VALUE(struct model, shared_pool_linger_s),
		.doc = "How long a workspace that now has IPs of its own keeps its old range for the sessions that it "
		       "has there. Nobody else gets the range in that time and for 5 minutes after."},
};
SECTION(shared_pool_section, "shared_pool", shared_pool_fields, struct model, FIELD_NOWHERE,
	"Egress IPs for the workspaces that say egress: shared. Each gets a range of ports that no other has, and "
	"keeps it "
	"over reloads and restarts.");

static const struct field change_limit_fields[] = {
	{.key = "removed_workspaces",
		.type = FIELD_INTEGER,
		RANGE(0, 100),
		.default_text = "50",
		VALUE(struct model, removed_workspaces_percent_max),
		.doc = "Per cent of the workspaces that one change may remove without --force; the configuration "
		       "before the "
		       "change decides. 100 allows everything."},
};
SECTION(change_limits_section, "change_limits", change_limit_fields, struct model, FIELD_NOWHERE,
	"What one change of the files may do without --force.");

static const struct field file_fields[] = {
	{.key = "version",
		.type = FIELD_INTEGER,
		RANGE(1, 1),
		VALUE(struct model, version),
		.doc = "The version of this layout, 1."},
	{.key = "include",
		.type = FIELD_PATTERN,
		RANGE(0, CONFIG_INCLUDE_COUNT_MAX),
		.default_text = "",
		LIST(struct model, includes, include_count),
		.input_only = true,
		.doc = "Further files, such as conf.d/*.yaml, read in the order of their names; a relative path starts "
		       "at this file's directory. Each has workspaces and worker_host.workers alone, and at most 4 "
		       "MiB. "
		       "Their directories must exist, and are watched."},
	{.key = "gateway",
		.type = FIELD_MAP,
		.section = &fields_gateway,
		.default_text = "",
		VALUE_OPTIONAL(struct model, gateway, gateway.present),
		.doc = "The translating side. At least one of gateway and worker_host must be there."},
	{.key = "api", MAP_INLINE(fields_api), .default_text = "", .doc = "The API beyond the Unix socket."},
	{.key = "metrics", MAP_INLINE(metrics_section), .default_text = "", .doc = "The metrics endpoint."},
	{.key = "change_limits",
		MAP_INLINE(change_limits_section),
		.default_text = "",
		.doc = "What one change may do."},
	{.key = "shared_pool", MAP_INLINE(shared_pool_section), .default_text = "", .doc = "The shared egress IPs."},
	{.key = "workspaces",
		.type = FIELD_MAP,
		.section = &fields_workspace,
		RANGE(0, WORKSPACE_COUNT_MAX),
		LIST(struct model, workspaces, workspace_count),
		.objects = true,
		.doc = "The tenants. Required, so that a key left out by accident does not remove them all; [] means "
		       "none."},
	{.key = "worker_host",
		.type = FIELD_MAP,
		.section = &fields_worker_host,
		.default_text = "",
		VALUE_OPTIONAL(struct model, worker_host, worker_host.present),
		.doc = "The side that runs workers."},
};

EXTERN_SECTION(fields_file, "", file_fields, struct model, FIELD_NOWHERE, "The file as a whole.");
