/* SPDX-License-Identifier: Apache-2.0 */
#include "control/neighbour.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t unresolved_interval_ns = 1000ull * 1000 * 1000;
static const uint64_t stale_interval_ns = 30ull * 1000 * 1000 * 1000;

void neighbours_free(struct neighbours *neighbours)
{
	free(neighbours->wanted);
	memset(neighbours, 0, sizeof(*neighbours));
}

/* The requested entry that was asked for in vain most often; NULL: all are lasting. */
static struct neighbour_wanted *neighbours_expendable(struct neighbours *neighbours)
{
	struct neighbour_wanted *expendable = NULL;

	for (size_t i = 0; i < neighbours->count; i++) {
		struct neighbour_wanted *entry = &neighbours->wanted[i];

		if (!entry->lasting && (expendable == NULL || entry->attempts > expendable->attempts))
			expendable = entry;
	}
	return expendable;
}

/* The entry, made when it is new; NULL when the list is full. For a lasting one, a requested one gives way. */
static struct neighbour_wanted *neighbours_entry(
	struct neighbours *neighbours, unsigned port, uint32_t address, bool lasting)
{
	struct neighbour_wanted *entry;

	for (size_t i = 0; i < neighbours->count; i++) {
		entry = &neighbours->wanted[i];
		if (entry->address == address && entry->port == port)
			return entry;
	}
	if (neighbours->count == NEIGHBOUR_COUNT_MAX && !lasting)
		return NULL;
	if (neighbours->wanted == NULL) {
		neighbours->wanted = calloc(NEIGHBOUR_COUNT_MAX, sizeof(*neighbours->wanted));
		if (neighbours->wanted == NULL)
			return NULL;
	}
	entry = neighbours->count < NEIGHBOUR_COUNT_MAX ? &neighbours->wanted[neighbours->count++]
							: neighbours_expendable(neighbours);
	if (entry == NULL)
		return NULL;
	memset(entry, 0, sizeof(*entry));
	entry->address = address;
	entry->port = (uint8_t)port;
	return entry;
}

void neighbours_begin(struct neighbours *neighbours)
{
	for (size_t i = 0; i < neighbours->count; i++)
		neighbours->wanted[i].seen = false;
}

void neighbours_want_lasting(struct neighbours *neighbours, unsigned port, uint32_t address)
{
	struct neighbour_wanted *entry = neighbours_entry(neighbours, port, address, true);

	if (entry != NULL) {
		entry->lasting = true;
		entry->seen = true;
	}
}

void neighbours_end(struct neighbours *neighbours)
{
	/* What no route needs any more is kept fresh like a requested one, and forgotten when it stops answering. */
	for (size_t i = 0; i < neighbours->count; i++) {
		if (!neighbours->wanted[i].seen)
			neighbours->wanted[i].lasting = false;
	}
}

void neighbours_request(struct neighbours *neighbours, unsigned port, uint32_t address)
{
	struct neighbour_wanted *entry = neighbours_entry(neighbours, port, address, false);

	if (entry != NULL)
		entry->attempts = 0;
}

/* A lasting one is asked for at least once, so that the kernel keeps it. NTF_USE would undo a permanent entry. */
static bool neighbour_is_due(const struct neighbour_wanted *wanted, const struct rib_neighbour *known, uint64_t now_ns)
{
	bool resolved = known != NULL && known->resolved;
	uint64_t interval_ns = resolved ? stale_interval_ns : unresolved_interval_ns;

	if (known != NULL && known->fixed)
		return false;
	if (wanted->asked_ns == 0)
		return !resolved || known->stale || wanted->lasting;
	return (!resolved || known->stale) && now_ns - wanted->asked_ns >= interval_ns;
}

void neighbours_tick(struct neighbours *neighbours, const struct rib_view *view, uint64_t now_ns, neighbour_ask_fn *ask,
	void *context)
{
	size_t kept = 0;

	for (size_t i = 0; i < neighbours->count; i++) {
		struct neighbour_wanted entry = neighbours->wanted[i];
		const struct rib_neighbour *known = rib_view_neighbour(view, entry.port, entry.address);
		uint32_t interface_index = view->ports[entry.port].interface_index;

		if (known != NULL && known->resolved)
			entry.attempts = 0;
		if (!entry.lasting && entry.attempts >= NEIGHBOUR_ATTEMPT_MAX)
			continue;
		if (interface_index != 0 && neighbour_is_due(&entry, known, now_ns)) {
			ask(context, interface_index, entry.address, entry.lasting);
			entry.asked_ns = now_ns;
			entry.attempts++;
		}
		neighbours->wanted[kept++] = entry;
	}
	neighbours->count = kept;
}
