/* SPDX-License-Identifier: Apache-2.0 */
#include "control/apply.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/api_wait.h"
#include "control/apply_announce.h"
#include "control/apply_host.h"
#include "control/daemon.h"
#include "control/mapping_control.h"
#include "control/state.h"

enum {
	PORT_RETRY_TICKS = 2, /* how often a port that could not be opened is tried again */
	CHECK_TICKS = 30,     /* how often all but workers is compared though nothing seems to have changed */
	RECONCILE_DUTY_FACTOR = 10,
	RECONCILE_DELAY_MAX_MS = 1000,
	LAST_GOOD_DELAY_MS = 20,
	LAST_GOOD_INTERVAL_MS = 1000,
	LAST_GOOD_INTERVAL_MAX_MS = 10000,
	LAST_GOOD_DUTY_FACTOR = 100,
};

static void apply_send_policy(struct daemon *daemon);
static void apply_send_adjacency(struct daemon *daemon);

/* At once, unless the last round was long: then after ten times its duration, at most a second. */
void apply_schedule(struct daemon *daemon)
{
	uint64_t delay_ms = daemon->apply.duration_ns / 1000000 * RECONCILE_DUTY_FACTOR;
	struct timeval delay;

	daemon->apply.dirty = true;
	if (event_pending(daemon->reconcile, EV_TIMEOUT, NULL))
		return;
	if (delay_ms > RECONCILE_DELAY_MAX_MS)
		delay_ms = RECONCILE_DELAY_MAX_MS;
	delay.tv_sec = (time_t)(delay_ms / 1000);
	delay.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
	event_add(daemon->reconcile, &delay);
}

static void apply_failed(struct daemon *daemon, struct problems *problems)
{
	daemon->apply.reconcile_errors++;
	log_problems(&daemon->log, LOG_LEVEL_ERROR, problems);
	problems_clear(problems);
}

/* ---- what is in force ---- */

/*
 * At most each LAST_GOOD_INTERVAL_MS, and where it takes long for a hundredth of the time, in which changes wait. Not before
 * whoever waits for this one has its answer.
 */
static void apply_keep_last_good(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	uint64_t since_ms = (daemon_monotonic_ns() - apply->last_good_saved_ns) / 1000000;
	uint64_t interval_ms = apply->last_good_duration_ns / 1000000 * LAST_GOOD_DUTY_FACTOR;
	uint64_t delay_ms = LAST_GOOD_DELAY_MS;
	struct timeval delay;

	apply->last_good_due = true;
	if (event_pending(daemon->last_good, EV_TIMEOUT, NULL))
		return;
	if (interval_ms < LAST_GOOD_INTERVAL_MS)
		interval_ms = LAST_GOOD_INTERVAL_MS;
	if (interval_ms > LAST_GOOD_INTERVAL_MAX_MS)
		interval_ms = LAST_GOOD_INTERVAL_MAX_MS;
	if (since_ms < interval_ms)
		delay_ms += interval_ms - since_ms;
	delay.tv_sec = (time_t)(delay_ms / 1000);
	delay.tv_usec = (suseconds_t)(delay_ms % 1000 * 1000);
	event_add(daemon->last_good, &delay);
}

void apply_save_last_good(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	struct problems problems = {0};
	uint64_t began_ns = daemon_monotonic_ns();
	char *text;

	if (!apply->last_good_due || apply->in_force == NULL)
		return;
	apply->last_good_due = false;
	text = revision_text_to_keep(apply->in_force);
	if (text == NULL)
		problems_add(&problems, "the last good configuration can not be stored: out of memory");
	else
		state_save_last_good(daemon->state, text, &problems);
	free(text);
	apply->last_good_saved_ns = daemon_monotonic_ns();
	apply->last_good_duration_ns = apply->last_good_saved_ns - began_ns;
	if (problems.count > 0) {
		apply_failed(daemon, &problems);
		apply_keep_last_good(daemon);
	}
}

static void apply_put_in_force(struct daemon *daemon, struct revision *revision)
{
	struct daemon_apply *apply = &daemon->apply;
	struct revision *before = apply->in_force;

	if (before == NULL || before->model != revision->model) {
		object_times_carry(revision_times(revision), revision->model,
			before != NULL ? revision_times(before) : NULL, before != NULL ? before->model : NULL,
			OBJECT_IN_FORCE, daemon_unix_s());
		apply_keep_last_good(daemon);
	}
	apply->in_force = revision_hold(revision);
	revision_release(before);
}

