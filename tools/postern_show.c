/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/postern_show.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "tools/postern_table.h"

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "";
}

static json_int_t count_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static double real_of(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static bool truth_of(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* "203.0.113.200:1024-5119", of the shared pool. */
static void show_shared_ports(const json_t *workspace, char *ret_text, size_t size_bytes)
{
	const json_t *range = json_array_get(json_object_get(workspace, "shared_ports"), 0);

	if (range == NULL)
		snprintf(ret_text, size_bytes, "shared");
	else
		snprintf(ret_text, size_bytes, "%s:%lld-%lld", text_of(range, "address"),
			(long long)count_of(range, "port_first"), (long long)count_of(range, "port_last"));
}

/* "203.0.113.10, 203.0.113.11" and how many more. */
static void join_addresses(const json_t *workspace, char *ret_text, size_t size_bytes)
{
	const json_t *addresses = json_object_get(workspace, "egress_ips");
	size_t count = json_array_size(addresses), at = 0;

	ret_text[0] = '\0';
	if (truth_of(workspace, "egress_shared")) {
		show_shared_ports(workspace, ret_text, size_bytes);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const char *address = json_string_value(json_array_get(addresses, i));

		if (i == 2 && count > 3) {
			snprintf(ret_text + at, size_bytes - at, " +%zu", count - i);
			return;
		}
		at += (size_t)snprintf(
			ret_text + at, size_bytes - at, "%s%s", i > 0 ? ", " : "", address != NULL ? address : "");
		if (at >= size_bytes)
			return;
	}
}

/* ---- status ---- */

static void show_lines(const json_t *lines, const char *bullet, FILE *stream)
{
	for (size_t i = 0; i < json_array_size(lines); i++) {
		const char *line = json_string_value(json_array_get(lines, i));

		if (line == NULL)
			continue;
		fputs(bullet, stream);
		for (; *line != '\0'; line++)
			fputc((unsigned char)*line < 0x20 || *line == 0x7f ? '?' : *line, stream);
		fputc('\n', stream);
	}
}

static void show_dataplane(const json_t *status, FILE *stream)
{
	const json_t *dataplane = json_object_get(status, "dataplane"), *policy = json_object_get(status, "policy");
	const json_t *adjacency = json_object_get(status, "adjacency");
	char uptime[32];

	if (dataplane == NULL)
		return;
	if (truth_of(dataplane, "connected"))
		fprintf(stream, "dataplane  %s   pid %lld   up %s   %lld shard%s\n",
			truth_of(dataplane, "up") ? "up" : "NOT RESPONDING", (long long)count_of(dataplane, "pid"),
			table_duration(real_of(dataplane, "uptime_seconds"), uptime),
			(long long)count_of(dataplane, "shards"), count_of(dataplane, "shards") == 1 ? "" : "s");
	else
		fprintf(stream, "dataplane  NOT CONNECTED\n");
	fprintf(stream, "policy     wanted generation %lld, in force %lld%s\n",
		(long long)count_of(policy, "desired_generation"),
		(long long)count_of(policy, "acknowledged_generation"),
		truth_of(policy, "refused") ? "   REFUSED" : "");
	fprintf(stream, "routes     %lld routes, %lld of %lld next hops resolved\n",
		(long long)count_of(adjacency, "routes"), (long long)count_of(adjacency, "next_hops_resolved"),
		(long long)count_of(adjacency, "next_hops"));
}

static void show_ports(const json_t *status, FILE *stream)
{
	static const char *const titles[] = {"PORT", "INTERFACE", "STATE", "DRIVER", "ADDRESS", ">RX PPS", ">RX BIT/S",
		">TX PPS", ">TX BIT/S", ">RX PACKETS", ">TX PACKETS", NULL};
	const json_t *ports = json_object_get(status, "ports");
	struct table table;
	char scaled[16];

	if (json_array_size(ports) == 0)
		return;
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(ports); i++) {
		const json_t *port = json_array_get(ports, i);
		const char *state = !truth_of(port, "present") ? "MISSING" : truth_of(port, "up") ? "up" : "DOWN";
		const char *driver = text_of(port, "driver");

		table_cell(&table, "%s", text_of(port, "name"));
		table_cell(&table, "%s", text_of(port, "interface"));
		table_cell(&table, "%s", state);
		table_cell(&table, "%s", driver[0] != '\0' ? driver : "not open");
		table_cell(&table, "%s", text_of(port, "address"));
		table_cell(&table, "%s", table_scaled(real_of(port, "receive_packets_per_second"), scaled));
		table_cell(&table, "%s", table_scaled(real_of(port, "receive_bits_per_second"), scaled));
		table_cell(&table, "%s", table_scaled(real_of(port, "transmit_packets_per_second"), scaled));
		table_cell(&table, "%s", table_scaled(real_of(port, "transmit_bits_per_second"), scaled));
		table_cell(&table, "%lld", (long long)count_of(port, "receive_packets"));
		table_cell(&table, "%lld", (long long)count_of(port, "transmit_packets"));
	}
	fputc('\n', stream);
	table_print(&table, stream, "");
}

/* What is in force of it, and since when. */
static void show_state(struct table *table, const json_t *state)
{
	const char *desired = text_of(state, "desired"), *actual = text_of(state, "actual");
	double since_s = real_of(state, "since_unix_seconds");
	char text[32];

	if (strcmp(desired, actual) == 0)
		table_cell(table, "%s", strcmp(actual, "present") == 0 ? "in force" : "gone");
	else
		table_cell(table, "%s", strcmp(desired, "absent") == 0 ? "leaving" : "waiting");
	table_cell(table, "%s", since_s > 0 ? table_duration(difftime(time(NULL), 0) - since_s, text) : "");
}

static void show_workspace_table(const json_t *workspaces, FILE *stream)
{
	static const char *const titles[] = {"WORKSPACE", "STATE", ">SINCE", "EGRESS", ">SESSIONS", ">CREATED",
		">REFUSED", ">OUT PACKETS", ">OUT BYTES", ">IN PACKETS", ">IN BYTES", ">DROPPED", NULL};
	struct table table;
	char scaled[16], addresses[128];

	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(workspaces); i++) {
		const json_t *workspace = json_array_get(workspaces, i);
		const json_t *classifier = json_object_get(workspace, "classifier");
		/* On a mere worker host the classifier is the one who counts. */
		const json_t *traffic =
			truth_of(workspace, "on_gateway") || classifier == NULL ? workspace : classifier;

		join_addresses(workspace, addresses, sizeof(addresses));
		table_cell(&table, "%s%s", text_of(workspace, "id"),
			truth_of(workspace, "configured") ? "" : " (removed)");
		show_state(&table, json_object_get(workspace, "state"));
		table_cell(&table, "%s", addresses);
		table_cell(&table, "%lld", (long long)count_of(workspace, "sessions_active"));
		table_cell(&table, "%lld", (long long)count_of(workspace, "sessions_created"));
		table_cell(&table, "%lld", (long long)count_of(workspace, "sessions_refused"));
		table_cell(&table, "%lld", (long long)count_of(traffic, "transmit_packets"));
		table_cell(&table, "%s", table_scaled(real_of(traffic, "transmit_bytes"), scaled));
		table_cell(&table, "%lld", (long long)count_of(traffic, "receive_packets"));
		table_cell(&table, "%s", table_scaled(real_of(traffic, "receive_bytes"), scaled));
		table_cell(&table, "%lld", (long long)count_of(traffic, "dropped_packets"));
	}
	table_print(&table, stream, "");
}

