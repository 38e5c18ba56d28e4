/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rib.h"

#include <event2/event.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "control/kernel_routes.h"
#include "control/neighbour.h"
#include "control/rib_dump.h"

enum rib_dirty {
	RIB_DIRTY_LINKS = 1u << 0,
	RIB_DIRTY_ADDRESSES = 1u << 1,
	RIB_DIRTY_ROUTES = 1u << 2,
	RIB_DIRTY_NEIGHBOURS = 1u << 3,
	RIB_DIRTY_ALL = (1u << 4) - 1,
};

enum {
	COALESCE_MS = 10,
	COALESCE_MAX_MS = 2000,
	DUMP_DUTY_FACTOR = 10,
	DUMP_ATTEMPT_MAX = 4,
	RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024,
};

struct rib {
	const struct log *log;
	const struct rib_handlers *handlers;
	void *context;
	struct nl_sock *events, *requests, *routes;
	struct event *readable;
	struct event *refresh; /* coalesces notifications */
	struct event *tick;    /* each second: neighbours */
	bool gateway_present;
	bool links_changed; /* since the last refresh, whichever link */
	unsigned dirty;	    /* enum rib_dirty */
	struct rib_view view;
	struct neighbours neighbours;
	uint32_t mapping_table; /* 0: none */
	uint32_t *vteps;	/* to keep resolved */
	size_t vtep_count;
	struct adjacency_snapshot *block; /* generation 0 */
	size_t block_size_bytes;
	struct rib_summary summary;
	uint64_t refreshed_ns, refresh_duration_ns;
	uint64_t resync_count, error_count;
};

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/* At once after a quiet while, so that a new neighbour is known before its first reply; else as the header says. */
static void rib_schedule(struct rib *rib, unsigned dirty)
{
	uint64_t pause_us = rib->refresh_duration_ns / 1000 * DUMP_DUTY_FACTOR;
	uint64_t since_us = (clock_ns() - rib->refreshed_ns) / 1000, wait_us;
	struct timeval delay;

	rib->dirty |= dirty;
	if (event_pending(rib->refresh, EV_TIMEOUT, NULL))
		return;
	if (pause_us < COALESCE_MS * 1000)
		pause_us = COALESCE_MS * 1000;
	if (pause_us > COALESCE_MAX_MS * 1000)
		pause_us = COALESCE_MAX_MS * 1000;
	wait_us = since_us < pause_us ? pause_us - since_us : 0;
	delay.tv_sec = (time_t)(wait_us / 1000000);
	delay.tv_usec = (suseconds_t)(wait_us % 1000000);
	event_add(rib->refresh, &delay);
}

/* ---- reading ---- */

struct rib_dump {
	unsigned dirty;
	const char *name;
	int (*read)(struct nl_sock *socket, struct rib_view *view);
};

/* Links first: the others are read for the links' indexes. */
static const struct rib_dump dumps[] = {
	{RIB_DIRTY_LINKS, "links", rib_dump_links},
	{RIB_DIRTY_ADDRESSES, "addresses", rib_dump_addresses},
	{RIB_DIRTY_ROUTES, "routes", rib_dump_routes},
	{RIB_DIRTY_NEIGHBOURS, "neighbours", rib_dump_neighbours},
};

static void rib_read(struct rib *rib)
{
	uint32_t inside_before = rib->view.ports[PORT_INSIDE].interface_index;
	uint32_t outside_before = rib->view.ports[PORT_OUTSIDE].interface_index;
	unsigned dirty = rib->dirty;

	rib->dirty = 0;
	for (size_t i = 0; i < sizeof(dumps) / sizeof(dumps[0]); i++) {
		int error = 0;

		if (!(dirty & dumps[i].dirty))
			continue;
		for (unsigned attempt = 0; attempt < DUMP_ATTEMPT_MAX; attempt++) {
			error = dumps[i].read(
				dumps[i].dirty == RIB_DIRTY_ROUTES ? rib->routes : rib->requests, &rib->view);
			if (error != -NLE_DUMP_INTR)
				break;
			rib->resync_count++;
		}
		if (error < 0) {
			rib->error_count++;
			log_warning(rib->log, "reading the kernel's %s failed, trying again: %s", dumps[i].name,
				nl_geterror(error));
			rib->dirty |= dumps[i].dirty;
		}
		if (dumps[i].dirty == RIB_DIRTY_LINKS &&
			(rib->view.ports[PORT_INSIDE].interface_index != inside_before ||
				rib->view.ports[PORT_OUTSIDE].interface_index != outside_before))
			dirty = RIB_DIRTY_ALL;
	}
	rib_view_sort(&rib->view);
}

