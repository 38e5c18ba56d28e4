/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of this host, as rtnetlink tells of them: a worker's interface that comes, changes or goes, and the alias
 * by which a hypervisor or CNI may say whose it is: "postern:acme/main/10.0.0.5", with a MAC address as a fourth part
 * if it is to be pinned.
 *
 * Each notification is handed on at once, since a worker may send as soon as its interface is up. When some were lost,
 * and at start, all links are read. Owner: the daemon of a worker host. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_WORKER_LINKS_H
#define POSTERN_CONTROL_WORKER_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/status.h"
#include "control/worker_registry.h"

struct event_base;
struct worker_links;

enum { LINK_ALIAS_SIZE_BYTES = 256 }; /* IFALIASZ */

struct worker_link {
	uint32_t ifindex;
	char name[INTERFACE_NAME_SIZE_BYTES];
	char alias[LINK_ALIAS_SIZE_BYTES]; /* empty: none */
	bool gone, up;
};

struct worker_links_handlers {
	void (*link)(void *context, const struct worker_link *link);
	/* Around the links of a whole reading: what was not told between the two is not there. */
	void (*begin)(void *context);
	void (*end)(void *context);
};

enum status worker_links_open(struct event_base *base, const struct worker_links_handlers *handlers, void *context,
	struct worker_links **ret_links, struct problems *problems);
void worker_links_close(struct worker_links *links);

/* Reads all links now. */
void worker_links_read(struct worker_links *links);

enum worker_alias { WORKER_ALIAS_NONE, WORKER_ALIAS_INVALID, WORKER_ALIAS_VALID };

/* Pure. NONE: it does not begin with "postern:". INVALID: `ret_why` says what is wrong with it. */
enum worker_alias worker_alias_parse(
	const char *interface, const char *alias, struct worker_spec *ret_spec, const char **ret_why);

#endif