/* ---- policy ---- */

static bool apply_give_generation(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	uint64_t floor = dataplane_client_hello(daemon->client)->generation;
	struct problems problems = {0};

	if (!apply->generation_used && apply->desired_generation > floor)
		return true;
	if (state_generation_next(daemon->state, floor, &apply->desired_generation, &problems) == STATUS_OK) {
		apply->generation_used = false;
		return true;
	}
	apply_failed(daemon, &problems);
	return false;
}

static void apply_send_policy(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	struct revision *revision = daemon->config.desired;
	struct problems problems = {0};
	struct policy_snapshot *policy;
	enum status status;

	if (revision == NULL || revision->policy == NULL || revision == apply->answered ||
		!dataplane_client_is_connected(daemon->client) ||
		dataplane_client_is_busy(daemon->client, RPC_POLICY) || !apply_give_generation(daemon))
		return;
	policy = malloc(revision->policy_size_bytes);
	if (policy == NULL) {
		apply->reconcile_errors++;
		return;
	}
	memcpy(policy, revision->policy, revision->policy_size_bytes);
	policy->generation = apply->desired_generation;
	apply->generation_used = true;
	apply->sent_generation = apply->desired_generation;
	revision_release(apply->sent);
	apply->sent = revision_hold(revision);
	status = dataplane_client_send(
		daemon->client, RPC_POLICY, apply->sent_generation, policy, revision->policy_size_bytes, &problems);
	free(policy);
	if (status != STATUS_OK)
		apply_failed(daemon, &problems);
}

static void apply_policy_acknowledged(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	bool another = apply->in_force == NULL || apply->in_force->model != apply->answered->model;

	apply->refused = false;
	apply->refusal_text[0] = '\0';
	apply->acknowledged_generation = apply->sent_generation;
	apply_put_in_force(daemon, apply->answered);
	/* Workers come and go many times a second: those are no events for the log. */
	log_write(&daemon->log, another ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
		"policy in force generation=%" PRIu64 " workspaces=%zu", apply->acknowledged_generation,
		apply->in_force->model->workspace_count);
	/* A dataplane that has just come needs its packets steered, also if it got the policy of before. */
	if (another || apply->claims_only || apply->dirty || !apply->steered) {
		daemon->announce.dirty = true;
		apply_schedule(daemon);
	}
	apply->claims_only = false;
}

static void apply_policy_refused(struct daemon *daemon, const struct rpc_message *ack)
{
	struct daemon_apply *apply = &daemon->apply;

	/* The same refusal again and again is one event. */
	if (!apply->refused || strcmp(apply->refusal_text, ack->text) != 0)
		log_error(&daemon->log,
			"postern-dataplane refused the policy, what was in force stays generation=%" PRIu64 ": %s",
			ack->generation, ack->text);
	apply->refused = true;
	apply->refusal = ack->status;
	apply->port_retry_ticks = 0;
	snprintf(apply->refusal_text, sizeof(apply->refusal_text), "%s", ack->text);
	apply_schedule(daemon);
}

/* ---- adjacency ---- */

static void apply_send_adjacency(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;
	const struct adjacency_snapshot *block = rib_block(daemon->rib);
	struct adjacency_snapshot *adjacency;
	struct problems problems = {0};
	uint64_t floor;
	enum status status;

	if (block == NULL || !apply->adjacency_dirty || !dataplane_client_is_connected(daemon->client) ||
		dataplane_client_is_busy(daemon->client, RPC_ADJACENCY))
		return;
	adjacency = malloc(block->size_bytes);
	if (adjacency == NULL) {
		apply->reconcile_errors++;
		return;
	}
	floor = dataplane_client_hello(daemon->client)->adjacency_generation;
	if (apply->adjacency_sent_generation < floor)
		apply->adjacency_sent_generation = floor;
	apply->adjacency_sent_generation++;
	memcpy(adjacency, block, block->size_bytes);
	adjacency->generation = apply->adjacency_sent_generation;
	apply->adjacency_dirty = false;
	if (!rib_view_default_unresolved(rib_get_view(daemon->rib), &apply->unresolved_sent))
		apply->unresolved_sent = 0;
	status = dataplane_client_send(
		daemon->client, RPC_ADJACENCY, adjacency->generation, adjacency, adjacency->size_bytes, &problems);
	free(adjacency);
	if (status != STATUS_OK) {
		apply->adjacency_dirty = true;
		apply_failed(daemon, &problems);
	}
}

