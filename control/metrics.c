/* SPDX-License-Identifier: Apache-2.0 */
#include "control/metrics.h"

#include <dirent.h>
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "control/admission.h"
#include "control/api_request.h"
#include "control/audit.h"
#include "control/daemon.h"
#include "control/gateways.h"
#include "control/health.h"
#include "control/metrics_text.h"
#include "control/metrics_workers.h"
#include "control/rib.h"
#include "control/scalar.h"
#include "control/state.h"
#include "control/steer.h"
#include "control/tls.h"
#include "control/version.h"
#include "control/workspaces_view.h"

enum { LABELS_SIZE_BYTES = 2 * ID_SIZE_BYTES + 32 };

static const char *const port_names[PORT_COUNT] = {"inside", "outside"};

/* A family of one sample without labels. */
static void single(struct metrics_text *text, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_family(text, name, type, help);
	metrics_sample(text, name, NULL, value);
}

static void single_real(struct metrics_text *text, const char *name, const char *type, const char *help, double value)
{
	metrics_family(text, name, type, help);
	metrics_sample_real(text, name, NULL, value);
}

/* ---- the daemon ---- */

static void write_config(const struct daemon *daemon, struct metrics_text *text)
{
	const struct daemon_apply *apply = &daemon->apply;

	metrics_family(text, "postern_build_info", "gauge", "Always 1; the version is in the label.");
	metrics_sample(text, "postern_build_info", "version=\"" POSTERN_VERSION "\"", 1);
	single(text, "postern_config_valid", "gauge", "Whether the configuration file is valid as it is now.",
		daemon->config.file_valid);
	single_real(text, "postern_config_last_reload_timestamp_seconds", "gauge",
		"When a configuration was last taken over, in seconds since 1970.", daemon->config.last_reload_unix_s);
	single(text, "postern_config_reload_failures_total", "counter",
		"Reloads that changed nothing because the file was not valid.", daemon->config.reload_failures);
	if (daemon->listeners.tls != NULL && tls_expiry_unix_s(daemon->listeners.tls) > 0)
		single_real(text, "postern_api_certificate_expiry_timestamp_seconds", "gauge",
			"When the certificate of the API and the metrics expires, in seconds since 1970.",
			tls_expiry_unix_s(daemon->listeners.tls));
	metrics_family(text, "postern_api_trust_stale_seconds", "gauge",
		"How long client certificates or tokens have been judged by an older file than the configured one, "
		"which can "
		"not be used.");
	metrics_sample_real(text, "postern_api_trust_stale_seconds", "file=\"client_ca\"",
		listeners_stale_s(daemon, TRUST_CLIENT_CA));
	metrics_sample_real(
		text, "postern_api_trust_stale_seconds", "file=\"jwks\"", listeners_stale_s(daemon, TRUST_TOKEN_KEYS));
	if (daemon->audit != NULL)
		single(text, "postern_audit_failures_total", "counter",
			"Changes that are missing in the audit log because it could not be written.",
			audit_failure_count(daemon->audit));
	metrics_family(text, "postern_policy_generation", "gauge", "Generation of the policy, wanted and in force.");
	metrics_sample(text, "postern_policy_generation", "state=\"desired\"", apply->desired_generation);
	metrics_sample(text, "postern_policy_generation", "state=\"acknowledged\"", apply->acknowledged_generation);
	metrics_family(text, "postern_announced_routes", "gauge",
		"Egress IPs as routes of the kernel for routing daemons, wanted now and there.");
	metrics_sample(text, "postern_announced_routes", "state=\"desired\"", daemon->announce.announce.desired_count);
	metrics_sample(text, "postern_announced_routes", "state=\"actual\"", daemon->announce.announce.actual_count);
	single(text, "postern_announced_routes_corrections_total", "counter",
		"Announcements that somebody else had removed or added, and that were put right.",
		daemon->announce.announce.corrections);
	if (daemon->config.desired != NULL && daemon->config.desired->mappings != NULL) {
		metrics_family(text, "postern_mapping_routes", "gauge",
			"Routes of the kernel's mapping table: in use, in conflict with the files, or without a "
			"meaning.");
		for (unsigned state = 0; state < MAPPING_STATE_COUNT; state++) {
			char labels[LABELS_SIZE_BYTES];

			snprintf(labels, sizeof(labels), "state=\"%s\"", mapping_state_text(state));
			metrics_sample(text, "postern_mapping_routes", labels,
				daemon->config.desired->mappings->counts[state]);
		}
	}
	single(text, "postern_netlink_resyncs_total", "counter",
		"Times that the kernel's tables had to be read again as a whole.",
		rib_resync_count(daemon->rib) + daemon->announce.announce.resyncs + daemon->mappings.resyncs +
			daemon->mappings.sources.resyncs);
	single(text, "postern_reconcile_errors_total", "counter",
		"Attempts to bring the dataplane, the classifier or the kernel in line that failed.",
		apply->reconcile_errors + rib_error_count(daemon->rib));
}

