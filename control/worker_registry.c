/* SPDX-License-Identifier: Apache-2.0 */
#include "control/worker_registry.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKET_COUNT = 32768, FIRST_CAPACITY = 64 };

struct worker_registry {
	struct worker **workers;
	size_t count, capacity;
	struct worker *by_interface[BUCKET_COUNT]; /* of one interface: in the order of precedence */
	struct worker *by_address[BUCKET_COUNT];   /* those that are placed and head their interface */
	struct worker *by_ifindex[BUCKET_COUNT];   /* active ones with an interface */
	struct worker *queue_first, **queue_end;
	struct worker_gone *gone_first, **gone_end;
	worker_place_fn *place;
	void *place_context;
	uint64_t next_order;
	uint32_t mark;
};

static const char *const source_texts[WORKER_SOURCE_COUNT] = {"file", "api", "netlink"};
static const char *const state_texts[WORKER_STATE_COUNT] = {
	"conflict", "unplaced", "no-interface", "unclaimed", "awaits-policy", "awaits-gateway", "open"};

const char *worker_source_text(enum worker_source source)
{
	return source_texts[source];
}

const char *worker_state_text(enum worker_state state)
{
	return state_texts[state];
}

uint64_t worker_epoch(const struct worker *worker)
{
	return (uint64_t)worker->sequence << 32 | worker->ifindex;
}

void worker_set_state(struct worker *worker, enum worker_state state, const char *format, ...)
{
	char why[WORKER_WHY_SIZE_BYTES];
	va_list arguments;

	worker->state = state;
	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	if (worker->why != NULL && strcmp(worker->why, why) == 0)
		return;
	free(worker->why);
	worker->why = why[0] != '\0' ? strdup(why) : NULL;
}

/* ---- hashing ---- */

static uint32_t mix(uint64_t value)
{
	value *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(value >> 40) % BUCKET_COUNT;
}

static uint32_t interface_bucket(const char *interface)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (const char *c = interface; *c != '\0'; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	return mix(hash);
}

static uint32_t address_bucket(uint32_t vni, uint32_t address)
{
	return mix((uint64_t)vni << 32 | address);
}

/* Unlinks `worker` from a chain that is linked by the member at `offset`. */
static void chain_remove(struct worker **first, struct worker *worker, size_t offset_bytes)
{
	struct worker **at = first;

	while (*at != NULL && *at != worker)
		at = (struct worker **)(void *)((char *)*at + offset_bytes);
	if (*at == worker)
		*at = *(struct worker **)(void *)((char *)worker + offset_bytes);
}

/* ---- work to do ---- */

void worker_registry_queue(struct worker_registry *registry, struct worker *worker)
{
	if (worker->queued)
		return;
	worker->queued = true;
	worker->next_queued = NULL;
	*registry->queue_end = worker;
	registry->queue_end = &worker->next_queued;
}

struct worker *worker_registry_take_queued(struct worker_registry *registry)
{
	struct worker *worker = registry->queue_first;

	if (worker == NULL)
		return NULL;
	registry->queue_first = worker->next_queued;
	if (registry->queue_first == NULL)
		registry->queue_end = &registry->queue_first;
	worker->queued = false;
	return worker;
}

static void unqueue(struct worker_registry *registry, struct worker *worker)
{
	struct worker **at = &registry->queue_first;

	if (!worker->queued)
		return;
	while (*at != worker)
		at = &(*at)->next_queued;
	*at = worker->next_queued;
	if (*at == NULL)
		registry->queue_end = at;
	worker->queued = false;
}

struct worker_gone *worker_registry_take_gone(struct worker_registry *registry)
{
	struct worker_gone *gone = registry->gone_first;

	if (gone == NULL)
		return NULL;
	registry->gone_first = gone->next;
	if (registry->gone_first == NULL)
		registry->gone_end = &registry->gone_first;
	return gone;
}

bool worker_registry_has_gone(const struct worker_registry *registry)
{
	return registry->gone_first != NULL;
}

