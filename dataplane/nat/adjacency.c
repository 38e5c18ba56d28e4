/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/adjacency.h"
#include "dataplane/nat/layout.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/check.h"
#include "dataplane/nat/nat.h"

/* n prefixes cut the address space into at most 2n + 1 ranges. */
static size_t ranges_size(const struct adjacency_snapshot *snapshot)
{
	return layout_lines((2 * (size_t)snapshot->routes.count + 2) * sizeof(struct adjacency_range));
}

size_t adjacency_tables_size(const struct adjacency_snapshot *snapshot)
{
	return layout_lines(sizeof(struct adjacency_tables)) +
	       layout_lines(snapshot->next_hops.count * sizeof(struct adjacency_hop)) +
	       layout_lines(snapshot->groups.count * sizeof(struct adjacency_group)) +
	       PORT_COUNT * ranges_size(snapshot) +
	       layout_lines(snapshot->routes.count * sizeof(struct adjacency_route));
}

static uint32_t last_address(const struct adjacency_route *route)
{
	return route->prefix_length_bits == 0
		       ? UINT32_MAX
		       : route->address | (uint32_t)((1ull << (32 - route->prefix_length_bits)) - 1);
}

/* By port, then address, then the shorter prefix first, so that an outer prefix
 * comes before what it contains. */
static int route_compare(const void *left, const void *right)
{
	const struct adjacency_route *a = left, *b = right;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return (int)a->prefix_length_bits - (int)b->prefix_length_bits;
}

struct flattening {
	struct adjacency_range *ranges;
	uint32_t count;
};

static void range_begin(struct flattening *to, uint32_t first, uint32_t next_hop_index)
{
	if (to->count != 0 && to->ranges[to->count - 1].first == first)
		to->count--; /* nothing lay between: the later, more specific one replaces
				it */
	if (to->count != 0 && to->ranges[to->count - 1].next_hop_index == next_hop_index)
		return;
	to->ranges[to->count++] = (struct adjacency_range){first, next_hop_index};
}

/* Prefixes nest or are disjoint, so a stack of the open ones (at most 33 deep)
 * gives what holds at each address. */
static void flatten(struct flattening *to, const struct adjacency_route *routes, uint32_t count)
{
	struct {
		uint32_t last, next_hop_index;
	} open[34];
	unsigned depth = 0;
	range_begin(to, 0, ADJACENCY_UNREACHABLE);
	for (uint32_t i = 0; i <= count; i++) {
		while (depth > 0 && (i == count || open[depth - 1].last < routes[i].address)) {
			const uint32_t last = open[--depth].last;
			if (last != UINT32_MAX)
				range_begin(to, last + 1,
					depth > 0 ? open[depth - 1].next_hop_index : ADJACENCY_UNREACHABLE);
		}
		if (i == count)
			break;
		if (i > 0 && routes[i].address == routes[i - 1].address &&
			routes[i].prefix_length_bits == routes[i - 1].prefix_length_bits)
			continue; /* the same prefix twice: the first stands */
		CHECK(depth < sizeof(open) / sizeof(open[0]));
		open[depth].last = last_address(&routes[i]);
		open[depth++].next_hop_index = routes[i].next_hop_index;
		range_begin(to, routes[i].address, routes[i].next_hop_index);
	}
}

static void hop_build(
	struct adjacency_hop *to, const struct adjacency_next_hop *from, const struct adjacency_port *port)
{
	*to = (struct adjacency_hop){
		.port = from->port,
		.usable = from->resolved && port->up,
		.mtu_bytes =
			from->mtu_bytes != 0 && from->mtu_bytes < port->mtu_bytes ? from->mtu_bytes : port->mtu_bytes,
		.address = from->address,
		.resolved = from->resolved,
	};
	memcpy(to->header, from->mac, sizeof(from->mac));
	memcpy(to->header + sizeof(from->mac), port->mac, sizeof(port->mac));
	store_be16(to->header + ETHERNET_TYPE_OFFSET, ETHERTYPE_IPV4);
}

struct adjacency_tables *adjacency_tables_build(void *memory, const struct adjacency_snapshot *snapshot)
{
	CHECK((uintptr_t)memory % 64 == 0);
	uint8_t *at = memory;
	struct adjacency_tables *tables = memory;
	at += layout_lines(sizeof(*tables));
	tables->generation = snapshot->generation;
	memcpy(tables->ports, snapshot->ports, sizeof(tables->ports));
	tables->next_hops = (struct adjacency_hop *)at;
	tables->next_hop_count = snapshot->next_hops.count;
	const struct adjacency_next_hop *hops =
		(const void *)((const uint8_t *)snapshot + snapshot->next_hops.offset_bytes);
	for (uint32_t i = 0; i < tables->next_hop_count; i++)
		hop_build(&tables->next_hops[i], &hops[i], &snapshot->ports[hops[i].port]);
	at += layout_lines(tables->next_hop_count * sizeof(*tables->next_hops));
	tables->groups = (struct adjacency_group *)at;
	memcpy(tables->groups, (const uint8_t *)snapshot + snapshot->groups.offset_bytes,
		snapshot->groups.count * sizeof(*tables->groups));
	at += layout_lines(snapshot->groups.count * sizeof(*tables->groups));

	struct adjacency_route *routes = (struct adjacency_route *)at;
	const uint32_t route_count = snapshot->routes.count;
	memcpy(routes, (const uint8_t *)snapshot + snapshot->routes.offset_bytes, route_count * sizeof(*routes));
	at += layout_lines(route_count * sizeof(*routes));
	if (route_count > 0)
		qsort(routes, route_count, sizeof(*routes), route_compare);

	uint32_t begin = 0;
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		uint32_t end = begin;
		while (end < route_count && routes[end].port == port)
			end++;
		struct flattening to = {.ranges = (struct adjacency_range *)at};
		flatten(&to, routes + begin, end - begin);
		tables->ranges[port] = to.ranges;
		tables->range_count[port] = to.count;
		at += ranges_size(snapshot);
		begin = end;
	}
	return tables;
}
