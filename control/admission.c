/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "control/admission_check.h"
#include "control/admission_gateways.h"
#include "control/admission_links.h"
#include "control/admission_store.h"
#include "control/api_workers.h"
#include "control/apply.h"
#include "control/apply_host.h"
#include "control/cgroup_path.h"
#include "control/classifier_cgroup.h"
#include "control/classifier_link.h"
#include "control/daemon.h"
#include "control/host_interfaces.h"
#include "control/notify.h"
#include "control/scalar.h"
#include "control/state.h"
#include "control/vpc_finder.h"

enum { BATCH_MAX = 256, REFUSED_RETRY_TICKS = 5 };

struct admission {
	struct daemon *daemon;
	struct worker_registry *registry;
	struct admission_links *links;
	struct admission_store *store;
	struct admission_check *check;
	struct event *due;
	struct revision *basis; /* NULL: not known yet */
	struct vpc_finder wanted, in_force;
	struct host_interfaces interfaces;  /* of the basis */
	struct revision *in_force_revision; /* that `in_force` is of */
	struct admission_gateways gateways;
	struct admission_ready ready;
	unsigned ticks;
	uint64_t cgroups_id; /* of worker_host.cgroups.path when it was last looked at */
	bool settled;	     /* the classifier was compared as a whole once */
};

static const struct model_worker_host *host_of(const struct admission *admission)
{
	return &admission->basis->model->worker_host;
}

void admission_schedule(struct admission *admission)
{
	static const struct timeval at_once = {0};

	if (!event_pending(admission->due, EV_TIMEOUT, NULL))
		event_add(admission->due, &at_once);
}

/* ---- whether it may be open ---- */

/* On a gateway of its own the VPC must be what the dataplane knows. */
static bool policy_allows(const struct admission *admission, const struct worker *worker)
{
	char why[WORKER_WHY_SIZE_BYTES];

	if (daemon_gateway(admission->daemon) == NULL)
		return admission->daemon->apply.in_force != NULL;
	return admission->in_force_revision != NULL &&
	       vpc_finder_place(&admission->in_force, &worker->spec, why) == worker->vni;
}

static bool gateways_allow(const struct admission *admission, const struct worker *worker)
{
	return worker->adopted || admission_gateways_have_all(&admission->gateways, worker);
}

bool admission_allows(const struct admission *admission, const struct worker *worker)
{
	return worker->active && worker->ifindex != 0 && gateways_allow(admission, worker) &&
	       policy_allows(admission, worker);
}

/* ---- steps ---- */

static void note_open(struct admission *admission, struct worker *worker)
{
	static const unsigned bounds_ms[] = {
#define READY_BUCKET_BOUND(milliseconds) milliseconds,
		READY_BUCKETS(READY_BUCKET_BOUND)
#undef READY_BUCKET_BOUND
	};
	struct admission_ready *ready = &admission->ready;
	uint64_t waited_ns;
	size_t bucket = 0;

	if (worker->state == WORKER_OPEN)
		return;
	worker_set_state(worker, WORKER_OPEN, "%s", "");
	if (worker->opened_ns != 0)
		return; /* it was ready once, and then closed for a while */
	worker->opened_ns = daemon_monotonic_ns();
	if (worker->adopted)
		return; /* it was open before */
	if (worker->since_ns == 0)
		worker->since_ns = worker->opened_ns;
	waited_ns = worker->opened_ns - worker->since_ns;
	while (bucket < READY_BUCKET_COUNT && waited_ns > bounds_ms[bucket] * 1000000ull)
		bucket++;
	ready->counts[bucket]++;
	ready->count++;
	ready->sum_s += (double)waited_ns / 1e9;
}

