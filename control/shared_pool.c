/* SPDX-License-Identifier: Apache-2.0 */
#include "control/shared_pool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "control/index.h"
#include "control/scalar.h"

enum { BLOCK_COUNT = SHARED_POOL_PORT_COUNT / POLICY_PORT_BLOCK };

/* ---- tables ---- */

void shared_pool_clear(struct shared_pool_table *table)
{
	free(table->ranges);
	memset(table, 0, sizeof(*table));
}

enum status shared_pool_copy(const struct shared_pool_table *from, struct shared_pool_table *ret_table)
{
	struct shared_pool_table copy = {.count = from->count, .capacity = from->count};

	if (from->count) {
		copy.ranges = malloc(from->count * sizeof(*copy.ranges));
		if (!copy.ranges)
			return STATUS_NO_MEMORY;
		memcpy(copy.ranges, from->ranges, from->count * sizeof(*copy.ranges));
	}
	*ret_table = copy;
	return STATUS_OK;
}

enum status shared_pool_add(struct shared_pool_table *table, const struct shared_pool_range *range)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 64;
		struct shared_pool_range *ranges = realloc(table->ranges, capacity * sizeof(*ranges));

		if (!ranges)
			return STATUS_NO_MEMORY;
		table->ranges = ranges;
		table->capacity = capacity;
	}
	table->ranges[table->count++] = *range;
	return STATUS_OK;
}

static int compare_places(const struct shared_pool_range *a, const struct shared_pool_range *b)
{
	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return (int)a->port_first - (int)b->port_first;
}

static int compare_ranges(const void *left, const void *right)
{
	const struct shared_pool_range *a = left, *b = right;
	int order = strcmp(a->workspace, b->workspace);

	if (order == 0)
		order = (int)a->state - (int)b->state;
	return order ? order : compare_places(a, b);
}

void shared_pool_sort(struct shared_pool_table *table)
{
	if (table->count)
		qsort(table->ranges, table->count, sizeof(*table->ranges), compare_ranges);
}

static bool is_same_range(const struct shared_pool_range *a, const struct shared_pool_range *b)
{
	return strcmp(a->workspace, b->workspace) == 0 && a->address == b->address && a->port_first == b->port_first &&
	       a->port_count == b->port_count;
}

static int compare_pointed_places(const void *left, const void *right)
{
	const struct shared_pool_range *const *a = left, *const *b = right;

	return compare_places(*a, *b);
}

static bool ranges_are_disjoint(const struct shared_pool_table *table)
{
	const struct shared_pool_range **sorted;
	bool disjoint = true;

	if (table->count == 0)
		return true;
	sorted = calloc(table->count, sizeof(struct shared_pool_range *));
	if (!sorted)
		return false;
	for (size_t i = 0; i < table->count; i++)
		sorted[i] = &table->ranges[i];
	qsort(sorted, table->count, sizeof(struct shared_pool_range *), compare_pointed_places);
	for (size_t i = 1; i < table->count && disjoint; i++)
		disjoint = sorted[i]->address != sorted[i - 1]->address ||
			   sorted[i]->port_first >= sorted[i - 1]->port_first + sorted[i - 1]->port_count;
	free(sorted);
	return disjoint;
}

bool shared_pool_is_valid(const struct shared_pool_table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct shared_pool_range *range = &table->ranges[i];

		if (!memchr(range->workspace, '\0', sizeof(range->workspace)) || scalar_check_id(range->workspace) ||
			range->address == 0 || range->state >= SHARED_POOL_STATE_COUNT)
			return false;
		if (range->port_first < SHARED_POOL_PORT_FIRST || range->port_first % POLICY_PORT_BLOCK != 0 ||
			range->port_count == 0 || range->port_count % POLICY_PORT_BLOCK != 0 ||
			range->port_first + range->port_count > 65536)
			return false;
		if (i > 0 && range->state == SHARED_POOL_ACTIVE && range[-1].state == SHARED_POOL_ACTIVE &&
			strcmp(range->workspace, range[-1].workspace) == 0)
			return false;
	}
	return ranges_are_disjoint(table);
}

size_t shared_pool_find(
	const struct shared_pool_table *table, const char *workspace, const struct shared_pool_range **ret_first)
{
	size_t low = 0, high = table->count, end;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(table->ranges[middle].workspace, workspace) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < table->count && strcmp(table->ranges[end].workspace, workspace) == 0;)
		end++;
	*ret_first = end > low ? &table->ranges[low] : NULL;
	return end - low;
}

