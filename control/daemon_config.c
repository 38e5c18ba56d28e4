/* SPDX-License-Identifier: Apache-2.0 */
#include "control/daemon_config.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "control/apply.h"
#include "control/audit.h"
#include "control/config_parts.h"
#include "control/dataplane_client.h"
#include "control/mapping_control.h"
#include "control/notify.h"
#include "control/plan.h"
#include "control/registrations.h"
#include "control/rib.h"
#include "control/scalar.h"
#include "control/staged.h"
#include "control/state.h"
#include "control/watch.h"
#include "control/yaml_tree.h"

enum { PLAN_LOG_LINES_MAX = 100 };

static void daemon_connect(struct daemon *daemon)
{
	struct problems problems = {0};
	char path[PATH_MAX];

	if (daemon_gateway(daemon) == NULL) {
		if (daemon->client != NULL)
			log_warning(&daemon->log,
				"this machine is no gateway any more: postern-dataplane forwards by its last "
				"policy until it is stopped");
		dataplane_client_close(daemon->client);
		daemon->client = NULL;
		return;
	}
	if (daemon->client != NULL)
		return;
	snprintf(path, sizeof(path), "%s/%s", daemon->options.run_dir, RPC_SOCKET_NAME);
	if (dataplane_client_open(daemon->base, &daemon->log, path, &apply_client_handlers, daemon, &daemon->client,
		    &problems) != STATUS_OK) {
		daemon->apply.reconcile_errors++;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
}

/* The generations before and after, and every change in words: two whole configurations would drown it. */
static void daemon_audit_plan(struct daemon *daemon, const struct plan *plan, const char *audited_as)
{
	json_t *changes = json_array();
	char who[PATH_MAX + 8];

	for (size_t i = 0; i < plan->count; i++)
		json_array_append_new(changes, json_string(plan->changes[i].text));
	if (daemon->mappings.reloading)
		snprintf(who, sizeof(who), "netlink table %" PRIu32, daemon->mappings.table);
	else
		snprintf(who, sizeof(who), "file %s", audited_as);
	audit_write(daemon->audit, who, "reload",
		json_pack("{s:I}", "generation", (json_int_t)daemon->apply.desired_generation),
		json_pack("{s:o}", "changes", changes));
}

/* The first configuration is all additions: a summary says as much. `audited_as`: NULL when the caller sees to that. */
static void daemon_log_plan(struct daemon *daemon, const struct revision *revision, const char *audited_as)
{
	const struct revision *old = daemon->config.desired;
	struct plan plan;

	if (old == NULL) {
		log_info(&daemon->log, "configuration loaded gateway=%s workspaces=%zu workers_on_this_host=%zu",
			revision->model->gateway.present ? "yes" : "no", revision->model->workspace_count,
			revision->model->worker_host.worker_count);
		return;
	}
	if (plan_make(old->model, revision->model, &plan) != STATUS_OK)
		return;
	for (size_t i = 0; i < plan.count && i < PLAN_LOG_LINES_MAX; i++)
		log_info(&daemon->log, "plan: %s", plan.changes[i].text);
	if (audited_as != NULL)
		daemon_audit_plan(daemon, &plan, audited_as);
	if (plan.count > PLAN_LOG_LINES_MAX)
		log_info(&daemon->log, "plan: and %zu more changes", plan.count - PLAN_LOG_LINES_MAX);
	if (plan.needs_restart)
		log_warning(&daemon->log, "some of this takes a restart of postern-dataplane");
	plan_clear(&plan);
}

/* ---- the shared pool ---- */

static struct revision_basis daemon_basis(struct daemon *daemon)
{
	const struct revision *desired = daemon->config.desired, *in_force = daemon->apply.in_force;
	struct policy_registered registered = {0};

	if (daemon->registrations != NULL)
		registered.count = registrations_all(daemon->registrations, &registered.workers);
	return (struct revision_basis){
		.registered = registered,
		.registered_version = daemon->registrations != NULL ? registrations_version(daemon->registrations) : 0,
		.shared_pool = desired != NULL ? &desired->shared_pool : &daemon->shared_pool,
		.in_force = in_force != NULL ? &in_force->shared_pool : NULL,
		.drains = &daemon->drains,
		.now_s = daemon_steady_unix_s(daemon),
		.api.file_size_max_bytes = daemon->options.file_size_max_bytes,
		.api.directory = state_api_path(daemon->state),
		.api.check = daemon->options.config_key_path != NULL ? config_signature_check : NULL,
		.api.check_context = &daemon->config_key,
		.mapping_routes = mapping_control_routes,
		.mapping_context = daemon,
		.api.parts = true,
		.api.before = desired != NULL ? desired->model : NULL,
	};
}

/* Before the dataplane gets to know: who had which ports must be known after a restart too. */
static void daemon_save_shared_pool(struct daemon *daemon)
{
	const struct shared_pool_table *table = &daemon->config.desired->shared_pool;
	struct problems problems = {0};

	if (daemon_gateway(daemon) == NULL)
		return;
	daemon->shared_pool_unsaved = state_save_shared_pool(daemon->state, table, &problems) != STATUS_OK;
	if (daemon->shared_pool_unsaved) {
		daemon->apply.reconcile_errors++;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
}

/* What the ranges of `now` are that were not so before: who had which ports when can be read in the log. */
static void daemon_log_shared_pool(
	struct daemon *daemon, const struct shared_pool_table *before, const struct shared_pool_table *now)
{
	static const char *const words[] = {"gets", "drains", "has left"};
	size_t line_count = 0;

	for (size_t i = 0; i < now->count; i++) {
		const struct shared_pool_range *range = &now->ranges[i];
		char address[SCALAR_SIZE_BYTES];

		if (shared_pool_has(before, range) || line_count++ >= PLAN_LOG_LINES_MAX)
			continue;
		scalar_format_ipv4(range->address, address);
		log_info(&daemon->log, "shared pool: workspace %s %s %s ports %u-%u", range->workspace,
			words[range->state], address, range->port_first, range->port_first + range->port_count - 1u);
	}
	if (line_count > PLAN_LOG_LINES_MAX)
		log_info(&daemon->log, "shared pool: and %zu more changes", line_count - PLAN_LOG_LINES_MAX);
}

/* Takes the reference. */
static void daemon_desire(struct daemon *daemon, struct revision *revision)
{
	const struct revision_basis basis = daemon_basis(daemon);
	struct revision *before = daemon->config.desired;

	daemon_log_shared_pool(daemon, basis.shared_pool, &revision->shared_pool);
	if (before == NULL || before->model != revision->model)
		object_times_carry(revision_times(revision), revision->model,
			before != NULL ? revision_times(before) : NULL, before != NULL ? before->model : NULL,
			OBJECT_WANTED, daemon_unix_s());
	daemon->config.desired = revision;
	revision_release(before);
	drains_note(&daemon->drains, revision->model);
	revision->sequence = ++daemon->config.sequence;
	daemon_save_shared_pool(daemon);
}

void daemon_renew(struct daemon *daemon)
{
	struct revision *desired = daemon->config.desired, *renewed;
	const struct revision_basis basis = daemon_basis(daemon);
	struct problems problems = {0}, warnings = {0};

	if (daemon_gateway(daemon) == NULL)
		return;
	if (daemon->shared_pool_unsaved)
		daemon_save_shared_pool(daemon);
	if (!shared_pool_is_due(&desired->shared_pool, desired->model, basis.now_s))
		return;
	if (revision_renew(desired, &basis, &renewed, &problems, &warnings) == STATUS_OK) {
		daemon_desire(daemon, renewed);
		apply_desired_changed(daemon, false);
	} else {
		daemon->apply.reconcile_errors++;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
	problems_clear(&warnings);
}

bool daemon_registrations_changed(struct daemon *daemon, struct problems *ret_why)
{
	struct revision *desired = daemon->config.desired, *renewed;
	const struct revision_basis basis = daemon_basis(daemon);
	struct problems warnings = {0};
	enum status status = STATUS_INVALID;

	if (daemon_gateway(daemon) == NULL)
		problems_add(ret_why, "this machine is no gateway, by its configuration");
	else if (desired->registered_version == basis.registered_version)
		return true;
	else
		status = revision_renew(desired, &basis, &renewed, ret_why, &warnings);
	problems_clear(&warnings);
	if (status != STATUS_OK)
		return false;
	daemon_desire(daemon, renewed);
	apply_desired_changed(daemon, false);
	return true;
}

/* ---- reload ---- */

static bool parts_differ(const struct model *a, const struct model *b)
{
	return a->part_count != b->part_count || config_parts_new(a, b) > 0;
}

/* Takes the reference. `audited_as`: the file that says so; NULL when the caller sees to the audit log. */
static void daemon_adopt(
	struct daemon *daemon, struct revision *revision, enum daemon_source source, const char *audited_as)
{
	if (source == DAEMON_SOURCE_FILE)
		daemon->config.last_reload_unix_s = daemon_unix_s();
	if (daemon->config.desired != NULL && plan_models_equal(daemon->config.desired->model, revision->model)) {
		daemon->config.source = source;
		if (parts_differ(daemon->config.desired->model, revision->model))
			daemon->config.parts_differ = true;
		revision_take_mappings(daemon->config.desired, revision);
		revision_release(revision);
		log_info(&daemon->log, "the configuration says what is wanted already");
		listeners_apply(daemon);
		return;
	}
	daemon_log_plan(daemon, revision, audited_as);
	daemon_desire(daemon, revision);
	daemon->config.source = source;
	daemon->config.parts_differ = false;
	listeners_apply(daemon);
	rib_set_model(daemon->rib, revision->model);
	daemon_connect(daemon);
	apply_desired_changed(daemon, true);
}

/* Takes the warnings. */
static void daemon_config_is_valid(struct daemon_config *config, struct problems *warnings)
{
	config->file_valid = true;
	problems_clear(&config->errors);
	problems_clear(&config->warnings);
	config->warnings = *warnings;
}

/* What each of them said last is what counts, until the watch has seen a change of it. */
static bool daemon_knows_files(const struct daemon *daemon)
{
	const struct daemon_config *config = &daemon->config;

	return config->file_valid && config->source == DAEMON_SOURCE_FILE && !config->parts_differ;
}

/* `forced`: without the guard on changes that remove much. `changes` NULL: each file is looked at. */
static bool daemon_read(struct daemon *daemon, bool forced, const struct config_changes *changes)
{
	struct daemon_config *config = &daemon->config;
	struct revision_basis basis = daemon_basis(daemon);
	struct config_directories directories = {.noted = watch_directory, .context = daemon->watch};
	struct revision *revision = NULL;
	enum status status;
	struct problems warnings = {0};
	char notice[96];

	snprintf(notice, sizeof(notice), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(daemon_monotonic_ns() / 1000));
	notify_send(notice);
	if (daemon_knows_files(daemon))
		basis.api.changes = changes;
	problems_clear(&config->errors);
	status = revision_load(daemon->config_path, &basis, &revision, &directories, &config->errors, &warnings);
	if (status == STATUS_OK && !forced && config->desired != NULL &&
		!staged_guard(config->desired->model, revision->model, NULL, &config->errors)) {
		revision_release(revision);
		status = STATUS_REFUSED;
	}
	if (status == STATUS_OK) {
		daemon_config_is_valid(config, &warnings);
		log_problems(&daemon->log, LOG_LEVEL_WARNING, &config->warnings);
		daemon_adopt(daemon, revision, DAEMON_SOURCE_FILE, daemon->config_path);
	} else {
		problems_clear(&warnings);
		config->file_valid = false;
		config->reload_failures++;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &config->errors);
		log_error(&daemon->log, "the configuration is not valid, nothing was changed file=%s errors=%zu",
			daemon->config_path, config->errors.count + config->errors.dropped_count);
	}
	watch_include(daemon->watch, &directories);
	config_directories_clear(&directories);
	notify_send("READY=1");
	return config->file_valid;
}

bool daemon_reload(struct daemon *daemon)
{
	return daemon_read(daemon, false, NULL);
}

bool daemon_reload_changes(struct daemon *daemon, const struct config_changes *changes)
{
	return daemon_read(daemon, false, changes);
}

bool daemon_reload_forced(struct daemon *daemon)
{
	return daemon_read(daemon, true, NULL);
}

enum status daemon_try_file(
	struct daemon *daemon, const char *path, struct revision **ret_revision, struct problems *problems)
{
	const struct revision_basis basis = daemon_basis(daemon);
	struct problems warnings = {0};
	enum status status = revision_load(path, &basis, ret_revision, NULL, problems, &warnings);

	problems_clear(&warnings);
	return status;
}

enum status daemon_try_change(struct daemon *daemon, const char *id, const char *name, const char *text,
	struct revision **ret_revision, struct problems *problems)
{
	struct revision_basis basis = daemon_basis(daemon);
	struct problems warnings = {0};
	struct revision *revision;
	enum status status;

	basis.api.changed_name = name;
	basis.api.changed_text = text;
	basis.api.files_unchanged = daemon_knows_files(daemon);
	status = revision_load(daemon->config_path, &basis, &revision, NULL, problems, &warnings);
	problems_clear(&warnings);
	if (status != STATUS_OK)
		return status;
	/* The files are read with it, and may say what a reload has just refused. */
	if (daemon->config.desired != NULL &&
		!staged_guard(daemon->config.desired->model, revision->model, id, problems)) {
		revision_release(revision);
		return STATUS_REFUSED;
	}
	*ret_revision = revision;
	return STATUS_OK;
}

enum status daemon_commit_change(
	struct daemon *daemon, const char *name, const char *text, struct revision *revision, struct problems *problems)
{
	enum status status = state_save_api_fragment(daemon->state, name, text, problems);

	if (status == STATUS_OK)
		daemon_adopt(daemon, revision, DAEMON_SOURCE_FILE, NULL);
	else
		revision_release(revision);
	return status;
}

void daemon_load_first(struct daemon *daemon)
{
	struct revision_basis basis = daemon_basis(daemon);
	struct revision *revision;
	struct problems problems = {0}, warnings = {0};

	if (daemon_reload(daemon))
		return;
	if (!state_has_last_good(daemon->state)) {
		log_error(&daemon->log,
			"there is no last good configuration either: everything is dropped until %s is valid",
			daemon->config_path);
		return;
	}
	/* It holds what the API wrote, too. */
	basis.api.directory = NULL;
	basis.api.check = NULL;					   /* our own file, of what was checked */
	basis.api.file_size_max_bytes = YAML_TOTAL_SIZE_MAX_BYTES; /* all files in one, with all defaults */
	if (revision_load(state_last_good_path(daemon->state), &basis, &revision, NULL, &problems, &warnings) ==
		STATUS_OK) {
		log_warning(
			&daemon->log, "using the last good configuration file=%s", state_last_good_path(daemon->state));
		daemon_adopt(daemon, revision, DAEMON_SOURCE_LAST_GOOD, state_last_good_path(daemon->state));
	} else {
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
		log_error(&daemon->log,
			"the last good configuration is not valid either: everything is dropped until %s is valid",
			daemon->config_path);
	}
	problems_clear(&problems);
	problems_clear(&warnings);
}
