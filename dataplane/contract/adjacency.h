/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The adjacency: what the kernel knows of the way onward, in one block, sent like the policy.
 *
 * The kernel is the RIB. posternd reads links, addresses, routes and neighbours by rtnetlink
 * (control/rib.c) and sends the whole again whenever it changed; it has its own generation, since
 * neighbours flap and workspaces do not. Shape and rules as in contract/policy.h.
 */
#ifndef POSTERN_CONTRACT_ADJACENCY_H
#define POSTERN_CONTRACT_ADJACENCY_H

#include <assert.h>
#include <stdint.h>

#include "dataplane/contract/policy.h"

#define ADJACENCY_MAGIC 0x41444a59u /* "ADJY" */
#define ADJACENCY_VERSION 2u

struct adjacency_port {
	uint8_t mac[6];
	uint8_t up; /* IFF_UP and carrier */
	uint8_t reserved;
	uint32_t address;   /* primary IPv4: outer source of VXLAN (inside), source of ICMP errors (outside); 0: none */
	uint32_t mtu_bytes; /* IP MTU of the interface */
};

struct adjacency_next_hop {
	uint8_t mac[6];
	uint8_t resolved;   /* 0: MAC not known, packets are dropped as no_neighbour */
	uint8_t port;	    /* enum port_index */
	uint32_t address;   /* of the neighbour; 0 and not resolved: the destination itself, asked for by NEIGHBOUR */
	uint32_t mtu_bytes; /* of the route; 0: the port's */
};

enum { ADJACENCY_GROUP_SLOTS = 512 }; /* a power of two */

/*
 * Several next hops of one route (ECMP): each stands in as many slots as its weight earns it. A packet takes the slot
 * that its flow hashes to: addresses and protocol as they come in, and the ports, unless it is a fragment. So a flow
 * stays on its next hop as long as its slot does, over restarts of both processes too; whoever fills the slots sees to it
 * that a next hop that goes changes no slots but its own.
 */
struct adjacency_group {
	uint16_t next_hops[ADJACENCY_GROUP_SLOTS]; /* indexes in the next-hop table */
};
static_assert(sizeof(struct adjacency_group) == 1024, "contract");

/*
 * Longest prefix wins, per port. A connected subnet has one /32 route per resolved neighbour in it, and itself as a
 * route to an unresolved next hop of address 0: a neighbour not known yet is asked for, and never falls through to a
 * shorter prefix.
 */
struct adjacency_route {
	uint32_t address;
	uint8_t prefix_length_bits;
	uint8_t port; /* the port that this route is looked up for, enum port_index */
	uint16_t reserved;
	uint32_t next_hop_index; /* in the next-hop table; with ADJACENCY_GROUP, in the groups; ADJACENCY_UNREACHABLE */
};

#define ADJACENCY_GROUP (1u << 31)
#define ADJACENCY_UNREACHABLE UINT32_MAX /* blackhole */

struct adjacency_snapshot {
	uint32_t magic;
	uint32_t version;
	uint64_t size_bytes;
	uint64_t generation;
	struct adjacency_port ports[PORT_COUNT];
	struct policy_table next_hops; /* of struct adjacency_next_hop, at most NEXT_HOP_COUNT_MAX */
	struct policy_table routes;    /* of struct adjacency_route, at most ROUTE_COUNT_MAX */
	struct policy_table groups;    /* of struct adjacency_group, at most NEXT_HOP_GROUP_COUNT_MAX */
};

#endif
