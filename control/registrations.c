/* SPDX-License-Identifier: Apache-2.0 */
#include "control/registrations.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "control/journal.h"

enum {
	BUCKET_COUNT = 65536,
	TALLY_BUCKET_COUNT = 4096,
	NAME_SIZE_BYTES = 33,
	RECORD_SIZE_BYTES = 128,
	SUPERSEDED_MIN = 4096
};

static const char journal_name[] = "registrations.journal";

/* How many a host or a VPC has; kept when that is none. */
struct tally {
	uint32_t key;
	size_t count;
	struct tally *next;
};

struct tallies {
	struct tally *buckets[TALLY_BUCKET_COUNT];
};

struct registrations {
	struct journal *journal;
	struct model_registered_worker *workers;
	uint64_t *syncs;
	uint32_t *next; /* in the bucket; index + 1; 0: the end */
	size_t count, capacity;
	uint32_t buckets[BUCKET_COUNT];
	struct tallies of_hosts, of_vpcs; /* by VTEP, by VNI */
	uint64_t version, last_incarnation;
	char name[NAME_SIZE_BYTES];
	bool changed; /* since the last commit */
};

static const uint32_t *bucket_at(const struct registrations *registrations, uint32_t vni, uint32_t address)
{
	uint64_t hash = ((uint64_t)vni << 32 | address) * 0x9e3779b97f4a7c15u;

	return &registrations->buckets[hash >> 48];
}

static uint32_t *bucket_of(struct registrations *registrations, uint32_t vni, uint32_t address)
{
	return (uint32_t *)bucket_at(registrations, vni, address);
}

/* Its index, or `count`. */
static size_t find(const struct registrations *registrations, uint32_t vni, uint32_t address)
{
	for (uint32_t at = *bucket_at(registrations, vni, address); at != 0; at = registrations->next[at - 1]) {
		const struct model_registered_worker *worker = &registrations->workers[at - 1];

		if (worker->vni == vni && worker->address == address)
			return at - 1;
	}
	return registrations->count;
}

static uint32_t *link_to(struct registrations *registrations, size_t index)
{
	const struct model_registered_worker *worker = &registrations->workers[index];
	uint32_t *link = bucket_of(registrations, worker->vni, worker->address);

	while (*link != index + 1)
		link = &registrations->next[*link - 1];
	return link;
}

static unsigned tally_bucket(uint32_t key)
{
	return key * 2654435761u >> 20;
}

static struct tally *tally_find(const struct tallies *tallies, uint32_t key)
{
	struct tally *tally = tallies->buckets[tally_bucket(key)];

	while (tally != NULL && tally->key != key)
		tally = tally->next;
	return tally;
}

/* NULL: no memory. */
static struct tally *tally_of(struct tallies *tallies, uint32_t key)
{
	struct tally *tally = tally_find(tallies, key), **bucket = &tallies->buckets[tally_bucket(key)];

	if (tally != NULL)
		return tally;
	tally = calloc(1, sizeof(*tally));
	if (tally == NULL)
		return NULL;
	tally->key = key;
	tally->next = *bucket;
	*bucket = tally;
	return tally;
}

static size_t tally_count(const struct tallies *tallies, uint32_t key)
{
	const struct tally *tally = tally_find(tallies, key);

	return tally != NULL ? tally->count : 0;
}

static void tallies_clear(struct tallies *tallies)
{
	for (size_t i = 0; i < TALLY_BUCKET_COUNT; i++) {
		for (struct tally *tally = tallies->buckets[i], *next; tally != NULL; tally = next) {
			next = tally->next;
			free(tally);
		}
		tallies->buckets[i] = NULL;
	}
}

static bool grow(struct registrations *registrations)
{
	size_t capacity = registrations->capacity != 0 ? 2 * registrations->capacity : 64;
	struct model_registered_worker *workers =
		realloc(registrations->workers, capacity * sizeof(*registrations->workers));
	uint64_t *syncs = workers != NULL ? realloc(registrations->syncs, capacity * sizeof(*syncs)) : NULL;
	uint32_t *next = syncs != NULL ? realloc(registrations->next, capacity * sizeof(*next)) : NULL;

	if (workers != NULL)
		registrations->workers = workers;
	if (syncs != NULL)
		registrations->syncs = syncs;
	if (next == NULL)
		return false;
	registrations->next = next;
	registrations->capacity = capacity;
	return true;
}

