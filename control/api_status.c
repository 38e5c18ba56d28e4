/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_status.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/admission.h"
#include "control/api.h"
#include "control/api_request.h"
#include "control/apply_announce.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"
#include "control/health.h"
#include "control/object_state.h"
#include "control/privileges.h"
#include "control/rib.h"
#include "control/steer.h"
#include "control/version.h"
#include "control/workspaces_view.h"

enum { TOP_WORKSPACE_COUNT = 10, TOP_DROP_COUNT = 5, ERROR_COUNT_MAX = 20 };

static const char *const port_names[PORT_COUNT] = {"inside", "outside"};

static json_t *strings_json(const struct problems *problems, size_t count_max)
{
	json_t *array = json_array();

	for (size_t i = 0; i < problems->count && i < count_max; i++)
		json_array_append_new(array, json_string(problems->lines[i]));
	return array;
}

json_t *api_address_json(uint32_t address)
{
	return json_sprintf("%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

static json_t *count_json(uint64_t count)
{
	return json_integer((json_int_t)count);
}

static double rate_of(const struct daemon *daemon, uint64_t before, uint64_t now)
{
	if (!daemon->rates.valid || daemon->rates.seconds <= 0 || now < before)
		return 0;
	return (double)(now - before) / daemon->rates.seconds;
}

static const char *source_text(enum daemon_source source)
{
	switch (source) {
	case DAEMON_SOURCE_FILE:
		return "file";
	case DAEMON_SOURCE_LAST_GOOD:
		return "last-good";
	default:
		return "none";
	}
}

static json_t *config_json(const struct daemon *daemon)
{
	const struct daemon_config *config = &daemon->config;

	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:f, s:o}", "path", daemon->config_path, "source",
		source_text(config->source), "valid", config->file_valid, "errors",
		strings_json(&config->errors, ERROR_COUNT_MAX), "error_count",
		count_json(config->errors.count + config->errors.dropped_count), "last_reload_unix_seconds",
		config->last_reload_unix_s, "reload_failures", count_json(config->reload_failures));
}

static json_t *dataplane_json(const struct daemon *daemon)
{
	const struct counters *counters = daemon->counters.counters;
	bool connected = dataplane_client_is_connected(daemon->client);
	double start_unix_s = counters != NULL ? (double)counters->start_unix_ns / 1e9 : 0;
	json_t *json = json_pack("{s:b, s:b, s:i, s:i, s:f, s:f, s:s}", "connected", connected, "up",
		health_dataplane_up(daemon), "pid",
		connected ? (int)dataplane_client_hello(daemon->client)->process_id : 0, "shards",
		connected ? (int)daemon->counters.shard_count : 0, "start_unix_seconds", start_unix_s, "uptime_seconds",
		connected && start_unix_s > 0 ? daemon_unix_s() - start_unix_s : 0.0, "error",
		connected || daemon->client == NULL ? "" : dataplane_client_error(daemon->client));

	json_object_set_new(json, "policy_generation", count_json(counters != NULL ? counters->policy_generation : 0));
	return json;
}

static json_t *policy_json(const struct daemon *daemon)
{
	const struct daemon_apply *apply = &daemon->apply;

	return json_pack("{s:o, s:o, s:b, s:s}", "desired_generation", count_json(apply->desired_generation),
		"acknowledged_generation", count_json(apply->acknowledged_generation), "refused", apply->refused,
		"refusal", apply->refusal_text);
}

static json_t *adjacency_json(const struct daemon *daemon)
{
	const struct rib_summary *summary = rib_get_summary(daemon->rib);

	return json_pack("{s:o, s:i, s:i, s:i, s:i, s:i}", "acknowledged_generation",
		count_json(daemon->apply.adjacency_acknowledged_generation), "routes", (int)summary->route_count,
		"next_hops", (int)summary->next_hop_count, "next_hops_resolved", (int)summary->resolved_count,
		"routes_left_out", (int)summary->left_out_count, "next_hop_groups", (int)summary->group_count);
}