bool worker_registry_has_work(const struct worker_registry *registry)
{
	return registry->queue_first != NULL || registry->gone_first != NULL;
}

/* What the kernel and the gateways may know of it is to be taken back. */
static void worker_retire(struct worker_registry *registry, struct worker *worker)
{
	if (worker->ifindex != 0) {
		struct worker_gone *gone = calloc(1, sizeof(*gone));

		chain_remove(
			&registry->by_ifindex[mix(worker->ifindex)], worker, offsetof(struct worker, next_of_ifindex));
		if (gone != NULL) {
			gone->ifindex = worker->ifindex;
			gone->vni = worker->vni;
			gone->address = worker->spec.address;
			gone->epoch = worker_epoch(worker);
			*registry->gone_end = gone;
			registry->gone_end = &gone->next;
		}
	}
	worker->ifindex = 0;
	worker->cgroup_id = 0;
	worker->claimed = worker->dirty_in_kernel = worker->recheck = worker->adopted = false;
	worker->acknowledged = worker->asked = 0;
	worker->since_ns = worker->opened_ns = 0;
	/* Nobody may take its next interface for one that was let through. */
	if (worker->state == WORKER_OPEN)
		worker_set_state(worker, WORKER_NO_INTERFACE, "its interface has gone, or is another one");
}

/* ---- who counts ---- */

static void worker_set_active(struct worker_registry *registry, struct worker *worker, bool active)
{
	if (worker->active == active)
		return;
	if (!active)
		worker_retire(registry, worker);
	worker->active = active;
	worker_registry_queue(registry, worker);
}

static bool comes_before(const struct worker *a, const struct worker *b)
{
	return a->source != b->source ? a->source < b->source : a->order < b->order;
}

/* Of all that want the address, the first is active; it is made so last, so that never two are. */
static void address_settle(struct worker_registry *registry, uint32_t vni, uint32_t address)
{
	struct worker *first = NULL, *worker = registry->by_address[address_bucket(vni, address)];

	for (struct worker *at = worker; at != NULL; at = at->next_of_address) {
		if (at->vni == vni && at->spec.address == address && (first == NULL || comes_before(at, first)))
			first = at;
	}
	for (struct worker *at = worker; at != NULL; at = at->next_of_address) {
		if (at->vni != vni || at->spec.address != address || at == first)
			continue;
		worker_set_active(registry, at, false);
		worker_set_state(at, WORKER_CONFLICT, "%s (%s) has the address: take one of them away",
			first->spec.interface, worker_source_text(first->source));
	}
	if (first != NULL)
		worker_set_active(registry, first, true);
}

static void address_leave(struct worker_registry *registry, struct worker *worker)
{
	if (!worker->listed_by_address)
		return;
	worker_set_active(registry, worker, false);
	chain_remove(&registry->by_address[address_bucket(worker->vni, worker->spec.address)], worker,
		offsetof(struct worker, next_of_address));
	worker->listed_by_address = false;
	address_settle(registry, worker->vni, worker->spec.address);
}

static void address_enter(struct worker_registry *registry, struct worker *worker)
{
	struct worker **bucket = &registry->by_address[address_bucket(worker->vni, worker->spec.address)];

	if (worker->listed_by_address)
		return;
	worker->next_of_address = *bucket;
	*bucket = worker;
	worker->listed_by_address = true;
	address_settle(registry, worker->vni, worker->spec.address);
}

/* The worker's VPC by the configuration of now; another VPC makes it another worker. */
static void worker_place(struct worker_registry *registry, struct worker *worker)
{
	char why[WORKER_WHY_SIZE_BYTES] = "the configuration is not known yet";
	uint32_t vni = registry->place != NULL ? registry->place(registry->place_context, &worker->spec, why) : 0;

	if (vni != worker->vni)
		address_leave(registry, worker);
	worker->vni = vni;
	worker->placed = vni != 0;
	if (!worker->heads_interface)
		return;
	if (worker->placed)
		address_enter(registry, worker);
	else
		worker_set_state(worker, WORKER_UNPLACED, "%s", why);
}

