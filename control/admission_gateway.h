/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one gateway has been told of this host's workers, and what it has acknowledged.
 *
 * Changes are gathered while a request is under way, and go with the next one. Whenever the two sides may differ (at
 * the start, after a failure, another table, another count) all workers are told anew, marked with a number, and the
 * gateway forgets what has not got the mark. A gateway out of reach changes nothing for workers that it has
 * acknowledged (P4). Owner: control/admission_gateways.c. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_ADMISSION_GATEWAY_H
#define POSTERN_CONTROL_ADMISSION_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/status.h"
#include "control/worker_registry.h"

struct admission_gateway;
struct event_base;

struct admission_gateway_handlers {
	/* `why` NULL: the dataplane has the worker in force. Else the gateway will not have it. */
	void (*answered)(void *context, unsigned index, struct worker *worker, const char *why);
	/* It does as it is asked, or not any more; see admission_gateway_error(). */
	void (*changed)(void *context, unsigned index);
};

struct admission_gateway_options {
	struct event_base *base;
	const struct model_admission *admission;
	const struct model_admission_gateway *gateway;
	unsigned index; /* the bit in worker.acknowledged and worker.asked */
	uint32_t vtep;	/* this host's */
	struct worker_registry *registry;
	const struct admission_gateway_handlers *handlers;
	void *context;
};

enum status admission_gateway_open(
	const struct admission_gateway_options *options, struct admission_gateway **ret_gateway);
void admission_gateway_close(struct admission_gateway *gateway);

/* A claimed worker that it has not acknowledged yet; sets the bit of `asked`. */
void admission_gateway_add(struct admission_gateway *gateway, struct worker *worker);
void admission_gateway_remove(struct admission_gateway *gateway, uint32_t vni, uint32_t address);

/* Each second. */
void admission_gateway_tick(struct admission_gateway *gateway, uint64_t now_ns);

/* NULL: it answers. Else why it does not. */
const char *admission_gateway_error(const struct admission_gateway *gateway);
uint32_t admission_gateway_vtep(const struct admission_gateway *gateway);

#endif
