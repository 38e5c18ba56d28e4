/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the VPC that a worker names in a model, by hashing: a hundred thousand workers and ten thousand workspaces are
 * placed at once. Owner: whoever set it. Thread: posternd's only one. The model must outlive it.
 */
#ifndef POSTERN_CONTROL_VPC_FINDER_H
#define POSTERN_CONTROL_VPC_FINDER_H

#include "control/index.h"
#include "control/model.h"
#include "control/worker_registry.h"

/* All zero finds nothing. */
struct vpc_finder {
	const struct model *model;
	struct hash_index workspaces; /* id → index */
};

/* On no memory some workspaces are not found, and their workers stay closed. */
void vpc_finder_set(struct vpc_finder *finder, const struct model *model);
void vpc_finder_clear(struct vpc_finder *finder);

/* The VNI of the worker's VPC; 0: `ret_why` says why it has none. */
uint32_t vpc_finder_place(
	const struct vpc_finder *finder, const struct worker_spec *spec, char ret_why[WORKER_WHY_SIZE_BYTES]);

#endif
