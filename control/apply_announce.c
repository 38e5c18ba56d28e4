/* SPDX-License-Identifier: Apache-2.0 */
#include "control/apply_announce.h"

#include <linux/rtnetlink.h>
#include <stdlib.h>

#include "control/apply.h"
#include "control/apply_host.h"
#include "control/backoff.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"
#include "control/health.h"
#include "control/rib.h"

enum {
	START_GRACE_NS = 2000000000, /* how long a dataplane may take to be found by a posternd that has just started */
	CHECK_TICKS = 30,
};

/* Why the gateway does not serve; NULL: it does. */
static const char *not_serving(const struct daemon *daemon)
{
	const struct rib_view *view = rib_get_view(daemon->rib);

	if (daemon_gateway(daemon)->announce.draining)
		return "gateway.announce.draining is true";
	if (!dataplane_client_is_connected(daemon->client))
		return "there is no connection to postern-dataplane";
	if (!health_dataplane_up(daemon))
		return "the heartbeat of postern-dataplane has stopped";
	if (!daemon->apply.steered || daemon->apply.in_force == NULL)
		return "postern-dataplane has not got its policy and its packets yet";
	if (!daemon->apply.adjacency_answered)
		return "postern-dataplane has not got its routes and neighbours yet";
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		if (view->ports[port].interface_index == 0 || !view->ports[port].up)
			return port == PORT_INSIDE ? "the inside port is down" : "the outside port is down";
	}
	return NULL;
}

/* Is it too early to know? After a restart of posternd the dataplane goes on by the policy that it has. */
static bool is_unsettled(const struct daemon *daemon)
{
	const struct rpc_message *hello;

	if (daemon_gateway(daemon)->announce.draining)
		return false;
	if (!dataplane_client_is_connected(daemon->client))
		return !daemon->announce.started && daemon_monotonic_ns() - daemon->start_monotonic_ns < START_GRACE_NS;
	hello = dataplane_client_hello(daemon->client);
	return hello->generation != 0 && !daemon->announce.started && health_dataplane_up(daemon);
}

static void settle(struct daemon *daemon, enum announce_state state, const char *reason)
{
	struct daemon_announce *announce = &daemon->announce;

	if (announce->state != state) {
		announce->since_unix_s = daemon_unix_s();
		announce->dirty = true;
		if (state == ANNOUNCE_WITHDRAWN)
			log_warning(&daemon->log, "the egress IPs are withdrawn: %s", reason);
		else if (state == ANNOUNCE_SERVING)
			log_info(&daemon->log, "the egress IPs are announced");
	}
	if (state == ANNOUNCE_SERVING || state == ANNOUNCE_WITHDRAWN)
		announce->started = true;
	announce->state = state;
	announce->reason = reason;
}

static void look(struct daemon *daemon)
{
	const struct model_gateway *gateway = daemon_gateway(daemon);
	const char *reason;

	if (daemon->config.desired == NULL) {
		settle(daemon, ANNOUNCE_HELD, "there is no valid configuration");
	} else if (gateway == NULL || !gateway->announce.present) {
		settle(daemon, ANNOUNCE_OFF, NULL);
	} else if ((reason = not_serving(daemon)) == NULL) {
		settle(daemon, ANNOUNCE_SERVING, NULL);
	} else if (is_unsettled(daemon)) {
		settle(daemon, ANNOUNCE_HELD, reason);
	} else {
		settle(daemon, ANNOUNCE_WITHDRAWN, reason);
	}
}

static void round_failed(struct daemon *daemon, struct problems *problems)
{
	struct daemon_announce *announce = &daemon->announce;

	daemon->apply.reconcile_errors++;
	if (!announce->failed)
		log_problems(&daemon->log, LOG_LEVEL_ERROR, problems);
	announce->failed = true;
	announce->retry_ticks = backoff_ticks(announce->failure_count++);
}

static void correct(struct daemon *daemon)
{
	struct daemon_announce *announce = &daemon->announce;
	const struct model_gateway *gateway = daemon_gateway(daemon);
	struct announce_desired desired = {.type = RTN_BLACKHOLE};
	struct problems problems = {0};
	bool more = false;

	if (announce->state == ANNOUNCE_SERVING) {
		desired.address_count = apply_host_egress_ips(daemon->apply.in_force->model, &desired.addresses);
		if (desired.addresses == NULL)
			return;
	}
	if (gateway != NULL && gateway->announce.present)
		desired.table = gateway->announce.table;
	if (gateway != NULL)
		desired.mapping_table = gateway->mapping_table;
	announce->dirty = false;
	if (announce_apply(&announce->announce, &desired, &more, &problems) != STATUS_OK) {
		round_failed(daemon, &problems);
	} else {
		announce->failed = false;
		announce->failure_count = 0;
	}
	problems_clear(&announce->problems);
	announce->problems = problems;
	free(desired.addresses);
	if (more) {
		announce->dirty = true;
		apply_schedule(daemon);
	}
}

void apply_announce(struct daemon *daemon)
{
	struct daemon_announce *announce = &daemon->announce;

	look(daemon);
	if (announce->state == ANNOUNCE_HELD)
		return;
	if (announce->dirty && (!announce->failed || announce->retry_ticks == 0))
		correct(daemon);
}

void apply_announce_dirty(struct daemon *daemon)
{
	daemon->announce.dirty = true;
	apply_schedule(daemon);
}

void apply_announce_tick(struct daemon *daemon)
{
	struct daemon_announce *announce = &daemon->announce;

	if (announce->failed) {
		if (announce->retry_ticks > 0)
			announce->retry_ticks--;
		announce->dirty = true;
	}
	if (daemon->apply.ticks_since_check + 1 >= CHECK_TICKS)
		announce->dirty = true;
	apply_announce(daemon);
}

void apply_announce_health(const struct daemon *daemon, struct problems *reasons)
{
	for (size_t i = 0; i < daemon->announce.problems.count; i++)
		problems_add(reasons, "%s", daemon->announce.problems.lines[i]);
}

const char *apply_announce_state_text(const struct daemon *daemon)
{
	static const char *const texts[] = {"off", "held", "announced", "withdrawn"};

	return texts[daemon->announce.state];
}

void apply_announce_close(struct daemon *daemon)
{
	announce_close(&daemon->announce.announce);
	problems_clear(&daemon->announce.problems);
}
