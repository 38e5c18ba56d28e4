/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rib_dump.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/kernel_routes.h"
#include "control/rib_next_hops.h"
#include "control/rib_route.h"

enum { ARRAY_CAPACITY_MIN = 64 };

static uint32_t address_of(const struct nl_addr *address)
{
	uint32_t value_be;

	if (address == NULL || nl_addr_get_len(address) != sizeof(value_be))
		return 0;
	memcpy(&value_be, nl_addr_get_binary_addr(address), sizeof(value_be));
	return ntohl(value_be);
}

static bool mac_of(const struct nl_addr *address, uint8_t ret_mac[6])
{
	if (address == NULL || nl_addr_get_len(address) != 6)
		return false;
	memcpy(ret_mac, nl_addr_get_binary_addr(address), 6);
	return true;
}

/* -1 when the interface is no port of ours. */
static int port_of(const struct rib_view *view, int interface_index)
{
	for (int port = 0; port < PORT_COUNT; port++) {
		if (interface_index > 0 && view->ports[port].interface_index == (uint32_t)interface_index)
			return port;
	}
	return -1;
}

/* Room for one more record; false when memory or the limit is used up. */
static bool array_reserve(void **records, size_t count, size_t *capacity, size_t record_size_bytes)
{
	size_t wanted;
	void *grown;

	if (count < *capacity)
		return true;
	if (count >= RIB_KERNEL_ROUTE_COUNT_MAX)
		return false;
	wanted = *capacity == 0 ? ARRAY_CAPACITY_MIN : *capacity * 2;
	grown = realloc(*records, wanted * record_size_bytes);
	if (grown == NULL)
		return false;
	*records = grown;
	*capacity = wanted;
	return true;
}

int rib_dump_links(struct nl_sock *socket, struct rib_view *view)
{
	struct rib_port ports[PORT_COUNT];

	memcpy(ports, view->ports, sizeof(ports));
	for (unsigned i = 0; i < PORT_COUNT; i++) {
		struct rib_port *port = &ports[i];
		struct rtnl_link *link = NULL;
		unsigned flags;
		int error;

		if (port->interface[0] == '\0')
			continue;
		error = rtnl_link_get_kernel(socket, 0, port->interface, &link);
		if (error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND) {
			port->interface_index = 0;
			port->up = false;
			port->address = 0;
			continue;
		}
		if (error < 0)
			return error;
		flags = rtnl_link_get_flags(link);
		port->interface_index = (uint32_t)rtnl_link_get_ifindex(link);
		port->up = (flags & IFF_UP) != 0 && (flags & IFF_LOWER_UP) != 0;
		port->mtu_bytes = rtnl_link_get_mtu(link);
		if (!mac_of(rtnl_link_get_addr(link), port->mac))
			memset(port->mac, 0, sizeof(port->mac));
		rtnl_link_put(link);
	}
	memcpy(view->ports, ports, sizeof(ports));
	return 0;
}

/* Global scope before narrower ones; among equals the first, as the kernel chooses source addresses. */
int rib_dump_addresses(struct nl_sock *socket, struct rib_view *view)
{
	struct nl_cache *cache;
	int best_scope[PORT_COUNT] = {256, 256};
	uint32_t best[PORT_COUNT] = {0};
	int error = rtnl_addr_alloc_cache(socket, &cache);

	if (error < 0)
		return error;
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL; object = nl_cache_get_next(object)) {
		struct rtnl_addr *address = (struct rtnl_addr *)object;
		int port = port_of(view, rtnl_addr_get_ifindex(address));
		int scope = rtnl_addr_get_scope(address);

		if (port < 0 || rtnl_addr_get_family(address) != AF_INET || scope >= best_scope[port] ||
			(rtnl_addr_get_flags(address) & IFA_F_SECONDARY))
			continue;
		best[port] = address_of(rtnl_addr_get_local(address));
		best_scope[port] = scope;
	}
	nl_cache_free(cache);
	for (unsigned port = 0; port < PORT_COUNT; port++)
		view->ports[port].address = best[port];
	return 0;
}

struct route_list {
	const struct rib_view *view;
	struct rib_route *routes;
	size_t count, capacity;
	uint32_t number; /* of the last route */
	bool no_memory;
};

static bool route_keep(void *context, const struct rib_route *route)
{
	struct route_list *list = context;

	list->no_memory = list->no_memory ||
			  !array_reserve((void **)&list->routes, list->count, &list->capacity, sizeof(*list->routes));
	if (!list->no_memory)
		list->routes[list->count++] = *route;
	return !list->no_memory;
}

/* To the end also without memory: the rest of the dump must not be taken for another answer. */
static int route_take(struct nl_msg *message, void *context)
{
	struct route_list *list = context;

	rib_route_read(list->view, nlmsg_hdr(message), ++list->number, route_keep, list);
	return NL_OK;
}

