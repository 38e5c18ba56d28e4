/* SPDX-License-Identifier: Apache-2.0 */
#include "control/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/admission.h"
#include "control/api_hosts.h"
#include "control/api_wait.h"
#include "control/apply.h"
#include "control/apply_host.h"
#include "control/audit.h"
#include "control/dataplane_client.h"
#include "control/drain_control.h"
#include "control/gateways.h"
#include "control/health.h"
#include "control/mapping_control.h"
#include "control/notify.h"
#include "control/plan.h"
#include "control/privileges.h"
#include "control/registrations.h"
#include "control/rib.h"
#include "control/scalar.h"
#include "control/staged.h"
#include "control/state.h"
#include "control/version.h"
#include "control/watch.h"
#include "control/yaml_tree.h"

enum { PLAN_LOG_LINES_MAX = 100 };

uint64_t daemon_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

double daemon_unix_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint64_t daemon_steady_unix_s(const struct daemon *daemon)
{
	return (uint64_t)daemon->start_unix_s + (daemon_monotonic_ns() - daemon->start_monotonic_ns) / 1000000000;
}

const struct model_gateway *daemon_gateway(const struct daemon *daemon)
{
	const struct revision *desired = daemon->config.desired;

	return desired != NULL && desired->model->gateway.present ? &desired->model->gateway : NULL;
}

const struct model_worker_host *daemon_worker_host(const struct daemon *daemon)
{
	const struct revision *desired = daemon->config.desired;

	return desired != NULL && desired->model->worker_host.present ? &desired->model->worker_host : NULL;
}

/* ---- configuration ---- */

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

/* Each second: ranges that have drained long enough go, without a reload. */
static void daemon_renew(struct daemon *daemon)
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