static bool insert(struct registrations *registrations, const struct model_registered_worker *worker)
{
	struct tally *host = tally_of(&registrations->of_hosts, worker->vtep);
	struct tally *vpc = tally_of(&registrations->of_vpcs, worker->vni);
	uint32_t *bucket = bucket_of(registrations, worker->vni, worker->address);
	size_t index = registrations->count;

	if (host == NULL || vpc == NULL || (index == registrations->capacity && !grow(registrations)))
		return false;
	registrations->workers[index] = *worker;
	registrations->syncs[index] = 0;
	registrations->next[index] = *bucket;
	*bucket = (uint32_t)index + 1;
	registrations->count++;
	host->count++;
	vpc->count++;
	registrations->version++;
	return true;
}

static void delete (struct registrations *registrations, size_t index)
{
	size_t last = registrations->count - 1;

	tally_find(&registrations->of_hosts, registrations->workers[index].vtep)->count--;
	tally_find(&registrations->of_vpcs, registrations->workers[index].vni)->count--;
	*link_to(registrations, index) = registrations->next[index];
	if (index != last) {
		*link_to(registrations, last) = (uint32_t)index + 1;
		registrations->workers[index] = registrations->workers[last];
		registrations->syncs[index] = registrations->syncs[last];
		registrations->next[index] = registrations->next[last];
	}
	registrations->count--;
	registrations->version++;
}

/* ---- the journal ---- */

static void record_put(struct registrations *registrations, const struct model_registered_worker *worker)
{
	char record[RECORD_SIZE_BYTES];

	snprintf(record, sizeof(record), "+ %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64, worker->vtep,
		worker->vni, worker->address, worker->epoch, worker->incarnation);
	journal_add(registrations->journal, record);
	registrations->changed = true;
}

static void record_name(struct registrations *registrations)
{
	char record[RECORD_SIZE_BYTES];

	snprintf(record, sizeof(record), "table %s %" PRIu64, registrations->name, registrations->last_incarnation);
	journal_add(registrations->journal, record);
	registrations->changed = true;
}

static bool record_read(void *context, const char *record)
{
	struct registrations *registrations = context;
	struct model_registered_worker worker = {0};
	uint64_t incarnation;
	size_t index;
	int end = 0;

	if (sscanf(record, "+ %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu64 " %" SCNu64 "%n", &worker.vtep, &worker.vni,
		    &worker.address, &worker.epoch, &worker.incarnation, &end) == 5 &&
		record[end] == '\0') {
		if (find(registrations, worker.vni, worker.address) != registrations->count ||
			registrations->count == WORKER_COUNT_MAX)
			return false;
		if (worker.incarnation > registrations->last_incarnation)
			registrations->last_incarnation = worker.incarnation;
		return insert(registrations, &worker);
	}
	if (sscanf(record, "- %" SCNu32 " %" SCNu32 "%n", &worker.vni, &worker.address, &end) == 2 &&
		record[end] == '\0') {
		index = find(registrations, worker.vni, worker.address);
		if (index == registrations->count)
			return false;
		delete (registrations, index);
		return true;
	}
	if (sscanf(record, "table %32[0-9a-f] %" SCNu64 "%n", registrations->name, &incarnation, &end) == 2 &&
		record[end] == '\0') {
		if (incarnation > registrations->last_incarnation)
			registrations->last_incarnation = incarnation;
		return true;
	}
	return false;
}

static void forget_all(struct registrations *registrations)
{
	registrations->count = 0;
	registrations->name[0] = '\0';
	memset(registrations->buckets, 0, sizeof(registrations->buckets));
	tallies_clear(&registrations->of_hosts);
	tallies_clear(&registrations->of_vpcs);
}

/* Incarnations go on from the clock, so that those of a table that was lost do not come again: it gave less than one a
 * nanosecond. */
static enum status begin_table(struct registrations *registrations)
{
	struct timespec now;
	uint64_t now_ns;
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return STATUS_SYSTEM;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(registrations->name + 2 * i, 3, "%02x", random[i]);
	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	if (registrations->last_incarnation < now_ns)
		registrations->last_incarnation = now_ns;
	record_name(registrations);
	return STATUS_OK;
}

enum status registrations_open(const char *directory, struct registrations **ret_registrations,
	struct problems *problems, struct problems *warnings)
{
	struct registrations *registrations = calloc(1, sizeof(*registrations));
	bool discard = false;
	enum status status;