static json_t *announce_json(const struct daemon *daemon)
{
	const struct daemon_announce *announce = &daemon->announce;
	const struct model_gateway *gateway = daemon_gateway(daemon);
	uint32_t table = gateway != NULL && gateway->announce.present ? gateway->announce.table : 0;

	return json_pack("{s:s, s:s, s:f, s:I, s:o, s:o, s:o}", "state", apply_announce_state_text(daemon), "reason",
		announce->reason != NULL ? announce->reason : "", "since_unix_seconds", announce->since_unix_s, "table",
		(json_int_t)table, "desired", count_json(announce->announce.desired_count), "actual",
		count_json(announce->announce.actual_count), "corrections", count_json(announce->announce.corrections));
}

static json_t *mappings_json(const struct daemon *daemon)
{
	const struct revision *desired = daemon->config.desired;
	const size_t *counts = desired->mappings->counts;

	return json_pack("{s:I, s:o, s:o, s:o}", "table", (json_int_t)daemon_gateway(daemon)->mapping_table, "in_use",
		count_json(counts[MAPPING_IN_USE]), "conflict", count_json(counts[MAPPING_CONFLICT]), "invalid",
		count_json(counts[MAPPING_INVALID]));
}

static json_t *port_json(const struct daemon *daemon, unsigned index)
{
	const struct rib_port *port = &rib_get_view(daemon->rib)->ports[index];
	const struct counters_port *before = &daemon->rates.before.ports[index], *now = &daemon->rates.now.ports[index];
	struct counters_total total;
	char driver[INTERFACE_NAME_SIZE_BYTES], mac[18];
	json_t *json;

	counters_view_total(&daemon->counters, &total);
	counters_view_driver(&daemon->counters, index, driver);
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1], port->mac[2],
		port->mac[3], port->mac[4], port->mac[5]);
	json = json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:o, s:i}", "name", port_names[index], "interface",
		port->interface, "driver", driver, "present", port->interface_index != 0, "up", port->up, "mac", mac,
		"address", api_address_json(port->address), "mtu_bytes", (int)port->mtu_bytes);
	json_object_set_new(json, "receive_packets", count_json(total.ports[index].rx_packets));
	json_object_set_new(json, "receive_bytes", count_json(total.ports[index].rx_bytes));
	json_object_set_new(json, "transmit_packets", count_json(total.ports[index].tx_packets));
	json_object_set_new(json, "transmit_bytes", count_json(total.ports[index].tx_bytes));
	json_object_set_new(
		json, "receive_packets_per_second", json_real(rate_of(daemon, before->rx_packets, now->rx_packets)));
	json_object_set_new(
		json, "receive_bits_per_second", json_real(8 * rate_of(daemon, before->rx_bytes, now->rx_bytes)));
	json_object_set_new(
		json, "transmit_packets_per_second", json_real(rate_of(daemon, before->tx_packets, now->tx_packets)));
	json_object_set_new(
		json, "transmit_bits_per_second", json_real(8 * rate_of(daemon, before->tx_bytes, now->tx_bytes)));
	return json;
}

static json_t *sessions_json(const struct daemon *daemon)
{
	const struct counters *counters = daemon->counters.counters;
	struct counters_total total;

	counters_view_total(&daemon->counters, &total);
	return json_pack("{s:o, s:o, s:o, s:f, s:o}", "active", count_json(total.sessions_active), "created",
		count_json(total.sessions_created), "limit",
		count_json(counters != NULL ? counters->sessions_max * daemon->counters.shard_count : 0),
		"created_per_second",
		rate_of(daemon, daemon->rates.before.sessions_created, daemon->rates.now.sessions_created),
		"guard_violations", count_json(total.guard_violations));
}

