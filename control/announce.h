/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcements: the egress IPs that this gateway owns, as routes of the kernel with protocol `postern`, for BIRD or FRR
 * to redistribute. Opt-in: gateway.announce.
 *
 * Each is a blackhole for one address, of metric ANNOUNCE_METRIC: packets for it belong to the dataplane, and what of
 * them reaches the kernel all the same must not go back to the router. Level-triggered: each round reads what the kernel
 * has and corrects it, whoever changed it; routes of other protocols are never touched.
 *
 *   serving          all IPs of the policy in force, the draining ones too, since their replies still come
 *   not serving      none: no dataplane, a port down, nothing acknowledged on this connection, or gateway.announce.draining
 *   just started     left as they are, until it is known whether the dataplane serves (P4: a restart of posternd is no event)
 *
 * Owner: the daemon. Thread: the event loop's. Limit: ANNOUNCE_CHANGE_COUNT_MAX changes a round, then the loop goes on.
 */
#ifndef POSTERN_CONTROL_ANNOUNCE_H
#define POSTERN_CONTROL_ANNOUNCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/kernel_routes.h"
#include "control/status.h"

enum { ANNOUNCE_METRIC = 133, ANNOUNCE_CHANGE_COUNT_MAX = 4096 };

/* All zero: nothing is known, and the socket is opened by the first round. */
struct announce {
	struct nl_sock *socket;
	struct kernel_routes actual;
	size_t desired_count, actual_count; /* of the last round */
	uint64_t changes, corrections, errors, resyncs;
	bool settled; /* a round has left the kernel as desired: what differs afterwards is someone else's doing */
};

/* What a round is to bring about. */
struct announce_desired {
	uint32_t table;		/* 0: no announcements at all; what is left of earlier ones goes */
	uint32_t mapping_table; /* never touched, though of the same protocol; 0: none */
	uint8_t type;		/* RTN_BLACKHOLE; RTN_LOCAL: control/mapping_control.h */
	uint32_t *addresses;	/* sorted here */
	size_t address_count;
};

/* One round. STATUS_OK and `ret_more`: go on soon. STATUS_SYSTEM: the problems say what could not be done. */
enum status announce_apply(
	struct announce *announce, struct announce_desired *desired, bool *ret_more, struct problems *problems);

void announce_close(struct announce *announce);

#endif
