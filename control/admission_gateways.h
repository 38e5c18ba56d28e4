/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateways of worker_host.admission: who is asked before a worker opens. Each is an admission_gateway, and its
 * place here is its bit in worker.acknowledged and worker.asked.
 *
 * Owner: control/admission.c. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_ADMISSION_GATEWAYS_H
#define POSTERN_CONTROL_ADMISSION_GATEWAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/admission_gateway.h"
#include "control/model.h"
#include "control/worker_registry.h"

struct daemon;

struct admission_gateways {
	/* The caller's. */
	struct daemon *daemon;
	struct worker_registry *registry;
	const struct admission_gateway_handlers *handlers;
	void *context;
	/* Zero at first. */
	struct model_admission asked; /* what the gateways below are of; its gateways are copied */
	struct admission_gateway *gateways[BPF_GATEWAY_COUNT_MAX];
	size_t count;
	uint32_t all; /* a bit each; never met when one could not be set up: without its word nobody opens */
};

/*
 * Who counts from now on. What was acknowledged by gateways that are others now is to be acknowledged anew; who is open
 * stays so meanwhile.
 */
void admission_gateways_set(struct admission_gateways *gateways, const struct model_worker_host *host);
void admission_gateways_close(struct admission_gateways *gateways);

bool admission_gateways_have_all(const struct admission_gateways *gateways, const struct worker *worker);
/* Those that have neither acknowledged the worker nor been asked. */
void admission_gateways_ask(struct admission_gateways *gateways, struct worker *worker);
/* Why one of those that have not acknowledged it does not answer; NULL: they all do. */
const char *admission_gateways_awaited_error(const struct admission_gateways *gateways, const struct worker *worker);
void admission_gateways_remove(struct admission_gateways *gateways, uint32_t vni, uint32_t address);

/* Each second. */
void admission_gateways_tick(struct admission_gateways *gateways, uint64_t now_ns);

#endif
