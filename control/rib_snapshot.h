/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what the kernel said to what the dataplane gets: struct rib_view → the block of contract/adjacency.h.
 * Pure: no netlink, no clock. Host order throughout.
 *
 * A port is looked up on its own, so a port's routes are those that leave by it:
 *  - a subnet on the port gives one /32 per resolved neighbour, and the subnet itself with an unresolved next hop of
 *    address 0: "ask for the destination", so that a silent neighbour never falls through to the default route;
 *  - a route by a gateway gives its next hop, resolved or not;
 *  - blackhole, unreachable and prohibit give ADJACENCY_UNREACHABLE on both ports.
 * Of the same prefix the smallest metric wins, then the kernel's own order. Over several next hops of one route (ECMP)
 * flows are spread by weight: over those whose neighbour is resolved, in a group (control/next_hop_group.h). All of
 * them are kept resolved, so one that answers again gets its flows back. Where none answers, the first one is named.
 */
#ifndef POSTERN_CONTROL_RIB_SNAPSHOT_H
#define POSTERN_CONTROL_RIB_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/status.h"
#include "dataplane/contract/adjacency.h"

struct rib_port {
	char interface[INTERFACE_NAME_SIZE_BYTES];
	uint32_t interface_index; /* 0: there is no such interface */
	bool up;		  /* administratively, and carrier */
	uint8_t mac[6];
	uint32_t address; /* primary; 0: none */
	uint32_t mtu_bytes;
};

enum rib_route_kind { RIB_ROUTE_CONNECTED, RIB_ROUTE_GATEWAY, RIB_ROUTE_UNREACHABLE };

struct rib_route {
	uint32_t address;
	uint8_t prefix_length_bits;
	uint8_t kind;	  /* enum rib_route_kind */
	uint8_t port;	  /* enum port_index; unreachable: meaningless */
	uint32_t gateway; /* RIB_ROUTE_GATEWAY */
	uint32_t metric;
	uint32_t mtu_bytes; /* 0: the port's */
	uint32_t number;    /* of the route, in the order of the dump: the same for all of its next hops */
	uint16_t order;	    /* of a next hop among several of one route, from 0 */
	uint16_t weight;    /* of that next hop; 0: 1 */
};

struct rib_neighbour {
	uint32_t address;
	uint8_t port; /* enum port_index */
	bool resolved, stale;
	bool fixed; /* set by hand, or needs no resolving: never to be asked for */
	bool kept;  /* a configured VTEP: has its place before all that was learned */
	uint8_t mac[6];
};

struct rib_subnet {
	uint32_t address;
	uint8_t prefix_length_bits;
	uint8_t port; /* enum port_index */
};

enum { RIB_SUBNET_COUNT_MAX = 256 };

struct rib_next_hops;

struct rib_view {
	struct rib_port ports[PORT_COUNT];
	struct rib_route *routes; /* owned by whoever owns the view */
	size_t route_count;
	struct rib_subnet subnets[RIB_SUBNET_COUNT_MAX]; /* the connected ones of `routes`: rib_view_sort() */
	size_t subnet_count;
	struct rib_neighbour *neighbours; /* sorted: rib_view_sort() */
	size_t neighbour_count;
	const struct rib_next_hops *next_hops; /* while routes are read; NULL: none are known */
};

struct rib_summary {
	uint32_t route_count;
	uint32_t next_hop_count, resolved_count; /* without the subnets' own entries */
	uint32_t left_out_count;		 /* routes beyond ROUTE_COUNT_MAX or NEXT_HOP_COUNT_MAX */
	uint32_t group_count;			 /* sets of next hops that flows are spread over */
	uint32_t unspread_count;		 /* routes that use one of theirs, beyond NEXT_HOP_GROUP_COUNT_MAX */
};

void rib_view_sort(struct rib_view *view);
/* NULL when the kernel has no entry. */
const struct rib_neighbour *rib_view_neighbour(const struct rib_view *view, unsigned port, uint32_t address);
/* Marks the neighbour, if there is one, as `kept`. Any reading of the neighbours forgets it. */
void rib_view_keep(struct rib_view *view, unsigned port, uint32_t address);
/* Is the address in a subnet of the port? */
bool rib_view_is_connected(const struct rib_view *view, unsigned port, uint32_t address);

/*
 * Has the outside port a default route whose gateway's MAC is not known? Then nothing can leave; `ret_address`: which.
 */
bool rib_view_default_unresolved(const struct rib_view *view, uint32_t *ret_address);

/* The block is malloc'ed. The same view gives the same bytes, but for the generation. */
enum status rib_snapshot_build(const struct rib_view *view, uint64_t generation, void **ret_block,
	size_t *ret_size_bytes, struct rib_summary *ret_summary);

#endif
