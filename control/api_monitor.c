/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/monitor: samples of what the classifier drops. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/classifier.h"
#include "control/daemon.h"
#include "control/drop_monitor.h"
#include "control/state.h"

enum {
	ETHERNET_BYTES = 14,
	IPV4_MIN_BYTES = 20,
	ETHERTYPE_OFFSET = 12,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
};

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static json_t *mac_json(const uint8_t *mac)
{
	return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/* As far as the captured bytes reach. */
static void add_ipv4(json_t *json, const uint8_t *ip, size_t bytes)
{
	size_t header_bytes = (size_t)(ip[0] & 15) * 4;

	json_object_set_new(json, "source", json_sprintf("%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]));
	json_object_set_new(json, "destination", json_sprintf("%u.%u.%u.%u", ip[16], ip[17], ip[18], ip[19]));
	json_object_set_new(json, "protocol", json_integer(ip[9]));
	if ((ip[9] != PROTOCOL_TCP && ip[9] != PROTOCOL_UDP) || header_bytes < IPV4_MIN_BYTES ||
		bytes < header_bytes + 4 || (get16(ip + 6) & 0x1fff) != 0)
		return;
	json_object_set_new(json, "source_port", json_integer(get16(ip + header_bytes)));
	json_object_set_new(json, "destination_port", json_integer(get16(ip + header_bytes + 2)));
}

static json_t *bytes_json(const uint8_t *bytes, size_t count)
{
	char text[2 * BPF_SAMPLE_CAPTURE_BYTES + 1] = "";

	for (size_t i = 0; i < count; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static json_t *sample_json(const struct drop_sample *sample, const char *workspace, uint64_t now_ns, double now_unix_s)
{
	size_t captured =
		sample->captured_bytes < BPF_SAMPLE_CAPTURE_BYTES ? sample->captured_bytes : BPF_SAMPLE_CAPTURE_BYTES;
	char interface[IF_NAMESIZE] = "";
	double age_s = now_ns > sample->time_ns ? (double)(now_ns - sample->time_ns) / 1e9 : 0;
	bool known = sample->reason < WORKER_DROP_COUNT;
	json_t *json;

	if_indextoname(sample->ifindex, interface);
	json = json_pack("{s:f, s:s, s:s, s:s, s:s, s:i, s:i, s:o}", "unix_seconds", now_unix_s - age_s, "reason",
		known ? classifier_drop_label(sample->reason) : "unknown", "text",
		known ? classifier_drop_text(sample->reason) : "", "workspace", workspace, "interface", interface,
		"vni", (int)sample->vni, "length_bytes", (int)sample->length_bytes, "bytes",
		bytes_json(sample->bytes, captured));
	if (captured >= ETHERNET_BYTES) {
		json_object_set_new(json, "destination_mac", mac_json(sample->bytes));
		json_object_set_new(json, "source_mac", mac_json(sample->bytes + 6));
		json_object_set_new(json, "ethertype", json_integer(get16(sample->bytes + ETHERTYPE_OFFSET)));
		if (get16(sample->bytes + ETHERTYPE_OFFSET) == 0x0800 && captured >= ETHERNET_BYTES + IPV4_MIN_BYTES)
			add_ipv4(json, sample->bytes + ETHERNET_BYTES, captured - ETHERNET_BYTES);
	}
	return json;
}

/* The samples from `first` on that are of the workspace; NULL: of any, and of nobody's. */
static json_t *samples_json(struct daemon *daemon, uint64_t first, const char *workspace)
{
	const struct drop_monitor *monitor = &daemon->drop_monitor;
	uint64_t now_ns = daemon_monotonic_ns();
	double now_unix_s = daemon_unix_s();
	json_t *array = json_array();

	for (uint64_t i = first; i < monitor->count; i++) {
		const struct drop_sample *sample = drop_monitor_get(monitor, i);
		const char *id = state_workspace_of_index(daemon->state, sample->workspace_index);

		if (workspace == NULL || strcmp(workspace, id) == 0)
			json_array_append_new(array, sample_json(sample, id, now_ns, now_unix_s));
	}
	return array;
}

static void serve_monitor(struct daemon *daemon, struct api_request *request)
{
	const char *after = api_request_query(request, "after");
	uint64_t from = UINT64_MAX, first, lost = 0, overwritten;
	char *end = NULL;

	errno = 0;
	if (after != NULL)
		from = strtoull(after, &end, 10);
	if (after != NULL && (after[0] < '0' || after[0] > '9' || *end != '\0' || errno != 0)) {
		api_answer_error(
			request, 400, "after: %s: must be the number that the last answer gave as next", after);
		return;
	}
	if (daemon->classifier == NULL) {
		api_answer_error(request, 404, "no classifier runs here: ask on the worker host");
		return;
	}
	if (drop_monitor_ask(&daemon->drop_monitor, daemon->classifier, daemon_monotonic_ns()) != STATUS_OK ||
		classifier_samples_lost(daemon->classifier, &lost) != STATUS_OK) {
		api_answer_error(request, 503, "the classifier's samples cannot be read: run posternd as root");
		return;
	}
	/* Without `after` the watcher begins here. */
	first = drop_monitor_first(&daemon->drop_monitor, from);
	overwritten = after != NULL && first > from ? first - from : 0;
	api_answer(request, 200,
		json_pack("{s:I, s:I, s:I, s:o}", "next", (json_int_t)daemon->drop_monitor.count, "overwritten",
			(json_int_t)overwritten, "not_taken", (json_int_t)lost, "samples",
			samples_json(daemon, first, api_request_query(request, "workspace"))));
}

const struct api_route api_monitor_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/monitor",
		.permission = API_READ,
		.serve = serve_monitor,
		.summary = "Samples of the packets that the classifier drops; taken while somebody asks at least each "
			   "5 s.",
		.query = "after: What the last answer gave as next; without it watching begins now. | workspace: Only "
			 "packets of this one.",
	},
	{.pattern = NULL},
};