static void interface_settle(struct worker_registry *registry, const char *interface)
{
	struct worker *head = NULL, *first = registry->by_interface[interface_bucket(interface)];

	for (struct worker *at = first; at != NULL; at = at->next_of_interface) {
		if (strcmp(at->spec.interface, interface) == 0 && (head == NULL || comes_before(at, head)))
			head = at;
	}
	for (struct worker *at = first; at != NULL; at = at->next_of_interface) {
		if (at == head || strcmp(at->spec.interface, interface) != 0)
			continue;
		at->heads_interface = false;
		address_leave(registry, at);
		worker_set_state(at, WORKER_CONFLICT, "the %s has another worker on this interface, which counts",
			worker_source_text(head->source));
	}
	if (head != NULL && !head->heads_interface) {
		head->heads_interface = true;
		worker_place(registry, head);
	}
}

void worker_registry_place_all(struct worker_registry *registry, worker_place_fn *place, void *context)
{
	registry->place = place;
	registry->place_context = context;
	for (size_t i = 0; i < registry->count; i++)
		worker_place(registry, registry->workers[i]);
}

/* ---- life ---- */

enum status worker_registry_open(struct worker_registry **ret_registry)
{
	struct worker_registry *registry = calloc(1, sizeof(*registry));

	if (registry == NULL)
		return STATUS_NO_MEMORY;
	registry->queue_end = &registry->queue_first;
	registry->gone_end = &registry->gone_first;
	*ret_registry = registry;
	return STATUS_OK;
}

static void worker_free(struct worker *worker)
{
	free((char *)worker->spec.cgroup);
	free(worker->why);
	free(worker);
}

void worker_registry_close(struct worker_registry *registry)
{
	struct worker_gone *gone;

	if (registry == NULL)
		return;
	for (size_t i = 0; i < registry->count; i++)
		worker_free(registry->workers[i]);
	while ((gone = worker_registry_take_gone(registry)) != NULL)
		free(gone);
	free(registry->workers);
	free(registry);
}

static bool registry_grow(struct worker_registry *registry)
{
	size_t capacity = registry->capacity != 0 ? 2 * registry->capacity : FIRST_CAPACITY;
	struct worker **workers = realloc(registry->workers, capacity * sizeof(struct worker *));

	if (workers == NULL)
		return false;
	registry->workers = workers;
	registry->capacity = capacity;
	return true;
}

static void worker_delete(struct worker_registry *registry, struct worker *worker)
{
	char interface[INTERFACE_NAME_SIZE_BYTES];

	memcpy(interface, worker->spec.interface, sizeof(interface));
	chain_remove(&registry->by_interface[interface_bucket(interface)], worker,
		offsetof(struct worker, next_of_interface));
	address_leave(registry, worker);
	unqueue(registry, worker);
	registry->count--;
	registry->workers[worker->place] = registry->workers[registry->count];
	registry->workers[worker->place]->place = worker->place;
	worker_free(worker);
	interface_settle(registry, interface);
}

bool worker_specs_are_equal(const struct worker_spec *a, const struct worker_spec *b)
{
	return strcmp(a->interface, b->interface) == 0 && strcmp(a->workspace, b->workspace) == 0 &&
	       strcmp(a->vpc, b->vpc) == 0 && a->address == b->address && a->mac_present == b->mac_present &&
	       (!a->mac_present || memcmp(a->mac, b->mac, sizeof(a->mac)) == 0) &&
	       strcmp(a->cgroup != NULL ? a->cgroup : "", b->cgroup != NULL ? b->cgroup : "") == 0;
}

