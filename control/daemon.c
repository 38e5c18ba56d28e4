/* SPDX-License-Identifier: Apache-2.0 */
#include "control/daemon.h"

#include <errno.h>
#include <event2/event.h>
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
#include "control/daemon_config.h"
#include "control/dataplane_client.h"
#include "control/drain_control.h"
#include "control/gateways.h"
#include "control/health.h"
#include "control/mapping_control.h"
#include "control/notify.h"
#include "control/privileges.h"
#include "control/registrations.h"
#include "control/rib.h"
#include "control/staged.h"
#include "control/state.h"
#include "control/version.h"
#include "control/watch.h"

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

/* ---- events ---- */

static void daemon_changed(void *context, const struct config_changes *changes)
{
	daemon_reload_changes(context, changes);
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