	if (registrations == NULL)
		return STATUS_NO_MEMORY;
	status = journal_open(directory, journal_name, record_read, registrations, &registrations->journal, &discard,
		problems, warnings);
	if (status == STATUS_OK && discard)
		forget_all(registrations);
	if (status == STATUS_OK && registrations->name[0] == '\0') {
		status = begin_table(registrations);
		if (status == STATUS_OK)
			status = registrations_commit(registrations, problems);
	}
	if (status != STATUS_OK) {
		registrations_close(registrations);
		return status;
	}
	*ret_registrations = registrations;
	return STATUS_OK;
}

void registrations_close(struct registrations *registrations)
{
	if (registrations == NULL)
		return;
	tallies_clear(&registrations->of_hosts);
	tallies_clear(&registrations->of_vpcs);
	journal_close(registrations->journal);
	free(registrations->workers);
	free(registrations->syncs);
	free(registrations->next);
	free(registrations);
}

/* ---- changes ---- */

static void remove_at(struct registrations *registrations, size_t index)
{
	const struct model_registered_worker *worker = &registrations->workers[index];
	char record[RECORD_SIZE_BYTES];

	snprintf(record, sizeof(record), "- %" PRIu32 " %" PRIu32, worker->vni, worker->address);
	journal_add(registrations->journal, record);
	registrations->changed = true;
	delete (registrations, index);
}

enum status registrations_put(struct registrations *registrations, const struct model_registered_worker *worker,
	uint64_t sync, uint32_t *ret_owner)
{
	struct model_registered_worker added = *worker;
	size_t index = find(registrations, worker->vni, worker->address);

	if (index != registrations->count) {
		const struct model_registered_worker *there = &registrations->workers[index];

		if (there->vtep != worker->vtep) {
			*ret_owner = there->vtep;
			return STATUS_REFUSED;
		}
		if (there->epoch == worker->epoch) {
			registrations->syncs[index] = sync;
			return STATUS_OK;
		}
		remove_at(registrations, index);
	}
	if (registrations->count == WORKER_COUNT_MAX) {
		*ret_owner = 0;
		return STATUS_REFUSED;
	}
	added.incarnation = ++registrations->last_incarnation;
	if (!insert(registrations, &added))
		return STATUS_NO_MEMORY;
	registrations->syncs[registrations->count - 1] = sync;
	record_put(registrations, &added);
	return STATUS_OK;
}

void registrations_remove(struct registrations *registrations, uint32_t vtep, uint32_t vni, uint32_t address)
{
	size_t index = find(registrations, vni, address);

	if (index != registrations->count && registrations->workers[index].vtep == vtep)
		remove_at(registrations, index);
}

void registrations_sweep(struct registrations *registrations, uint32_t vtep, uint64_t sync)
{
	for (size_t i = registrations->count; i-- > 0;) {
		if (registrations->workers[i].vtep == vtep && registrations->syncs[i] != sync)
			remove_at(registrations, i);
	}
}

/* The file holds what is gone as well: written anew when that is most of it, and when an earlier commit failed. */
enum status registrations_commit(struct registrations *registrations, struct problems *problems)
{
	enum status status;

	if (!registrations->changed)
		return STATUS_OK;
	if (journal_is_behind(registrations->journal) ||
		journal_record_count(registrations->journal) > 4 * registrations->count + SUPERSEDED_MIN) {
		journal_rewrite(registrations->journal);
		record_name(registrations);
		for (size_t i = 0; i < registrations->count; i++)
			record_put(registrations, &registrations->workers[i]);
	}
	status = journal_commit(registrations->journal, problems);
	registrations->changed = status != STATUS_OK;
	return status;
}

/* ---- looking ---- */

size_t registrations_all(const struct registrations *registrations, const struct model_registered_worker **ret_workers)
{
	*ret_workers = registrations->workers;
	return registrations->count;
}

size_t registrations_count_of(const struct registrations *registrations, uint32_t vtep)
{
	return tally_count(&registrations->of_hosts, vtep);
}

size_t registrations_count_in(const struct registrations *registrations, uint32_t vni)
{
	return tally_count(&registrations->of_vpcs, vni);
}

bool registrations_holds(const struct registrations *registrations, uint32_t vtep, uint32_t vni, uint32_t address)
{
	size_t index = find(registrations, vni, address);

	return index != registrations->count && registrations->workers[index].vtep == vtep;
}

uint64_t registrations_version(const struct registrations *registrations)
{
	return registrations->version;
}

const char *registrations_name(const struct registrations *registrations)
{
	return registrations->name;
}
