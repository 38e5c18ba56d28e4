/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_hosts.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/api_wait.h"
#include "control/daemon_config.h"
#include "control/registration_rules.h"
#include "control/registrations.h"
#include "control/scalar.h"

enum { AUDITED_WORKER_COUNT_MAX = 256 };

static bool vtep_is_trusted(const struct model_gateway *gateway, uint32_t vtep)
{
	for (size_t i = 0; i < gateway->trusted_vtep_count; i++) {
		const struct model_cidr *prefix = &gateway->trusted_vteps[i];

		if ((vtep & scalar_prefix_mask(prefix->prefix_length_bits)) == prefix->address)
			return true;
	}
	return false;
}

/* False: answered. */
static bool host_check(struct daemon *daemon, struct api_request *request, uint32_t *ret_vtep)
{
	const struct model_gateway *gateway = daemon_gateway(daemon);

	if (scalar_parse_ipv4(request->parameters[0], ret_vtep) != NULL)
		api_answer_error(request, 400, "/v1/hosts/%s: must be an IPv4 address", request->parameters[0]);
	else if (gateway == NULL)
		api_answer_error(request, 503, "this machine is no gateway, or has no valid configuration yet");
	else if (!vtep_is_trusted(gateway, *ret_vtep))
		api_answer_error(request, 422, "%s is not in gateway.inside.trusted_vteps: add it there",
			request->parameters[0]);
	else
		return true;
	return false;
}

static json_t *host_json(const struct daemon *daemon, uint32_t vtep)
{
	return json_pack("{s:s, s:I}", "table", registrations_name(daemon->registrations), "count",
		(json_int_t)registrations_count_of(daemon->registrations, vtep));
}

static void serve_show(struct daemon *daemon, struct api_request *request)
{
	uint32_t vtep;

	if (host_check(daemon, request, &vtep))
		api_answer(request, 200, host_json(daemon, vtep));
}

/* ---- changes ---- */

/* [vni, "address"] or [vni, "address", epoch] */
static bool worker_read(const json_t *json, size_t size, struct model_registered_worker *worker)
{
	const json_t *vni = json_array_get(json, 0), *epoch = json_array_get(json, 2);
	const char *address = json_string_value(json_array_get(json, 1));

	if (json_array_size(json) != size || !json_is_integer(vni) || json_integer_value(vni) < 1 ||
		json_integer_value(vni) >= 1 << 24 || address == NULL ||
		scalar_parse_ipv4(address, &worker->address) != NULL)
		return false;
	if (size == 3 && (!json_is_integer(epoch) || json_integer_value(epoch) < 0))
		return false;
	worker->vni = (uint32_t)json_integer_value(vni);
	worker->epoch = size == 3 ? (uint64_t)json_integer_value(epoch) : 0;
	return true;
}

static bool list_is_valid(const json_t *list, size_t size)
{
	struct model_registered_worker worker;
	const json_t *one;
	size_t i;

	if (list == NULL)
		return true;
	if (!json_is_array(list))
		return false;
	json_array_foreach((json_t *)list, i, one)
	{
		if (!worker_read(one, size, &worker))
			return false;
	}
	return true;
}

static void refuse(json_t *refused, const struct model_registered_worker *worker, const char *why)
{
	json_t *one = json_array();

	json_array_append_new(one, json_integer(worker->vni));
	json_array_append_new(one, api_address_json(worker->address));
	json_array_append_new(one, json_string(why));
	json_array_append_new(refused, one);
}

/* Those that have really come, or gone, of a request. */
struct changed {
	json_t *added, *removed;
};

static void changed_note(json_t *list, const json_t *worker)
{
	if (json_array_size(list) < AUDITED_WORKER_COUNT_MAX)
		json_array_append(list, (json_t *)worker);
}

/* From {"count", "workers": those that have gone} to {"count", "workers": those that have come}. Takes both lists. */
static void changed_audit(const struct api_request *request, const struct changed *changed, size_t before, size_t after)
{
	if (before == after && json_array_size(changed->added) + json_array_size(changed->removed) == 0) {
		json_decref(changed->added);
		json_decref(changed->removed);
		return;
	}
	api_request_audit(request, json_pack("{s:I, s:o}", "count", (json_int_t)before, "workers", changed->removed),
		json_pack("{s:I, s:o}", "count", (json_int_t)after, "workers", changed->added));
}

static void apply_adds(struct daemon *daemon, uint32_t vtep, const json_t *adds, uint64_t sync, json_t *refused,
	const struct changed *changed)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)adds, i, one)
	{
		struct model_registered_worker worker = {.vtep = vtep};
		uint64_t version = registrations_version(daemon->registrations);
		char why[REGISTRATION_WHY_SIZE_BYTES];

		worker_read(one, 3, &worker);
		if (!registration_take(daemon->registrations, daemon->config.desired, &worker, sync,
			    &daemon->registration_refusals, why))
			refuse(refused, &worker, why);
		if (version != registrations_version(daemon->registrations))
			changed_note(changed->added, one);
	}
}

