/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the classifier does for a whole workspace: its gateway, the limits of each worker, DSCP, egress rules. The map
 * is mapped into memory, and each value stored at once, so that programs see the old or the new one. Rules change by
 * filling a set beside the one in force, and then switching. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_POLICY_H
#define POSTERN_CONTROL_CLASSIFIER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"

struct classifier_workspace;

struct classifier_policy {
	struct workspace_value *values; /* BPF_WORKSPACE_COUNT_MAX of them; NULL: not open */
	int rules_fd;			/* the caller's */
	uint64_t rules_seed;		/* tells this map of rules from any other */
	bool checked;			/* what an earlier posternd left in `rules` was purged */
};

enum status classifier_policy_open(
	int workspaces_fd, int rules_fd, struct classifier_policy *ret_policy, struct problems *problems);
void classifier_policy_close(struct classifier_policy *policy);

/*
 * Level-triggered. Workspaces that are not among these are cleared: they must have no worker any more. Rules that do
 * not fit into the map are a warning, and left to the gateway.
 */
enum status classifier_policy_apply(struct classifier_policy *policy, const struct classifier_workspace *workspaces,
	size_t workspace_count, struct problems *problems);

/* One of them, the others are left alone. */
enum status classifier_policy_set(
	struct classifier_policy *policy, const struct classifier_workspace *workspace, struct problems *problems);

#endif