static void apply_adjacency_answered(struct daemon *daemon, const struct rpc_message *ack)
{
	struct daemon_apply *apply = &daemon->apply;

	if (ack->status == RPC_OK) {
		apply->adjacency_acknowledged_generation = ack->generation;
		apply->adjacency_answered = true;
		apply->unresolved_acknowledged = apply->unresolved_sent;
		apply->adjacency_refusal_text[0] = '\0';
		return;
	}
	apply->reconcile_errors++;
	snprintf(apply->adjacency_refusal_text, sizeof(apply->adjacency_refusal_text), "%s", ack->text);
	log_error(&daemon->log, "postern-dataplane refused the adjacency generation=%" PRIu64 ": %s", ack->generation,
		ack->text);
}

/* ---- what the connection says ---- */

static bool apply_connected(void *context, const struct rpc_message *hello, int counters_fd, int sessions_fd)
{
	struct daemon *daemon = context;
	struct daemon_apply *apply = &daemon->apply;
	struct counters_view counters = {0};
	struct sessions_view sessions = SESSIONS_VIEW_NONE;
	struct problems problems = {0};
	enum status status = counters_view_open(counters_fd, &counters, &problems);

	if (status == STATUS_OK)
		status = sessions_view_open(sessions_fd, &sessions, &problems);
	else
		close(sessions_fd);
	if (status != STATUS_OK) {
		counters_view_close(&counters);
		apply_failed(daemon, &problems);
		return false;
	}
	counters_view_close(&daemon->counters);
	sessions_view_close(&daemon->sessions);
	daemon->counters = counters;
	daemon->sessions = sessions;
	log_info(&daemon->log, "connected to postern-dataplane pid=%" PRIu32 " shards=%" PRIu32 " generation=%" PRIu64,
		hello->process_id, hello->shard_count, hello->generation);
	revision_release(apply->answered);
	apply->answered = NULL;
	apply->refused = false;
	apply->adjacency_dirty = true;
	apply_send_policy(daemon);
	apply_send_adjacency(daemon);
	return true;
}

static void apply_acknowledged(void *context, const struct rpc_message *ack)
{
	struct daemon *daemon = context;
	struct daemon_apply *apply = &daemon->apply;

	if (ack->acked_type == RPC_ADJACENCY) {
		apply_adjacency_answered(daemon, ack);
		apply_send_adjacency(daemon);
		return;
	}
	revision_release(apply->answered);
	apply->answered = apply->sent;
	apply->sent = NULL;
	if (ack->status == RPC_OK)
		apply_policy_acknowledged(daemon);
	else
		apply_policy_refused(daemon, ack);
	apply_send_policy(daemon);
	api_wait_check(daemon);
}

static void apply_neighbour_wanted(void *context, uint32_t address, uint32_t port)
{
	struct daemon *daemon = context;

	rib_want_neighbour(daemon->rib, address, port);
}

static void apply_lost(void *context, const char *why)
{
	struct daemon *daemon = context;
	struct daemon_apply *apply = &daemon->apply;

	revision_release(apply->sent);
	apply->sent = NULL;
	sessions_view_close(&daemon->sessions);
	apply->steered = false;
	apply->adjacency_answered = false;
	apply_announce(daemon);
	/* Its AF_XDP sockets went with it, and the steering program may have: look again after the next ACK. */
	apply->dirty = true;
}

const struct dataplane_client_handlers apply_client_handlers = {
	.connected = apply_connected,
	.acknowledged = apply_acknowledged,
	.neighbour_wanted = apply_neighbour_wanted,
	.lost = apply_lost,
};

/* ---- what the kernel says ---- */