/* Its ports of the shared pool, the ones in use and the ones that drain. */
static json_t *shared_ports_json(const struct daemon *daemon, const char *workspace)
{
	static const char *const states[] = {"active", "draining"};
	const struct revision *desired = daemon->config.desired;
	const struct shared_pool_range *found;
	json_t *array = json_array();
	size_t count = desired != NULL ? shared_pool_find(&desired->shared_pool, workspace, &found) : 0;

	for (size_t i = 0; i < count; i++) {
		if (found[i].state == SHARED_POOL_QUARANTINE)
			continue;
		json_array_append_new(
			array, json_pack("{s:o, s:i, s:i, s:s}", "address", api_address_json(found[i].address),
				       "port_first", (int)found[i].port_first, "port_last",
				       found[i].port_first + found[i].port_count - 1, "state", states[found[i].state]));
	}
	return array;
}

static json_t *workspace_json(const struct daemon *daemon, const struct workspace_row *row)
{
	json_t *json = json_pack("{s:s, s:b, s:i}", "id", row->id, "configured", row->model != NULL,
		"workers_on_this_host", (int)row->worker_count);
	json_t *egress = json_array(), *draining = json_array();
	char source[SOURCE_TEXT_SIZE_BYTES];

	json_object_set_new(json, "state", object_state_json(daemon, row->id, row->model));
	if (row->model != NULL)
		json_object_set_new(json, "source", json_string(model_source_text(&row->model->source, source)));
	for (size_t i = 0; row->model != NULL && i < row->model->draining_ip_count; i++)
		json_array_append_new(draining, api_address_json(row->model->draining_ips[i]));
	for (size_t i = 0; row->model != NULL && i < row->model->egress_ip_count; i++)
		json_array_append_new(egress, api_address_json(row->model->egress_ips[i]));
	json_object_set_new(json, "egress_ips", egress);
	json_object_set_new(json, "egress_draining", draining);
	json_object_set_new(json, "shared_ports", shared_ports_json(daemon, row->id));
	json_object_set_new(json, "egress_shared", json_boolean(row->model != NULL && row->model->egress_shared));
	json_object_set_new(json, "on_gateway", json_boolean(row->counted));
	json_object_set_new(json, "transmit_packets", count_json(row->counters.out_packets));
	json_object_set_new(json, "transmit_bytes", count_json(row->counters.out_bytes));
	json_object_set_new(json, "receive_packets", count_json(row->counters.in_packets));
	json_object_set_new(json, "receive_bytes", count_json(row->counters.in_bytes));
	json_object_set_new(json, "sessions_active", count_json(row->counters.sessions_active));
	json_object_set_new(json, "sessions_created", count_json(row->counters.sessions_created));
	json_object_set_new(json, "sessions_refused", count_json(row->counters.sessions_refused));
	json_object_set_new(json, "dropped_packets", count_json(row->counters.dropped_packets));
	if (row->classified)
		json_object_set_new(json, "classifier",
			json_pack("{s:o, s:o, s:o, s:o, s:o}", "transmit_packets",
				count_json(row->classifier.out_packets), "transmit_bytes",
				count_json(row->classifier.out_bytes), "receive_packets",
				count_json(row->classifier.in_packets), "receive_bytes",
				count_json(row->classifier.in_bytes), "dropped_packets",
				count_json(row->classifier.dropped_packets)));
	return json;
}

json_t *api_workspaces_json(struct daemon *daemon)
{
	struct workspaces_view view;
	json_t *array;

	if (workspaces_view_read(daemon, &view) != STATUS_OK)
		return NULL;
	array = json_array();
	for (size_t i = 0; i < view.count; i++)
		json_array_append_new(array, workspace_json(daemon, &view.rows[i]));
	workspaces_view_free(&view);
	return json_pack("{s:o}", "workspaces", array);
}

static void status_add_workspaces(struct daemon *daemon, json_t *status)
{
	struct workspaces_view view;
	json_t *array;

	if (workspaces_view_read(daemon, &view) != STATUS_OK)
		return;
	workspaces_view_sort_by_activity(&view);
	array = json_array();
	for (size_t i = 0; i < view.count && i < TOP_WORKSPACE_COUNT; i++)
		json_array_append_new(array, workspace_json(daemon, &view.rows[i]));
	json_object_set_new(status, "workspace_count", json_integer((json_int_t)view.count));
	json_object_set_new(status, "workspaces", array);
	workspaces_view_free(&view);
}

