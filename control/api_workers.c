/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_workers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/admission.h"
#include "control/admission_gateway.h"
#include "control/api.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/api_wait.h"
#include "control/cgroup_path.h"
#include "control/daemon.h"
#include "control/scalar.h"

/* ---- showing ---- */

json_t *api_workers_spec_json(const struct worker_spec *spec)
{
	char mac[SCALAR_SIZE_BYTES];
	json_t *json = json_pack("{s:s, s:s*, s:s, s:s, s:o}", "interface", spec->interface, "cgroup", spec->cgroup,
		"workspace", spec->workspace, "vpc", spec->vpc, "ips",
		json_pack("[o]", api_address_json(spec->address)));

	if (spec->mac_present) {
		scalar_format_mac(spec->mac, mac);
		json_object_set_new(json, "mac", json_string(mac));
	}
	return json;
}

static json_t *worker_json(const struct worker *worker)
{
	json_t *json = api_workers_spec_json(&worker->spec);

	json_object_set_new(json, "source", json_string(worker_source_text(worker->source)));
	json_object_set_new(json, "state", json_string(worker_state_text(worker->state)));
	if (worker->vni != 0)
		json_object_set_new(json, "vni", json_integer(worker->vni));
	json_object_set_new(json, "epoch", json_integer((json_int_t)worker_epoch(worker)));
	if (worker->state == WORKER_OPEN && worker->opened_ns > worker->since_ns && worker->since_ns != 0)
		json_object_set_new(
			json, "ready_seconds", json_real((double)(worker->opened_ns - worker->since_ns) / 1e9));
	if (worker->why != NULL)
		json_object_set_new(json, "reason", json_string(worker->why));
	return json;
}

static json_t *gateways_json(const struct admission *admission)
{
	json_t *array = json_array();

	for (size_t i = 0; i < admission_gateway_count(admission); i++) {
		const struct admission_gateway *gateway = admission_gateway_at(admission, i);
		const char *error = admission_gateway_error(gateway);

		json_array_append_new(
			array, json_pack("{s:o, s:b, s:s*}", "vtep", api_address_json(admission_gateway_vtep(gateway)),
				       "acknowledges", error == NULL, "reason", error));
	}
	return array;
}

static bool limit_parse(const char *text, size_t *ret_limit)
{
	unsigned long value;
	char *end;

	*ret_limit = API_WORKER_LIMIT_DEFAULT;
	if (text == NULL)
		return true;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value == 0 || value > API_WORKER_LIMIT_MAX)
		return false;
	*ret_limit = value;
	return true;
}

static bool is_state(const char *text)
{
	for (unsigned i = 0; i < WORKER_STATE_COUNT; i++)
		if (strcmp(worker_state_text(i), text) == 0)
			return true;
	return false;
}

static void serve_list(struct daemon *daemon, struct api_request *request)
{
	const struct worker_registry *registry = admission_registry(daemon->admission);
	const char *workspace = api_request_query(request, "workspace"), *state = api_request_query(request, "state");
	struct admission_totals totals;
	json_t *workers, *states;
	bool more = false;
	size_t limit;

	if (!limit_parse(api_request_query(request, "limit"), &limit)) {
		api_answer_error(request, 400, "limit: must be 1..%d", API_WORKER_LIMIT_MAX);
		return;
	}
	if (state != NULL && !is_state(state)) {
		api_answer_error(request, 400,
			"state: must be open, awaits-gateway, awaits-policy, no-interface, unclaimed, unplaced or "
			"conflict");
		return;
	}
	workers = json_array();
	states = json_object();
	for (size_t i = 0; i < worker_registry_count(registry) && !more; i++) {
		const struct worker *worker = worker_registry_at(registry, i);

		if ((workspace != NULL && strcmp(worker->spec.workspace, workspace) != 0) ||
			(state != NULL && strcmp(worker_state_text(worker->state), state) != 0))
			continue;
		more = json_array_size(workers) == limit;
		if (!more)
			json_array_append_new(workers, worker_json(worker));
	}
	admission_count(daemon->admission, &totals);
	for (unsigned i = 0; i < WORKER_STATE_COUNT; i++)
		json_object_set_new(states, worker_state_text(i), json_integer((json_int_t)totals.of_state[i]));
	api_answer(request, 200,
		json_pack("{s:o, s:b, s:o, s:o}", "workers", workers, "more", more, "states", states, "gateways",
			gateways_json(daemon->admission)));
}

