/* SPDX-License-Identifier: Apache-2.0 */
/* Typed access to the tables of a checked policy snapshot. Control thread. */
#ifndef POSTERN_NAT_SNAPSHOT_H
#define POSTERN_NAT_SNAPSHOT_H

#include "dataplane/contract/policy.h"

static inline const void *snapshot_table(const struct policy_snapshot *snapshot, enum policy_table_id id)
{
	return (const uint8_t *)snapshot + snapshot->tables[id].offset_bytes;
}

static inline uint32_t snapshot_count(const struct policy_snapshot *snapshot, enum policy_table_id id)
{
	return snapshot->tables[id].count;
}

#endif