/* Takes the reference. `audited_as`: the file that says so; NULL when the caller sees to the audit log. */
static void daemon_adopt(
	struct daemon *daemon, struct revision *revision, enum daemon_source source, const char *audited_as)
{
	if (source == DAEMON_SOURCE_FILE)
		daemon->config.last_reload_unix_s = daemon_unix_s();
	if (daemon->config.desired != NULL && plan_models_equal(daemon->config.desired->model, revision->model)) {
		daemon->config.source = source;
		revision_take_mappings(daemon->config.desired, revision);
		revision_release(revision);
		log_info(&daemon->log, "the configuration says what is wanted already");
		listeners_apply(daemon);
		return;
	}
	daemon_log_plan(daemon, revision, audited_as);
	daemon_desire(daemon, revision);
	daemon->config.source = source;
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

/* `forced`: without the guard on changes that remove much. */
static bool daemon_read(struct daemon *daemon, bool forced)
{
	struct daemon_config *config = &daemon->config;
	const struct revision_basis basis = daemon_basis(daemon);
	struct config_directories directories = {0};
	struct revision *revision = NULL;
	enum status status;
	struct problems warnings = {0};
	char notice[96];

	snprintf(notice, sizeof(notice), "RELOADING=1\nMONOTONIC_USEC=%llu",
		(unsigned long long)(daemon_monotonic_ns() / 1000));
	notify_send(notice);
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
	return daemon_read(daemon, false);
}

bool daemon_reload_forced(struct daemon *daemon)
{
	return daemon_read(daemon, true);
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
	/* What they said last is what counts, until the watch has seen a change of them. */
	basis.api.files_unchanged = daemon->config.file_valid && daemon->config.source == DAEMON_SOURCE_FILE;
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

/* At start: the file; else what was in force last; else nothing, and wait for the file. */
static void daemon_load_first(struct daemon *daemon)
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

/* ---- events ---- */

static void daemon_changed(void *context)
{
	daemon_reload(context);
}

static void daemon_signalled(evutil_socket_t signal, short what, void *context)
{
	struct daemon *daemon = context;

	if (signal == SIGHUP) {
		daemon_reload(daemon);
		return;
	}
	log_info(&daemon->log, "stopping; the dataplane and the BPF programs go on");
	notify_send("STOPPING=1");
	event_base_loopbreak(daemon->base);
}

static void daemon_sample_rates(struct daemon *daemon)
{
	struct daemon_rates *rates = &daemon->rates;
	uint64_t now_ns = daemon_monotonic_ns();
	uint64_t start_unix_ns = daemon->counters.counters != NULL ? daemon->counters.counters->start_unix_ns : 0;

	rates->before = rates->now;
	counters_view_total(&daemon->counters, &rates->now);
	rates->valid = rates->at_ns != 0 && rates->start_unix_ns == start_unix_ns;
	rates->seconds = (double)(now_ns - rates->at_ns) / 1e9;
	rates->at_ns = now_ns;
	rates->start_unix_ns = start_unix_ns;
}

static bool problems_have(const struct problems *problems, const char *line)
{
	for (size_t i = 0; i < problems->count; i++) {
		if (strcmp(problems->lines[i], line) == 0)
			return true;
	}
	return false;
}

/* Each reason once, when it appears; and when the last one has gone. For those who only have the log. */
static void daemon_log_health(struct daemon *daemon)
{
	struct problems *before = &daemon->reasons_logged;
	struct health health;

	health_check(daemon, &health);
	for (size_t i = 0; i < health.reasons.count; i++) {
		if (!problems_have(before, health.reasons.lines[i]))
			log_warning(&daemon->log, "degraded: %s", health.reasons.lines[i]);
	}
	if (health.reasons.count == 0 && !daemon->state_was_ok)
		log_info(&daemon->log, "all is well: the configuration that is wanted is in force");
	if ((health.reasons.count == 0) != daemon->state_was_ok)
		notify_send(health.reasons.count == 0 ? "STATUS=ok" : "STATUS=degraded: see `postern status`");
	daemon->state_was_ok = health.reasons.count == 0;
	problems_clear(before);
	*before = health.reasons;
	problems_clear(&health.notes);
}

static void daemon_tick(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;

	daemon_sample_rates(daemon);
	daemon_renew(daemon);
	mapping_control_tick(daemon);
	apply_tick(daemon);
	drop_monitor_tick(&daemon->drop_monitor, daemon->classifier, daemon_monotonic_ns());
	apply_host_gateways_tick(daemon);
	admission_tick(daemon->admission);
	drain_control_tick(daemon);
	listeners_apply(daemon);
	staged_tick(daemon);
	api_wait_check(daemon);
	daemon_log_health(daemon);
	if (daemon->watchdog)
		notify_send("WATCHDOG=1");
}

static void daemon_last_good(evutil_socket_t fd, short what, void *context)
{
	apply_save_last_good(context);
}

static void daemon_reconcile(evutil_socket_t fd, short what, void *context)
{
	apply_reconcile(context);
}

/* ---- life ---- */

static enum status daemon_open_events(struct daemon *daemon)
{
	static const int signals[] = {SIGHUP, SIGTERM, SIGINT};
	static const struct timeval second = {.tv_sec = 1};

	signal(SIGPIPE, SIG_IGN);
	daemon->base = event_base_new();
	if (daemon->base == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < 3; i++) {
		daemon->signals[i] = evsignal_new(daemon->base, signals[i], daemon_signalled, daemon);
		if (daemon->signals[i] == NULL)
			return STATUS_NO_MEMORY;
		event_add(daemon->signals[i], NULL);
	}
	daemon->tick = event_new(daemon->base, -1, EV_PERSIST, daemon_tick, daemon);
	daemon->reconcile = event_new(daemon->base, -1, 0, daemon_reconcile, daemon);
	daemon->last_good = event_new(daemon->base, -1, 0, daemon_last_good, daemon);
	daemon->hosts_due = event_new(daemon->base, -1, 0, api_hosts_due, daemon);
	if (daemon->tick == NULL || daemon->reconcile == NULL || daemon->last_good == NULL || daemon->hosts_due == NULL)
		return STATUS_NO_MEMORY;
	event_add(daemon->tick, &second);
	return STATUS_OK;
}

static enum status daemon_resolve_paths(struct daemon *daemon, struct problems *problems)
{
	const char *path = daemon->options.config_path;
	char directory[2048];
	int length;

	if (path[0] == '/') {
		length = snprintf(daemon->config_path, sizeof(daemon->config_path), "%s", path);
	} else {
		if (getcwd(directory, sizeof(directory)) == NULL) {
			problems_add(problems, "the working directory can not be read: %s", strerror(errno));
			return STATUS_SYSTEM;
		}
		length = snprintf(daemon->config_path, sizeof(daemon->config_path), "%s/%s", directory, path);
	}
	if (length >= (int)sizeof(daemon->config_path)) {
		problems_add(problems, "--config: the path is too long");
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

static enum status daemon_remember_shared_pool(struct daemon *daemon)
{
	struct problems warnings = {0};
	enum status status = state_load_shared_pool(daemon->state, &daemon->shared_pool, &warnings);

	log_problems(&daemon->log, LOG_LEVEL_WARNING, &warnings);
	problems_clear(&warnings);
	return status;
}

/* Before the first policy is compiled: without them it would cut workers off. */
static enum status daemon_remember_registrations(struct daemon *daemon, struct problems *problems)
{
	struct problems warnings = {0};
	enum status status =
		registrations_open(state_directory(daemon->state), &daemon->registrations, problems, &warnings);

	log_problems(&daemon->log, LOG_LEVEL_WARNING, &warnings);
	problems_clear(&warnings);
	return status;
}

/*
 * Root's part is done: the run directory is there, its socket has its group. From here on, before anything is read that
 * somebody else wrote: the network (CAP_NET_ADMIN), the classifier's programs, which the kernel verifies with CAP_PERFMON
 * alone since they compare pointers (CAP_BPF, CAP_PERFMON), and low ports. CAP_SYS_ADMIN is what the kernel wants of
 * whoever opens BPF objects by their number, which is how the steering program's maps are found, and mounts the bpffs.
 */
static enum status daemon_give_up_privileges(struct daemon *daemon, struct problems *problems)
{
	static const cap_value_t kept[] = {CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_NET_BIND_SERVICE};
	enum { KEPT_COUNT = sizeof(kept) / sizeof(kept[0]) };
	char text[PRIVILEGES_TEXT_SIZE_BYTES];

	if (!privileges_keep(kept, KEPT_COUNT, text)) {
		problems_add(problems, "%s", text);
		return STATUS_SYSTEM;
	}
	if (privileges_lack(kept, KEPT_COUNT, text))
		log_warning(
			&daemon->log, "started without %s: what takes that will fail: start posternd as root", text);
	privileges_describe(text);
	log_info(&daemon->log, "running as uid %d with the capabilities %s and no others", (int)geteuid(), text);
	return STATUS_OK;
}

static enum status daemon_start(struct daemon *daemon, struct problems *problems)
{
	enum status status = daemon_resolve_paths(daemon, problems);

	/* At start alone: whoever may change the configuration must not change who signs it. */
	if (status == STATUS_OK && daemon->options.config_key_path != NULL)
		status = config_key_load(daemon->options.config_key_path, &daemon->config_key, problems);

	if (status == STATUS_OK)
		status = daemon_open_events(daemon);
	if (status == STATUS_OK)
		status = state_open(daemon->options.run_dir, &daemon->state, problems);
	if (status == STATUS_OK)
		status = gateways_open(&daemon->log, daemon->state, &daemon->gateways);
	if (status == STATUS_OK)
		status = rib_open(daemon->base, &daemon->log, &apply_rib_handlers, daemon, &daemon->rib, problems);
	if (status != STATUS_OK)
		return status;
	status = listeners_open(daemon, problems);
	if (status == STATUS_OK)
		status = daemon_give_up_privileges(daemon, problems);
	if (status != STATUS_OK)
		return status;
	if (watch_open(daemon->base, daemon->config_path, daemon_changed, daemon, &daemon->watch,
		    &daemon->watch_problems) != STATUS_OK)
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &daemon->watch_problems);
	log_info(&daemon->log, "posternd %s pid=%d run_dir=%s config=%s", POSTERN_VERSION, (int)getpid(),
		daemon->options.run_dir, daemon->config_path);
	daemon->watchdog = notify_watchdog_wanted();
	status = daemon_remember_shared_pool(daemon);
	if (status == STATUS_OK)
		status = mapping_control_open(daemon);
	drain_control_open(daemon);
	staged_open(daemon);
	if (status == STATUS_OK)
		status = daemon_remember_registrations(daemon, problems);
	if (status == STATUS_OK)
		status = admission_open(daemon, &daemon->admission, problems);
	if (status == STATUS_OK)
		daemon_load_first(daemon);
	return status;
}

enum status daemon_open(const struct daemon_options *options, struct daemon **ret_daemon, struct problems *problems)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	enum status status;

	if (daemon == NULL)
		return STATUS_NO_MEMORY;
	daemon->options = *options;
	daemon->sessions.fd = -1;
	TAILQ_INIT(&daemon->api_waiting);
	TAILQ_INIT(&daemon->hosts_changing);
	TAILQ_INIT(&daemon->workers_waiting);
	daemon->start_unix_s = daemon_unix_s();
	daemon->start_monotonic_ns = daemon_monotonic_ns();
	log_open(&daemon->log, options->log_level);
	daemon->audit = audit_open(&daemon->log);
	status = daemon->audit != NULL ? daemon_start(daemon, problems) : STATUS_NO_MEMORY;
	if (status != STATUS_OK) {
		daemon_close(daemon);
		return status;
	}
	*ret_daemon = daemon;
	return STATUS_OK;
}

enum status daemon_run(struct daemon *daemon)
{
	return event_base_dispatch(daemon->base) < 0 ? STATUS_SYSTEM : STATUS_OK;
}

void daemon_close(struct daemon *daemon)
{
	if (daemon == NULL)
		return;
	apply_save_last_good(daemon);
	listeners_close(daemon);
	audit_close(daemon->audit);
	watch_close(daemon->watch);
	dataplane_client_close(daemon->client);
	rib_close(daemon->rib);
	admission_close(daemon->admission);
	drop_monitor_close(&daemon->drop_monitor, daemon->classifier);
	if (daemon->classifier != NULL)
		classifier_close(daemon->classifier);
	apply_close(daemon);
	mapping_control_close(daemon);
	revision_release(daemon->config.desired);
	shared_pool_clear(&daemon->shared_pool);
	drains_clear(&daemon->drains);
	problems_clear(&daemon->config.errors);
	problems_clear(&daemon->config.warnings);
	problems_clear(&daemon->watch_problems);
	problems_clear(&daemon->reasons_logged);
	counters_view_close(&daemon->counters);
	sessions_view_close(&daemon->sessions);
	gateways_close(daemon->gateways);
	registrations_close(daemon->registrations);
	state_close(daemon->state);
	for (size_t i = 0; i < 3; i++) {
		if (daemon->signals[i] != NULL)
			event_free(daemon->signals[i]);
	}
	if (daemon->tick != NULL)
		event_free(daemon->tick);
	if (daemon->reconcile != NULL)
		event_free(daemon->reconcile);
	if (daemon->last_good != NULL)
		event_free(daemon->last_good);
	if (daemon->hosts_due != NULL)
		event_free(daemon->hosts_due);
	if (daemon->base != NULL) {
		/* libevent frees the buffers of connections that were just closed by one more turn of the loop. */
		event_base_loop(daemon->base, EVLOOP_NONBLOCK);
		event_base_free(daemon->base);
	}
	free(daemon);
}