/* Removals go before everything that may come in their place. */
static void close_gone(struct admission *admission)
{
	struct classifier_change changes[BATCH_MAX];
	struct worker_gone *gone, *next, *first = NULL, **end = &first;
	struct problems problems = {0};
	size_t count = 0;

	while (count < BATCH_MAX && (gone = worker_registry_take_gone(admission->registry)) != NULL) {
		changes[count++] = (struct classifier_change){
			.ifindex = gone->ifindex, .worker = {.vni = gone->vni, .address = gone->address}};
		gone->next = NULL;
		*end = gone;
		end = &gone->next;
	}
	if (count != 0 && admission->daemon->classifier != NULL &&
		classifier_change(admission->daemon->classifier, changes, count, host_of(admission)->vtep, &problems) !=
			STATUS_OK) {
		admission->daemon->apply.dirty = true; /* the comparison of the whole takes them away */
		log_problems(&admission->daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
	for (gone = first; gone != NULL; gone = next) {
		next = gone->next;
		admission_gateways_remove(&admission->gateways, gone->vni, gone->address);
		free(gone);
	}
}

/* False: it can not go on. One that was open is to be closed then. */
static bool claim(struct admission *admission, struct worker *worker)
{
	struct problems problems = {0};
	enum status status;

	if (worker->claimed && !worker->recheck)
		return true;
	worker->recheck = false;
	if (worker->spec.cgroup == NULL) {
		status = classifier_claim(
			admission->daemon->classifier, worker->ifindex, worker->spec.interface, &problems);
	} else {
		const char *why = cgroup_path_check(&host_of(admission)->cgroups, worker->spec.cgroup);

		status = why == NULL && classifier_cgroups_are_closed(admission->daemon->classifier) ? STATUS_OK
												     : STATUS_REFUSED;
		if (status != STATUS_OK)
			problems_add(&problems, "%s %s", worker->spec.cgroup,
				why != NULL ? why : "is below a cgroup that the classifier is not on: see the status");
	}
	worker->claimed = status == STATUS_OK;
	worker->dirty_in_kernel = worker->claimed || worker->state == WORKER_OPEN;
	if (!worker->claimed)
		worker_set_state(worker, WORKER_UNCLAIMED, "%s", problems.count > 0 ? problems.lines[0] : "no memory");
	problems_clear(&problems);
	return worker->claimed;
}

static void await_gateways(struct admission *admission, struct worker *worker)
{
	const char *error = admission_gateways_awaited_error(&admission->gateways, worker);

	if (error != NULL)
		worker_set_state(worker, WORKER_AWAITS_GATEWAY, "%s", error);
	else if (worker->state != WORKER_AWAITS_GATEWAY || worker->asked != 0)
		worker_set_state(worker, WORKER_AWAITS_GATEWAY, "asked the gateways, which have not all answered yet");
}

/* What it sends by. A cgroup that was made anew, with the same path, is another one. */
static void find_interface(struct admission *admission, struct worker *worker)
{
	uint64_t id;

	if (worker->spec.cgroup == NULL) {
		worker_registry_set_ifindex(admission->registry, worker, classifier_link_index(worker->spec.interface));
		return;
	}
	id = classifier_cgroup_id(worker->spec.cgroup);
	if (id == worker->cgroup_id)
		return;
	worker_registry_set_ifindex(admission->registry, worker, 0);
	worker_registry_set_ifindex(admission->registry, worker, id != 0 ? CGROUP_KEY(id) : 0);
	worker->cgroup_id = id;
}

/* Up to the door. True: it is to be opened. */
static bool bring_on(struct admission *admission, struct worker *worker)
{
	struct daemon *daemon = admission->daemon;

	if (!worker->active || daemon->classifier == NULL || admission->basis == NULL)
		return false;
	if (worker->ifindex == 0)
		find_interface(admission, worker);
	if (worker->ifindex == 0) {
		worker_set_state(worker, WORKER_NO_INTERFACE, "there is no %s %.150s (yet)",
			worker->spec.cgroup != NULL ? "cgroup" : "interface",
			worker->spec.cgroup != NULL ? worker->spec.cgroup : worker->spec.interface);
		return false;
	}
	if (worker->since_ns == 0)
		worker->since_ns = daemon_monotonic_ns();
	if (!admission->settled &&
		classifier_is_open(daemon->classifier, worker->ifindex, worker->vni, worker->spec.address))
		worker->adopted = true;
	if (!claim(admission, worker))
		return false;
	admission_gateways_ask(&admission->gateways, worker);
	if (!gateways_allow(admission, worker)) {
		await_gateways(admission, worker);
		return false;
	}
	if (!policy_allows(admission, worker)) {
		worker_set_state(worker, WORKER_AWAITS_POLICY, "the policy with its VPC is not in force yet");
		return false;
	}
	return worker->state != WORKER_OPEN || worker->dirty_in_kernel;
}

static void change_workers(struct admission *admission, struct worker **workers, size_t count)
{
	struct daemon *daemon = admission->daemon;
	struct classifier_change changes[BATCH_MAX];
	struct problems problems = {0};
	enum status status;

	if (count == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		changes[i] = (struct classifier_change){.ifindex = workers[i]->ifindex, .claimed = true};
		apply_host_fill(daemon, admission->basis->model, workers[i],
			workers[i]->claimed && admission_allows(admission, workers[i]), &changes[i].worker);
	}
	status = state_save_workspace_indexes(daemon->state, &problems);
	if (status == STATUS_OK)
		status = classifier_change(daemon->classifier, changes, count, host_of(admission)->vtep, &problems);
	for (size_t i = 0; i < count; i++) {
		workers[i]->dirty_in_kernel = status != STATUS_OK;
		if (status == STATUS_OK && changes[i].worker.admitted)
			note_open(admission, workers[i]);
	}
	if (status != STATUS_OK) {
		daemon->apply.dirty = true;
		log_problems(&daemon->log, LOG_LEVEL_ERROR, &problems);
	}
	problems_clear(&problems);
}

void admission_work(struct admission *admission)
{
	struct worker *workers[BATCH_MAX], *worker;
	size_t count = 0, looked_at = 0;

	if (admission->basis == NULL || !admission->settled)
		return;
	close_gone(admission);
	/* Who opens in the place of one that is yet to be closed would be closed with it. */
	if (worker_registry_has_gone(admission->registry)) {
		admission_schedule(admission);
		return;
	}
	while (looked_at++ < BATCH_MAX && (worker = worker_registry_take_queued(admission->registry)) != NULL) {
		if (bring_on(admission, worker) || worker->dirty_in_kernel)
			workers[count++] = worker;
	}
	change_workers(admission, workers, count);
	api_workers_check(admission->daemon);
	if (worker_registry_has_work(admission->registry))
		admission_schedule(admission);
}

static void admission_due(evutil_socket_t fd, short what, void *context)
{
	admission_work(context);
}

/* ---- gateways ---- */

static void gateway_answered(void *context, unsigned index, struct worker *worker, const char *why)
{
	struct admission *admission = context;
	char vtep[SCALAR_SIZE_BYTES];

	if (why == NULL) {
		if (admission_gateways_have_all(&admission->gateways, worker))
			worker->adopted = false;
		if (worker->state != WORKER_OPEN)
			worker_registry_queue(admission->registry, worker);
	} else {
		scalar_format_ipv4(admission_gateway_vtep(admission->gateways.gateways[index]), vtep);
		if (worker->state == WORKER_OPEN)
			worker->dirty_in_kernel = true;
		worker->adopted = false;
		worker_set_state(worker, WORKER_AWAITS_GATEWAY, "gateway %s refuses it: %s", vtep, why);
		if (worker->dirty_in_kernel)
			change_workers(admission, &worker, 1);
	}
	admission_schedule(admission);
}

/* The reason why workers wait is another one. */
static void gateway_changed(void *context, unsigned index)
{
	struct admission *admission = context;
	const char *error = admission_gateway_error(admission->gateways.gateways[index]);

	if (error != NULL)
		log_warning(&admission->daemon->log, "%s", error);
	for (size_t i = 0; i < worker_registry_count(admission->registry); i++) {
		struct worker *worker = worker_registry_at(admission->registry, i);

		if (worker->active && worker->state == WORKER_AWAITS_GATEWAY)
			await_gateways(admission, worker);
	}
}

static const struct admission_gateway_handlers gateway_handlers = {
	.answered = gateway_answered, .changed = gateway_changed};

/* ---- the configuration ---- */

static uint32_t place(void *context, const struct worker_spec *spec, char ret_why[WORKER_WHY_SIZE_BYTES])
{
	const struct admission *admission = context;
	const char *why = spec->cgroup == NULL ? host_interfaces_refuse(&admission->interfaces, spec->interface) : NULL;

	if (why != NULL) {
		snprintf(ret_why, WORKER_WHY_SIZE_BYTES, "%s", why);
		return 0;
	}
	return vpc_finder_place(&admission->wanted, spec, ret_why);
}

static void take_file(struct admission *admission)
{
	const struct model_worker_host *host = host_of(admission);
	struct worker *worker;

	worker_registry_begin(admission->registry, WORKER_SOURCE_FILE);
	for (size_t i = 0; i < host->worker_count; i++) {
		const struct model_worker *from = &host->workers[i];
		struct worker_spec spec = {.address = from->address, .mac_present = from->mac_present};

		memcpy(spec.interface, from->interface, sizeof(spec.interface));
		memcpy(spec.workspace, from->workspace, sizeof(spec.workspace));
		memcpy(spec.vpc, from->vpc, sizeof(spec.vpc));
		memcpy(spec.mac, from->mac, sizeof(spec.mac));
		if (from->cgroup[0] != '\0') {
			spec.cgroup = from->cgroup;
			cgroup_path_name(from->cgroup, spec.interface);
		}
		if (worker_registry_put(admission->registry, WORKER_SOURCE_FILE, &spec, 0, &worker) != STATUS_OK)
			log_error(&admission->daemon->log, "%s: there is no room for another worker", spec.interface);
	}
	worker_registry_end(admission->registry, WORKER_SOURCE_FILE);
}

void admission_set_basis(struct admission *admission, struct revision *basis)
{
	struct revision *in_force = admission->daemon->apply.in_force;
	struct worker *worker;

	if (in_force != admission->in_force_revision) {
		vpc_finder_clear(&admission->in_force);
		revision_release(admission->in_force_revision);
		admission->in_force_revision = revision_hold(in_force);
		if (in_force != NULL)
			vpc_finder_set(&admission->in_force, in_force->model);
	}
	if (basis != admission->basis) {
		bool another = admission->basis == NULL || admission->basis->model != basis->model;

		revision_hold(basis);
		revision_release(admission->basis);
		admission->basis = basis;
		admission_links_set_host(admission->links, host_of(admission));
		if (another) {
			vpc_finder_clear(&admission->wanted);
			vpc_finder_set(&admission->wanted, basis->model);
			host_interfaces_set(&admission->interfaces, basis->model);
			worker_registry_place_all(admission->registry, place, admission);
			take_file(admission);
			admission_gateways_set(&admission->gateways, host_of(admission));
			admission_links_read(admission->links);
		}
	}
	if (!admission->settled) {
		/* Who is open already is asked before anything is changed. With many workers that takes a while. */
		for (size_t i = 1; (worker = worker_registry_take_queued(admission->registry)) != NULL; i++) {
			(void)bring_on(admission, worker);
			if (i % BATCH_MAX == 0 && admission->daemon->watchdog)
				notify_send("WATCHDOG=1");
		}
	}
	while (worker_registry_has_gone(admission->registry))
		close_gone(admission);
}

void admission_applied(struct admission *admission)
{
	const struct classifier *classifier = admission->daemon->classifier;

	for (size_t i = 0; i < worker_registry_count(admission->registry); i++) {
		struct worker *worker = worker_registry_at(admission->registry, i);

		worker->dirty_in_kernel = false;
		if (!worker->active)
			continue;
		if (!admission_allows(admission, worker)) {
			if (worker->state == WORKER_OPEN)
				worker_set_state(
					worker, WORKER_AWAITS_POLICY, "the policy with its VPC is not in force");
		} else if (classifier_is_open(classifier, worker->ifindex, worker->vni, worker->spec.address)) {
			worker->claimed = true;
			note_open(admission, worker);
		} else if (worker->state == WORKER_OPEN) {
			worker->claimed = false;
			worker_set_state(worker, WORKER_UNCLAIMED, "its interface could not be claimed");
		}
		if (worker->state != WORKER_OPEN)
			worker_registry_queue(admission->registry, worker);
	}
	admission->settled = true;
	admission_check_start(admission->check);
	admission_schedule(admission);
}

/*
 * Nobody tells of cgroups that come and go; what has gone does not send, and its id is nobody else's. With the one
 * above all of them the programs on it have gone, too.
 */
static void look_at_cgroups(struct admission *admission)
{
	uint64_t id = classifier_cgroup_id(host_of(admission)->cgroups.path);

	if (id != admission->cgroups_id)
		admission->daemon->apply.dirty = true;
	admission->cgroups_id = id;
	for (size_t i = 0; i < worker_registry_count(admission->registry); i++) {
		struct worker *worker = worker_registry_at(admission->registry, i);

		if (worker->active && worker->spec.cgroup != NULL)
			find_interface(admission, worker);
	}
}

void admission_tick(struct admission *admission)
{
	admission_links_tick(admission->links);
	admission_gateways_tick(&admission->gateways, daemon_monotonic_ns());
	if (admission->basis != NULL && host_of(admission)->cgroups.present)
		look_at_cgroups(admission);
	if (++admission->ticks % REFUSED_RETRY_TICKS == 0) {
		admission_store_retry(admission->store);
		for (size_t i = 0; i < worker_registry_count(admission->registry); i++) {
			struct worker *worker = worker_registry_at(admission->registry, i);

			if (worker->active && worker->state != WORKER_OPEN)
				worker_registry_queue(admission->registry, worker);
		}
	}
	admission_work(admission);
	api_workers_check(admission->daemon);
}

/* ---- the API ---- */

enum status admission_add(struct admission *admission, const struct worker_spec *spec, struct worker **ret_worker,
	struct problems *problems)
{
	const struct worker *there = worker_registry_find(admission->registry, spec->interface);
	enum status status;

	if (there != NULL && there->source == WORKER_SOURCE_FILE) {
		problems_add(problems, "%s: the file has a worker on this interface, which counts: change the file",
			spec->interface);
		return STATUS_REFUSED;
	}
	status = admission_store_add(admission->store, spec, ret_worker, problems);
	if (status == STATUS_OK)
		admission_work(admission);
	return status;
}

enum status admission_remove(struct admission *admission, const char *interface, struct problems *problems)
{
	enum status status = admission_store_remove(admission->store, interface, problems);

	if (status == STATUS_OK)
		admission_work(admission);
	return status;
}

/* ---- telling ---- */

struct worker_registry *admission_registry(const struct admission *admission)
{
	return admission->registry;
}

const struct worker_fence *admission_fence(const struct admission *admission)
{
	return admission_links_fence(admission->links);
}

const struct admission_ready *admission_ready(const struct admission *admission)
{
	return &admission->ready;
}

size_t admission_gateway_count(const struct admission *admission)
{
	return admission->gateways.count;
}

const struct admission_gateway *admission_gateway_at(const struct admission *admission, size_t index)
{
	return admission->gateways.gateways[index];
}

/* ---- life ---- */

enum status admission_open(struct daemon *daemon, struct admission **ret_admission, struct problems *problems)
{
	struct admission *admission = calloc(1, sizeof(*admission));
	struct problems warnings = {0};
	enum status status;

	if (admission == NULL)
		return STATUS_NO_MEMORY;
	admission->daemon = daemon;
	status = worker_registry_open(&admission->registry);
	admission->gateways = (struct admission_gateways){
		.daemon = daemon,
		.registry = admission->registry,
		.handlers = &gateway_handlers,
		.context = admission,
	};
	if (status == STATUS_OK)
		status = admission_links_open(daemon, admission, admission->registry, &admission->links, problems);
	if (status == STATUS_OK)
		status = admission_check_open(daemon, admission, &admission->check);
	admission->due = event_new(daemon->base, -1, 0, admission_due, admission);
	if (status == STATUS_OK && admission->due == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = admission_store_open(
			state_directory(daemon->state), admission->registry, &admission->store, problems, &warnings);
	log_problems(&daemon->log, LOG_LEVEL_WARNING, &warnings);
	problems_clear(&warnings);
	if (status != STATUS_OK) {
		admission_close(admission);
		return status;
	}
	*ret_admission = admission;
	return STATUS_OK;
}

void admission_close(struct admission *admission)
{
	if (admission == NULL)
		return;
	admission_gateways_close(&admission->gateways);
	admission_store_close(admission->store);
	admission_check_close(admission->check);
	admission_links_close(admission->links);
	if (admission->due != NULL)
		event_free(admission->due);
	vpc_finder_clear(&admission->wanted);
	vpc_finder_clear(&admission->in_force);
	revision_release(admission->basis);
	revision_release(admission->in_force_revision);
	worker_registry_close(admission->registry);
	free(admission);
}