static json_t *drops_json(const struct worker_traffic *traffic)
{
	json_t *drops = json_object();

	for (unsigned reason = 0; reason < WORKER_DROP_COUNT; reason++) {
		if (traffic->drops[reason] != 0)
			json_object_set_new(
				drops, classifier_drop_label(reason), json_integer((json_int_t)traffic->drops[reason]));
	}
	return drops;
}

static void add_traffic(struct daemon *daemon, const struct worker *worker, json_t *json)
{
	struct worker_traffic traffic;

	if (worker->state != WORKER_OPEN || daemon->classifier == NULL ||
		classifier_read_worker(daemon->classifier, worker->ifindex, &traffic) != STATUS_OK)
		return;
	json_object_set_new(json, "transmit_packets", json_integer((json_int_t)traffic.out_packets));
	json_object_set_new(json, "transmit_bytes", json_integer((json_int_t)traffic.out_bytes));
	json_object_set_new(json, "receive_packets", json_integer((json_int_t)traffic.in_packets));
	json_object_set_new(json, "receive_bytes", json_integer((json_int_t)traffic.in_bytes));
	json_object_set_new(json, "drops", drops_json(&traffic));
}

static void serve_show(struct daemon *daemon, struct api_request *request)
{
	const struct worker_registry *registry = admission_registry(daemon->admission);
	const struct worker *head = worker_registry_find(registry, request->parameters[0]);
	json_t *json;

	if (head == NULL) {
		api_answer_error(request, 404, "%s: no worker is on this interface", request->parameters[0]);
		return;
	}
	json = worker_json(head);
	add_traffic(daemon, head, json);
	for (unsigned source = head->source + 1; source < WORKER_SOURCE_COUNT; source++) {
		const struct worker *other = worker_registry_find_of(registry, source, request->parameters[0]);
		json_t *others;

		if (other == NULL)
			continue;
		others = json_object_get(json, "conflicts");
		if (others == NULL) {
			others = json_array();
			json_object_set_new(json, "conflicts", others);
		}
		json_array_append_new(others, worker_json(other));
	}
	api_answer(request, 200, json);
}

/* ---- adding ---- */

static bool take_id(
	const json_t *body, const char *key, const char *(*check)(const char *), char *ret_text, size_t size_bytes)
{
	const char *text = json_string_value(json_object_get(body, key));

	if (text == NULL || strlen(text) >= size_bytes || check(text) != NULL)
		return false;
	memcpy(ret_text, text, strlen(text));
	return true;
}

