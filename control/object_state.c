/* SPDX-License-Identifier: Apache-2.0 */
#include "control/object_state.h"

#include <string.h>

#include "control/api_status.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"
#include "control/drain.h"
#include "control/plan.h"

/* One of the two configurations' view of it. */
struct side {
	struct revision *revision; /* NULL: there is none */
	size_t index;
	const struct model_workspace *workspace; /* NULL: it is not there */
};

/* `place`: where it probably is. */
static struct side find_side(struct revision *revision, const char *id, size_t place)
{
	const struct model *model = revision != NULL ? revision->model : NULL;
	struct side side = {.revision = revision};
	size_t count = model != NULL ? model->workspace_count : 0;

	for (size_t i = 0; i < count && side.workspace == NULL; i++) {
		size_t at = (place + i) % count;

		if (strcmp(model->workspaces[at].id, id) != 0)
			continue;
		side.index = at;
		side.workspace = &model->workspaces[at];
	}
	return side;
}

static bool is_same(const struct side *a, const struct side *b)
{
	return a->workspace == b->workspace ||
	       (a->workspace != NULL && b->workspace != NULL && plan_workspaces_equal(a->workspace, b->workspace));
}

/* Why what is wanted is not in force. */
static const char *why_not(const struct daemon *daemon)
{
	if (daemon->apply.refused)
		return daemon->apply.refusal_text;
	if (daemon_gateway(daemon) != NULL && !dataplane_client_is_connected(daemon->client))
		return "postern-dataplane is not there";
	return "postern-dataplane has not acknowledged it yet";
}

static json_t *state_json(const char *desired, const char *actual, const char *reason, double since_s)
{
	return json_pack("{s:s, s:s, s:s, s:f}", "desired", desired, "actual", actual, "reason", reason,
		"since_unix_seconds", since_s);
}

/* "active", "draining" or "absent"; `ret_since_s` (may be NULL): since when. */
static const char *ip_state(const struct side *side, uint32_t address, enum object_time_kind kind, double *ret_since_s)
{
	const struct model_workspace *workspace = side->workspace;
	size_t count = workspace != NULL ? workspace->egress_ip_count + workspace->draining_ip_count : 0;

	for (size_t i = 0; i < count; i++) {
		bool drains = i >= workspace->egress_ip_count;
		const uint32_t *list = drains ? workspace->draining_ips : workspace->egress_ips;

		if (list[drains ? i - workspace->egress_ip_count : i] != address)
			continue;
		if (ret_since_s != NULL)
			*ret_since_s = object_times_ip(revision_times(side->revision), side->index, i)->since_s[kind];
		return drains ? "draining" : "active";
	}
	return "absent";
}

static json_t *ip_json(
	const struct daemon *daemon, const struct side *wanted, const struct side *in_force, uint32_t address)
{
	double wanted_s = daemon->config.last_reload_unix_s, in_force_s = 0;
	const char *desired = ip_state(wanted, address, OBJECT_WANTED, &wanted_s);
	const char *actual = ip_state(in_force, address, OBJECT_IN_FORCE, &in_force_s);
	bool same = strcmp(desired, actual) == 0;
	const char *reason = !same ? why_not(daemon) : "";
	json_t *json;

	if (same && strcmp(actual, "draining") == 0)
		reason = drains_find(&daemon->drains, address) != NULL ? "an operator drains it"
								       : "egress.draining has it";
	json = state_json(desired, actual, reason, same ? in_force_s : wanted_s);
	json_object_set_new(json, "address", api_address_json(address));
	return json;
}

static void append_ips(json_t *array, const struct daemon *daemon, const struct side *wanted,
	const struct side *in_force, const uint32_t *addresses, size_t count, bool only_unwanted)
{
	for (size_t i = 0; i < count; i++) {
		if (only_unwanted && strcmp(ip_state(wanted, addresses[i], OBJECT_WANTED, NULL), "absent") != 0)
			continue;
		json_array_append_new(array, ip_json(daemon, wanted, in_force, addresses[i]));
	}
}

json_t *object_state_json(const struct daemon *daemon, const char *id, const struct model_workspace *workspace_wanted)
{
	struct side wanted = {
		.revision = daemon->config.desired,
		.workspace = workspace_wanted,
		.index = workspace_wanted != NULL
				 ? (size_t)(workspace_wanted - daemon->config.desired->model->workspaces)
				 : 0,
	};
	struct side in_force = find_side(daemon->apply.in_force, id, wanted.index);
	const struct side *sides[] = {&wanted, &in_force};
	bool same = is_same(&wanted, &in_force);
	double since_s = 0;
	json_t *json, *egress = json_array();

	if (wanted.workspace == NULL && in_force.workspace != NULL)
		since_s = daemon->config.last_reload_unix_s;
	else if (in_force.workspace != NULL && same)
		since_s = revision_times(in_force.revision)->workspaces[in_force.index].since_s[OBJECT_IN_FORCE];
	else if (wanted.workspace != NULL)
		since_s = revision_times(wanted.revision)->workspaces[wanted.index].since_s[OBJECT_WANTED];
	json = state_json(wanted.workspace != NULL ? "present" : "absent",
		in_force.workspace == NULL ? "absent"
		: same			   ? "present"
					   : "outdated",
		same ? "" : why_not(daemon), since_s);
	for (unsigned i = 0; i < 2; i++) {
		const struct model_workspace *workspace = sides[i]->workspace;

		if (workspace == NULL)
			continue;
		append_ips(
			egress, daemon, &wanted, &in_force, workspace->egress_ips, workspace->egress_ip_count, i == 1);
		append_ips(egress, daemon, &wanted, &in_force, workspace->draining_ips, workspace->draining_ip_count,
			i == 1);
	}
	if (json == NULL)
		json_decref(egress);
	else
		json_object_set_new(json, "egress", egress);
	return json;
}