bool shared_pool_has(const struct shared_pool_table *table, const struct shared_pool_range *range)
{
	const struct shared_pool_range *found;
	size_t count = shared_pool_find(table, range->workspace, &found);

	for (size_t i = 0; i < count; i++) {
		if (is_same_range(&found[i], range) && found[i].state == range->state)
			return true;
	}
	return false;
}

void shared_pool_hold(struct shared_pool_table *table, const struct shared_pool_table *in_force, uint64_t now_s)
{
	for (size_t i = 0; i < table->count; i++) {
		struct shared_pool_range *range = &table->ranges[i];
		const struct shared_pool_range *used;
		size_t used_count;

		if (range->state == SHARED_POOL_ACTIVE)
			continue;
		used_count = shared_pool_find(in_force, range->workspace, &used);
		for (size_t j = 0; j < used_count; j++) {
			if (is_same_range(&used[j], range) && used[j].state < range->state)
				range->since_s = now_s;
		}
	}
}

static bool is_older(const struct shared_pool_range *range, uint64_t now_s, uint64_t duration_s)
{
	return range->since_s <= now_s && now_s - range->since_s >= duration_s;
}

bool shared_pool_is_due(const struct shared_pool_table *table, const struct model *model, uint64_t now_s)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->ranges[i].state == SHARED_POOL_DRAINING &&
			is_older(&table->ranges[i], now_s, model->shared_pool_linger_s))
			return true;
	}
	return false;
}

/* ---- assignment ---- */

struct pool_address {
	uint32_t address;
	bool used[BLOCK_COUNT];
};

struct assigner {
	struct shared_pool_table table; /* ranges that were there before come first, sorted */
	size_t old_count;
	const struct model *model;
	uint64_t now_s;
	struct hash_index workspaces; /* id → index in the model */
	struct hash_index indexes;    /* address → index in `addresses` */
	struct pool_address *addresses;
	size_t cursor;	  /* no address before it has room for a range of the wanted size */
	size_t *currents; /* per workspace of the model: its range in `table`; SIZE_MAX: none yet */
};

static void set_state(struct assigner *assigner, struct shared_pool_range *range, enum shared_pool_state state)
{
	range->state = state;
	range->since_s = assigner->now_s;
}

static struct pool_address *find_address(const struct assigner *assigner, uint32_t address)
{
	uint64_t index;

	return index_find(&assigner->indexes, &address, sizeof(address), &index) ? &assigner->addresses[index] : NULL;
}

/* NULL: the workspace has gone. */
static const struct model_workspace *find_workspace(
	const struct assigner *assigner, const struct shared_pool_range *range, size_t *ret_index)
{
	uint64_t index;

	if (!index_find(&assigner->workspaces, range->workspace, strlen(range->workspace), &index))
		return NULL;
	*ret_index = index;
	return &assigner->model->workspaces[index];
}

static void mark_used(struct pool_address *address, const struct shared_pool_range *range)
{
	size_t first = (size_t)(range->port_first - SHARED_POOL_PORT_FIRST) / POLICY_PORT_BLOCK;

	for (size_t i = 0; i < range->port_count / POLICY_PORT_BLOCK; i++)
		address->used[first + i] = true;
}

/* Moves a range along its life; false: it is free. */
static bool settle_range(struct assigner *assigner, struct shared_pool_range *range)
{
	size_t index;
	const struct model_workspace *workspace = find_workspace(assigner, range, &index);
	bool gone = !workspace || !find_address(assigner, range->address);

	if (range->since_s > assigner->now_s)
		range->since_s = assigner->now_s;
	if (range->state == SHARED_POOL_QUARANTINE)
		return !is_older(range, assigner->now_s, SHARED_POOL_QUARANTINE_S);
	if (gone) {
		set_state(assigner, range, SHARED_POOL_QUARANTINE);
		return true;
	}
	if (range->state == SHARED_POOL_ACTIVE && !workspace->egress_shared)
		set_state(assigner, range, SHARED_POOL_DRAINING);
	if (range->state == SHARED_POOL_DRAINING &&
		is_older(range, assigner->now_s, assigner->model->shared_pool_linger_s))
		set_state(assigner, range, SHARED_POOL_QUARANTINE);
	return true;
}

static void settle_ranges(struct assigner *assigner)
{
	struct shared_pool_table *table = &assigner->table;
	size_t kept = 0;

	for (size_t i = 0; i < table->count; i++) {
		struct shared_pool_range range = table->ranges[i];
		struct pool_address *address = find_address(assigner, range.address);

		if (!settle_range(assigner, &range))
			continue;
		if (address)
			mark_used(address, &range);
		table->ranges[kept++] = range;
	}
	table->count = kept;
	shared_pool_sort(table);
	assigner->old_count = kept;
}

