/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rib_route.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/kernel_routes.h"
#include "control/rib_next_hops.h"

/* What the attributes say; of a multipath route its next hops stand in `multipath`. */
struct attributes {
	uint32_t table, address, metric, mtu_bytes;
	uint32_t interface_index, gateway;
	uint32_t next_hop_id; /* of an object; 0: none */
	bool via;	      /* a gateway of another family */
	const struct rtattr *multipath;
};

static uint32_t word(const struct rtattr *attribute)
{
	uint32_t value = 0;

	if (RTA_PAYLOAD(attribute) >= sizeof(value))
		memcpy(&value, RTA_DATA(attribute), sizeof(value));
	return value;
}

static uint32_t mtu_of(const struct rtattr *metrics)
{
	int left_bytes = (int)RTA_PAYLOAD(metrics);

	for (const struct rtattr *at = RTA_DATA(metrics); RTA_OK(at, left_bytes); at = RTA_NEXT(at, left_bytes)) {
		if ((at->rta_type & NLA_TYPE_MASK) == RTAX_MTU)
			return word(at);
	}
	return 0;
}

static void take_attributes(const struct rtattr *at, int left_bytes, struct attributes *attributes)
{
	for (; RTA_OK(at, left_bytes); at = RTA_NEXT(at, left_bytes)) {
		switch (at->rta_type & NLA_TYPE_MASK) {
		case RTA_TABLE:
			attributes->table = word(at);
			break;
		case RTA_DST:
			attributes->address = ntohl(word(at));
			break;
		case RTA_PRIORITY:
			attributes->metric = word(at);
			break;
		case RTA_METRICS:
			attributes->mtu_bytes = mtu_of(at);
			break;
		case RTA_OIF:
			attributes->interface_index = word(at);
			break;
		case RTA_GATEWAY:
			attributes->gateway = ntohl(word(at));
			break;
		case RTA_VIA:
			attributes->via = true;
			break;
		case RTA_MULTIPATH:
			attributes->multipath = at;
			break;
		case RTA_NH_ID:
			attributes->next_hop_id = word(at);
			break;
		default:
			break;
		}
	}
}

/* Fills in the next hop. False: it is none by a port of ours. */
static bool next_hop_read(
	const struct rib_view *view, const struct attributes *of, unsigned flags, struct rib_route *route)
{
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		if (of->interface_index == 0 || view->ports[port].interface_index != of->interface_index)
			continue;
		/* An IPv6 gateway of an IPv4 route has no MAC in the IPv4 neighbours. */
		if ((flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) || of->via)
			return false;
		route->port = (uint8_t)port;
		route->gateway = of->gateway;
		route->kind = of->gateway != 0 ? RIB_ROUTE_GATEWAY : RIB_ROUTE_CONNECTED;
		return true;
	}
	return false;
}

static bool multipath_read(const struct rib_view *view, const struct rtattr *multipath, struct rib_route *route,
	rib_route_fn *take, void *context)
{
	const char *at = RTA_DATA(multipath);
	size_t left_bytes = RTA_PAYLOAD(multipath);

	for (uint16_t order = 0; left_bytes >= sizeof(struct rtnexthop); order++) {
		struct attributes attributes = {0};
		struct rtnexthop head;
		size_t step_bytes;

		memcpy(&head, at, sizeof(head));
		if (head.rtnh_len < sizeof(head) || head.rtnh_len > left_bytes)
			break;
		attributes.interface_index = head.rtnh_ifindex > 0 ? (uint32_t)head.rtnh_ifindex : 0;
		take_attributes((const struct rtattr *)(const void *)(at + RTNH_LENGTH(0)),
			(int)(head.rtnh_len - RTNH_LENGTH(0)), &attributes);
		route->order = order;
		route->weight = (uint16_t)(head.rtnh_hops + 1); /* as the kernel stores it */
		if (next_hop_read(view, &attributes, head.rtnh_flags, route) && !take(context, route))
			return false;
		step_bytes = RTNH_ALIGN(head.rtnh_len);
		if (step_bytes >= left_bytes)
			break;
		at += step_bytes;
		left_bytes -= step_bytes;
	}
	return true;
}

static bool object_read(const struct rib_view *view, const struct rib_next_hop_object *object, struct rib_route *route,
	rib_route_fn *take, void *context)
{
	const struct attributes attributes = {
		.interface_index = object->interface_index, .gateway = object->gateway, .via = object->via};

	return !next_hop_read(view, &attributes, object->flags, route) || take(context, route);
}

/* The route says no more than which object it goes by. */
static bool by_object_read(
	const struct rib_view *view, uint32_t id, struct rib_route *route, rib_route_fn *take, void *context)
{
	const struct rib_next_hops *next_hops = view->next_hops;
	const struct rib_next_hop_object *object = next_hops != NULL ? rib_next_hops_find(next_hops, id) : NULL;

	if (object == NULL)
		return true;
	if (object->member_count == 0)
		return object_read(view, object, route, take, context);
	for (size_t i = 0; i < object->member_count; i++) {
		const struct rib_next_hop_member *member = &next_hops->members[object->member_first + i];
		const struct rib_next_hop_object *of = rib_next_hops_find(next_hops, member->id);

		route->order = (uint16_t)i;
		route->weight = member->weight;
		if (of != NULL && of->member_count == 0 && !object_read(view, of, route, take, context))
			return false;
	}
	return true;
}

static bool is_of_use(const struct nlmsghdr *header, const struct rtmsg *message)
{
	/* Our own announcements lead nowhere, and must not shadow a route. */
	return header->nlmsg_type == RTM_NEWROUTE && header->nlmsg_len >= NLMSG_LENGTH(sizeof(*message)) &&
	       message->rtm_family == AF_INET && message->rtm_protocol != KERNEL_ROUTE_PROTOCOL &&
	       message->rtm_tos == 0 && message->rtm_dst_len <= 32 && (message->rtm_flags & RTM_F_CLONED) == 0;
}

bool rib_route_read(
	const struct rib_view *view, const struct nlmsghdr *header, uint32_t number, rib_route_fn *take, void *context)
{
	const struct rtmsg *message = NLMSG_DATA(header);
	struct attributes attributes = {0};
	struct rib_route route = {.number = number, .weight = 1};

	if (!is_of_use(header, message))
		return true;
	attributes.table = message->rtm_table;
	take_attributes(RTM_RTA(message), (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message))), &attributes);
	if (attributes.table != KERNEL_ROUTE_TABLE_MAIN)
		return true;
	route.address = attributes.address;
	route.prefix_length_bits = message->rtm_dst_len;
	route.metric = attributes.metric;
	route.mtu_bytes = attributes.mtu_bytes;
	switch (message->rtm_type) {
	case RTN_UNICAST:
		if (attributes.multipath != NULL)
			return multipath_read(view, attributes.multipath, &route, take, context);
		if (attributes.next_hop_id != 0 && attributes.interface_index == 0)
			return by_object_read(view, attributes.next_hop_id, &route, take, context);
		return !next_hop_read(view, &attributes, message->rtm_flags, &route) || take(context, &route);
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
		route.kind = RIB_ROUTE_UNREACHABLE;
		return take(context, &route);
	default:
		return true;
	}
}