enum status worker_registry_put(struct worker_registry *registry, enum worker_source source,
	const struct worker_spec *spec, uint32_t sequence, struct worker **ret_worker)
{
	struct worker *worker = worker_registry_find_of(registry, source, spec->interface);
	struct worker **bucket = &registry->by_interface[interface_bucket(spec->interface)];

	if (worker != NULL && worker_specs_are_equal(&worker->spec, spec) && worker->sequence == sequence) {
		worker->mark = registry->mark;
		*ret_worker = worker;
		return STATUS_OK;
	}
	if (worker != NULL)
		worker_delete(registry, worker);
	if (registry->count == WORKER_REGISTRY_COUNT_MAX)
		return STATUS_REFUSED;
	if (registry->count == registry->capacity && !registry_grow(registry))
		return STATUS_NO_MEMORY;
	worker = calloc(1, sizeof(*worker));
	if (worker == NULL)
		return STATUS_NO_MEMORY;
	worker->spec = *spec;
	if (spec->cgroup != NULL) {
		worker->spec.cgroup = strdup(spec->cgroup);
		if (worker->spec.cgroup == NULL) {
			free(worker);
			return STATUS_NO_MEMORY;
		}
	}
	worker->source = source;
	worker->sequence = sequence;
	worker->order = registry->next_order++;
	worker->mark = registry->mark;
	worker->place = registry->count;
	registry->workers[registry->count++] = worker;
	worker->next_of_interface = *bucket;
	*bucket = worker;
	interface_settle(registry, worker->spec.interface);
	*ret_worker = worker;
	return STATUS_OK;
}

bool worker_registry_remove(struct worker_registry *registry, enum worker_source source, const char *interface)
{
	struct worker *worker = worker_registry_find_of(registry, source, interface);

	if (worker == NULL)
		return false;
	worker_delete(registry, worker);
	return true;
}

void worker_registry_begin(struct worker_registry *registry, enum worker_source source)
{
	registry->mark++;
	for (size_t i = 0; i < registry->count; i++) {
		if (registry->workers[i]->source == source)
			registry->workers[i]->mark = registry->mark - 1;
	}
}

void worker_registry_end(struct worker_registry *registry, enum worker_source source)
{
	for (size_t i = registry->count; i-- > 0;) {
		struct worker *worker = registry->workers[i];

		if (worker->source == source && worker->mark != registry->mark)
			worker_delete(registry, worker);
	}
}

/* ---- looking ---- */

struct worker *worker_registry_find_of(
	const struct worker_registry *registry, enum worker_source source, const char *interface)
{
	struct worker *at = registry->by_interface[interface_bucket(interface)];

	while (at != NULL && (at->source != source || strcmp(at->spec.interface, interface) != 0))
		at = at->next_of_interface;
	return at;
}

struct worker *worker_registry_find(const struct worker_registry *registry, const char *interface)
{
	struct worker *at = registry->by_interface[interface_bucket(interface)];

	while (at != NULL && (!at->heads_interface || strcmp(at->spec.interface, interface) != 0))
		at = at->next_of_interface;
	return at;
}

struct worker *worker_registry_by_address(const struct worker_registry *registry, uint32_t vni, uint32_t address)
{
	struct worker *at = registry->by_address[address_bucket(vni, address)];

	while (at != NULL && (!at->active || at->vni != vni || at->spec.address != address))
		at = at->next_of_address;
	return at;
}

struct worker *worker_registry_by_ifindex(const struct worker_registry *registry, uint32_t ifindex)
{
	struct worker *at = registry->by_ifindex[mix(ifindex)];

	while (at != NULL && at->ifindex != ifindex)
		at = at->next_of_ifindex;
	return at;
}

void worker_registry_set_ifindex(struct worker_registry *registry, struct worker *worker, uint32_t ifindex)
{
	if (worker->ifindex == ifindex || !worker->active)
		return;
	worker_retire(registry, worker);
	worker->ifindex = ifindex;
	if (ifindex != 0) {
		struct worker **bucket = &registry->by_ifindex[mix(ifindex)];

		worker->next_of_ifindex = *bucket;
		*bucket = worker;
	}
	worker_registry_queue(registry, worker);
}

size_t worker_registry_count(const struct worker_registry *registry)
{
	return registry->count;
}

struct worker *worker_registry_at(const struct worker_registry *registry, size_t index)
{
	return registry->workers[index];
}
