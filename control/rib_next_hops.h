/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's next hop objects (`ip nexthop`): what a route means that says no more than the number of one, as all
 * routes by objects do with net.ipv4.nexthop_compat_mode=0. Any bytes may come; lengths are believed only as far as the
 * message goes.
 *
 * Owner: who reads the routes, for as long as that takes. Thread: any one at a time. Host order.
 */
#ifndef POSTERN_CONTROL_RIB_NEXT_HOPS_H
#define POSTERN_CONTROL_RIB_NEXT_HOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;

struct rib_next_hop_member {
	uint32_t id;
	uint16_t weight;
};

struct rib_next_hop_object {
	uint32_t id, interface_index, gateway; /* 0: none */
	unsigned flags;			       /* RTNH_F_… */
	bool via;			       /* a gateway of another family */
	size_t member_first, member_count;     /* of a group, in `members` */
};

/* All zero is none. */
struct rib_next_hops {
	struct rib_next_hop_object *objects; /* sorted by id after rib_next_hops_sort() */
	size_t count, capacity;
	struct rib_next_hop_member *members;
	size_t member_count, member_capacity;
};

/* Keeps what a message of a dump says; one that is no object is passed over. False: no memory. */
bool rib_next_hops_take(struct rib_next_hops *next_hops, const struct nlmsghdr *header);

void rib_next_hops_sort(struct rib_next_hops *next_hops);
const struct rib_next_hop_object *rib_next_hops_find(const struct rib_next_hops *next_hops, uint32_t id);
void rib_next_hops_clear(struct rib_next_hops *next_hops);

#endif
