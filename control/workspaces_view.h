/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of each workspace, in one row: the dataplane's counters, the classifier's, and the configuration.
 * Sorted by id; one row per id, also while an old owner of the id lives out beside the new one. Thread: posternd's only
 * one.
 */
#ifndef POSTERN_CONTROL_WORKSPACES_VIEW_H
#define POSTERN_CONTROL_WORKSPACES_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "bpf/maps.h"
#include "control/status.h"
#include "dataplane/contract/counters.h"

struct daemon;
struct model_workspace;

struct workspace_row {
	char id[ID_SIZE_BYTES];
	bool counted; /* the dataplane has a slot for it */
	struct counters_workspace counters;
	const struct model_workspace *model; /* NULL: not in the configuration (any more) */
	size_t worker_count;		     /* on this host */
	bool classified;		     /* `classifier` was read */
	struct workspace_traffic classifier;
};

struct workspaces_view {
	struct workspace_row *rows;
	size_t count;
};

/* STATUS_NO_MEMORY, or OK. */
enum status workspaces_view_read(struct daemon *daemon, struct workspaces_view *ret_view);
void workspaces_view_free(struct workspaces_view *view);

/* Most active first: sessions, then packets, then id. */
void workspaces_view_sort_by_activity(struct workspaces_view *view);

#endif