static uint64_t resident_bytes(void)
{
	unsigned long long total = 0, resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file == NULL)
		return 0;
	if (fscanf(file, "%llu %llu", &total, &resident) != 2)
		resident = 0;
	fclose(file);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	if (directory == NULL)
		return 0;
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count > 3 ? count - 3 : 0; /* ".", "..", and the directory itself */
}

static void write_process(const struct daemon *daemon, struct metrics_text *text)
{
	struct rusage usage;

	single_real(text, "process_start_time_seconds", "gauge", "Start of posternd, in seconds since 1970.",
		daemon->start_unix_s);
	single(text, "process_resident_memory_bytes", "gauge", "Resident memory of posternd.", resident_bytes());
	single(text, "process_open_fds", "gauge", "Open file descriptors of posternd.", open_fds());
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		single_real(text, "process_cpu_seconds_total", "counter", "CPU time of posternd, user and system.",
			(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

/* ---- the dataplane ---- */

static void write_ports(const struct counters_total *total, struct metrics_text *text)
{
	static const struct {
		const char *name, *help;
		size_t offset_bytes;
	} families[] = {
		{"postern_port_receive_packets_total", "Packets received by the port.",
			offsetof(struct counters_port, rx_packets)},
		{"postern_port_receive_bytes_total", "Bytes received by the port.",
			offsetof(struct counters_port, rx_bytes)},
		{"postern_port_transmit_packets_total", "Packets sent by the port.",
			offsetof(struct counters_port, tx_packets)},
		{"postern_port_transmit_bytes_total", "Bytes sent by the port.",
			offsetof(struct counters_port, tx_bytes)},
	};

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		metrics_family(text, families[i].name, "counter", families[i].help);
		for (unsigned port = 0; port < PORT_COUNT; port++) {
			char labels[LABELS_SIZE_BYTES];
			uint64_t value;

			memcpy(&value, (const char *)&total->ports[port] + families[i].offset_bytes, sizeof(value));
			snprintf(labels, sizeof(labels), "port=\"%s\"", port_names[port]);
			metrics_sample(text, families[i].name, labels, value);
		}
	}
	metrics_family(text, "postern_port_missed_packets_total", "counter",
		"Packets that the port's driver lost before the dataplane saw them.");
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		char labels[LABELS_SIZE_BYTES];

		snprintf(labels, sizeof(labels), "port=\"%s\"", port_names[port]);
		metrics_sample(text, "postern_port_missed_packets_total", labels, total->missed[port]);
	}
}

static void write_drops(const struct counters_total *total, struct metrics_text *text)
{
	metrics_family(text, "postern_drops_total", "counter",
		"Packets dropped by the dataplane, by the port they came in by and the reason.");
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		for (unsigned reason = DROP_NONE + 1; reason < DROP_REASON_COUNT; reason++) {
			char labels[LABELS_SIZE_BYTES];

			snprintf(labels, sizeof(labels), "port=\"%s\",reason=\"%s\"", port_names[port],
				drop_reason_label(reason));
			metrics_sample(text, "postern_drops_total", labels, total->drops[port][reason]);
		}
	}
}

