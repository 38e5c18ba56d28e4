/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of the classifier (control/classifier.h), checked, and made what is wanted in its maps
 * (control/classifier_maps.h). Reads which interfaces there are, and changes nothing. For the files of the classifier
 * only. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_DESIRED_H
#define POSTERN_CONTROL_CLASSIFIER_DESIRED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/classifier.h"
#include "control/classifier_maps.h"
#include "control/status.h"

/* Adds a problem for each that the maps have no place for. */
void classifier_desired_check_workspaces(
	const struct classifier_workspace *workspaces, size_t workspace_count, struct problems *problems);

/*
 * What the caller must not ask for, before anything is touched; duplicates are found by classifier_desired_resolve().
 */
bool classifier_desired_is_valid(const struct classifier_desired *desired, struct problems *problems);

/*
 * Names → interfaces, afresh: an index may have gone to another interface since. `ret_wanted` needs
 * classifier_wanted_free().
 */
enum status classifier_desired_resolve(const struct classifier_desired *desired, struct classifier_wanted *ret_wanted,
	size_t *ret_missing, struct problems *problems);

/* The worker's entry. `vtep`: this host's own. */
struct worker_value classifier_desired_value(const struct classifier_worker *worker, uint32_t vtep);

void classifier_wanted_free(struct classifier_wanted *wanted);

#endif
