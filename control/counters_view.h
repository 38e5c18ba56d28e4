/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dataplane's counters (contract/counters.h), mapped read-only and summed over the shards.
 *
 * Sizes and counts are checked once, when mapped, and kept here: what the other process writes later can not move a
 * read out of the mapping. After the dataplane has gone the memfd stays readable with its last values. Owner: the
 * daemon. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_COUNTERS_VIEW_H
#define POSTERN_CONTROL_COUNTERS_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "control/status.h"
#include "dataplane/contract/counters.h"

struct counters_view {
	const struct counters *counters; /* NULL: none */
	size_t size_bytes;
	uint32_t shard_count; /* checked */
};

/* Takes the descriptor, also on failure. STATUS_INVALID: not of this version, or its sizes contradict each other. */
enum status counters_view_open(int fd, struct counters_view *ret_view, struct problems *problems);
void counters_view_close(struct counters_view *view);

/* Everything but the workspaces, summed; all zero when there is no view. */
struct counters_total {
#define COUNTERS_TOTAL_FIELD(name, help) uint64_t name;
	SHARD_COUNTERS(COUNTERS_TOTAL_FIELD)
#undef COUNTERS_TOTAL_FIELD
	struct counters_port ports[PORT_COUNT];
	uint64_t missed[PORT_COUNT];
	uint64_t drops[PORT_COUNT][DROP_REASON_COUNT];
};

void counters_view_total(const struct counters_view *view, struct counters_total *ret_total);

/* False when the slot is free. `ret_id` is terminated. */
bool counters_view_name(const struct counters_view *view, uint32_t slot, char ret_id[ID_SIZE_BYTES]);
void counters_view_workspace(const struct counters_view *view, uint32_t slot, struct counters_workspace *ret_workspace);

/* The DPDK driver of a port, terminated; empty while it is not open. */
void counters_view_driver(const struct counters_view *view, unsigned port, char ret_driver[INTERFACE_NAME_SIZE_BYTES]);

#endif