static void write_dataplane(const struct daemon *daemon, struct metrics_text *text)
{
	const struct counters *counters = daemon->counters.counters;
	struct counters_total total;

	counters_view_total(&daemon->counters, &total);
	single(text, "postern_dataplane_up", "gauge",
		"Whether postern-dataplane is connected and its control thread alive.", health_dataplane_up(daemon));
	single_real(text, "postern_dataplane_start_time_seconds", "gauge",
		"Start of postern-dataplane, in seconds since 1970; 0 when it was never seen.",
		counters != NULL ? (double)counters->start_unix_ns / 1e9 : 0);
	single(text, "postern_dataplane_policy_generation", "gauge",
		"Generation that postern-dataplane says is in force; 0 when none is.",
		counters != NULL ? counters->policy_generation : 0);
	write_ports(&total, text);
	write_drops(&total, text);
	single(text, "postern_sessions_active", "gauge", "Sessions in the table.", total.sessions_active);
	single(text, "postern_sessions_limit", "gauge", "Sessions that the table has room for.",
		counters != NULL ? counters->sessions_max * daemon->counters.shard_count : 0);
	single(text, "postern_sessions_created_total", "counter", "Sessions created.", total.sessions_created);
	single(text, "postern_sessions_expired_total", "counter", "Sessions ended by their timer.",
		total.sessions_expired);
	single(text, "postern_sessions_closed_total", "counter", "Sessions ended by TCP close.", total.sessions_closed);
	single(text, "postern_sessions_stale_total", "counter",
		"Sessions ended because their worker, VPC or egress IP has gone.", total.sessions_stale);
	single(text, "postern_packets_generated_total", "counter",
		"Packets made by the gateway: ICMP errors, resets, further fragments.", total.generated);
	single(text, "postern_packets_handed_over_total", "counter",
		"Packets that came to one shard and were passed to the one that owns them.", total.handed_over);
	single(text, "postern_packets_absorbed_total", "counter", "Packets that ended here by design.", total.absorbed);
	single(text, "postern_packets_held", "gauge",
		"Packets kept for later, such as fragments waiting for their first.", total.held);
	single(text, "postern_loops_total", "counter", "Iterations of the dataplane's loops.", total.loops);
	single(text, "postern_busy_loops_total", "counter", "Iterations that had packets.", total.busy_loops);
	single(text, "postern_isolation_guard_violations_total", "counter",
		"Packets stopped by the isolation guard; must stay 0.", total.guard_violations);
}

/* ---- workspaces ---- */

struct workspace_family {
	const char *name, *type, *help;
	size_t offset_bytes;
};

static const struct workspace_family workspace_families[] = {
	{"postern_workspace_transmit_packets_total", "counter", "Packets of the workspace translated outbound.",
		offsetof(struct counters_workspace, out_packets)},
	{"postern_workspace_transmit_bytes_total", "counter",
		"Bytes of the workspace translated outbound (inner IP length).",
		offsetof(struct counters_workspace, out_bytes)},
	{"postern_workspace_receive_packets_total", "counter", "Packets to the workspace translated inbound.",
		offsetof(struct counters_workspace, in_packets)},
	{"postern_workspace_receive_bytes_total", "counter",
		"Bytes to the workspace translated inbound (inner IP length).",
		offsetof(struct counters_workspace, in_bytes)},
	{"postern_workspace_sessions_active", "gauge", "Sessions of the workspace in the table.",
		offsetof(struct counters_workspace, sessions_active)},
	{"postern_workspace_sessions_created_total", "counter", "Sessions created for the workspace.",
		offsetof(struct counters_workspace, sessions_created)},
	{"postern_workspace_sessions_refused_total", "counter", "Sessions refused to the workspace.",
		offsetof(struct counters_workspace, sessions_refused)},
	{"postern_workspace_dropped_packets_total", "counter", "Packets of the workspace dropped.",
		offsetof(struct counters_workspace, dropped_packets)},
};

static const struct workspace_family classifier_families[] = {
	{"postern_classifier_workspace_transmit_packets_total", "counter",
		"Packets that the workspace's workers on this host sent towards the gateway.",
		offsetof(struct workspace_traffic, out_packets)},
	{"postern_classifier_workspace_transmit_bytes_total", "counter",
		"Bytes that the workspace's workers on this host sent towards the gateway.",
		offsetof(struct workspace_traffic, out_bytes)},
	{"postern_classifier_workspace_receive_packets_total", "counter",
		"Packets delivered to the workspace's workers on this host.",
		offsetof(struct workspace_traffic, in_packets)},
	{"postern_classifier_workspace_receive_bytes_total", "counter",
		"Bytes delivered to the workspace's workers on this host.",
		offsetof(struct workspace_traffic, in_bytes)},
	{"postern_classifier_workspace_dropped_packets_total", "counter",
		"Packets of the workspace's workers dropped on this host.",
		offsetof(struct workspace_traffic, dropped_packets)},
};

