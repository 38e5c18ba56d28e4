/* SPDX-License-Identifier: Apache-2.0 */
#include "control/mapping_control.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/apply_host.h"
#include "control/daemon_config.h"

enum { CHECK_TICKS = 30, LOOK_DUTY_FACTOR = 10, LOOK_DELAY_MIN_MS = 10, LOOK_DELAY_MAX_MS = 5000 };

static uint32_t wanted_table(const struct daemon *daemon)
{
	const struct model_gateway *gateway = daemon_gateway(daemon);

	return gateway != NULL ? gateway->mapping_table : 0;
}

/* ---- the routes ---- */

static int read_table(struct daemon_mappings *mappings, uint32_t table)
{
	const struct kernel_route_filter filter = {.table = table};
	int error;

	if (mappings->socket == NULL && (mappings->socket = kernel_routes_open()) == NULL)
		return -NLE_NOMEM;
	error = kernel_routes_read(mappings->socket, &filter, &mappings->routes, &mappings->resyncs);
	if (error == 0)
		mappings->table = table;
	else
		mappings->errors++;
	return error;
}

bool mapping_control_routes(
	void *context, uint32_t table, const struct kernel_routes **ret_routes, struct problems *problems)
{
	struct daemon *daemon = context;
	struct daemon_mappings *mappings = &daemon->mappings;
	int error = read_table(mappings, table);

	if (error != 0)
		log_warning(&daemon->log, "the routes of the mapping table can not be read: %s", nl_geterror(error));
	if (error != 0 && mappings->table != table) {
		problems_add(problems, "gateway.netlink.mapping_table: the kernel's routes can not be read: %s",
			nl_geterror(error));
		return false;
	}
	*ret_routes = &mappings->routes;
	return true;
}

static void look(evutil_socket_t fd, short what, void *context)
{
	struct daemon *daemon = context;
	struct daemon_mappings *mappings = &daemon->mappings;
	const struct revision *desired = daemon->config.desired;
	uint32_t table = wanted_table(daemon);
	uint64_t start_ns = daemon_monotonic_ns();

	/* While the files are bad nothing could be laid out anew; they are looked at with the table once they are good. */
	if (table == 0 || desired->mappings == NULL || !daemon->config.file_valid)
		return;
	if (read_table(mappings, table) == 0 && mappings_digest(&mappings->routes) != desired->mappings->digest) {
		mappings->reloading = true;
		daemon_reload(daemon);
		mappings->reloading = false;
	}
	mappings->looked_ns = daemon_monotonic_ns();
	mappings->duration_ns = mappings->looked_ns - start_ns;
}

void mapping_control_changed(struct daemon *daemon)
{
	struct daemon_mappings *mappings = &daemon->mappings;
	uint64_t pause_ms = mappings->duration_ns / 1000000 * LOOK_DUTY_FACTOR;
	uint64_t since_ms = (daemon_monotonic_ns() - mappings->looked_ns) / 1000000, wait_ms;
	struct timeval delay;

	if (wanted_table(daemon) == 0 || event_pending(mappings->due, EV_TIMEOUT, NULL))
		return;
	if (pause_ms > LOOK_DELAY_MAX_MS)
		pause_ms = LOOK_DELAY_MAX_MS;
	wait_ms = since_ms < pause_ms ? pause_ms - since_ms : 0;
	if (wait_ms < LOOK_DELAY_MIN_MS)
		wait_ms = LOOK_DELAY_MIN_MS; /* routes seldom come alone */
	delay.tv_sec = (time_t)(wait_ms / 1000);
	delay.tv_usec = (suseconds_t)(wait_ms % 1000 * 1000);
	event_add(mappings->due, &delay);
}

/* ---- what the kernel shall take as src ---- */

static size_t own_ips(const struct model *model, uint32_t **ret_ips)
{
	size_t count = apply_host_egress_ips(model, ret_ips);

	/* Those of the shared pool come last, and are nobody's own. */
	return *ret_ips != NULL ? count - model->shared_pool_ip_count : 0;
}

void mapping_control_apply(struct daemon *daemon)
{
	struct daemon_mappings *mappings = &daemon->mappings;
	uint32_t table = wanted_table(daemon);
	struct announce_desired desired = {.table = table, .type = RTN_LOCAL};
	bool more = false;

	if (!mappings->sources_dirty || (table == 0 && mappings->sources_table == 0) || daemon->config.desired == NULL)
		return;
	if (table != 0)
		desired.address_count = own_ips(daemon->config.desired->model, &desired.addresses);
	problems_clear(&mappings->problems);
	mappings->sources_dirty =
		announce_apply(&mappings->sources, &desired, &more, &mappings->problems) != STATUS_OK || more;
	mappings->sources_table = table;
	free(desired.addresses);
	if (more)
		daemon->apply.dirty = true;
}

/* ---- life ---- */

void mapping_control_tick(struct daemon *daemon)
{
	if (daemon->apply.ticks_since_check + 1 < CHECK_TICKS)
		return;
	daemon->mappings.sources_dirty = true;
	mapping_control_changed(daemon);
}

enum status mapping_control_open(struct daemon *daemon)
{
	daemon->mappings.due = event_new(daemon->base, -1, 0, look, daemon);
	/* What an earlier process has left, in whatever table, is looked at once. */
	daemon->mappings.sources_dirty = true;
	daemon->mappings.sources_table = UINT32_MAX;
	return daemon->mappings.due != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void mapping_control_close(struct daemon *daemon)
{
	struct daemon_mappings *mappings = &daemon->mappings;

	if (mappings->due != NULL)
		event_free(mappings->due);
	nl_socket_free(mappings->socket);
	kernel_routes_clear(&mappings->routes);
	announce_close(&mappings->sources);
	problems_clear(&mappings->problems);
}
