/* SPDX-License-Identifier: Apache-2.0 */
#include "control/drain.h"

#include <stdlib.h>
#include <string.h>

#include "control/arena.h"
#include "control/scalar.h"

void drains_clear(struct drains *drains)
{
	free(drains->entries);
	memset(drains, 0, sizeof(*drains));
}

/* Where the address is, or belongs. */
static size_t find_place(const struct drains *drains, uint32_t address)
{
	size_t low = 0, high = drains->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (drains->entries[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct drain *drains_find(const struct drains *drains, uint32_t address)
{
	size_t at = find_place(drains, address);

	return at < drains->count && drains->entries[at].address == address ? &drains->entries[at] : NULL;
}

static void remove_at(struct drains *drains, size_t at)
{
	drains->count--;
	memmove(&drains->entries[at], &drains->entries[at + 1], (drains->count - at) * sizeof(*drains->entries));
}

enum status drains_begin(struct drains *drains, uint32_t address, const char *workspace, uint64_t now_s,
	uint64_t deadline_s, struct drain **ret_drain)
{
	size_t at = find_place(drains, address);
	struct drain *known = drains_find(drains, address), *entries;

	if (known && strcmp(known->workspace, workspace) == 0) {
		known->deadline_s = deadline_s;
		*ret_drain = known;
		return STATUS_OK;
	}
	/* What is left of an earlier owner's drain has ended, or the new owner would not have the address. */
	if (known)
		remove_at(drains, at);
	if (drains->count == DRAIN_COUNT_MAX)
		return STATUS_REFUSED;
	entries = realloc(drains->entries, (drains->count + 1) * sizeof(*entries));
	if (!entries)
		return STATUS_NO_MEMORY;
	drains->entries = entries;
	memmove(&entries[at + 1], &entries[at], (drains->count - at) * sizeof(*entries));
	entries[at] =
		(struct drain){.address = address, .started_s = now_s, .deadline_s = deadline_s, .configured = true};
	strncpy(entries[at].workspace, workspace, ID_SIZE_BYTES - 1);
	drains->count++;
	*ret_drain = &entries[at];
	return STATUS_OK;
}

bool drains_cancel(struct drains *drains, uint32_t address)
{
	if (!drains_find(drains, address))
		return false;
	remove_at(drains, find_place(drains, address));
	return true;
}

void drain_release(struct drain *drain, uint64_t now_s)
{
	drain->cut = !drain->counted || drain->sessions > 0;
	drain->state = DRAIN_RELEASED;
	drain->released_s = now_s;
}

static bool is_quarantined(const struct drain *drain, uint64_t now_s)
{
	return drain->state == DRAIN_RELEASED && now_s < drain->released_s + DRAIN_QUARANTINE_S;
}

bool drains_step(struct drains *drains, uint64_t now_s)
{
	bool changed = false;

	for (size_t i = 0; i < drains->count;) {
		struct drain *drain = &drains->entries[i];

		if (drain->state == DRAIN_DRAINING && ((drain->counted && drain->sessions == 0) ||
							      (drain->deadline_s && now_s >= drain->deadline_s))) {
			drain_release(drain, now_s);
			changed = true;
		}
		if (!drain->configured && !is_quarantined(drain, now_s)) {
			remove_at(drains, i);
			changed = true;
		} else {
			i++;
		}
	}
	return changed;
}

/* ---- over a model ---- */

enum taken { TAKEN, TAKEN_NOT_THERE, TAKEN_NO_MEMORY };

/* The list without it, as a new one: models share the values that their files gave them (control/config_parts.h). */
static enum taken take_out(struct model *model, uint32_t **addresses, size_t *count, uint32_t address)
{
	uint32_t *left;
	size_t at = 0;

	while (at < *count && (*addresses)[at] != address)
		at++;
	if (at == *count)
		return TAKEN_NOT_THERE;
	left = arena_allocate(model->arena, (*count - 1) * sizeof(*left));
	if (!left)
		return TAKEN_NO_MEMORY;
	memcpy(left, *addresses, at * sizeof(*left));
	memcpy(left + at, *addresses + at + 1, (*count - 1 - at) * sizeof(*left));
	*addresses = left;
	--*count;
	return TAKEN;
}

/* To the draining ones. */
static bool move_out(struct model *model, struct model_workspace *workspace, uint32_t address)
{
	size_t count = workspace->draining_ip_count;
	uint32_t *draining = arena_allocate(model->arena, (count + 1) * sizeof(*draining));

	if (!draining)
		return false;
	if (count)
		memcpy(draining, workspace->draining_ips, count * sizeof(*draining));
	draining[count] = address;
	workspace->draining_ips = draining;
	workspace->draining_ip_count = count + 1;
	return true;
}

static void warn(const struct drain *drain, const char *workspace, struct problems *warnings)
{
	char address[SCALAR_SIZE_BYTES];

	scalar_format_ipv4(drain->address, address);
	if (strcmp(workspace, drain->workspace) == 0)
		problems_add(warnings,
			"%s is still in the files of workspace %s, but was drained and is out of use: remove it there, "
			"or "
			"`postern drain %s --cancel`",
			address, workspace, address);
	else
		problems_add(warnings,
			"%s was drained by workspace %s and is in quarantine: workspace %s has to wait for it", address,
			drain->workspace, workspace);
}

static bool note_released(struct model *model, uint32_t address)
{
	size_t count = model->released_ip_count;
	uint32_t *released = arena_allocate(model->arena, (count + 1) * sizeof(*released));

	if (!released)
		return false;
	if (count)
		memcpy(released, model->released_ips, count * sizeof(*released));
	released[count] = address;
	model->released_ips = released;
	model->released_ip_count = count + 1;
	return true;
}

/* The owner's address drains or is gone; another's waits for the end of the quarantine. False: no memory. */
static bool apply_one(const struct drain *drain, struct model *model, struct model_workspace *workspace, uint64_t now_s,
	struct problems *warnings)
{
	bool owner = strcmp(workspace->id, drain->workspace) == 0;
	enum taken taken;

	if (!owner && !is_quarantined(drain, now_s))
		return true;
	taken = take_out(model, &workspace->egress_ips, &workspace->egress_ip_count, drain->address);
	if (taken == TAKEN && owner && drain->state == DRAIN_DRAINING)
		return move_out(model, workspace, drain->address);
	if (taken == TAKEN_NOT_THERE && !(owner && drain->state == DRAIN_DRAINING))
		taken = take_out(model, &workspace->draining_ips, &workspace->draining_ip_count, drain->address);
	if (taken != TAKEN)
		return taken == TAKEN_NOT_THERE;
	warn(drain, workspace->id, warnings);
	return !owner || note_released(model, drain->address);
}

enum status drains_apply(const struct drains *drains, struct model *model, uint64_t now_s, struct problems *warnings)
{
	for (size_t i = 0; i < drains->count; i++) {
		for (size_t j = 0; j < model->workspace_count; j++) {
			if (!apply_one(&drains->entries[i], model, &model->workspaces[j], now_s, warnings))
				return STATUS_NO_MEMORY;
		}
	}
	return STATUS_OK;
}

void drains_note(struct drains *drains, const struct model *model)
{
	for (size_t i = 0; i < drains->count; i++) {
		struct drain *drain = &drains->entries[i];

		drain->configured = model_addresses_have(model->released_ips, model->released_ip_count, drain->address);
		for (size_t j = 0; j < model->workspace_count && !drain->configured; j++)
			drain->configured = strcmp(model->workspaces[j].id, drain->workspace) == 0 &&
					    model_addresses_have(model->workspaces[j].draining_ips,
						    model->workspaces[j].draining_ip_count, drain->address);
	}
}
