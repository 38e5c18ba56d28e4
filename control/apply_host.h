/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of applying that changes this host: the classifier of the workers, and the steering of the gateway's ports.
 * Both compare with the kernel and correct it. Called by control/apply.c and control/admission.c only. Thread: the
 * event loop's.
 */
#ifndef POSTERN_CONTROL_APPLY_HOST_H
#define POSTERN_CONTROL_APPLY_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct classifier_worker;
struct daemon;
struct model;
struct worker;

void apply_host_classifier(struct daemon *daemon);
/* All but the workers, which control/admission_check.c looks at by and by. */
void apply_host_classifier_common(struct daemon *daemon);
/* Another gateway is up or down: nothing but the workspaces' gateways changes. */
void apply_host_gateways(struct daemon *daemon);
/* Each second: asks the gateways, and applies and audits what has changed. */
void apply_host_gateways_tick(struct daemon *daemon);
/* A worker for the classifier. Of a workspace that had none here it is made known to the classifier, too. */
void apply_host_fill(struct daemon *daemon, const struct model *model, const struct worker *worker, bool admitted,
	struct classifier_worker *ret_worker);
void apply_host_steering(struct daemon *daemon);

/* All addresses that the gateway owns, the draining ones and the shared pool's too; malloc'ed. NULL: no memory. */
size_t apply_host_egress_ips(const struct model *model, uint32_t **ret_ips);

#endif