static void rib_ask(void *context, uint32_t interface_index, uint32_t address, bool keep)
{
	struct rib *rib = context;
	int error = rib_ask_neighbour(rib->requests, interface_index, address, keep);

	if (error < 0) {
		rib->error_count++;
		log_debug(rib->log, "the kernel refuses to resolve a neighbour address=%08" PRIx32 ": %s", address,
			nl_geterror(error));
	}
}

static void rib_want_lasting(struct rib *rib)
{
	neighbours_begin(&rib->neighbours);
	for (size_t i = 0; i < rib->view.route_count; i++) {
		const struct rib_route *route = &rib->view.routes[i];

		if (route->kind == RIB_ROUTE_GATEWAY)
			neighbours_want_lasting(&rib->neighbours, route->port, route->gateway);
	}
	for (size_t i = 0; i < rib->vtep_count; i++) {
		rib_view_keep(&rib->view, PORT_INSIDE, rib->vteps[i]);
		if (rib_view_is_connected(&rib->view, PORT_INSIDE, rib->vteps[i]) &&
			rib->vteps[i] != rib->view.ports[PORT_INSIDE].address)
			neighbours_want_lasting(&rib->neighbours, PORT_INSIDE, rib->vteps[i]);
	}
	neighbours_end(&rib->neighbours);
}

/* True when the block is another one than before. */
static bool rib_rebuild(struct rib *rib)
{
	struct rib_summary summary;
	size_t size_bytes;
	void *block;

	if (rib_snapshot_build(&rib->view, 0, &block, &size_bytes, &summary) != STATUS_OK) {
		rib->error_count++;
		return false;
	}
	if (rib->block != NULL && rib->block_size_bytes == size_bytes && memcmp(rib->block, block, size_bytes) == 0) {
		free(block);
		return false;
	}
	if (summary.left_out_count > 0 && rib->summary.left_out_count == 0)
		log_warning(rib->log,
			"the kernel has more routes than fit, the longest prefixes are left out: announce fewer, or "
			"aggregate left_out=%u limit=%u",
			summary.left_out_count, ROUTE_COUNT_MAX);
	if (summary.unspread_count > 0 && rib->summary.unspread_count == 0)
		log_warning(rib->log,
			"the kernel has more sets of next hops than fit, some routes use one of theirs: let routes "
			"share "
			"next hops unspread=%u limit=%u",
			summary.unspread_count, NEXT_HOP_GROUP_COUNT_MAX);
	free(rib->block);
	rib->block = block;
	rib->block_size_bytes = size_bytes;
	rib->summary = summary;
	return true;
}

static void rib_refresh(evutil_socket_t fd, short what, void *context)
{
	struct rib *rib = context;
	uint64_t start_ns = clock_ns();
	bool links_changed = rib->links_changed;
	bool changed = false;

	rib->links_changed = false;
	if (rib->gateway_present) {
		rib_read(rib);
		rib_want_lasting(rib);
		neighbours_tick(&rib->neighbours, &rib->view, clock_ns(), rib_ask, rib);
		changed = rib_rebuild(rib);
	} else {
		rib->dirty = 0;
	}
	rib->refreshed_ns = clock_ns();
	rib->refresh_duration_ns = rib->refreshed_ns - start_ns;
	if (rib->dirty != 0)
		rib_schedule(rib, rib->dirty);
	if (changed)
		rib->handlers->adjacency_changed(rib->context);
	if (links_changed)
		rib->handlers->links_changed(rib->context);
}

static void rib_tick(evutil_socket_t fd, short what, void *context)
{
	struct rib *rib = context;

	if (rib->gateway_present)
		neighbours_tick(&rib->neighbours, &rib->view, clock_ns(), rib_ask, rib);
}

/* ---- notifications ---- */

static bool rib_is_port(const struct rib *rib, int interface_index)
{
	return interface_index > 0 &&
	       (rib->view.ports[PORT_INSIDE].interface_index == (uint32_t)interface_index ||
		       rib->view.ports[PORT_OUTSIDE].interface_index == (uint32_t)interface_index);
}

