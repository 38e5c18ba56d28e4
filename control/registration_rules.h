/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which workers a gateway takes from its worker hosts: those of its VPCs, at addresses that are nobody else's, and no
 * more than gateway.registrations.per_host of one host and limits.workers of one workspace. A host that is mad, or in
 * the wrong hands, can fill its own share and nobody else's.
 *
 * A limit stops additions: whoever is registered stays, also when the limit is lowered, and may be registered again.
 * Owner: the daemon of a gateway. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_REGISTRATION_RULES_H
#define POSTERN_CONTROL_REGISTRATION_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/model.h"
#include "control/registrations.h"

struct revision;

/* The label is the metric's. */
#define REGISTRATION_REFUSALS(X)                                                                                       \
	X(UNKNOWN_VPC, "unknown_vpc")                                                                                  \
	X(OUTSIDE_VPC, "outside_vpc")                                                                                  \
	X(OTHER_HOST, "other_host")                                                                                    \
	X(HOST_LIMIT, "host_limit")                                                                                    \
	X(WORKSPACE_LIMIT, "workspace_limit")                                                                          \
	X(TABLE_FULL, "table_full")

enum registration_refusal {
#define REGISTRATION_REFUSAL_ENUM(name, label) REGISTRATION_##name,
	REGISTRATION_REFUSALS(REGISTRATION_REFUSAL_ENUM)
#undef REGISTRATION_REFUSAL_ENUM
		REGISTRATION_REFUSAL_COUNT
};

enum { REGISTRATION_WHY_SIZE_BYTES = 192, REGISTRATION_LIMITED_S = 60 };

/* Zeroed at start. */
struct registration_refusals {
	uint64_t counts[REGISTRATION_REFUSAL_COUNT]; /* each attempt */
	uint64_t limited_ns;			     /* when a limit last refused one; 0: never */
	char limited_why[REGISTRATION_WHY_SIZE_BYTES];
};

/* Registers it by the policy that is wanted; false: `ret_why` says why not, and it is counted. */
bool registration_take(struct registrations *registrations, const struct revision *desired,
	const struct model_registered_worker *worker, uint64_t sync, struct registration_refusals *refusals,
	char ret_why[REGISTRATION_WHY_SIZE_BYTES]);

/* NULL, or what a limit has refused in the last minute. */
const char *registration_limited(const struct registration_refusals *refusals, uint64_t now_ns);

const char *registration_refusal_label(enum registration_refusal refusal);

#endif
