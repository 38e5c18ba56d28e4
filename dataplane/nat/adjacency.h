/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adjacency tables: from a destination to a MAC. The prefixes of each port are
 * flattened into disjoint ranges, so that the longest prefix is one binary
 * search. Built by the control thread, read-only from then on.
 */
#ifndef POSTERN_NAT_ADJACENCY_H
#define POSTERN_NAT_ADJACENCY_H

#include <assert.h>
#include <stdint.h>

#include "dataplane/contract/adjacency.h"

struct adjacency_range {
	uint32_t first;		 /* lowest address; the range ends before the next one's */
	uint32_t next_hop_index; /* as in struct adjacency_route; ADJACENCY_UNREACHABLE: no route */
};

/* One cache-line half: what a packet needs to leave. */
struct adjacency_hop {
	uint8_t header[14]; /* Ethernet: to the neighbour, from the port, IPv4 */
	uint8_t port;	    /* enum port_index */
	uint8_t usable;	    /* resolved, and its port is up */
	uint32_t mtu_bytes; /* the route's or the port's, whichever is less */
	uint32_t address;
	uint8_t resolved;
	uint8_t reserved[7];
};
static_assert(sizeof(struct adjacency_hop) == 32, "two a cache line");

struct adjacency_tables {
	uint64_t generation;
	struct adjacency_port ports[PORT_COUNT];
	struct adjacency_range *ranges[PORT_COUNT]; /* sorted; the first begins at 0 */
	uint32_t range_count[PORT_COUNT];	    /* at least one */
	struct adjacency_hop *next_hops;
	uint32_t next_hop_count;
	struct adjacency_group *groups;
};

/* Which range of a port's an address lies in. */
static inline const struct adjacency_range *adjacency_range(
	const struct adjacency_tables *tables, unsigned port, uint32_t address)
{
	const struct adjacency_range *ranges = tables->ranges[port];
	uint32_t low = 0;
	for (uint32_t length = tables->range_count[port]; length > 1;) {
		const uint32_t half = length / 2;
		low = ranges[low + half].first <= address ? low + half : low;
		length -= half;
	}
	return &ranges[low];
}

/* The range's highest address. */
static inline uint32_t adjacency_last(
	const struct adjacency_tables *tables, unsigned port, const struct adjacency_range *range)
{
	return range + 1 < tables->ranges[port] + tables->range_count[port] ? range[1].first - 1 : UINT32_MAX;
}

/* Which of the next hops behind a range's `next_hop_index` a flow takes. NULL: no route. */
static inline const struct adjacency_hop *adjacency_hop(
	const struct adjacency_tables *tables, uint32_t next_hop_index, uint32_t flow)
{
	if (next_hop_index == ADJACENCY_UNREACHABLE)
		return 0;
	if (next_hop_index & ADJACENCY_GROUP)
		next_hop_index =
			tables->groups[next_hop_index & ~ADJACENCY_GROUP].next_hops[flow & (ADJACENCY_GROUP_SLOTS - 1)];
	return &tables->next_hops[next_hop_index];
}

static inline const struct adjacency_hop *adjacency_find(
	const struct adjacency_tables *tables, unsigned port, uint32_t address, uint32_t flow)
{
	return adjacency_hop(tables, adjacency_range(tables, port, address)->next_hop_index, flow);
}

#endif