static void show_top_drops(const json_t *status, FILE *stream)
{
	static const char *const titles[] = {"DROPS", ">PACKETS", ">PER SECOND", "MEANING", NULL};
	const json_t *drops = json_object_get(status, "top_drops");
	struct table table;

	if (json_array_size(drops) == 0)
		return;
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *drop = json_array_get(drops, i);

		table_cell(&table, "%s", text_of(drop, "reason"));
		table_cell(&table, "%lld", (long long)count_of(drop, "packets"));
		table_cell(&table, "%.1f", real_of(drop, "packets_per_second"));
		table_cell(&table, "%s", text_of(drop, "text"));
	}
	fputc('\n', stream);
	table_print(&table, stream, "");
}

static const char *source_text(const json_t *config)
{
	const char *source = text_of(config, "source");

	if (strcmp(source, "file") == 0)
		return truth_of(config, "valid") ? "this file" : "the file as it was when it was valid";
	return strcmp(source, "last-good") == 0 ? "the last good one, kept by posternd" : "nothing";
}

static void show_mapping_counts(const json_t *status, FILE *stream)
{
	const json_t *mappings = json_object_get(status, "mappings");

	if (mappings != NULL)
		fprintf(stream, "mappings   %lld in use, %lld in conflict, %lld invalid, of table %lld\n",
			(long long)count_of(mappings, "in_use"), (long long)count_of(mappings, "conflict"),
			(long long)count_of(mappings, "invalid"), (long long)count_of(mappings, "table"));
}