/* ---- drops ---- */

static json_t *drop_json(const struct daemon *daemon, const struct counters_total *total, unsigned reason)
{
	uint64_t packets = 0, before = 0, now = 0;
	json_t *by_port = json_object();

	for (unsigned port = 0; port < PORT_COUNT; port++) {
		packets += total->drops[port][reason];
		before += daemon->rates.before.drops[port][reason];
		now += daemon->rates.now.drops[port][reason];
		json_object_set_new(by_port, port_names[port], count_json(total->drops[port][reason]));
	}
	return json_pack("{s:s, s:o, s:o, s:f, s:s}", "reason", drop_reason_label(reason), "packets",
		count_json(packets), "by_port", by_port, "packets_per_second", rate_of(daemon, before, now), "text",
		drop_reason_text(reason));
}

static uint64_t drop_packets(const struct counters_total *total, unsigned reason)
{
	return total->drops[PORT_INSIDE][reason] + total->drops[PORT_OUTSIDE][reason];
}

static json_t *top_drops_json(const struct daemon *daemon)
{
	struct counters_total total;
	json_t *array = json_array();
	bool taken[DROP_REASON_COUNT] = {false};

	counters_view_total(&daemon->counters, &total);
	for (unsigned i = 0; i < TOP_DROP_COUNT; i++) {
		unsigned best = DROP_NONE;

		for (unsigned reason = DROP_NONE + 1; reason < DROP_REASON_COUNT; reason++) {
			if (!taken[reason] &&
				drop_packets(&total, reason) > (best != DROP_NONE ? drop_packets(&total, best) : 0))
				best = reason;
		}
		if (best == DROP_NONE)
			break;
		taken[best] = true;
		json_array_append_new(array, drop_json(daemon, &total, best));
	}
	return array;
}

static json_t *classifier_drops_json(struct daemon *daemon)
{
	struct classifier_counters counters;
	json_t *array = json_array();

	if (daemon->classifier == NULL || classifier_read(daemon->classifier, &counters) != STATUS_OK)
		return array;
	for (unsigned reason = 0; reason < WORKER_DROP_COUNT; reason++)
		json_array_append_new(
			array, json_pack("{s:s, s:o, s:s}", "reason", classifier_drop_label(reason), "packets",
				       count_json(counters.drops[reason]), "text", classifier_drop_text(reason)));
	return array;
}

static json_t *steering_json(struct daemon *daemon)
{
	static const char *const labels[STEER_COUNTER_COUNT] = {
#define ACTION_LABEL(name, label, text) label,
		STEER_COUNTERS(ACTION_LABEL)
#undef ACTION_LABEL
	};
	static const char *const texts[STEER_COUNTER_COUNT] = {
#define ACTION_TEXT(name, label, text) text,
		STEER_COUNTERS(ACTION_TEXT)
#undef ACTION_TEXT
	};
	const struct model_gateway *gateway = daemon_gateway(daemon);
	json_t *array = json_array();

	for (unsigned port = 0; gateway != NULL && port < PORT_COUNT; port++) {
		uint64_t counters[STEER_COUNTER_COUNT];

		if (steer_read(gateway->ports[port].interface, counters) != STATUS_OK)
			continue;
		for (unsigned action = 0; action < STEER_COUNTER_COUNT; action++)
			json_array_append_new(array,
				json_pack("{s:s, s:s, s:o, s:s}", "port", port_names[port], "action", labels[action],
					"packets", count_json(counters[action]), "text", texts[action]));
	}
	return array;
}

json_t *api_drops_json(struct daemon *daemon)
{
	struct counters_total total;
	json_t *drops = json_array();

	counters_view_total(&daemon->counters, &total);
	/* A mere worker host has no dataplane. */
	for (unsigned reason = DROP_NONE + 1; daemon_gateway(daemon) != NULL && reason < DROP_REASON_COUNT; reason++)
		json_array_append_new(drops, drop_json(daemon, &total, reason));
	return json_pack("{s:o, s:o, s:o}", "dataplane", drops, "classifier", classifier_drops_json(daemon), "steering",
		steering_json(daemon));
}

