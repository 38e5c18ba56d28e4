/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the kernel's tables into a struct rib_view. Each function replaces one part of the view, or leaves it as it was
 * and returns libnl's (negative) error. Owner: control/rib.c. Thread: the event loop's; blocks for as long as the
 * kernel answers.
 */
#ifndef POSTERN_CONTROL_RIB_DUMP_H
#define POSTERN_CONTROL_RIB_DUMP_H

#include "control/rib_snapshot.h"

struct nl_sock;

enum { RIB_KERNEL_ROUTE_COUNT_MAX = 4 * 1000 * 1000 };

/* By the interfaces' names, which must be set. One that is missing is no error: its index becomes 0. */
int rib_dump_links(struct nl_sock *socket, struct rib_view *view);
int rib_dump_addresses(struct nl_sock *socket, struct rib_view *view);
/* The main table; `socket` is one of kernel_routes_open(). */
int rib_dump_routes(struct nl_sock *socket, struct rib_view *view);
int rib_dump_neighbours(struct nl_sock *socket, struct rib_view *view);

/* RTM_NEWNEIGH with NTF_USE; `keep`: and NTF_EXT_MANAGED, which kernels before 5.16 ignore. */
int rib_ask_neighbour(struct nl_sock *socket, uint32_t interface_index, uint32_t address, bool keep);

#endif
