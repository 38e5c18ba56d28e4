/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier's programs on interfaces: TCX where the kernel has it (Linux 6.6), else clsact, one filter per hook,
 * at a priority and handle that are ours. Without a BPF link on purpose: that would end with its pin, and leave the
 * interface open; so attached, a program stays until its interface goes.
 *
 * Order on a hook: TCX programs, of which ours is put first; then clsact's filters, ours at priority 1. What others
 * have there is left alone. A filter of an earlier posternd's is replaced where it is, without a gap; it moves to TCX
 * when its interface is made anew. Stateless: the kernel is asked each time. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_TC_H
#define POSTERN_CONTROL_CLASSIFIER_TC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netlink/netlink.h>

#include "control/status.h"

enum classifier_program {
	CLASSIFIER_WORKER_INGRESS,
	CLASSIFIER_WORKER_EGRESS,
	CLASSIFIER_REPLY_INGRESS,
	CLASSIFIER_UPLINK_INGRESS,
	CLASSIFIER_UPLINK_EGRESS,
	CLASSIFIER_PROGRAM_COUNT
};

/* The program of this kind that is on the interface; 0: none of ours. `expected_id` is known to be ours (0: none is).
 */
uint32_t classifier_tc_attached(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, uint32_t expected_id);

/* Instead of an -errno: an `ingress` qdisc stands where the clsact would. */
#define CLASSIFIER_TC_OCCUPIED (-EMEDIUMTYPE)

/* Puts the program there, in place of an older one of ours without a gap. 0 or -errno. */
int classifier_tc_attach(struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, int program_fd);

/* The same where nothing of ours is yet. `on_clsact`: also when the kernel has TCX. */
int classifier_tc_attach_first(
	struct nl_sock *netlink, uint32_t ifindex, enum classifier_program kind, int program_fd, bool on_clsact);

/* Adds why one of them failed, what to do about it, and what follows (": …", or nothing). */
void classifier_tc_tell(const char *interface, int error, const char *what_follows, struct problems *problems);

/* Takes whatever is ours off the interface, and its clsact if nobody else uses it. 0 or the first -errno. */
int classifier_tc_detach(struct nl_sock *netlink, uint32_t ifindex);

/* The interfaces with a clsact or with TCX programs, on which alone programs of ours can be. malloc'ed. 0 or -errno. */
int classifier_tc_interfaces(struct nl_sock *netlink, uint32_t **ret_ifindexes, size_t *ret_count);

#endif