/* Which of the ranges that a workspace has or had will do. */
enum reclaim { RECLAIM_FITTING, RECLAIM_ACTIVE, RECLAIM_ANY };

/* Lower is better; SIZE_MAX: not to be had. */
static size_t reclaim_rank(const struct assigner *assigner, const struct shared_pool_range *range, enum reclaim which)
{
	bool fits = range->port_count == assigner->model->shared_pool_ports;

	if (range->state == SHARED_POOL_ACTIVE)
		return fits || which != RECLAIM_FITTING ? 0 : SIZE_MAX;
	if ((!fits && which != RECLAIM_ANY) || !find_address(assigner, range->address))
		return SIZE_MAX;
	return range->state;
}

/* The best of them becomes the active one; false: there is none. */
static bool reclaim_range(struct assigner *assigner, size_t workspace_index, enum reclaim which)
{
	const struct shared_pool_table old = {.ranges = assigner->table.ranges, .count = assigner->old_count};
	const struct shared_pool_range *found;
	size_t count = shared_pool_find(&old, assigner->model->workspaces[workspace_index].id, &found);
	struct shared_pool_range *ranges, *best = NULL;
	size_t best_rank = SIZE_MAX;

	if (count == 0)
		return false;
	ranges = &assigner->table.ranges[found - old.ranges];
	for (size_t i = 0; i < count; i++) {
		size_t rank = reclaim_rank(assigner, &ranges[i], which);

		if (rank < best_rank) {
			best = &ranges[i];
			best_rank = rank;
		}
	}
	if (!best)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (&ranges[i] != best && ranges[i].state == SHARED_POOL_ACTIVE)
			set_state(assigner, &ranges[i], SHARED_POOL_DRAINING);
	}
	if (best->state != SHARED_POOL_ACTIVE)
		set_state(assigner, best, SHARED_POOL_ACTIVE);
	assigner->currents[workspace_index] = (size_t)(best - assigner->table.ranges);
	return true;
}

static bool find_room(const struct pool_address *address, size_t block_count, size_t *ret_first)
{
	size_t free_count = 0;

	for (size_t i = 0; i < BLOCK_COUNT; i++) {
		free_count = address->used[i] ? 0 : free_count + 1;
		if (free_count == block_count) {
			*ret_first = i + 1 - block_count;
			return true;
		}
	}
	return false;
}

static enum status take_range(
	struct assigner *assigner, size_t workspace_index, struct pool_address *address, size_t first_block)
{
	struct shared_pool_range range = {
		.address = address->address,
		.port_first = (uint16_t)(SHARED_POOL_PORT_FIRST + first_block * POLICY_PORT_BLOCK),
		.port_count = (uint16_t)assigner->model->shared_pool_ports,
		.state = SHARED_POOL_ACTIVE,
		.since_s = assigner->now_s,
	};
	enum status status;

	memcpy(range.workspace, assigner->model->workspaces[workspace_index].id, sizeof(range.workspace));
	status = shared_pool_add(&assigner->table, &range);
	if (status != STATUS_OK)
		return status;
	mark_used(address, &range);
	assigner->currents[workspace_index] = assigner->table.count - 1;
	return STATUS_OK;
}

/* The first room there is; STATUS_REFUSED: there is none. */
static enum status place_range(struct assigner *assigner, size_t workspace_index)
{
	size_t block_count = assigner->model->shared_pool_ports / POLICY_PORT_BLOCK, first;

	for (; assigner->cursor < assigner->model->shared_pool_ip_count; assigner->cursor++) {
		struct pool_address *address = &assigner->addresses[assigner->cursor];

		if (find_room(address, block_count, &first))
			return take_range(assigner, workspace_index, address, first);
	}
	return STATUS_REFUSED;
}

static void add_full(
	const struct assigner *assigner, size_t wanting_count, size_t placed_count, struct problems *problems)
{
	char linger[SCALAR_SIZE_BYTES];
	size_t held_count = 0;

	for (size_t i = 0; i < assigner->old_count; i++)
		held_count += assigner->table.ranges[i].state != SHARED_POOL_ACTIVE;
	scalar_format_duration(assigner->model->shared_pool_linger_s, linger);
	problems_add(problems,
		"%s: shared_pool: the shared pool is full: %zu workspaces want %" PRIu32
		" ports each, room for %zu (%zu ranges of earlier owners are held, for %s and 5 minutes at most): add "
		"IPs, or lower ports_per_workspace",
		assigner->model->file, wanting_count, assigner->model->shared_pool_ports, placed_count, held_count,
		linger);
}

