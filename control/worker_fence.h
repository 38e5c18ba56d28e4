/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fence: what comes in by an interface with a worker's name never enters this host's own stack.
 *
 *   worker ── tc: worker_ingress ──> tunnel          the classifier takes, or drops, every frame of a claimed interface
 *         └── not claimed yet ──> fence ──X  IP, ARP of this host, its forwarding, and its bridges
 *
 * An interface may be created up and send in the instant before posternd has put its program on it. No program can be
 * on an interface that is not there yet; a netfilter rule by name can. Tables of nf_tables, named postern-fence, of
 * the families inet, arp and bridge, drop whatever comes in by `worker_host.interfaces`, before connection tracking,
 * routing and sockets. The classifier never hands a worker's frame to the stack, so nothing that is wanted comes by here, and
 * no frame of a worker that is open costs a look at it.
 *
 * They stay when posternd ends (P3). When somebody else has removed the rule, or has put another one beside it,
 * worker_fence_check() puts the table up anew; what else root may do to a table it does not see.
 * Owner: the daemon of a worker host. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_WORKER_FENCE_H
#define POSTERN_CONTROL_WORKER_FENCE_H

#include <stdint.h>

#include "control/status.h"

struct worker_fence;

/* Nothing is touched yet. STATUS_NO_MEMORY. */
enum status worker_fence_open(struct worker_fence **ret_fence);
/* The fence stays where it is. NULL is fine. */
void worker_fence_close(struct worker_fence *fence);

/* "veth-w*", as struct model_worker_host has it; "": no fence, and one of before is removed. */
void worker_fence_set(struct worker_fence *fence, const char *pattern);

/* Each second: puts it right if it is not. */
void worker_fence_check(struct worker_fence *fence);

/* What it has dropped, as of the last check, since it was last put up. */
uint64_t worker_fence_packets(const struct worker_fence *fence);

/* NULL: it stands, or none is wanted; else why it does not, and what to do. */
const char *worker_fence_problem(const struct worker_fence *fence);

/* Takes it off the host. STATUS_SYSTEM: `problems` has why. */
enum status worker_fence_remove(struct problems *problems);

#endif