static void apply_adjacency_changed(void *context)
{
	struct daemon *daemon = context;

	daemon->apply.adjacency_dirty = true;
	apply_send_adjacency(daemon);
	/* The gateway's own VXLAN endpoint is the inside port's address. */
	if (daemon->apply.steered_vtep != rib_get_view(daemon->rib)->ports[PORT_INSIDE].address)
		apply_schedule(daemon);
	/* A port may have gone down. */
	apply_announce(daemon);
}

static void apply_links_changed(void *context)
{
	struct daemon *daemon = context;

	/* The interface that was missing may be there now. Those of workers are control/admission.c's. */
	daemon->apply.port_retry_ticks = PORT_RETRY_TICKS;
	if (daemon_gateway(daemon) != NULL)
		apply_schedule(daemon);
	/* Routes go silently with their link. */
	mapping_control_changed(daemon);
}

static void apply_own_routes_changed(void *context)
{
	struct daemon *daemon = context;

	daemon->mappings.sources_dirty = true;
	apply_announce_dirty(daemon);
}

static void apply_mappings_changed(void *context)
{
	mapping_control_changed(context);
}

const struct rib_handlers apply_rib_handlers = {
	.adjacency_changed = apply_adjacency_changed,
	.links_changed = apply_links_changed,
	.own_routes_changed = apply_own_routes_changed,
	.mappings_changed = apply_mappings_changed,
};

/* ---- entry points ---- */

void apply_desired_changed(struct daemon *daemon, bool model_changed)
{
	struct daemon_apply *apply = &daemon->apply;
	struct problems problems = {0};

	if (model_changed || apply->refused)
		apply_schedule(daemon);
	apply->refused = false;
	apply->refusal_text[0] = '\0';
	daemon->announce.dirty = daemon->announce.dirty || model_changed;
	daemon->mappings.sources_dirty = daemon->mappings.sources_dirty || model_changed;
	if (daemon_gateway(daemon) != NULL) {
		if (state_generation_next(daemon->state, apply->desired_generation, &apply->desired_generation,
			    &problems) == STATUS_OK)
			apply->generation_used = false;
		else
			apply_failed(daemon, &problems);
		apply_send_policy(daemon);
	} else if (daemon->config.desired != NULL) {
		/* Nobody is to be asked: it is in force. */
		apply_put_in_force(daemon, daemon->config.desired);
	}
}

bool apply_is_in_force(const struct daemon *daemon, uint64_t sequence)
{
	const struct daemon_apply *apply = &daemon->apply;

	if (apply->in_force == NULL || apply->in_force->sequence < sequence)
		return false;
	return daemon_worker_host(daemon) == NULL || (apply->classifier_done && !apply->dirty);
}

void apply_check(struct daemon *daemon)
{
	apply_schedule(daemon);
}

static void apply_besides_classifier(struct daemon *daemon)
{
	apply_host_steering(daemon);
	apply_announce(daemon);
	mapping_control_apply(daemon);
}

void apply_reconcile(struct daemon *daemon)
{
	uint64_t start_ns = daemon_monotonic_ns();

	daemon->apply.dirty = false;
	daemon->apply.ticks_since_check = 0;
	apply_host_classifier(daemon);
	apply_besides_classifier(daemon);
	daemon->apply.duration_ns = daemon_monotonic_ns() - start_ns;
	api_wait_check(daemon);
}

void apply_tick(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;

	if (apply->refused && apply->refusal == RPC_NO_PORT && ++apply->port_retry_ticks >= PORT_RETRY_TICKS) {
		revision_release(apply->answered);
		apply->answered = NULL;
	}
	apply_send_policy(daemon);
	apply_send_adjacency(daemon);
	apply_announce_tick(daemon);
	if (apply->dirty || apply->classifier_failed || apply->steer_failed) {
		apply_schedule(daemon);
	} else if (++apply->ticks_since_check >= CHECK_TICKS) {
		apply->ticks_since_check = 0;
		apply_host_classifier_common(daemon);
		apply_besides_classifier(daemon);
	}
}

void apply_close(struct daemon *daemon)
{
	struct daemon_apply *apply = &daemon->apply;

	revision_release(apply->sent);
	revision_release(apply->answered);
	revision_release(apply->in_force);
	apply_announce_close(daemon);
	problems_clear(&apply->classifier_problems);
	problems_clear(&apply->steer_problems);
}