static void show_announce(const json_t *status, FILE *stream)
{
	const json_t *announce = json_object_get(status, "announce");
	const char *state = text_of(announce, "state");

	if (announce == NULL || strcmp(state, "off") == 0)
		return;
	fprintf(stream, "announce   %s   %lld of %lld egress IPs are routes in table %lld%s%s\n", state,
		(long long)count_of(announce, "actual"), (long long)count_of(announce, "desired"),
		(long long)count_of(announce, "table"), *text_of(announce, "reason") ? ": " : "",
		text_of(announce, "reason"));
}

void show_status(const json_t *status, FILE *stream)
{
	const json_t *sessions = json_object_get(status, "sessions"), *host = json_object_get(status, "worker_host");
	const json_t *config = json_object_get(status, "config"), *workspaces = json_object_get(status, "workspaces");
	const json_t *privileges = json_object_get(status, "privileges");
	bool ok = strcmp(text_of(status, "state"), "ok") == 0;
	char uptime[32];

	fprintf(stream, "state      %s\n", ok ? "ok" : "DEGRADED");
	show_lines(json_object_get(status, "reasons"), "           ! ", stream);
	show_lines(json_object_get(status, "notes"), "           - ", stream);
	fprintf(stream, "posternd   %s   pid %lld   up %s\n", text_of(status, "version"),
		(long long)count_of(status, "pid"), table_duration(real_of(status, "uptime_seconds"), uptime));
	fprintf(stream, "config     %s   %s   in use: %s\n", text_of(config, "path"),
		truth_of(config, "valid") ? "valid" : "NOT VALID", source_text(config));
	if (privileges != NULL)
		fprintf(stream, "may        %s   uid %lld\n", text_of(privileges, "capabilities"),
			(long long)count_of(privileges, "uid"));
	show_dataplane(status, stream);
	show_announce(status, stream);
	show_mapping_counts(status, stream);
	if (sessions != NULL)
		fprintf(stream, "sessions   %lld active of %lld, %.1f new a second, %lld created\n",
			(long long)count_of(sessions, "active"), (long long)count_of(sessions, "limit"),
			real_of(sessions, "created_per_second"), (long long)count_of(sessions, "created"));
	if (json_is_object(host))
		fprintf(stream, "workers    %lld on this host, %lld open, %lld without an interface yet   VTEP %s\n",
			(long long)count_of(host, "workers"), (long long)count_of(host, "workers_open"),
			(long long)count_of(host, "workers_without_interface"), text_of(host, "vtep"));
	if (text_of(status, "metrics")[0] != '\0')
		fprintf(stream, "metrics    %s\n", text_of(status, "metrics"));
	show_ports(status, stream);
	show_top_drops(status, stream);
	if (json_array_size(workspaces) > 0) {
		fputc('\n', stream);
		show_workspace_table(workspaces, stream);
		if ((size_t)count_of(status, "workspace_count") > json_array_size(workspaces))
			fprintf(stream, "the %zu most active of %lld; all: postern workspaces\n",
				json_array_size(workspaces), (long long)count_of(status, "workspace_count"));
	}
}

