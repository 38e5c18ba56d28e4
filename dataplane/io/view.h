/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in force, published to the shards by QSBR: the control thread replaces a pointer, waits until every shard has
 * finished the loop in which it may have read the old one, and only then frees the old tables.
 *
 * Proof that no shard holds an old pointer after view_replace_*(): a shard reads both pointers at the top of its loop,
 * uses them in that loop only, and reports a quiescent state at its end. A report that begins after the pointer was
 * stored therefore belongs to a shard whose next read sees the new one. A shard that has not reported yet is waited
 * for; one that is not registered (not running) holds nothing.
 *
 * Owner: the control thread writes, shards read. Limits: SHARD_COUNT_MAX readers.
 */
#ifndef POSTERN_IO_VIEW_H
#define POSTERN_IO_VIEW_H

#include <stdbool.h>

#include <rte_rcu_qsbr.h>

#include "dataplane/nat/nat.h"

struct view {
	const struct policy_tables *policy;	  /* control: wo, shards: ro */
	const struct adjacency_tables *adjacency; /* control: wo, shards: ro */
	struct rte_rcu_qsbr *qsbr;
};

/* False when out of memory. */
bool view_open(struct view *ret_view);
void view_close(struct view *view);

/* Return when no shard uses the former tables any more. */
void view_replace_policy(struct view *view, const struct policy_tables *policy);
void view_replace_adjacency(struct view *view, const struct adjacency_tables *adjacency);

/* A shard's side. Enter before the first read, leave after the last. */
static inline void view_enter(const struct view *view, unsigned shard_index)
{
	rte_rcu_qsbr_thread_register(view->qsbr, shard_index);
	rte_rcu_qsbr_thread_online(view->qsbr, shard_index);
}

static inline void view_leave(const struct view *view, unsigned shard_index)
{
	rte_rcu_qsbr_thread_offline(view->qsbr, shard_index);
	rte_rcu_qsbr_thread_unregister(view->qsbr, shard_index);
}

static inline struct nat_view view_read(const struct view *view)
{
	return (struct nat_view){
		.policy = __atomic_load_n(&view->policy, __ATOMIC_ACQUIRE),
		.adjacency = __atomic_load_n(&view->adjacency, __ATOMIC_ACQUIRE),
	};
}

static inline void view_quiescent(const struct view *view, unsigned shard_index)
{
	rte_rcu_qsbr_quiescent(view->qsbr, shard_index);
}

#endif
