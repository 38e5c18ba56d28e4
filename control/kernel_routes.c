/* SPDX-License-Identifier: Apache-2.0 */
#include "control/kernel_routes.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { ATTEMPT_COUNT_MAX = 8, CAPACITY_MIN = 64 };

struct nl_sock *kernel_routes_open(void)
{
	static const int on = 1;
	struct nl_sock *socket = nl_socket_alloc();

	if (socket == NULL)
		return NULL;
	if (nl_connect(socket, NETLINK_ROUTE) != 0) {
		nl_socket_free(socket);
		return NULL;
	}
	/* Without it (before Linux 4.20) everything comes, and is filtered here. */
	setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return socket;
}

/* ---- reading ---- */

static uint32_t attribute_u32(const struct rtattr *attribute)
{
	uint32_t value;

	memcpy(&value, RTA_DATA(attribute), sizeof(value));
	return value;
}

static void take_attribute(const struct rtattr *attribute, struct kernel_route *route)
{
	/* All that count here are one word. */
	if (RTA_PAYLOAD(attribute) != sizeof(uint32_t))
		return;
	switch (attribute->rta_type & NLA_TYPE_MASK) {
	case RTA_DST:
		route->address = ntohl(attribute_u32(attribute));
		break;
	case RTA_TABLE:
		route->table = attribute_u32(attribute);
		break;
	case RTA_PRIORITY:
		route->metric = attribute_u32(attribute);
		break;
	case RTA_OIF:
		route->interface_index = attribute_u32(attribute);
		break;
	case RTA_PREFSRC:
		route->source = ntohl(attribute_u32(attribute));
		break;
	case RTA_FLOW:
		route->realm = attribute_u32(attribute);
		break;
	default:
		break;
	}
}

/* The message is long enough for its head. */
static void route_read(const struct nlmsghdr *header, struct kernel_route *ret_route)
{
	const struct rtmsg *message = NLMSG_DATA(header);
	int left_bytes = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));

	*ret_route = (struct kernel_route){
		.table = message->rtm_table,
		.prefix_length_bits = message->rtm_dst_len,
		.type = message->rtm_type,
		.protocol = message->rtm_protocol,
	};
	for (const struct rtattr *at = RTM_RTA(message); RTA_OK(at, left_bytes); at = RTA_NEXT(at, left_bytes))
		take_attribute(at, ret_route);
}

bool kernel_route_parse(
	const struct nlmsghdr *header, const struct kernel_route_filter *filter, struct kernel_route *ret_route)
{
	const struct rtmsg *message = NLMSG_DATA(header);
	struct kernel_route route;

	if (header->nlmsg_type != RTM_NEWROUTE || header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)) ||
		message->rtm_family != AF_INET ||
		(filter->protocol != 0 && message->rtm_protocol != filter->protocol) || message->rtm_dst_len > 32 ||
		(message->rtm_flags & RTM_F_CLONED))
		return false;
	route_read(header, &route);
	if (filter->table != 0 && route.table != filter->table)
		return false;
	*ret_route = route;
	return true;
}

uint32_t kernel_route_table(const struct nlmsghdr *header)
{
	const struct rtmsg *message = NLMSG_DATA(header);
	struct kernel_route route;

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)) || message->rtm_family != AF_INET)
		return 0;
	route_read(header, &route);
	return route.table;
}

static int route_compare(const void *left, const void *right)
{
	const struct kernel_route *a = left, *b = right;

	if (a->table != b->table)
		return a->table < b->table ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	if (a->prefix_length_bits != b->prefix_length_bits)
		return a->prefix_length_bits < b->prefix_length_bits ? -1 : 1;
	return a->metric < b->metric ? -1 : a->metric > b->metric;
}

struct reader {
	const struct kernel_route_filter *filter;
	struct kernel_routes routes;
	bool no_memory;
};

static int reader_take(struct nl_msg *message, void *context)
{
	struct reader *reader = context;
	struct kernel_routes *routes = &reader->routes;
	struct kernel_route route;

	if (!kernel_route_parse(nlmsg_hdr(message), reader->filter, &route))
		return NL_OK;
	if (routes->count == routes->capacity) {
		size_t capacity = routes->capacity ? routes->capacity * 2 : CAPACITY_MIN;
		struct kernel_route *grown = capacity <= KERNEL_ROUTE_COUNT_MAX * 2
						     ? realloc(routes->routes, capacity * sizeof(*grown))
						     : NULL;

		if (grown == NULL) {
			reader->no_memory = true;
			return NL_OK; /* to the end: the rest of the dump must not be taken for another answer */
		}
		routes->routes = grown;
		routes->capacity = capacity;
	}
	routes->routes[routes->count++] = route;
	return NL_OK;
}