void show_workspaces(const json_t *answer, FILE *stream)
{
	show_workspace_table(json_object_get(answer, "workspaces"), stream);
}

/* ---- sessions ---- */

static void show_incomplete(const json_t *answer, FILE *stream)
{
	if (!truth_of(answer, "complete"))
		fputs("incomplete: postern-dataplane is not connected here, or its session file can not be read; the "
		      "sessions are on the gateway\n",
			stream);
}

static void show_no_sessions(const json_t *answer, const char *text, FILE *stream)
{
	fprintf(stream, "%s\n", text);
	show_incomplete(answer, stream);
}

void show_sessions(const json_t *answer, FILE *stream)
{
	static const char *const titles[] = {
		"WORKSPACE", "PROTO", "STATE", "INSIDE", "EGRESS", "REMOTE", ">AGE", ">IDLE", "WORKER HOST", NULL};
	const json_t *sessions = json_object_get(answer, "sessions");
	struct table table;
	char duration[32];

	if (json_array_size(sessions) == 0) {
		show_no_sessions(answer, "no live session", stream);
		return;
	}
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(sessions); i++) {
		const json_t *session = json_array_get(sessions, i);
		const char *workspace = text_of(session, "workspace");

		if (workspace[0] != '\0')
			table_cell(&table, "%s", workspace);
		else
			table_cell(&table, "(VNI %lld)", (long long)count_of(session, "vni"));
		table_cell(&table, "%s", text_of(session, "protocol"));
		table_cell(&table, "%s", text_of(session, "state"));
		table_cell(&table, "%s:%lld", text_of(session, "inside_address"),
			(long long)count_of(session, "inside_port"));
		table_cell(&table, "%s:%lld", text_of(session, "egress_address"),
			(long long)count_of(session, "egress_port"));
		table_cell(&table, "%s:%lld", text_of(session, "remote_address"),
			(long long)count_of(session, "remote_port"));
		table_cell(&table, "%s", table_duration(real_of(session, "age_seconds"), duration));
		table_cell(&table, "%s", table_duration(real_of(session, "idle_seconds"), duration));
		table_cell(&table, "%s", text_of(session, "vtep"));
	}
	table_print(&table, stream, "");
	if (truth_of(answer, "more"))
		fprintf(stream, "there are more; --limit N shows up to 10000\n");
	show_incomplete(answer, stream);
}

void show_who(const json_t *answer, FILE *stream)
{
	if (json_array_size(json_object_get(answer, "sessions")) == 0)
		show_no_sessions(answer, "no live session uses it now", stream);
	else
		show_sessions(answer, stream);
}

/* ---- mappings ---- */

void show_mappings(const json_t *answer, FILE *stream)
{
	static const char *const titles[] = {
		"PREFIX", "EGRESS IP", ">REALM", "WORKSPACE", "VPC", "STATE", "REASON", NULL};
	const json_t *mappings = json_object_get(answer, "mappings");
	struct table table;

	if (count_of(answer, "table") == 0) {
		fputs("there is no mapping table: gateway.netlink.mapping_table names one\n", stream);
		return;
	}
	if (json_array_size(mappings) == 0) {
		fprintf(stream, "table %lld has no mapping\n", (long long)count_of(answer, "table"));
		return;
	}
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(mappings); i++) {
		const json_t *mapping = json_array_get(mappings, i);

		table_cell(&table, "%s", text_of(mapping, "prefix"));
		table_cell(&table, "%s", text_of(mapping, "egress_ip"));
		table_cell(&table, "%lld", (long long)count_of(mapping, "realm"));
		table_cell(&table, "%s", text_of(mapping, "workspace"));
		table_cell(&table, "%s", text_of(mapping, "vpc"));
		table_cell(&table, "%s", text_of(mapping, "state"));
		table_cell(&table, "%s", text_of(mapping, "reason"));
	}
	table_print(&table, stream, "");
}

