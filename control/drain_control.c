/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drain_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/audit.h"
#include "control/daemon_config.h"
#include "control/drain_file.h"
#include "control/scalar.h"
#include "control/state.h"

static bool save(struct daemon *daemon, struct problems *problems)
{
	char *text = drains_encode(&daemon->drains);
	enum status status = STATUS_NO_MEMORY;

	if (text != NULL)
		status = state_save_drains(daemon->state, text, problems);
	else
		problems_add(problems, "drains can not be stored: out of memory");
	free(text);
	return status == STATUS_OK;
}

void drain_control_open(struct daemon *daemon)
{
	size_t length_bytes = 0;
	char *text = state_load_drains(daemon->state, &length_bytes);
	const char *why = NULL;

	if (text != NULL)
		why = drains_decode(text, length_bytes, &daemon->drains);
	else if (errno != ENOENT)
		why = strerror(errno);
	if (why != NULL)
		log_warning(&daemon->log,
			"the list of drains can not be used, so addresses that were draining are in use again as the "
			"files say: %s",
			why);
	free(text);
}

/* ---- counting ---- */

struct counting {
	struct drains *drains;
};

static bool is_wanted(const struct session *session, void *context)
{
	const struct counting *counting = context;

	return drains_find(counting->drains, session->egress_address) != NULL;
}

static bool count_one(const struct session *session, void *context)
{
	const struct counting *counting = context;
	struct drain *drain = drains_find(counting->drains, session->egress_address);

	if (drain != NULL)
		drain->sessions++;
	return true;
}

/* New sessions end with the acknowledged policy in which the address drains: only then a count means something. */
static bool drains_in_force(const struct daemon *daemon, const struct drain *drain)
{
	const struct revision *in_force = daemon->apply.in_force;

	if (in_force == NULL || in_force != daemon->config.desired || daemon->sessions.fd < 0)
		return false;
	for (size_t i = 0; i < in_force->model->workspace_count; i++) {
		const struct model_workspace *workspace = &in_force->model->workspaces[i];

		if (strcmp(workspace->id, drain->workspace) != 0)
			continue;
		for (size_t j = 0; j < workspace->draining_ip_count; j++) {
			if (workspace->draining_ips[j] == drain->address)
				return true;
		}
	}
	return false;
}

static void count_sessions(struct daemon *daemon)
{
	struct counting counting = {.drains = &daemon->drains};
	bool any = false, complete;

	for (size_t i = 0; i < daemon->drains.count; i++) {
		struct drain *drain = &daemon->drains.entries[i];

		drain->counted = drain->state == DRAIN_DRAINING && drains_in_force(daemon, drain);
		drain->sessions = 0;
		any = any || drain->counted;
	}
	if (!any)
		return;
	complete = sessions_view_scan(&daemon->sessions, is_wanted, count_one, &counting);
	for (size_t i = 0; i < daemon->drains.count && !complete; i++)
		daemon->drains.entries[i].counted = false;
}

/* ---- events ---- */

/* What was there before a change. False: no memory. */
static bool keep_copy(const struct drains *drains, struct drains *ret_copy)
{
	ret_copy->entries = malloc((drains->count + 1) * sizeof(*drains->entries));
	if (ret_copy->entries == NULL)
		return false;
	if (drains->count > 0)
		memcpy(ret_copy->entries, drains->entries, drains->count * sizeof(*drains->entries));
	ret_copy->count = drains->count;
	return true;
}

static void log_released(const struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->drains.count; i++) {
		const struct drain *drain = &daemon->drains.entries[i];
		char address[SCALAR_SIZE_BYTES];

		if (drain->state != DRAIN_RELEASED || drain->released_s != daemon_steady_unix_s(daemon))
			continue;
		scalar_format_ipv4(drain->address, address);
		log_info(&daemon->log, "egress IP %s of workspace %s is drained and released, in quarantine for %d s%s",
			address, drain->workspace, DRAIN_QUARANTINE_S,
			drain->cut ? "; sessions that were left are cut" : "");
	}
}

static void store_and_reload(struct daemon *daemon)
{
	struct problems problems = {0};

	if (!save(daemon, &problems)) {
		daemon->apply.reconcile_errors++;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
	daemon_reload(daemon);
}

/* What has changed since by itself: released, or gone. */
static void audit_changes(struct daemon *daemon, const struct drains *before, uint64_t now_s)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct drain *was = &before->entries[i], *is = drains_find(&daemon->drains, was->address);
		char what[SCALAR_SIZE_BYTES + 8], address[SCALAR_SIZE_BYTES];

		if (is != NULL && is->state == was->state)
			continue;
		scalar_format_ipv4(was->address, address);
		snprintf(what, sizeof(what), "drain %s", address);
		audit_write(daemon->audit, "posternd", what, drain_json(was, now_s),
			is != NULL ? drain_json(is, now_s) : NULL);
	}
}

