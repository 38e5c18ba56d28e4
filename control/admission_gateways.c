/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission_gateways.h"

#include <stdlib.h>
#include <string.h>

#include "control/daemon.h"

static bool admissions_are_equal(const struct model_admission *a, const struct model_admission *b)
{
	if (a->present != b->present || a->gateway_count != b->gateway_count || strcmp(a->ca, b->ca) != 0 ||
		strcmp(a->certificate, b->certificate) != 0 || strcmp(a->key, b->key) != 0)
		return false;
	for (size_t i = 0; i < a->gateway_count; i++) {
		if (a->gateways[i].vtep != b->gateways[i].vtep || strcmp(a->gateways[i].api, b->gateways[i].api) != 0)
			return false;
	}
	return true;
}

void admission_gateways_close(struct admission_gateways *gateways)
{
	for (size_t i = 0; i < gateways->count; i++)
		admission_gateway_close(gateways->gateways[i]);
	gateways->count = 0;
	free(gateways->asked.gateways);
	memset(&gateways->asked, 0, sizeof(gateways->asked));
}

static void workers_forget(struct worker_registry *registry)
{
	for (size_t i = 0; i < worker_registry_count(registry); i++) {
		struct worker *worker = worker_registry_at(registry, i);

		worker->acknowledged = worker->asked = 0;
		if (worker->state == WORKER_OPEN)
			worker->adopted = true;
		worker_registry_queue(registry, worker);
	}
}

void admission_gateways_set(struct admission_gateways *gateways, const struct model_worker_host *host)
{
	const struct model_admission *wanted = &host->admission;

	if (admissions_are_equal(wanted, &gateways->asked))
		return;
	admission_gateways_close(gateways);
	workers_forget(gateways->registry);
	gateways->asked = *wanted;
	gateways->asked.gateways = calloc(wanted->gateway_count + 1, sizeof(*wanted->gateways));
	for (size_t i = 0; gateways->asked.gateways != NULL && i < wanted->gateway_count; i++) {
		const struct admission_gateway_options options = {
			.base = gateways->daemon->base,
			.admission = wanted,
			.gateway = &wanted->gateways[i],
			.index = (unsigned)i,
			.vtep = host->vtep,
			.registry = gateways->registry,
			.handlers = gateways->handlers,
			.context = gateways->context,
		};

		gateways->asked.gateways[i] = wanted->gateways[i];
		if (admission_gateway_open(&options, &gateways->gateways[i]) != STATUS_OK)
			break;
		gateways->count++;
	}
	gateways->all = (1u << gateways->count) - 1;
	/* With one gateway less a worker would open without its word. */
	if (gateways->count != wanted->gateway_count) {
		log_error(&gateways->daemon->log, "out of memory: no worker is admitted");
		gateways->asked.gateway_count = 0;
		gateways->all = UINT32_MAX;
	}
}

bool admission_gateways_have_all(const struct admission_gateways *gateways, const struct worker *worker)
{
	return worker->acknowledged == gateways->all;
}

void admission_gateways_ask(struct admission_gateways *gateways, struct worker *worker)
{
	for (unsigned i = 0; i < gateways->count; i++) {
		if (((worker->acknowledged | worker->asked) & 1u << i) == 0)
			admission_gateway_add(gateways->gateways[i], worker);
	}
}

const char *admission_gateways_awaited_error(const struct admission_gateways *gateways, const struct worker *worker)
{
	for (unsigned i = 0; i < gateways->count; i++) {
		const char *error = admission_gateway_error(gateways->gateways[i]);

		if ((worker->acknowledged & 1u << i) == 0 && error != NULL)
			return error;
	}
	return NULL;
}

void admission_gateways_remove(struct admission_gateways *gateways, uint32_t vni, uint32_t address)
{
	for (size_t i = 0; i < gateways->count; i++)
		admission_gateway_remove(gateways->gateways[i], vni, address);
}

void admission_gateways_tick(struct admission_gateways *gateways, uint64_t now_ns)
{
	for (size_t i = 0; i < gateways->count; i++)
		admission_gateway_tick(gateways->gateways[i], now_ns);
}
