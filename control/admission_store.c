/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admission_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/journal.h"
#include "control/model.h"
#include "control/scalar.h"

enum { RECORD_SIZE_BYTES = 320 + MODEL_PATH_SIZE_BYTES, SUPERSEDED_MIN = 4096 };

static const char journal_name[] = "workers.journal";

struct admission_store {
	struct worker_registry *registry;
	struct journal *journal;
	uint32_t sequence; /* the last one given */
	size_t count;
};

/* ---- records ---- */

static void record_add(struct admission_store *store, const struct worker *worker)
{
	const struct worker_spec *spec = &worker->spec;
	char record[RECORD_SIZE_BYTES], address[SCALAR_SIZE_BYTES], mac[SCALAR_SIZE_BYTES] = "-";

	scalar_format_ipv4(spec->address, address);
	if (spec->mac_present)
		scalar_format_mac(spec->mac, mac);
	snprintf(record, sizeof(record), "+ %" PRIu32 " %s %s %s %s %s%s%s", worker->sequence, spec->interface,
		spec->workspace, spec->vpc, address, mac, spec->cgroup != NULL ? " " : "",
		spec->cgroup != NULL ? spec->cgroup : "");
	journal_add(store->journal, record);
}

static void record_sequence(struct admission_store *store)
{
	char record[RECORD_SIZE_BYTES];

	snprintf(record, sizeof(record), "sequence %" PRIu32, store->sequence);
	journal_add(store->journal, record);
}

/* Field widths are one less than the sizes of their places. */
static bool read_add(struct admission_store *store, const char *record)
{
	char interface[16], workspace[64], vpc[64], address[SCALAR_SIZE_BYTES], mac[SCALAR_SIZE_BYTES];
	struct worker_spec spec = {0};
	struct worker *worker;
	uint32_t sequence;
	int end = 0;

	if (sscanf(record, "+ %" SCNu32 " %15s %63s %63s %63s %63s%n", &sequence, interface, workspace, vpc, address,
		    mac, &end) != 6 ||
		(record[end] != '\0' && (record[end] != ' ' || record[end + 1] != '/')) ||
		scalar_check_interface(interface) != NULL || scalar_check_id(workspace) != NULL ||
		scalar_check_id(vpc) != NULL || scalar_parse_ipv4(address, &spec.address) != NULL)
		return false;
	spec.mac_present = strcmp(mac, "-") != 0;
	if (spec.mac_present && scalar_parse_mac(mac, spec.mac) != NULL)
		return false;
	if (record[end] != '\0')
		spec.cgroup = record + end + 1;
	memcpy(spec.interface, interface, strlen(interface));
	memcpy(spec.workspace, workspace, strlen(workspace));
	memcpy(spec.vpc, vpc, strlen(vpc));
	if (worker_registry_find_of(store->registry, WORKER_SOURCE_API, interface) == NULL)
		store->count++;
	if (sequence > store->sequence)
		store->sequence = sequence;
	return worker_registry_put(store->registry, WORKER_SOURCE_API, &spec, sequence, &worker) == STATUS_OK;
}

static bool record_read(void *context, const char *record)
{
	struct admission_store *store = context;
	uint32_t sequence;
	char interface[16];
	int end = 0;

	if (record[0] == '+')
		return read_add(store, record);
	if (sscanf(record, "- %15s%n", interface, &end) == 1 && record[end] == '\0') {
		store->count--;
		return worker_registry_remove(store->registry, WORKER_SOURCE_API, interface);
	}
	if (sscanf(record, "sequence %" SCNu32 "%n", &sequence, &end) == 1 && record[end] == '\0') {
		if (sequence > store->sequence)
			store->sequence = sequence;
		return true;
	}
	return false;
}

enum status admission_store_open(const char *directory, struct worker_registry *registry,
	struct admission_store **ret_store, struct problems *problems, struct problems *warnings)
{
	struct admission_store *store = calloc(1, sizeof(*store));
	bool discard = false;
	enum status status;

	if (store == NULL)
		return STATUS_NO_MEMORY;
	store->registry = registry;
	status = journal_open(
		directory, journal_name, record_read, store, &store->journal, &discard, problems, warnings);
	if (status != STATUS_OK) {
		admission_store_close(store);
		return status;
	}
	if (discard) {
		worker_registry_begin(registry, WORKER_SOURCE_API);
		worker_registry_end(registry, WORKER_SOURCE_API);
		store->count = 0;
	}
	*ret_store = store;
	return STATUS_OK;
}

void admission_store_close(struct admission_store *store)
{
	if (store == NULL)
		return;
	journal_close(store->journal);
	free(store);
}

/* ---- changes ---- */

/* Writes what was added; or everything, when most of the file is superseded or an earlier commit failed. */
static enum status store_commit(struct admission_store *store, struct problems *problems)
{
	if (!journal_is_behind(store->journal) &&
		journal_record_count(store->journal) <= 4 * store->count + SUPERSEDED_MIN)
		return journal_commit(store->journal, problems);
	journal_rewrite(store->journal);
	record_sequence(store);
	for (size_t i = 0; i < worker_registry_count(store->registry); i++) {
		const struct worker *worker = worker_registry_at(store->registry, i);

		if (worker->source == WORKER_SOURCE_API)
			record_add(store, worker);
	}
	return journal_commit(store->journal, problems);
}

enum status admission_store_add(struct admission_store *store, const struct worker_spec *spec,
	struct worker **ret_worker, struct problems *problems)
{
	struct worker *worker = worker_registry_find_of(store->registry, WORKER_SOURCE_API, spec->interface);
	enum status status;

	if (worker != NULL && worker_specs_are_equal(&worker->spec, spec)) {
		*ret_worker = worker;
		return STATUS_OK;
	}
	if (worker != NULL) {
		problems_add(
			problems, "%s: there is another worker on this interface: remove it first", spec->interface);
		return STATUS_REFUSED;
	}
	status = worker_registry_put(store->registry, WORKER_SOURCE_API, spec, store->sequence + 1, &worker);
	if (status != STATUS_OK) {
		problems_add(problems, "%s: there is no room for another worker", spec->interface);
		return status;
	}
	store->sequence++;
	store->count++;
	record_add(store, worker);
	status = store_commit(store, problems);
	if (status != STATUS_OK) {
		worker_registry_remove(store->registry, WORKER_SOURCE_API, spec->interface);
		store->count--;
		return status;
	}
	*ret_worker = worker;
	return STATUS_OK;
}

void admission_store_retry(struct admission_store *store)
{
	struct problems problems = {0};

	if (journal_is_behind(store->journal))
		(void)store_commit(store, &problems);
	problems_clear(&problems);
}

/*
 * It is closed also when that could not be written: a worker too few is the safe side, and the caller is told. Asked
 * again, the answer is whether it is written by now.
 */
enum status admission_store_remove(struct admission_store *store, const char *interface, struct problems *problems)
{
	char record[RECORD_SIZE_BYTES];

	if (!worker_registry_remove(store->registry, WORKER_SOURCE_API, interface)) {
		if (journal_is_behind(store->journal))
			return store_commit(store, problems);
		problems_add(problems, "%s: no worker of the API is on this interface", interface);
		return STATUS_UNREACHABLE;
	}
	store->count--;
	snprintf(record, sizeof(record), "- %s", interface);
	journal_add(store->journal, record);
	return store_commit(store, problems);
}