void drain_control_tick(struct daemon *daemon)
{
	uint64_t now_s = daemon_steady_unix_s(daemon);
	struct drains before;

	if (daemon->drains.count == 0 || daemon->config.desired == NULL)
		return;
	if (now_s % DRAIN_COUNT_INTERVAL_TICKS == 0)
		count_sessions(daemon);
	/* While the files are bad nothing could be laid out anew. */
	if (!daemon->config.file_valid || !keep_copy(&daemon->drains, &before))
		return;
	if (drains_step(&daemon->drains, now_s)) {
		log_released(daemon);
		audit_changes(daemon, &before, now_s);
		store_and_reload(daemon);
	}
	drains_clear(&before);
}

/* Whose own address it is; NULL: nobody's. */
static const struct model_workspace *owner_of(const struct daemon *daemon, uint32_t address)
{
	const struct model *model = daemon->config.desired != NULL ? daemon->config.desired->model : NULL;

	for (size_t i = 0; model != NULL && i < model->workspace_count; i++) {
		const struct model_workspace *workspace = &model->workspaces[i];

		for (size_t j = 0; j < workspace->egress_ip_count; j++) {
			if (workspace->egress_ips[j] == address)
				return workspace;
		}
		for (size_t j = 0; j < workspace->draining_ip_count; j++) {
			if (workspace->draining_ips[j] == address)
				return workspace;
		}
	}
	return NULL;
}

/* Stores; or takes everything back. Takes the copy. */
static enum status commit(struct daemon *daemon, struct drains *before, struct problems *problems)
{
	if (save(daemon, problems)) {
		drains_clear(before);
		daemon_reload(daemon);
		return STATUS_OK;
	}
	drains_clear(&daemon->drains);
	daemon->drains = *before;
	return STATUS_SYSTEM;
}

enum status drain_control_begin(
	struct daemon *daemon, uint32_t address, uint64_t deadline_s, bool force, struct problems *problems)
{
	const struct drain *known = drains_find(&daemon->drains, address);
	const struct model_workspace *owner = owner_of(daemon, address);
	uint64_t now_s = daemon_steady_unix_s(daemon);
	char text[SCALAR_SIZE_BYTES];
	struct drains before;
	struct drain *drain;
	enum status status;

	if (owner == NULL) {
		scalar_format_ipv4(address, text);
		problems_add(problems,
			known != NULL ? "%s is released already; `postern drain %s --cancel` takes it back into use"
				      : "%s is no workspace's own egress IP; `postern workspaces` lists them",
			text, text);
		return STATUS_INVALID;
	}
	if (daemon_gateway(daemon) == NULL) {
		problems_add(problems, "this host is no gateway, no session leaves here: drain the egress IP on the gateways");
		return STATUS_REFUSED;
	}
	if (!daemon->config.file_valid) {
		problems_add(problems, "the configuration's files are not valid: mend them first (`postern status`)");
		return STATUS_INVALID;
	}
	if (!keep_copy(&daemon->drains, &before))
		return STATUS_NO_MEMORY;
	status = drains_begin(&daemon->drains, address, owner->id, now_s, deadline_s ? now_s + deadline_s : 0, &drain);
	if (status != STATUS_OK) {
		problems_add(problems, "%d addresses drain already: wait for some", DRAIN_COUNT_MAX);
		drains_clear(&before);
		return status;
	}
	if (force)
		drain_release(drain, now_s);
	return commit(daemon, &before, problems);
}

enum status drain_control_cancel(struct daemon *daemon, uint32_t address, struct problems *problems)
{
	char text[SCALAR_SIZE_BYTES];
	struct drains before;

	if (drains_find(&daemon->drains, address) == NULL) {
		scalar_format_ipv4(address, text);
		problems_add(problems, "%s does not drain; `postern drain --list` lists what does", text);
		return STATUS_INVALID;
	}
	if (!keep_copy(&daemon->drains, &before))
		return STATUS_NO_MEMORY;
	drains_cancel(&daemon->drains, address);
	return commit(daemon, &before, problems);
}
