/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: brings each worker of the registry from its first sight to its last.
 *
 *   interface is there → claimed (drops everything) → policy with its VPC in force here, if this is a gateway
 *     → every gateway of worker_host.admission has acknowledged it → open
 *   interface, worker or VPC goes → map entries go → gateways are told, which ends its sessions
 *
 * What one worker needs is done for that worker alone (classifier_change()); control/apply_host.c compares the whole
 * now and then, and asks here who is to be open. An open worker stays open while a gateway is out of reach, also over a
 * restart of posternd (P4); nobody opens without the gateways' word (P3). Workers of the API are journalled in
 * DIR/state/workers.journal; a damaged journal is put aside, and its workers are closed.
 *
 * Owner: the daemon. Thread: the event loop's.
 */
#ifndef POSTERN_CONTROL_ADMISSION_H
#define POSTERN_CONTROL_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "control/status.h"
#include "control/worker_registry.h"

struct admission;
struct admission_gateway;
struct daemon;
struct revision;
struct worker_fence;

#define READY_BUCKETS(X) X(1) X(2) X(5) X(10) X(20) X(50) X(100) X(200) X(500) X(1000) X(5000) X(30000)

enum {
#define READY_BUCKET_ONE(milliseconds) +1
	READY_BUCKET_COUNT = 0 READY_BUCKETS(READY_BUCKET_ONE)
#undef READY_BUCKET_ONE
};

/* From the moment when both the wish and the interface were there until the worker was open. */
struct admission_ready {
	uint64_t counts[READY_BUCKET_COUNT + 1]; /* not cumulative; the last: longer */
	uint64_t count;
	double sum_s;
};

struct admission_totals {
	size_t of_state[WORKER_STATE_COUNT];
	size_t of_source[WORKER_SOURCE_COUNT];
};

enum status admission_open(struct daemon *daemon, struct admission **ret_admission, struct problems *problems);
void admission_close(struct admission *admission);

/* The revision whose worker host and VPCs count now; before each classifier_apply(). The classifier is there. */
void admission_set_basis(struct admission *admission, struct revision *basis);
/* Whether the worker is to be open, as far as policy and gateways go. */
bool admission_allows(const struct admission *admission, const struct worker *worker);
/* After a classifier_apply() that went well. */
void admission_applied(struct admission *admission);

/* Does what is to be done, now or soon. */
void admission_work(struct admission *admission);
void admission_schedule(struct admission *admission);
/* Each second. */
void admission_tick(struct admission *admission);

/* What the API says. STATUS_INVALID, STATUS_REFUSED (conflict), STATUS_SYSTEM: `problems` has why. */
enum status admission_add(struct admission *admission, const struct worker_spec *spec, struct worker **ret_worker,
	struct problems *problems);
/* STATUS_UNREACHABLE: the API has no such worker. */
enum status admission_remove(struct admission *admission, const char *interface, struct problems *problems);

struct worker_registry *admission_registry(const struct admission *admission);
const struct admission_ready *admission_ready(const struct admission *admission);
const struct worker_fence *admission_fence(const struct admission *admission);
void admission_count(const struct admission *admission, struct admission_totals *ret_totals);
/* One reason per gateway that does not answer, and workers that wait. */
void admission_explain(const struct admission *admission, struct problems *reasons);
size_t admission_gateway_count(const struct admission *admission);
const struct admission_gateway *admission_gateway_at(const struct admission *admission, size_t index);

#endif