/* Old ranges first, then new ones, so that nobody who has one loses it to somebody who comes. */
static enum status assign_ranges(struct assigner *assigner, struct problems *problems)
{
	const struct model *model = assigner->model;
	size_t wanting_count = 0, placed_count = 0;

	for (size_t i = 0; i < model->workspace_count; i++) {
		assigner->currents[i] = SIZE_MAX;
		if (!model->workspaces[i].egress_shared)
			continue;
		wanting_count++;
		placed_count +=
			reclaim_range(assigner, i, RECLAIM_FITTING) || reclaim_range(assigner, i, RECLAIM_ACTIVE);
	}
	for (size_t i = 0; i < model->workspace_count; i++) {
		enum status status;

		if (!model->workspaces[i].egress_shared || assigner->currents[i] != SIZE_MAX)
			continue;
		status = place_range(assigner, i);
		if (status == STATUS_NO_MEMORY)
			return status;
		placed_count += status == STATUS_OK || reclaim_range(assigner, i, RECLAIM_ANY);
	}
	if (placed_count == wanting_count)
		return STATUS_OK;
	add_full(assigner, wanting_count, placed_count, problems);
	return STATUS_INVALID;
}

/* Last, with what room is left. */
static enum status resize_ranges(struct assigner *assigner, struct problems *warnings)
{
	const struct model *model = assigner->model;

	for (size_t i = 0; i < model->workspace_count; i++) {
		size_t old = assigner->currents[i];
		enum status status;

		if (old == SIZE_MAX || assigner->table.ranges[old].port_count == model->shared_pool_ports)
			continue;
		status = place_range(assigner, i);
		if (status == STATUS_NO_MEMORY)
			return status;
		if (status == STATUS_OK)
			set_state(assigner, &assigner->table.ranges[old], SHARED_POOL_DRAINING);
		else
			problems_add(warnings,
				"%s: shared_pool: workspace %s keeps its %u ports: there is no room for %" PRIu32
				" in the pool",
				model->file, model->workspaces[i].id, assigner->table.ranges[old].port_count,
				model->shared_pool_ports);
	}
	return STATUS_OK;
}

static enum status assigner_open(struct assigner *assigner, const struct shared_pool_table *table)
{
	const struct model *model = assigner->model;

	assigner->addresses = calloc(model->shared_pool_ip_count + 1, sizeof(*assigner->addresses));
	assigner->currents = calloc(model->workspace_count + 1, sizeof(*assigner->currents));
	if (!assigner->addresses || !assigner->currents)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < model->shared_pool_ip_count; i++) {
		assigner->addresses[i].address = model->shared_pool_ips[i];
		if (index_add(&assigner->indexes, &model->shared_pool_ips[i], sizeof(uint32_t), i, NULL) ==
			INDEX_NO_MEMORY)
			return STATUS_NO_MEMORY;
	}
	for (size_t i = 0; i < model->workspace_count; i++) {
		if (index_add(&assigner->workspaces, model->workspaces[i].id, strlen(model->workspaces[i].id), i,
			    NULL) == INDEX_NO_MEMORY)
			return STATUS_NO_MEMORY;
	}
	return shared_pool_copy(table, &assigner->table);
}

static bool is_wanted(const struct model *model)
{
	for (size_t i = 0; i < model->workspace_count; i++) {
		if (model->workspaces[i].egress_shared)
			return true;
	}
	return false;
}

enum status shared_pool_assign(struct shared_pool_table *table, const struct model *model, uint64_t now_s,
	struct problems *problems, struct problems *warnings)
{
	struct assigner assigner = {.model = model, .now_s = now_s};
	enum status status;

	if (table->count == 0 && !is_wanted(model))
		return STATUS_OK;
	status = assigner_open(&assigner, table);
	if (status == STATUS_OK) {
		settle_ranges(&assigner);
		status = assign_ranges(&assigner, problems);
	}
	if (status == STATUS_OK)
		status = resize_ranges(&assigner, warnings);
	index_clear(&assigner.workspaces);
	index_clear(&assigner.indexes);
	free(assigner.addresses);
	free(assigner.currents);
	if (status != STATUS_OK) {
		shared_pool_clear(&assigner.table);
		return status;
	}
	shared_pool_sort(&assigner.table);
	shared_pool_clear(table);
	*table = assigner.table;
	return STATUS_OK;
}
