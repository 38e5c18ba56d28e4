/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RIB: the kernel's links, addresses, main routing table and neighbours of the gateway's two ports, by rtnetlink.
 *
 * Level-triggered. A notification only says *what* to read again (links, addresses, routes or neighbours); the truth
 * always comes from a dump, so a lost or reordered notification can not leave a wrong route behind. Bursts are
 * coalesced over 10 ms, and a dump is never begun before ten times the duration of the last one has gone by, whatever
 * the rate of change. ENOBUFS on the notifications, or an interrupted dump, means: read everything again.
 *
 * Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_RIB_H
#define POSTERN_CONTROL_RIB_H

#include "control/log.h"
#include "control/model.h"
#include "control/rib_snapshot.h"
#include "control/status.h"

struct event_base;
struct rib;

/*
 * `adjacency`: the snapshot has changed; rib_block() has it. `links`: some link came, went or changed. `own_routes`:
 * something was done to routes of protocol postern, or may have been. `mappings`: the same of those of
 * gateway.netlink.mapping_table.
 */
struct rib_handlers {
	void (*adjacency_changed)(void *context);
	void (*links_changed)(void *context);
	void (*own_routes_changed)(void *context);
	void (*mappings_changed)(void *context);
};

enum status rib_open(struct event_base *base, const struct log *log, const struct rib_handlers *handlers, void *context,
	struct rib **ret_rib, struct problems *problems);
void rib_close(struct rib *rib);

/*
 * Whose ports to look at, and which VTEPs to keep: trusted ones given as /32, and those of the workers that VPCs list.
 * Reads everything again. A model without a gateway stops it.
 */
void rib_set_model(struct rib *rib, const struct model *model);

/* The dataplane wants the MAC of an address. Ignored unless the address is in a subnet of the port. */
void rib_want_neighbour(struct rib *rib, uint32_t address, uint32_t port);

/* The present snapshot, with generation 0; NULL until the kernel was read. Stays until the next change. */
const struct adjacency_snapshot *rib_block(const struct rib *rib);
const struct rib_view *rib_get_view(const struct rib *rib);
const struct rib_summary *rib_get_summary(const struct rib *rib);

/* How often everything had to be read again, and how often reading failed. */
uint64_t rib_resync_count(const struct rib *rib);
uint64_t rib_error_count(const struct rib *rib);

#endif