struct object_list {
	struct rib_next_hops next_hops;
	bool no_memory;
};

static int object_take(struct nl_msg *message, void *context)
{
	struct object_list *list = context;

	list->no_memory = list->no_memory || !rib_next_hops_take(&list->next_hops, nlmsg_hdr(message));
	return NL_OK;
}

/* A kernel that knows no such objects (before 5.3) has none. */
static int dump_objects(struct nl_sock *socket, struct object_list *list)
{
	struct nhmsg request = {.nh_family = AF_UNSPEC};
	struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
	struct nl_msg *message = nlmsg_alloc_simple(RTM_GETNEXTHOP, NLM_F_DUMP);
	int error = callbacks == NULL || message == NULL ? -NLE_NOMEM : 0;

	if (error == 0)
		error = nlmsg_append(message, &request, sizeof(request), NLMSG_ALIGNTO);
	if (error == 0) {
		nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, object_take, list);
		error = nl_send_auto(socket, message);
	}
	if (error >= 0)
		error = nl_recvmsgs(socket, callbacks);
	nl_cb_put(callbacks);
	nlmsg_free(message);
	if (error == -NLE_OPNOTSUPP || error > 0)
		error = 0;
	if (error == 0 && list->no_memory)
		error = -NLE_NOMEM;
	rib_next_hops_sort(&list->next_hops);
	return error;
}

int rib_dump_routes(struct nl_sock *socket, struct rib_view *view)
{
	static const struct kernel_route_filter main_table = {.table = KERNEL_ROUTE_TABLE_MAIN};
	struct object_list objects = {0};
	struct route_list list = {.view = view};
	int error = dump_objects(socket, &objects);

	view->next_hops = &objects.next_hops;
	if (error == 0)
		error = kernel_routes_dump(socket, &main_table, route_take, &list);
	view->next_hops = NULL;
	rib_next_hops_clear(&objects.next_hops);
	if (error == 0 && list.no_memory)
		error = -NLE_NOMEM;
	if (error < 0) {
		free(list.routes);
		return error;
	}
	free(view->routes);
	view->routes = list.routes;
	view->route_count = list.count;
	return 0;
}

int rib_dump_neighbours(struct nl_sock *socket, struct rib_view *view)
{
	static const int resolved_states =
		NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
	struct rib_neighbour *neighbours = NULL;
	size_t count = 0, capacity = 0;
	struct nl_cache *cache;
	int error = rtnl_neigh_alloc_cache(socket, &cache);

	if (error < 0)
		return error;
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL; object = nl_cache_get_next(object)) {
		struct rtnl_neigh *from = (struct rtnl_neigh *)object;
		int port = port_of(view, rtnl_neigh_get_ifindex(from));
		int state = rtnl_neigh_get_state(from);
		struct rib_neighbour neighbour = {0};

		if (port < 0 || rtnl_neigh_get_family(from) != AF_INET || (rtnl_neigh_get_flags(from) & NTF_PROXY))
			continue;
		neighbour.address = address_of(rtnl_neigh_get_dst(from));
		neighbour.port = (uint8_t)port;
		neighbour.resolved =
			mac_of(rtnl_neigh_get_lladdr(from), neighbour.mac) && (state & resolved_states) != 0;
		neighbour.stale = (state & NUD_STALE) != 0;
		neighbour.fixed = (state & (NUD_PERMANENT | NUD_NOARP)) != 0;
		if (neighbour.address == 0)
			continue;
		if (!array_reserve((void **)&neighbours, count, &capacity, sizeof(*neighbours))) {
			nl_cache_free(cache);
			free(neighbours);
			return -NLE_NOMEM;
		}
		neighbours[count++] = neighbour;
	}
	nl_cache_free(cache);
	free(view->neighbours);
	view->neighbours = neighbours;
	view->neighbour_count = count;
	return 0;
}

int rib_ask_neighbour(struct nl_sock *socket, uint32_t interface_index, uint32_t address, bool keep)
{
	struct ndmsg header = {
		.ndm_family = AF_INET,
		.ndm_ifindex = (int)interface_index,
		.ndm_state = NUD_NONE,
		.ndm_flags = NTF_USE,
	};
	struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
	uint32_t address_be = htonl(address);
	int error;

	if (message == NULL)
		return -NLE_NOMEM;
	error = nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
	if (error == 0)
		error = nla_put(message, NDA_DST, sizeof(address_be), &address_be);
	if (error == 0 && keep)
		error = nla_put_u32(message, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	if (error == 0)
		error = nl_send_sync(socket, message); /* frees the message */
	else
		nlmsg_free(message);
	return error;
}