static void write_workspaces(const struct workspaces_view *view, struct metrics_text *text)
{
	char escaped[2 * ID_SIZE_BYTES], labels[LABELS_SIZE_BYTES];

	for (size_t i = 0; i < sizeof(workspace_families) / sizeof(workspace_families[0]); i++) {
		const struct workspace_family *family = &workspace_families[i];

		metrics_family(text, family->name, family->type, family->help);
		for (size_t j = 0; j < view->count; j++) {
			const struct workspace_row *row = &view->rows[j];
			uint64_t value;

			if (!row->counted)
				continue;
			memcpy(&value, (const char *)&row->counters + family->offset_bytes, sizeof(value));
			metrics_escape(row->id, escaped);
			snprintf(labels, sizeof(labels), "workspace=\"%s\"", escaped);
			metrics_sample(text, family->name, labels, value);
		}
	}
}

/* Only what has happened: most workspaces never see most reasons. */
static void write_workspace_drops(struct daemon *daemon, const struct workspaces_view *view, struct metrics_text *text)
{
	char escaped[2 * ID_SIZE_BYTES], labels[LABELS_SIZE_BYTES];

	metrics_family(text, "postern_classifier_workspace_drops_total", "counter",
		"Packets of the workspace's workers dropped on this host, by reason.");
	for (size_t i = 0; i < view->count; i++) {
		const struct workspace_row *row = &view->rows[i];
		struct classifier_counters counters;
		uint32_t index;

		if (!row->classified || !state_find_workspace_index(daemon->state, row->id, &index) ||
			classifier_read_workspace_drops(daemon->classifier, index, &counters) != STATUS_OK)
			continue;
		metrics_escape(row->id, escaped);
		for (unsigned reason = 0; reason < WORKER_DROP_COUNT; reason++) {
			if (counters.drops[reason] == 0)
				continue;
			snprintf(labels, sizeof(labels), "workspace=\"%s\",reason=\"%s\"", escaped,
				classifier_drop_label(reason));
			metrics_sample(
				text, "postern_classifier_workspace_drops_total", labels, counters.drops[reason]);
		}
	}
}

static void write_gateways(const struct daemon *daemon, struct metrics_text *text)
{
	char address[SCALAR_SIZE_BYTES], labels[LABELS_SIZE_BYTES];

	metrics_family(text, "postern_worker_host_gateway_up", "gauge", "Whether this worker host uses the gateway.");
	for (size_t i = 0; i < gateways_count(daemon->gateways); i++) {
		struct gateways_row row = gateways_get(daemon->gateways, i);

		scalar_format_ipv4(row.address, address);
		snprintf(labels, sizeof(labels), "gateway=\"%.15s\"", address);
		metrics_sample(text, "postern_worker_host_gateway_up", labels, row.up);
	}
}

static void write_classifier(struct daemon *daemon, const struct workspaces_view *view, struct metrics_text *text)
{
	struct classifier_counters counters = {0};
	struct admission_totals totals;
	char escaped[2 * ID_SIZE_BYTES], labels[LABELS_SIZE_BYTES];

	if (daemon_worker_host(daemon) == NULL)
		return;
	if (daemon->classifier != NULL && classifier_read(daemon->classifier, &counters) != STATUS_OK)
		memset(&counters, 0, sizeof(counters));
	metrics_family(
		text, "postern_classifier_drops_total", "counter", "Packets dropped on this worker host, by reason.");
	for (unsigned reason = 0; reason < WORKER_DROP_COUNT; reason++) {
		snprintf(labels, sizeof(labels), "reason=\"%s\"", classifier_drop_label(reason));
		metrics_sample(text, "postern_classifier_drops_total", labels, counters.drops[reason]);
	}
	write_workspace_drops(daemon, view, text);
	write_gateways(daemon, text);
	admission_count(daemon->admission, &totals);
	single(text, "postern_classifier_workers_missing", "gauge", "Wanted workers whose interface is not there.",
		totals.of_state[WORKER_NO_INTERFACE]);
	for (size_t i = 0; i < sizeof(classifier_families) / sizeof(classifier_families[0]); i++) {
		const struct workspace_family *family = &classifier_families[i];

		metrics_family(text, family->name, family->type, family->help);
		for (size_t j = 0; j < view->count; j++) {
			const struct workspace_row *row = &view->rows[j];
			uint64_t value;

			if (!row->classified)
				continue;
			memcpy(&value, (const char *)&row->classifier + family->offset_bytes, sizeof(value));
			metrics_escape(row->id, escaped);
			snprintf(labels, sizeof(labels), "workspace=\"%s\"", escaped);
			metrics_sample(text, family->name, labels, value);
		}
	}
}