/* ---- drops ---- */

static void show_counted(const json_t *array, const char *title, const char *key, bool with_port, FILE *stream)
{
	const char *const titles[] = {title, ">PACKETS", "MEANING", NULL};
	struct table table;

	if (json_array_size(array) == 0)
		return;
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *entry = json_array_get(array, i);

		if (with_port)
			table_cell(&table, "%s %s", text_of(entry, "port"), text_of(entry, key));
		else
			table_cell(&table, "%s", text_of(entry, key));
		table_cell(&table, "%lld", (long long)count_of(entry, "packets"));
		table_cell(&table, "%s", text_of(entry, "text"));
	}
	table_print(&table, stream, "");
}

void show_drops(const json_t *answer, FILE *stream)
{
	static const char *const titles[] = {
		"DATAPLANE", ">PACKETS", ">INSIDE", ">OUTSIDE", ">PER SECOND", "MEANING", NULL};
	const json_t *drops = json_object_get(answer, "dataplane");
	struct table table;
	size_t silent = 0;

	if (json_array_size(drops) == 0) {
		show_counted(json_object_get(answer, "classifier"), "CLASSIFIER", "reason", false, stream);
		return;
	}
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(drops); i++) {
		const json_t *drop = json_array_get(drops, i), *by_port = json_object_get(drop, "by_port");

		if (count_of(drop, "packets") == 0) {
			silent++;
			continue;
		}
		table_cell(&table, "%s", text_of(drop, "reason"));
		table_cell(&table, "%lld", (long long)count_of(drop, "packets"));
		table_cell(&table, "%lld", (long long)count_of(by_port, "inside"));
		table_cell(&table, "%lld", (long long)count_of(by_port, "outside"));
		table_cell(&table, "%.1f", real_of(drop, "packets_per_second"));
		table_cell(&table, "%s", text_of(drop, "text"));
	}
	table_print(&table, stream, "");
	fprintf(stream, "%zu further reasons have dropped nothing (--json lists them)\n", silent);
	if (json_array_size(json_object_get(answer, "classifier")) > 0)
		fputc('\n', stream);
	show_counted(json_object_get(answer, "classifier"), "CLASSIFIER", "reason", false, stream);
	if (json_array_size(json_object_get(answer, "steering")) > 0)
		fputc('\n', stream);
	show_counted(json_object_get(answer, "steering"), "STEERING", "action", true, stream);
}

void show_refusals(const json_t *answer, FILE *stream)
{
	static const char *const titles[] = {
		"WORKSPACE", "DESTINATION", "PROTOCOL", ">PACKETS", "REASON", "MEANING", NULL};
	const json_t *refusals = json_object_get(answer, "refusals");
	struct table table;
	char text[8];

	if (json_array_size(refusals) == 0) {
		fputs("no refused destination is known; a gateway remembers them since its postern-dataplane started\n",
			stream);
		return;
	}
	table_begin(&table, titles);
	for (size_t i = 0; i < json_array_size(refusals); i++) {
		const json_t *refusal = json_array_get(refusals, i);

		table_cell(&table, "%s", text_of(refusal, "workspace"));
		if (count_of(refusal, "port") != 0)
			table_cell(
				&table, "%s:%lld", text_of(refusal, "address"), (long long)count_of(refusal, "port"));
		else
			table_cell(&table, "%s", text_of(refusal, "address"));
		table_cell(&table, "%s", table_protocol(count_of(refusal, "protocol"), text));
		table_cell(&table, "%lld", (long long)count_of(refusal, "packets"));
		table_cell(&table, "%s", text_of(refusal, "reason"));
		table_cell(&table, "%s", text_of(refusal, "text"));
	}
	table_print(&table, stream, "");
}
