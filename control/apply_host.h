/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of applying that changes this host: the classifier of the workers, and the steering of the gateway's ports.
 * Both compare with the kernel and correct it. Called by control/apply.c only. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_APPLY_HOST_H
#define POSTERN_CONTROL_APPLY_HOST_H

#include <stddef.h>
#include <stdint.h>

struct daemon;
struct model;

void apply_host_classifier(struct daemon *daemon);
/* Another gateway is up or down: nothing but the workspaces' gateways changes. */
void apply_host_gateways(struct daemon *daemon);
void apply_host_steering(struct daemon *daemon);

/* All addresses that the gateway owns, the draining ones and the shared pool's too; malloc'ed. NULL: no memory. */
size_t apply_host_egress_ips(const struct model *model, uint32_t **ret_ips);

#endif
