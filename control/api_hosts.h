/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What worker hosts tell their gateway: which workers they have. See struct registrations.
 *
 *   GET    /v1/hosts/{vtep}/workers   {"table": NAME, "count": N}
 *   POST   /v1/hosts/{vtep}/workers   the changes, answered when they are in force at the dataplane
 *   DELETE /v1/hosts/{vtep}           an operator: the host is gone for good, its addresses are free
 *
 * A POST carries {"table": NAME, "remove": [[vni, "address"], ...], "add": [[vni, "address", epoch], ...]}, removals
 * first. With "sync": N, N chosen by the host, every add is marked, and the request with "end": true as well takes away
 * what the host has not added with that mark. 409: the table has another name, so begin anew with a sync. Changes of
 * many requests are gathered for HOSTS_GATHER_MS and compiled at once. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_API_HOSTS_H
#define POSTERN_CONTROL_API_HOSTS_H

#include <event2/util.h>

enum { HOSTS_GATHER_MS = 2 };

/* The daemon's event `hosts_due`. */
void api_hosts_due(evutil_socket_t fd, short what, void *context);

#endif
