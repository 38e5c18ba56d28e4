/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some of the kernel's IPv4 routes: those that bear the protocol `postern` (133), which Postern announces, and those of
 * the mapping table. Read by a dump that the kernel filters, so that a full table beside them costs nothing.
 *
 * Owner: who opened the socket. Thread: the event loop's; blocks for as long as the kernel answers. Host order.
 */
#ifndef POSTERN_CONTROL_KERNEL_ROUTES_H
#define POSTERN_CONTROL_KERNEL_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nl_msg;
struct nl_sock;
struct nlmsghdr;

enum {
	KERNEL_ROUTE_PROTOCOL = 133, /* postern, in rt_protos.d */
	KERNEL_ROUTE_TABLE_MAIN = 254,
	KERNEL_ROUTE_COUNT_MAX = 1000000,
};

struct kernel_route {
	uint32_t table;
	uint32_t address;
	uint8_t prefix_length_bits;
	uint8_t type; /* RTN_… */
	uint8_t protocol;
	uint32_t metric;
	uint32_t interface_index; /* 0: none, or several */
	uint32_t source;	  /* preferred source address; 0: none */
	uint32_t realm;		  /* 0: none; a source realm, if any, in the upper half */
};

struct kernel_routes {
	struct kernel_route *routes; /* sorted by table, address, length, metric */
	size_t count, capacity;
};

/* Which routes are meant. 0: any protocol, or all tables. */
struct kernel_route_filter {
	uint8_t protocol;
	uint32_t table;
};

/*
 * A connected socket of which the kernel checks dumps strictly, which is what makes it filter. NULL: no memory, or
 * errno.
 */
struct nl_sock *kernel_routes_open(void);

/* Every message of a dump to `take`, as libnl's callback. 0 or libnl's error; a table that is not there is empty. */
int kernel_routes_dump(struct nl_sock *socket, const struct kernel_route_filter *filter,
	int (*take)(struct nl_msg *message, void *context), void *context);

/*
 * Replaces `routes` by what the kernel has, or leaves them and returns libnl's (negative) error. `ret_resyncs` is
 * counted up for every dump that changes interrupted and that was begun anew.
 */
int kernel_routes_read(struct nl_sock *socket, const struct kernel_route_filter *filter, struct kernel_routes *routes,
	uint64_t *ret_resyncs);

void kernel_routes_clear(struct kernel_routes *routes);

/* One message of a dump or notification, of any content. False: it is no IPv4 route that the filter lets through. */
bool kernel_route_parse(
	const struct nlmsghdr *header, const struct kernel_route_filter *filter, struct kernel_route *ret_route);

/* The table that a notification of a route is about; 0: it is none. */
uint32_t kernel_route_table(const struct nlmsghdr *header);

/*
 * One for one address, RTN_BLACKHOLE, or RTN_LOCAL on the loopback interface; 0 or libnl's error. Adding what is there,
 * and removing what is not, are errors too.
 */
int kernel_route_add(struct nl_sock *socket, uint32_t table, uint32_t address, uint32_t metric, uint8_t type);
int kernel_route_remove(struct nl_sock *socket, const struct kernel_route *route);

#endif
