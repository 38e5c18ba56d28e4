/* SPDX-License-Identifier: Apache-2.0 */
/* Why workers are not open, all together: part of control/admission.h. */
#include <string.h>

#include "control/admission.h"
#include "control/admission_gateway.h"
#include "control/worker_fence.h"
#include "control/worker_registry.h"

void admission_count(const struct admission *admission, struct admission_totals *ret_totals)
{
	const struct worker_registry *registry = admission_registry(admission);

	memset(ret_totals, 0, sizeof(*ret_totals));
	for (size_t i = 0; i < worker_registry_count(registry); i++) {
		const struct worker *worker = worker_registry_at(registry, i);

		ret_totals->of_state[worker->state]++;
		ret_totals->of_source[worker->source]++;
	}
}

void admission_explain(const struct admission *admission, struct problems *reasons)
{
	static const char *const texts[WORKER_STATE_COUNT] = {
		[WORKER_CONFLICT] = "are not let through, since another worker has their interface or address",
		[WORKER_UNPLACED] = "are not let through, since the configuration has no such VPC or address",
		[WORKER_UNCLAIMED] = "have an interface that can not be closed and opened",
		[WORKER_AWAITS_GATEWAY] = "wait for the acknowledgement of a gateway",
	};
	const char *fence = worker_fence_problem(admission_fence(admission));
	struct admission_totals totals;

	if (fence != NULL)
		problems_add(reasons, "%s", fence);
	admission_count(admission, &totals);
	for (size_t i = 0; i < admission_gateway_count(admission); i++) {
		const char *error = admission_gateway_error(admission_gateway_at(admission, i));

		if (error != NULL)
			problems_add(
				reasons, "%s: workers that it has acknowledged before stay open, new ones wait", error);
	}
	for (unsigned state = 0; state < WORKER_STATE_COUNT; state++) {
		if (texts[state] != NULL && totals.of_state[state] > 0)
			problems_add(reasons, "%zu workers %s: `postern worker list` says which",
				totals.of_state[state], texts[state]);
	}
}