/* Its interface, or its cgroup, which stays the body's. NULL, or what is wrong. */
static const char *place_read(const json_t *body, struct worker_spec *spec)
{
	const json_t *cgroup = json_object_get(body, "cgroup");
	const char *path = json_string_value(cgroup);

	if (cgroup == NULL)
		return take_id(body, "interface", scalar_check_interface, spec->interface, sizeof(spec->interface))
			       ? NULL
			       : "interface: must be the name of an interface, 1 to 15 characters";
	if (json_object_get(body, "interface") != NULL)
		return "cgroup: stands beside interface: a worker is either";
	if (json_object_get(body, "mac") != NULL)
		return "mac: stands beside cgroup, which has none";
	if (path == NULL || path[0] != '/' || strlen(path) >= MODEL_PATH_SIZE_BYTES)
		return "cgroup: must be an absolute path of at most 255 characters";
	for (const char *c = path; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return "cgroup: must be a path without control characters";
	spec->cgroup = path;
	cgroup_path_name(path, spec->interface);
	return NULL;
}

/* NULL, or what is wrong. */
static const char *spec_read(const json_t *body, struct worker_spec *ret_spec)
{
	struct worker_spec spec = {0};
	const json_t *ips = json_object_get(body, "ips"), *mac = json_object_get(body, "mac");
	const char *address = json_string_value(json_array_get(ips, 0)), *key, *why;
	json_t *value;

	json_object_foreach((json_t *)body, key, value)
	{
		if (strcmp(key, "interface") != 0 && strcmp(key, "cgroup") != 0 && strcmp(key, "workspace") != 0 &&
			strcmp(key, "vpc") != 0 && strcmp(key, "ips") != 0 && strcmp(key, "mac") != 0)
			return "a worker has interface or cgroup, workspace, vpc, ips and mac, and nothing else";
	}
	why = place_read(body, &spec);
	if (why != NULL)
		return why;
	if (!take_id(body, "workspace", scalar_check_id, spec.workspace, sizeof(spec.workspace)))
		return "workspace: must be the id of a workspace";
	if (!take_id(body, "vpc", scalar_check_id, spec.vpc, sizeof(spec.vpc)))
		return "vpc: must be the id of a VPC of that workspace";
	if (json_array_size(ips) != 1 || address == NULL || scalar_parse_ipv4(address, &spec.address) != NULL)
		return "ips: must be a list of exactly one IPv4 address";
	if (mac != NULL) {
		if (!json_is_string(mac) || scalar_parse_mac(json_string_value(mac), spec.mac) != NULL)
			return "mac: must be a unicast MAC address such as 02:00:00:00:00:05";
		spec.mac_present = true;
	}
	*ret_spec = spec;
	return NULL;
}

static void wait_answer(struct api_request *request, const struct worker *worker, bool ended)
{
	if (worker == NULL) {
		api_answer_error(request, 409, "the worker was taken away meanwhile");
		return;
	}
	api_answer(request, worker->state == WORKER_OPEN ? 201 : ended ? 409 : 202, worker_json(worker));
}

/* The API's worker on this interface; NULL: it has none. */
static const struct worker *find_added(const struct daemon *daemon, const char *interface)
{
	return worker_registry_find_of(admission_registry(daemon->admission), WORKER_SOURCE_API, interface);
}

/* The worker that the request has added; NULL: it has gone. */
static const struct worker *worker_of(const struct daemon *daemon, const struct api_request *request)
{
	const struct worker *worker = find_added(daemon, request->wait.fields);

	return worker != NULL && worker->sequence == request->wait.sequence ? worker : NULL;
}

void api_workers_check(struct daemon *daemon)
{
	struct api_request *request = TAILQ_FIRST(&daemon->workers_waiting), *next;
	uint64_t now_ns = request != NULL ? daemon_monotonic_ns() : 0;

	for (; request != NULL; request = next) {
		const struct worker *worker = worker_of(daemon, request);

		next = TAILQ_NEXT(request, wait.link);
		if (worker != NULL && worker->state != WORKER_OPEN && now_ns < request->wait.deadline_ns)
			continue;
		TAILQ_REMOVE(&daemon->workers_waiting, request, wait.link);
		wait_answer(request, worker, false);
	}
}

static void serve_add(struct daemon *daemon, struct api_request *request)
{
	const char *wait = api_request_query(request, "wait"), *why;
	struct problems problems = {0};
	struct worker_spec spec;
	struct worker *worker;
	enum status status;
	bool known;

	if (daemon_worker_host(daemon) == NULL) {
		api_answer_error(request, 503, "this machine is no worker host: its configuration has no worker_host");
		return;
	}
	why = spec_read(request->body, &spec);
	if (why != NULL) {
		api_answer_error(request, 400, "%s", why);
		return;
	}
	why = spec.cgroup != NULL ? cgroup_path_check(&daemon_worker_host(daemon)->cgroups, spec.cgroup) : NULL;
	if (why != NULL) {
		api_answer_error(request, 400, "cgroup: %s %s", spec.cgroup, why);
		return;
	}
	known = find_added(daemon, spec.interface) != NULL;
	status = admission_add(daemon->admission, &spec, &worker, &problems);
	if (status == STATUS_OK && !known)
		api_request_audit(request, NULL, api_workers_spec_json(&spec));
	if (status != STATUS_OK) {
		api_answer_error(request, status == STATUS_REFUSED ? 409 : 503, "%s",
			problems.count > 0 ? problems.lines[0] : "posternd is out of memory");
	} else if (worker->state == WORKER_OPEN || worker->state == WORKER_CONFLICT ||
		   worker->state == WORKER_UNPLACED || (wait != NULL && strcmp(wait, "0") == 0)) {
		/* Waiting would not help; it is kept, since the configuration may change. */
		wait_answer(request, worker, worker->state == WORKER_CONFLICT);
	} else {
		snprintf(request->wait.fields, sizeof(request->wait.fields), "%s", spec.interface);
		request->wait.sequence = worker->sequence;
		request->wait.deadline_ns = daemon_monotonic_ns() + API_WAIT_MAX_S * 1000000000ull;
		TAILQ_INSERT_TAIL(&daemon->workers_waiting, request, wait.link);
	}
	problems_clear(&problems);
}

static void serve_remove(struct daemon *daemon, struct api_request *request)
{
	const char *interface = request->parameters[0];
	const struct worker *head = worker_registry_find(admission_registry(daemon->admission), interface);
	const struct worker *added = find_added(daemon, interface);
	json_t *was = added != NULL ? api_workers_spec_json(&added->spec) : NULL;
	struct problems problems = {0};
	enum status status = admission_remove(daemon->admission, interface, &problems);

	/* It is gone also when that could not be stored. */
	if (was != NULL)
		api_request_audit(request, was, NULL);
	if (status == STATUS_OK)
		api_answer(request, 200, json_pack("{s:s, s:b}", "interface", interface, "removed", true));
	else if (status == STATUS_UNREACHABLE && head != NULL)
		api_answer_error(request, 409, "%s: the worker comes from the %s: take it away there", interface,
			head->source == WORKER_SOURCE_FILE ? "file" : "link's alias");
	else
		api_answer_error(request, status == STATUS_UNREACHABLE ? 404 : 503, "%s",
			problems.count > 0 ? problems.lines[0] : "posternd is out of memory");
	problems_clear(&problems);
}

const struct api_route api_workers_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/workers",
		.permission = API_READ,
		.serve = serve_list,
		.summary = "The workers of this host, and why some are not open.",
		.query = "workspace: Only of this one. | state: Only in this state. | limit: At most so many; "
			 "1..262144, "
			 "1000 unless given.",
		.answer_schema = "Workers",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/workers",
		.permission = API_OPERATE,
		.serve = serve_add,
		.summary = "Adds a worker; 201 when it is open, 202 with the reason when it is not within 10 s.",
		.query = API_QUERY_WAIT,
		.request_schema = "WorkerSpec",
		.answer_schema = "Worker",
	},
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/workers/{interface}",
		.permission = API_READ,
		.serve = serve_show,
		.summary = "One worker, with its traffic.",
		.answer_schema = "Worker",
	},
	{
		.method = HTTP_METHOD_DELETE,
		.pattern = "/v1/workers/{interface}",
		.permission = API_OPERATE,
		.serve = serve_remove,
		.summary = "Takes a worker away that came by the API; answered when it is closed.",
		.answer_schema = "WorkerRemoved",
	},
	{.pattern = NULL},
};