int kernel_routes_dump(struct nl_sock *socket, const struct kernel_route_filter *filter,
	int (*take)(struct nl_msg *message, void *context), void *context)
{
	struct rtmsg request = {.rtm_family = AF_INET, .rtm_protocol = filter->protocol};
	struct nl_cb *callbacks = nl_cb_alloc(NL_CB_DEFAULT);
	struct nl_msg *message = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_DUMP);
	int error = callbacks == NULL || message == NULL ? -NLE_NOMEM : 0;

	if (error == 0)
		error = nlmsg_append(message, &request, sizeof(request), NLMSG_ALIGNTO);
	if (error == 0 && filter->table != 0)
		error = nla_put_u32(message, RTA_TABLE, filter->table);
	if (error == 0) {
		nl_cb_set(callbacks, NL_CB_VALID, NL_CB_CUSTOM, take, context);
		error = nl_send_auto(socket, message);
	}
	if (error >= 0)
		error = nl_recvmsgs(socket, callbacks);
	nl_cb_put(callbacks);
	nlmsg_free(message);
	/* A table that nothing was ever put in. */
	return error == -NLE_OBJ_NOTFOUND || error > 0 ? 0 : error;
}

static int read_once(struct nl_sock *socket, struct reader *reader)
{
	int error = kernel_routes_dump(socket, reader->filter, reader_take, reader);

	return error < 0 ? error : reader->no_memory ? -NLE_NOMEM : 0;
}

int kernel_routes_read(struct nl_sock *socket, const struct kernel_route_filter *filter, struct kernel_routes *routes,
	uint64_t *ret_resyncs)
{
	struct reader reader;
	int error = 0;

	for (unsigned attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt++) {
		reader = (struct reader){.filter = filter};
		error = read_once(socket, &reader);
		if (error == 0)
			break;
		kernel_routes_clear(&reader.routes);
		if (error != -NLE_DUMP_INTR)
			break;
		++*ret_resyncs;
	}
	if (error != 0)
		return error;
	if (reader.routes.count > 0)
		qsort(reader.routes.routes, reader.routes.count, sizeof(*reader.routes.routes), route_compare);
	kernel_routes_clear(routes);
	*routes = reader.routes;
	return 0;
}

void kernel_routes_clear(struct kernel_routes *routes)
{
	free(routes->routes);
	memset(routes, 0, sizeof(*routes));
}

/* ---- writing ---- */

static int send_route(struct nl_sock *socket, int type, int flags, const struct kernel_route *route)
{
	struct rtmsg header = {
		.rtm_family = AF_INET,
		.rtm_dst_len = route->prefix_length_bits,
		.rtm_table = route->table < 256 ? (unsigned char)route->table : RT_TABLE_UNSPEC,
		.rtm_protocol = KERNEL_ROUTE_PROTOCOL,
		.rtm_scope = route->type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
		.rtm_type = route->type,
	};
	struct nl_msg *message = nlmsg_alloc_simple(type, flags);
	uint32_t address_be = htonl(route->address);
	int error;

	if (message == NULL)
		return -NLE_NOMEM;
	error = nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
	if (error == 0)
		error = nla_put(message, RTA_DST, sizeof(address_be), &address_be);
	if (error == 0)
		error = nla_put_u32(message, RTA_TABLE, route->table);
	if (error == 0)
		error = nla_put_u32(message, RTA_PRIORITY, route->metric);
	if (error == 0 && route->interface_index != 0)
		error = nla_put_u32(message, RTA_OIF, route->interface_index);
	if (error != 0) {
		nlmsg_free(message);
		return error;
	}
	return nl_send_sync(socket, message); /* frees the message */
}

int kernel_route_add(struct nl_sock *socket, uint32_t table, uint32_t address, uint32_t metric, uint8_t type)
{
	const struct kernel_route route = {
		.table = table,
		.address = address,
		.prefix_length_bits = 32,
		.type = type,
		.metric = metric,
		.interface_index = type == RTN_LOCAL ? if_nametoindex("lo") : 0,
	};

	return send_route(socket, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route);
}

int kernel_route_remove(struct nl_sock *socket, const struct kernel_route *route)
{
	return send_route(socket, RTM_DELROUTE, 0, route);
}
