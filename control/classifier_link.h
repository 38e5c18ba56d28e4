/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a worker host, and its VXLAN device: one for all VNIs ("external": the programs give the key), port
 * 4789, no learning. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_LINK_H
#define POSTERN_CONTROL_CLASSIFIER_LINK_H

#include <stdint.h>

#include <netlink/netlink.h>

#include "control/status.h"

/* Finds the device, or creates it, down. A device of this name that is anything else is a problem. */
enum status classifier_link_ensure(
	struct nl_sock *netlink, const char *name, uint32_t *ret_ifindex, struct problems *problems);

/* After its program is attached. */
enum status classifier_link_up(struct nl_sock *netlink, const char *name, struct problems *problems);

/*
 * 0: no interface has this name. As another name that somebody gave it (`ip link property add altname`) it does not count:
 * the interface would be two workers'.
 */
uint32_t classifier_link_index(const char *interface);

/* Deletes the device if it is there and ours in kind. */
enum status classifier_link_remove(struct nl_sock *netlink, const char *name, struct problems *problems);

#endif
