/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings at work: reads the kernel's mapping table (gateway.netlink.mapping_table) for each configuration that is
 * loaded, and loads anew when its routes have become others than those in use. Level-triggered: a notification, a lost
 * one, a link that went and every 30 s only say that the table must be looked at; the truth is what a dump says then.
 * Changes are gathered: after one that took long, the next look waits for ten times as long, at most 5 s.
 *
 * The kernel takes an address as `src` of a route only where it is local, in the table of the route or in its own. So
 * each egress IP of the configuration is made a local route of the mapping table, protocol postern, where no packet ever
 * looks. Owner of struct daemon_mappings. Thread: the event loop's; blocks for as long as the kernel answers.
 */
#ifndef POSTERN_CONTROL_MAPPING_CONTROL_H
#define POSTERN_CONTROL_MAPPING_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "control/status.h"

struct daemon;
struct kernel_routes;

enum status mapping_control_open(struct daemon *daemon);
void mapping_control_close(struct daemon *daemon);

/* Something was done to the table, or may have been. */
void mapping_control_changed(struct daemon *daemon);

/* Each second. */
void mapping_control_tick(struct daemon *daemon);

/* The local routes, if anything may have changed about them. */
void mapping_control_apply(struct daemon *daemon);

/* For struct revision_basis, with the daemon as context. What was read last stands in for what can not be read now. */
bool mapping_control_routes(
	void *context, uint32_t table, const struct kernel_routes **ret_routes, struct problems *problems);

#endif
