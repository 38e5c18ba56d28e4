/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission_check.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>

#include "control/admission.h"
#include "control/classifier_link.h"
#include "control/classifier_sweep.h"
#include "control/daemon.h"
#include "control/log.h"
#include "control/worker_registry.h"

enum {
	STEPS_PER_SECOND = 10,
	STEPS_MIN = ADMISSION_CHECK_ROUND_MIN_S * STEPS_PER_SECOND,
	STEPS_MAX = ADMISSION_CHECK_ROUND_MAX_S * STEPS_PER_SECOND,
	WORKERS_PER_STEP = 2, /* unless that takes too long */
};

struct admission_check {
	struct daemon *daemon;
	struct admission *admission;
	struct event *step;
	unsigned steps_left; /* of the round */
	size_t place;	     /* workers at lower places are yet to be looked at in this round */
	bool swept;	     /* the maps have been, in this round */
	struct classifier_sweep sweep;
};

static void look_at(struct worker_registry *registry, struct worker *worker)
{
	if (!worker->active || worker->ifindex == 0)
		return;
	/* The kernel may not have been able to tell that the interface has gone, or has another name. */
	if (worker->spec.cgroup == NULL && classifier_link_index(worker->spec.interface) != worker->ifindex) {
		worker_registry_set_ifindex(registry, worker, 0);
		return;
	}
	worker->recheck = true;
	worker_registry_queue(registry, worker);
}

/* From the last place to the first: whoever fills the place of one that goes has been looked at before. */
static void look_at_workers(struct admission_check *check)
{
	struct worker_registry *registry = admission_registry(check->admission);
	size_t count = worker_registry_count(registry), share;

	if (check->place > count)
		check->place = count;
	share = (check->place + check->steps_left - 1) / check->steps_left;
	for (size_t i = 0; i < share; i++)
		look_at(registry, worker_registry_at(registry, --check->place));
}

static bool has_worker(void *context, uint32_t ifindex)
{
	const struct worker *worker = worker_registry_by_ifindex(context, ifindex);

	return worker != NULL && worker->active;
}

static bool has_delivery(void *context, uint32_t vni, uint32_t address)
{
	const struct worker *worker = worker_registry_by_address(context, vni, address);

	return worker != NULL && worker->active;
}

static void look_at_maps(struct admission_check *check)
{
	struct worker_registry *registry = admission_registry(check->admission);
	const struct classifier_sweep_asks asks = {has_worker, has_delivery, registry};
	struct problems problems = {0};
	size_t removed_count = 0;

	/* Entries of workers that have just gone are there until these are closed. */
	if (check->swept || worker_registry_has_gone(registry))
		return;
	if (classifier_sweep_step(check->daemon->classifier, &check->sweep, &asks, &removed_count, &check->swept,
		    &problems) != STATUS_OK) {
		check->daemon->apply.dirty = true; /* the comparison of the whole says what is wrong */
		check->swept = true;
	}
	if (removed_count > 0)
		log_warning(&check->daemon->log,
			"%zu entries of the classifier's maps were no worker's, and are removed: somebody else has "
			"written them",
			removed_count);
	log_problems(&check->daemon->log, LOG_LEVEL_ERROR, &problems);
	problems_clear(&problems);
}

static void round_begin(struct admission_check *check)
{
	size_t count = worker_registry_count(admission_registry(check->admission)), steps = count / WORKERS_PER_STEP;

	check->steps_left = steps < STEPS_MIN ? STEPS_MIN : steps < STEPS_MAX ? (unsigned)steps : STEPS_MAX;
	check->place = count;
	check->swept = false;
}

static void step(evutil_socket_t fd, short what, void *context)
{
	struct admission_check *check = context;

	/* What is dirty is about to be compared as a whole. */
	if (check->daemon->classifier == NULL || !check->daemon->apply.classifier_done || check->daemon->apply.dirty)
		return;
	if (check->steps_left == 0)
		round_begin(check);
	look_at_maps(check);
	look_at_workers(check);
	check->steps_left--;
	if (worker_registry_has_work(admission_registry(check->admission)))
		admission_work(check->admission);
}

enum status admission_check_open(struct daemon *daemon, struct admission *admission, struct admission_check **ret_check)
{
	struct admission_check *check = calloc(1, sizeof(*check));

	if (check == NULL)
		return STATUS_NO_MEMORY;
	check->daemon = daemon;
	check->admission = admission;
	check->step = event_new(daemon->base, -1, EV_PERSIST, step, check);
	if (check->step == NULL) {
		free(check);
		return STATUS_NO_MEMORY;
	}
	*ret_check = check;
	return STATUS_OK;
}

void admission_check_close(struct admission_check *check)
{
	if (check == NULL)
		return;
	event_free(check->step);
	free(check);
}

void admission_check_start(struct admission_check *check)
{
	static const struct timeval interval = {.tv_usec = 1000000 / STEPS_PER_SECOND};

	if (!event_pending(check->step, EV_TIMEOUT, NULL))
		event_add(check->step, &interval);
}
