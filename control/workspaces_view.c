/* SPDX-License-Identifier: Apache-2.0 */
#include "control/workspaces_view.h"

#include <stdlib.h>
#include <string.h>

#include "control/admission.h"
#include "control/daemon.h"
#include "control/state.h"

static int row_compare_id(const void *left, const void *right)
{
	const struct workspace_row *a = left, *b = right;

	return strcmp(a->id, b->id);
}

static int compare_u64_descending(uint64_t a, uint64_t b)
{
	return a > b ? -1 : a < b;
}

static int row_compare_activity(const void *left, const void *right)
{
	const struct workspace_row *a = left, *b = right;
	int order = compare_u64_descending(a->counters.sessions_active, b->counters.sessions_active);

	if (order == 0)
		order = compare_u64_descending(
			a->counters.out_packets + a->counters.in_packets + a->classifier.out_packets,
			b->counters.out_packets + b->counters.in_packets + b->classifier.out_packets);
	return order != 0 ? order : strcmp(a->id, b->id);
}

static void row_add_counters(struct workspace_row *row, const struct counters_workspace *counters)
{
	row->counted = true;
#define ROW_ADD(name, help) row->counters.name += counters->name;
	WORKSPACE_COUNTERS(ROW_ADD)
#undef ROW_ADD
}

/* Rows of the same id become one. */
static void view_merge(struct workspaces_view *view)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->count; i++) {
		struct workspace_row *row = &view->rows[i];

		if (kept > 0 && strcmp(view->rows[kept - 1].id, row->id) == 0) {
			struct workspace_row *first = &view->rows[kept - 1];

			if (row->counted)
				row_add_counters(first, &row->counters);
			if (row->model != NULL)
				first->model = row->model;
			continue;
		}
		if (kept != i)
			view->rows[kept] = *row;
		kept++;
	}
	view->count = kept;
}

static struct workspace_row *view_find(struct workspaces_view *view, const char *id)
{
	size_t low = 0, high = view->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(view->rows[middle].id, id);

		if (order == 0)
			return &view->rows[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void view_read_classifier(struct daemon *daemon, struct workspaces_view *view)
{
	const struct worker_registry *registry;

	if (daemon_worker_host(daemon) == NULL)
		return;
	registry = admission_registry(daemon->admission);
	for (size_t i = 0; i < worker_registry_count(registry); i++) {
		const struct worker *worker = worker_registry_at(registry, i);
		struct workspace_row *row = worker->active ? view_find(view, worker->spec.workspace) : NULL;

		if (row != NULL)
			row->worker_count++;
	}
	if (daemon->classifier == NULL)
		return;
	for (size_t i = 0; i < view->count; i++) {
		struct workspace_row *row = &view->rows[i];
		uint32_t index;

		if (row->worker_count > 0 && state_find_workspace_index(daemon->state, row->id, &index))
			row->classified =
				classifier_read_workspace(daemon->classifier, index, &row->classifier) == STATUS_OK;
	}
}

enum status workspaces_view_read(struct daemon *daemon, struct workspaces_view *ret_view)
{
	const struct model *model = daemon->config.desired != NULL ? daemon->config.desired->model : NULL;
	size_t capacity = WORKSPACE_COUNT_MAX + (model != NULL ? model->workspace_count : 0);
	struct workspaces_view view = {.rows = malloc(capacity * sizeof(*view.rows))};

	if (view.rows == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; model != NULL && i < model->workspace_count; i++) {
		struct workspace_row *row = &view.rows[view.count++];

		memset(row, 0, sizeof(*row));
		memcpy(row->id, model->workspaces[i].id, sizeof(row->id));
		row->model = &model->workspaces[i];
	}
	for (uint32_t slot = 0; slot < WORKSPACE_COUNT_MAX; slot++) {
		struct workspace_row *row = &view.rows[view.count];
		struct counters_workspace counters;

		memset(row, 0, sizeof(*row));
		if (!counters_view_name(&daemon->counters, slot, row->id))
			continue;
		counters_view_workspace(&daemon->counters, slot, &counters);
		row_add_counters(row, &counters);
		view.count++;
		if (view.count == capacity)
			break;
	}
	qsort(view.rows, view.count, sizeof(*view.rows), row_compare_id);
	view_merge(&view);
	view_read_classifier(daemon, &view);
	*ret_view = view;
	return STATUS_OK;
}

void workspaces_view_free(struct workspaces_view *view)
{
	free(view->rows);
	view->rows = NULL;
	view->count = 0;
}

void workspaces_view_sort_by_activity(struct workspaces_view *view)
{
	qsort(view->rows, view->count, sizeof(*view->rows), row_compare_activity);
}
