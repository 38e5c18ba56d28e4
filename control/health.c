/* SPDX-License-Identifier: Apache-2.0 */
#include "control/health.h"

#include <inttypes.h>
#include <string.h>

#include "control/admission.h"
#include "control/apply_announce.h"
#include "control/daemon.h"
#include "control/dataplane_client.h"
#include "control/gateways.h"
#include "control/registration_rules.h"
#include "control/rib.h"

enum { HEARTBEAT_MAX_S = 5 };

static const char *const port_names[PORT_COUNT] = {"inside", "outside"};

static void take_all(struct problems *reasons, const struct problems *from)
{
	for (size_t i = 0; i < from->count; i++)
		problems_add(reasons, "%s", from->lines[i]);
}

static void check_config(const struct daemon *daemon, struct problems *reasons)
{
	const struct daemon_config *config = &daemon->config;
	const char *first = config->errors.count > 0 ? config->errors.lines[0] : "no error was told";

	if (config->file_valid)
		return;
	if (config->desired == NULL)
		problems_add(reasons,
			"there is no valid configuration, so everything is dropped: %s (%zu errors; `postern config "
			"check %s` "
			"lists them)",
			first, config->errors.count + config->errors.dropped_count, daemon->config_path);
	else
		problems_add(reasons,
			"the configuration file is not valid, the last good one stays in force: %s (%zu errors; "
			"`postern "
			"config check %s` lists them)",
			first, config->errors.count + config->errors.dropped_count, daemon->config_path);
}

static void check_policy(const struct daemon *daemon, struct problems *reasons)
{
	const struct daemon_apply *apply = &daemon->apply;

	if (apply->refused)
		problems_add(reasons, "postern-dataplane %s: %s",
			apply->refusal == RPC_NO_PORT ? "could not open its ports" : "refused the policy",
			apply->refusal_text);
	else if (daemon->config.desired != NULL && apply->answered != daemon->config.desired)
		problems_add(reasons, "the policy is under way: not yet acknowledged by postern-dataplane");
	else if (daemon->config.desired != NULL && daemon->counters.counters->port_count < PORT_COUNT)
		problems_add(reasons, "postern-dataplane has not opened both ports");
	if (apply->adjacency_refusal_text[0] != '\0')
		problems_add(reasons, "postern-dataplane refused the routes and neighbours: %s",
			apply->adjacency_refusal_text);
	else if (apply->adjacency_acknowledged_generation == 0)
		problems_add(reasons, "the routes and neighbours are not yet acknowledged by postern-dataplane");
	else if (apply->unresolved_acknowledged != 0)
		problems_add(reasons,
			"the gateway of the default route, %u.%u.%u.%u, has not told its MAC yet, so nothing can "
			"leave: "
			"is it up? `ip neigh show dev %s`",
			apply->unresolved_acknowledged >> 24, apply->unresolved_acknowledged >> 16 & 255,
			apply->unresolved_acknowledged >> 8 & 255, apply->unresolved_acknowledged & 255,
			rib_get_view(daemon->rib)->ports[PORT_OUTSIDE].interface);
}

static void check_ports(const struct daemon *daemon, struct problems *reasons)
{
	const struct rib_view *view = rib_get_view(daemon->rib);

	for (unsigned i = 0; i < PORT_COUNT; i++) {
		const struct rib_port *port = &view->ports[i];

		if (port->interface[0] == '\0')
			continue;
		if (port->interface_index == 0)
			problems_add(reasons,
				"gateway.%s.interface: %s: there is no such interface: create it, or correct its name",
				port_names[i], port->interface);
		else if (!port->up)
			problems_add(reasons,
				"the %s port %s is down: `ip link set %s up`, and check its cable or peer",
				port_names[i], port->interface, port->interface);
		else if (i == PORT_INSIDE && port->address == 0)
			problems_add(reasons,
				"the inside port %s has no IPv4 address, so no worker host can reach it: add the "
				"VTEP's "
				"address",
				port->interface);
	}
	if (rib_get_summary(daemon->rib)->left_out_count > 0)
		problems_add(reasons, "%u routes of the kernel did not fit: announce fewer, or aggregate",
			rib_get_summary(daemon->rib)->left_out_count);
}

static void check_gateway(const struct daemon *daemon, struct problems *reasons)
{
	if (!dataplane_client_is_connected(daemon->client)) {
		problems_add(reasons, "%s",
			daemon->client != NULL && *dataplane_client_error(daemon->client) != '\0'
				? dataplane_client_error(daemon->client)
				: "no connection to postern-dataplane");
	} else {
		if (!health_dataplane_up(daemon))
			problems_add(reasons,
				"postern-dataplane is connected, but its heartbeat is older than %d s: is it stopped?",
				HEARTBEAT_MAX_S);
		check_policy(daemon, reasons);
	}
	check_ports(daemon, reasons);
}