/* ---- status ---- */

static json_t *worker_host_json(const struct daemon *daemon)
{
	const struct model_worker_host *host = daemon_worker_host(daemon);
	struct admission_totals totals;

	if (host == NULL)
		return json_null();
	admission_count(daemon->admission, &totals);
	return json_pack("{s:o, s:i, s:i, s:i, s:s, s:b}", "vtep", api_address_json(host->vtep), "workers",
		(int)worker_registry_count(admission_registry(daemon->admission)), "workers_open",
		(int)totals.of_state[WORKER_OPEN], "workers_without_interface",
		(int)totals.of_state[WORKER_NO_INTERFACE], "device", host->device, "applied",
		daemon->apply.classifier_done);
}

static json_t *privileges_json(void)
{
	char text[PRIVILEGES_TEXT_SIZE_BYTES];

	privileges_describe(text);
	return json_pack("{s:i, s:s}", "uid", (int)geteuid(), "capabilities", text);
}

json_t *api_status_json(struct daemon *daemon)
{
	struct health health;
	json_t *json;

	health_check(daemon, &health);
	json = json_pack("{s:s, s:o, s:o, s:b, s:s, s:i, s:f, s:o}", "state",
		health.reasons.count == 0 ? "ok" : "degraded", "reasons", strings_json(&health.reasons, PROBLEMS_MAX),
		"notes", strings_json(&health.notes, ERROR_COUNT_MAX), "ready", health.ready, "version",
		POSTERN_VERSION, "pid", (int)getpid(), "uptime_seconds", daemon_unix_s() - daemon->start_unix_s,
		"config", config_json(daemon));
	health_clear(&health);
	if (json == NULL)
		return NULL;
	if (daemon_gateway(daemon) != NULL) {
		json_t *ports = json_array();

		json_object_set_new(json, "dataplane", dataplane_json(daemon));
		json_object_set_new(json, "policy", policy_json(daemon));
		json_object_set_new(json, "adjacency", adjacency_json(daemon));
		json_object_set_new(json, "announce", announce_json(daemon));
		if (daemon->config.desired->mappings != NULL)
			json_object_set_new(json, "mappings", mappings_json(daemon));
		for (unsigned port = 0; port < PORT_COUNT; port++)
			json_array_append_new(ports, port_json(daemon, port));
		json_object_set_new(json, "ports", ports);
		json_object_set_new(json, "sessions", sessions_json(daemon));
		json_object_set_new(json, "top_drops", top_drops_json(daemon));
	}
	json_object_set_new(json, "worker_host", worker_host_json(daemon));
	json_object_set_new(json, "privileges", privileges_json());
	if (daemon->listeners.metrics_port != 0)
		json_object_set_new(json, "metrics",
			json_sprintf("%s://%s:%u/metrics", daemon->listeners.metrics_with_tls ? "https" : "http",
				daemon->listeners.metrics_address, daemon->listeners.metrics_port));
	status_add_workspaces(daemon, json);
	return json;
}

/* ---- routes ---- */

static void serve_status(struct daemon *daemon, struct api_request *request)
{
	api_answer(request, 200, api_status_json(daemon));
}

static void serve_drops(struct daemon *daemon, struct api_request *request)
{
	api_answer(request, 200, api_drops_json(daemon));
}

const struct api_route api_status_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/status",
		.permission = API_READ,
		.serve = serve_status,
		.summary = "State, reasons, dataplane, policy, ports, top drops and workspaces.",
		.answer_schema = "Status",
	},
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/drops",
		.permission = API_READ,
		.serve = serve_drops,
		.summary = "Every reason why packets are dropped, with count, rate and explanation.",
		.answer_schema = "Drops",
	},
	{.pattern = NULL},
};
