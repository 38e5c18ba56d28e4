/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces of a worker host that can be no worker's, whoever says so: claimed for a worker, the VXLAN device or the
 * way to the underlay would drop what all the others send. A snapshot of the time when it is set: an address that moves
 * is followed at the next change of the configuration. Owner: control/admission.c. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_HOST_INTERFACES_H
#define POSTERN_CONTROL_HOST_INTERFACES_H

#include "control/model.h"

struct host_interfaces {
	const struct model *model;		  /* must outlive it */
	char underlay[INTERFACE_NAME_SIZE_BYTES]; /* which has worker_host.vtep; empty: none */
};

void host_interfaces_set(struct host_interfaces *interfaces, const struct model *model);

/* NULL, or why it is no worker's. */
const char *host_interfaces_refuse(const struct host_interfaces *interfaces, const char *interface);

/* The VXLAN device: worker_host.device, or what is taken without. */
const char *host_interfaces_device(const struct model_worker_host *host);

#endif