static void write_steering(const struct daemon *daemon, struct metrics_text *text)
{
	static const char *const actions[STEER_COUNTER_COUNT] = {
#define ACTION_LABEL(name, label, text) label,
		STEER_COUNTERS(ACTION_LABEL)
#undef ACTION_LABEL
	};
	const struct model_gateway *gateway = daemon_gateway(daemon);
	uint64_t counters[PORT_COUNT][STEER_COUNTER_COUNT];
	bool read[PORT_COUNT] = {false};

	for (unsigned port = 0; gateway != NULL && port < PORT_COUNT; port++)
		read[port] = steer_read(gateway->ports[port].interface, counters[port]) == STATUS_OK;
	if (!read[PORT_INSIDE] && !read[PORT_OUTSIDE])
		return;
	metrics_family(text, "postern_steer_packets_total", "counter",
		"Packets seen by the steering program of a gateway port, by what became of them.");
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		for (unsigned action = 0; read[port] && action < STEER_COUNTER_COUNT; action++) {
			char labels[LABELS_SIZE_BYTES];

			snprintf(
				labels, sizeof(labels), "port=\"%s\",action=\"%s\"", port_names[port], actions[action]);
			metrics_sample(text, "postern_steer_packets_total", labels, counters[port][action]);
		}
	}
}

static void free_bytes(const void *bytes, size_t length_bytes, void *context)
{
	free((void *)bytes);
}

enum status metrics_write(struct daemon *daemon, struct evbuffer *body)
{
	struct metrics_text text = {0};
	struct workspaces_view view;

	if (workspaces_view_read(daemon, &view) != STATUS_OK)
		return STATUS_NO_MEMORY;
	write_config(daemon, &text);
	write_dataplane(daemon, &text);
	write_workspaces(&view, &text);
	write_classifier(daemon, &view, &text);
	metrics_workers_write(daemon, &text);
	write_steering(daemon, &text);
	write_process(daemon, &text);
	workspaces_view_free(&view);
	if (text.failed || evbuffer_add_reference(body, text.bytes, text.length_bytes, free_bytes, NULL) != 0) {
		free(text.bytes);
		return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

/* ---- routes ---- */

static const char plain_text[] = "text/plain; charset=utf-8";

static void serve_metrics(struct daemon *daemon, struct api_request *request)
{
	struct evbuffer *body = evbuffer_new();

	if (body == NULL || metrics_write(daemon, body) != STATUS_OK)
		api_answer_error(request, 503, "posternd is out of memory");
	else
		api_answer_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", body);
	if (body != NULL)
		evbuffer_free(body);
}

static void serve_healthz(struct daemon *daemon, struct api_request *request)
{
	struct evbuffer *body = evbuffer_new();

	if (body != NULL)
		evbuffer_add_printf(body, "ok\n");
	api_answer_text(request, body != NULL ? 200 : 503, plain_text, body);
	if (body != NULL)
		evbuffer_free(body);
}

static void serve_readyz(struct daemon *daemon, struct api_request *request)
{
	struct evbuffer *body = evbuffer_new();
	struct health health;

	health_check(daemon, &health);
	if (body != NULL && health.ready)
		evbuffer_add_printf(body, "ready\n");
	for (size_t i = 0; body != NULL && !health.ready && i < health.reasons.count; i++)
		evbuffer_add_printf(body, "%s\n", health.reasons.lines[i]);
	api_answer_text(request, body != NULL && health.ready ? 200 : 503, plain_text, body);
	if (body != NULL)
		evbuffer_free(body);
	health_clear(&health);
}

static const struct api_route routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/metrics",
		.permission = API_READ,
		.serve = serve_metrics,
		.summary = "The metrics, in the text format of Prometheus.",
	},
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/healthz",
		.permission = API_PUBLIC,
		.serve = serve_healthz,
		.summary = "200 while posternd runs.",
	},
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/readyz",
		.permission = API_PUBLIC,
		.serve = serve_readyz,
		.summary = "200 when traffic can flow by the configuration that is wanted; else 503 and the reasons.",
	},
	{.pattern = NULL},
};

static const struct api_route *const tables[] = {routes};

const struct api_routes metrics_routes = {.tables = tables, .count = 1};