static int rib_notified(struct nl_msg *message, void *context)
{
	struct rib *rib = context;
	struct nlmsghdr *header = nlmsg_hdr(message);
	unsigned dirty = 0;

	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		/* Of any link: a port may have come under its name, and routes go silently with a link. */
		rib->links_changed = true;
		dirty = RIB_DIRTY_LINKS;
		if (nlmsg_valid_hdr(header, sizeof(struct ifinfomsg)) &&
			rib_is_port(rib, ((struct ifinfomsg *)nlmsg_data(header))->ifi_index))
			dirty = RIB_DIRTY_ALL;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		dirty = RIB_DIRTY_ADDRESSES | RIB_DIRTY_ROUTES;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (rib->mapping_table != 0 && kernel_route_table(header) == rib->mapping_table)
			rib->handlers->mappings_changed(rib->context);
		if (nlmsg_valid_hdr(header, sizeof(struct rtmsg)) &&
			((struct rtmsg *)nlmsg_data(header))->rtm_protocol == KERNEL_ROUTE_PROTOCOL)
			rib->handlers->own_routes_changed(rib->context);
		else
			dirty = RIB_DIRTY_ROUTES;
		break;
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		/* Routes that use the object change, or go, without a word of their own. */
		dirty = RIB_DIRTY_ROUTES;
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (nlmsg_valid_hdr(header, sizeof(struct ndmsg)) &&
			rib_is_port(rib, ((struct ndmsg *)nlmsg_data(header))->ndm_ifindex))
			dirty = RIB_DIRTY_NEIGHBOURS;
		break;
	default:
		break;
	}
	if (dirty != 0)
		rib_schedule(rib, dirty);
	return NL_OK;
}

static void rib_readable(evutil_socket_t fd, short what, void *context)
{
	struct rib *rib = context;
	int error = nl_recvmsgs_default(rib->events);

	if (error >= 0 || error == -NLE_AGAIN)
		return;
	/* ENOBUFS comes as NLE_NOMEM: notifications were lost, and nobody knows which. */
	rib->resync_count++;
	rib->links_changed = true;
	log_debug(rib->log, "netlink notifications were lost, reading everything again: %s", nl_geterror(error));
	rib->handlers->own_routes_changed(rib->context);
	rib->handlers->mappings_changed(rib->context);
	rib_schedule(rib, RIB_DIRTY_ALL);
}

/* ---- life ---- */

static int rib_open_sockets(struct rib *rib)
{
	static const int size_bytes = RECEIVE_BUFFER_BYTES;
	int error;

	rib->events = nl_socket_alloc();
	rib->requests = nl_socket_alloc();
	rib->routes = kernel_routes_open();
	if (rib->events == NULL || rib->requests == NULL || rib->routes == NULL)
		return -NLE_NOMEM;
	nl_socket_disable_seq_check(rib->events);
	nl_socket_modify_cb(rib->events, NL_CB_VALID, NL_CB_CUSTOM, rib_notified, rib);
	error = nl_connect(rib->events, NETLINK_ROUTE);
	if (error == 0)
		error = nl_connect(rib->requests, NETLINK_ROUTE);
	if (error == 0)
		error = nl_socket_add_memberships(rib->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE,
			RTNLGRP_NEIGH, RTNLGRP_NEXTHOP, 0);
	if (error == 0)
		error = nl_socket_set_nonblocking(rib->events);
	if (error == 0 && setsockopt(nl_socket_get_fd(rib->events), SOL_SOCKET, SO_RCVBUFFORCE, &size_bytes,
				  sizeof(size_bytes)) != 0)
		log_debug(rib->log, "the netlink buffer stays small: bursts will cause full resyncs");
	return error;
}

enum status rib_open(struct event_base *base, const struct log *log, const struct rib_handlers *handlers, void *context,
	struct rib **ret_rib, struct problems *problems)
{
	static const struct timeval second = {.tv_sec = 1};
	struct rib *rib = calloc(1, sizeof(*rib));
	int error;