static void check_registrations(const struct daemon *daemon, struct problems *reasons)
{
	const char *why = registration_limited(&daemon->registration_refusals, daemon_monotonic_ns());

	if (why != NULL)
		problems_add(reasons, "workers are refused: %s", why);
}

static void check_guard(const struct daemon *daemon, struct problems *reasons)
{
	struct counters_total total;

	counters_view_total(&daemon->counters, &total);
	if (total.guard_violations > 0)
		problems_add(reasons,
			"the isolation guard has stopped %" PRIu64
			" packets: no traffic leaked, but this is a defect: please "
			"report it",
			total.guard_violations);
}

static void check_host_gateways(const struct daemon *daemon, struct health *health)
{
	size_t count = gateways_count(daemon->gateways), down = 0;

	for (size_t i = 0; i < count; i++)
		down += gateways_get(daemon->gateways, i).operator_down;
	if (count > 0 && down == count)
		problems_add(&health->reasons,
			"every gateway of this host is taken down by an operator, so nothing leaves: `postern gateway "
			"up ADDRESS`");
	else if (down > 0)
		problems_add(&health->notes,
			"%zu of %zu gateways are taken down by an operator: `postern gateway list`", down, count);
}

static void check_worker_host(const struct daemon *daemon, struct health *health)
{
	const struct daemon_apply *apply = &daemon->apply;
	struct admission_totals totals;

	if (apply->classifier_failed)
		take_all(&health->reasons, &apply->classifier_problems);
	else
		take_all(&health->notes, &apply->classifier_problems);
	if (apply->classifier_failed && apply->classifier_problems.count == 0)
		problems_add(&health->reasons, "the classifier could not be brought up: out of memory");
	if (!apply->classifier_failed && (!apply->classifier_done || apply->claims_only))
		problems_add(&health->reasons,
			"the workers on this host stay closed until the first policy is acknowledged");
	admission_count(daemon->admission, &totals);
	if (totals.of_state[WORKER_NO_INTERFACE] > 0)
		problems_add(&health->notes, "%zu of %zu workers have no interface yet",
			totals.of_state[WORKER_NO_INTERFACE],
			worker_registry_count(admission_registry(daemon->admission)));
	admission_explain(daemon->admission, &health->reasons);
	check_host_gateways(daemon, health);
}

bool health_dataplane_up(const struct daemon *daemon)
{
	uint64_t heartbeat_ns, now_ns = daemon_monotonic_ns();

	if (!dataplane_client_is_connected(daemon->client) || daemon->counters.counters == NULL)
		return false;
	heartbeat_ns = daemon->counters.counters->heartbeat_monotonic_ns;
	return heartbeat_ns >= now_ns || now_ns - heartbeat_ns < HEARTBEAT_MAX_S * 1000000000ull;
}

void health_check(const struct daemon *daemon, struct health *ret_health)
{
	struct health health = {0};
	/* Readiness asks whether traffic flows as wanted: a bad file beside a good configuration in force does not
	 * hinder it. */
	struct problems serving = {0};
	size_t before;

	check_config(daemon, &health.reasons);
	if (daemon_gateway(daemon) != NULL) {
		check_gateway(daemon, &serving);
		take_all(&serving, &daemon->apply.steer_problems);
	}
	take_all(&health.reasons, &serving);
	before = health.reasons.count;
	if (daemon_worker_host(daemon) != NULL)
		check_worker_host(daemon, &health);
	health.ready = daemon->config.desired != NULL && serving.count == 0 && health.reasons.count == before;
	problems_clear(&serving);
	check_guard(daemon, &health.reasons);
	if (daemon_gateway(daemon) != NULL)
		check_registrations(daemon, &health.reasons);
	apply_announce_health(daemon, &health.reasons);
	take_all(&health.reasons, &daemon->mappings.problems);
	take_all(&health.reasons, &daemon->listeners.problems);
	take_all(&health.reasons, &daemon->watch_problems);
	take_all(&health.notes, &daemon->config.warnings);
	if (daemon->staged.deadline_s != 0)
		problems_add(&health.notes,
			"the configuration is on trial: `postern apply --confirmed` keeps it, else the "
			"old one comes back");
	*ret_health = health;
}

void health_clear(struct health *health)
{
	problems_clear(&health->reasons);
	problems_clear(&health->notes);
}