static void apply_removals(struct daemon *daemon, uint32_t vtep, const json_t *removals, const struct changed *changed)
{
	const json_t *one;
	size_t i;

	json_array_foreach((json_t *)removals, i, one)
	{
		struct model_registered_worker worker = {0};
		uint64_t version = registrations_version(daemon->registrations);

		worker_read(one, 2, &worker);
		registrations_remove(daemon->registrations, vtep, worker.vni, worker.address);
		if (version != registrations_version(daemon->registrations))
			changed_note(changed->removed, one);
	}
}

/* Answered with what the next compilation puts in force. */
static void wait_for_compilation(struct daemon *daemon, struct api_request *request, json_t *json)
{
	static const struct timeval gather = {.tv_usec = HOSTS_GATHER_MS * 1000};

	request->wait.json = json;
	TAILQ_INSERT_TAIL(&daemon->hosts_changing, request, wait.link);
	if (!event_pending(daemon->hosts_due, EV_TIMEOUT, NULL))
		event_add(daemon->hosts_due, &gather);
}

void api_hosts_due(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	struct problems why = {0};
	struct api_request *request;
	bool done = registrations_commit(daemon->registrations, &why) == STATUS_OK;

	if (!done)
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &why);
	/* What is gone goes at once also when that is not stored; but nobody is told that it holds. */
	done = daemon_registrations_changed(daemon, &why) && done;
	while ((request = TAILQ_FIRST(&daemon->hosts_changing)) != NULL) {
		json_t *json = request->wait.json;

		TAILQ_REMOVE(&daemon->hosts_changing, request, wait.link);
		request->wait.json = NULL;
		if (done) {
			api_wait_in_force(request, 200, NULL, json);
		} else {
			json_decref(json);
			api_answer_error(
				request, 503, "%s", why.count > 0 ? why.lines[0] : "posternd is out of memory");
		}
	}
	problems_clear(&why);
}

static void serve_change(struct daemon *daemon, struct api_request *request)
{
	const json_t *adds = json_object_get(request->body, "add"),
		     *removals = json_object_get(request->body, "remove");
	const json_t *sync = json_object_get(request->body, "sync");
	const char *table = json_string_value(json_object_get(request->body, "table"));
	json_t *json, *refused;
	struct changed changed;
	size_t before;
	uint32_t vtep;

	if (!host_check(daemon, request, &vtep))
		return;
	if (table == NULL || !list_is_valid(adds, 3) || !list_is_valid(removals, 2) ||
		(sync != NULL && (!json_is_integer(sync) || json_integer_value(sync) <= 0))) {
		api_answer_error(request, 400,
			"must be {\"table\": NAME, \"add\": [[vni, \"address\", epoch], ...], \"remove\": [[vni, "
			"\"address\"], ...]}, with sync above 0");
		return;
	}
	if (strcmp(table, registrations_name(daemon->registrations)) != 0) {
		json = host_json(daemon, vtep);
		json_object_set_new(json, "error", json_string("the gateway has another table: begin with a sync"));
		api_answer(request, 409, json);
		return;
	}
	refused = json_array();
	changed = (struct changed){json_array(), json_array()};
	before = registrations_count_of(daemon->registrations, vtep);
	apply_removals(daemon, vtep, removals, &changed);
	apply_adds(daemon, vtep, adds, sync != NULL ? (uint64_t)json_integer_value(sync) : 0, refused, &changed);
	if (sync != NULL && json_is_true(json_object_get(request->body, "end")))
		registrations_sweep(daemon->registrations, vtep, (uint64_t)json_integer_value(sync));
	changed_audit(request, &changed, before, registrations_count_of(daemon->registrations, vtep));
	json = host_json(daemon, vtep);
	json_object_set_new(json, "refused", refused);
	wait_for_compilation(daemon, request, json);
}

static void serve_forget(struct daemon *daemon, struct api_request *request)
{
	uint32_t vtep;
	json_t *was;

	if (scalar_parse_ipv4(request->parameters[0], &vtep) != NULL) {
		api_answer_error(request, 400, "/v1/hosts/%s: must be an IPv4 address", request->parameters[0]);
		return;
	}
	was = host_json(daemon, vtep);
	registrations_sweep(daemon->registrations, vtep, UINT64_MAX);
	api_request_audit(request, was, host_json(daemon, vtep));
	wait_for_compilation(daemon, request, host_json(daemon, vtep));
}

const struct api_route api_hosts_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/hosts/{vtep}/workers",
		.permission = API_HOST,
		.serve = serve_show,
		.summary = "How many workers the worker host has registered with this gateway, and in which table.",
		.answer_schema = "HostWorkers",
	},
	{
		.method = HTTP_METHOD_POST,
		.pattern = "/v1/hosts/{vtep}/workers",
		.permission = API_HOST,
		.serve = serve_change,
		.summary =
			"Workers of the worker host that come and go; answered when the dataplane has them in force.",
		.request_schema = "HostChange",
		.answer_schema = "HostWorkers",
	},
	{
		.method = HTTP_METHOD_DELETE,
		.pattern = "/v1/hosts/{vtep}",
		.permission = API_OPERATE,
		.serve = serve_forget,
		.summary = "Forgets every worker that the worker host has registered: it is gone for good.",
		.answer_schema = "HostWorkers",
	},
	{.pattern = NULL},
};