	if (rib == NULL)
		return STATUS_NO_MEMORY;
	rib->log = log;
	rib->handlers = handlers;
	rib->context = context;
	error = rib_open_sockets(rib);
	if (error < 0) {
		problems_add(problems, "rtnetlink can not be opened: %s", nl_geterror(error));
		rib_close(rib);
		return STATUS_SYSTEM;
	}
	rib->readable = event_new(base, nl_socket_get_fd(rib->events), EV_READ | EV_PERSIST, rib_readable, rib);
	rib->refresh = event_new(base, -1, 0, rib_refresh, rib);
	rib->tick = event_new(base, -1, EV_PERSIST, rib_tick, rib);
	if (rib->readable == NULL || rib->refresh == NULL || rib->tick == NULL) {
		rib_close(rib);
		return STATUS_NO_MEMORY;
	}
	event_add(rib->readable, NULL);
	event_add(rib->tick, &second);
	*ret_rib = rib;
	return STATUS_OK;
}

void rib_close(struct rib *rib)
{
	if (rib == NULL)
		return;
	if (rib->readable != NULL)
		event_free(rib->readable);
	if (rib->refresh != NULL)
		event_free(rib->refresh);
	if (rib->tick != NULL)
		event_free(rib->tick);
	nl_socket_free(rib->events);
	nl_socket_free(rib->requests);
	nl_socket_free(rib->routes);
	neighbours_free(&rib->neighbours);
	free(rib->view.routes);
	free(rib->view.neighbours);
	free(rib->vteps);
	free(rib->block);
	free(rib);
}

static int address_compare(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* Sorted, each once. */
static void rib_set_vteps(struct rib *rib, const struct model *model)
{
	const struct model_gateway *gateway = &model->gateway;
	size_t count = gateway->trusted_vtep_count, kept = 0;

	for (size_t i = 0; i < model->workspace_count; i++) {
		for (size_t j = 0; j < model->workspaces[i].vpc_count; j++)
			count += model->workspaces[i].vpcs[j].worker_count;
	}
	free(rib->vteps);
	rib->vtep_count = 0;
	rib->vteps = calloc(count + 1, sizeof(*rib->vteps));
	if (rib->vteps == NULL)
		return;
	count = 0;
	for (size_t i = 0; i < gateway->trusted_vtep_count; i++) {
		if (gateway->trusted_vteps[i].prefix_length_bits == 32)
			rib->vteps[count++] = gateway->trusted_vteps[i].address;
	}
	for (size_t i = 0; i < model->workspace_count; i++) {
		for (size_t j = 0; j < model->workspaces[i].vpc_count; j++) {
			const struct model_vpc *vpc = &model->workspaces[i].vpcs[j];

			for (size_t k = 0; k < vpc->worker_count; k++) {
				if (vpc->workers[k].vtep != 0)
					rib->vteps[count++] = vpc->workers[k].vtep;
			}
		}
	}
	qsort(rib->vteps, count, sizeof(*rib->vteps), address_compare);
	for (size_t i = 0; i < count; i++) {
		if (kept == 0 || rib->vteps[kept - 1] != rib->vteps[i])
			rib->vteps[kept++] = rib->vteps[i];
	}
	rib->vtep_count = kept;
}

void rib_set_model(struct rib *rib, const struct model *model)
{
	rib->gateway_present = model->gateway.present;
	rib->mapping_table = rib->gateway_present ? model->gateway.mapping_table : 0;
	if (!rib->gateway_present)
		return;
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		struct rib_port *port = &rib->view.ports[i];

		if (strncmp(port->interface, model->gateway.ports[i].interface, sizeof(port->interface)) == 0)
			continue;
		memset(port, 0, sizeof(*port));
		memcpy(port->interface, model->gateway.ports[i].interface, sizeof(port->interface));
		port->interface[sizeof(port->interface) - 1] = '\0';
	}
	rib_set_vteps(rib, model);
	rib_schedule(rib, RIB_DIRTY_ALL);
}

void rib_want_neighbour(struct rib *rib, uint32_t address, uint32_t port)
{
	if (port >= PORT_COUNT || !rib_view_is_connected(&rib->view, port, address) ||
		address == rib->view.ports[port].address)
		return;
	neighbours_request(&rib->neighbours, port, address);
	neighbours_tick(&rib->neighbours, &rib->view, clock_ns(), rib_ask, rib);
}

const struct adjacency_snapshot *rib_block(const struct rib *rib)
{
	return rib->block;
}

const struct rib_view *rib_get_view(const struct rib *rib)
{
	return &rib->view;
}

const struct rib_summary *rib_get_summary(const struct rib *rib)
{
	return &rib->summary;
}

uint64_t rib_resync_count(const struct rib *rib)
{
	return rib->resync_count;
}

uint64_t rib_error_count(const struct rib *rib)
{
	return rib->error_count;
}
