/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One message of the kernel about a route, read into what the RIB knows of it: the next hops of an IPv4 route of the
 * main table that leave by a port of ours. Any bytes may come; lengths are believed only as far as the message goes.
 * Read here and not by libnl's cache, whose time grows with the square of the routes. Pure; any thread.
 */
#ifndef POSTERN_CONTROL_RIB_ROUTE_H
#define POSTERN_CONTROL_RIB_ROUTE_H

#include <stdbool.h>

#include "control/rib_snapshot.h"

struct nlmsghdr;

/* False: enough. */
typedef bool rib_route_fn(void *context, const struct rib_route *route);

/*
 * Calls `take` for each next hop, in the kernel's order, and once for a blackhole; for none where the message is of no
 * use. `number` goes into each. Dead next hops, those by other interfaces and those by IPv6 gateways are left out.
 * False: `take` said so.
 */
bool rib_route_read(
	const struct rib_view *view, const struct nlmsghdr *header, uint32_t number, rib_route_fn *take, void *context);

#endif
