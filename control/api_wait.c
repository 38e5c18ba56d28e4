/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_wait.h"

#include <string.h>

#include "control/apply.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"

static void wait_answer(struct api_request *request, const char *why_not)
{
	json_t *json = request->wait.json;
	int code = request->wait.code;

	request->wait.json = NULL;
	json_object_set_new(json, "in_force", json_boolean(why_not == NULL));
	if (why_not != NULL) {
		json_object_set_new(json, "reason", json_string(why_not));
		code = 202;
	}
	api_answer_with_fields(request, code, request->wait.fields, json);
}

static bool wait_is_wanted(const struct api_request *request)
{
	const char *wait = api_request_query(request, "wait");

	return wait == NULL || strcmp(wait, "0") != 0;
}

void api_wait_in_force(struct api_request *request, int code, const char *fields, json_t *json)
{
	struct daemon *daemon = request->daemon;

	if (json == NULL) {
		api_answer(request, 500, NULL);
		return;
	}
	request->wait.json = json;
	request->wait.code = code;
	snprintf(request->wait.fields, sizeof(request->wait.fields), "%s", fields != NULL ? fields : "");
	request->wait.sequence = daemon->config.desired != NULL ? daemon->config.desired->sequence : 0;
	request->wait.deadline_ns = daemon_monotonic_ns() + API_WAIT_MAX_S * 1000000000ull;
	if (apply_is_in_force(daemon, request->wait.sequence)) {
		wait_answer(request, NULL);
	} else if (!wait_is_wanted(request)) {
		wait_answer(request, "the request did not want to wait");
	} else if (daemon->api_waiting_count == API_WAIT_COUNT_MAX) {
		wait_answer(request, "too many requests wait already");
	} else {
		daemon->api_waiting_count++;
		request->wait.queued = true;
		TAILQ_INSERT_TAIL(&daemon->api_waiting, request, wait.link);
	}
}

static void wait_unqueue(struct api_request *request)
{
	if (!request->wait.queued)
		return;
	TAILQ_REMOVE(&request->daemon->api_waiting, request, wait.link);
	request->daemon->api_waiting_count--;
	request->wait.queued = false;
}

static const char *reason_of(const struct daemon *daemon)
{
	if (daemon->apply.refused)
		return daemon->apply.refusal_text;
	if (daemon_gateway(daemon) != NULL && !dataplane_client_is_connected(daemon->client))
		return "postern-dataplane is not there: the change follows when it is";
	return "not yet";
}

void api_wait_check(struct daemon *daemon)
{
	struct api_request *request = TAILQ_FIRST(&daemon->api_waiting), *next;
	uint64_t now_ns = request != NULL ? daemon_monotonic_ns() : 0;

	for (; request != NULL; request = next) {
		bool in_force = apply_is_in_force(daemon, request->wait.sequence);

		next = TAILQ_NEXT(request, wait.link);
		if (!in_force && !daemon->apply.refused && now_ns < request->wait.deadline_ns)
			continue;
		wait_unqueue(request);
		wait_answer(request, in_force ? NULL : reason_of(daemon));
	}
}

void api_wait_forget(struct api_request *request)
{
	wait_unqueue(request);
	json_decref(request->wait.json);
}
