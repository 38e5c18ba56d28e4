/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/view.h"

#include <stdlib.h>
#include <time.h>

enum { GRACE_POLL_NS = 20000 };

bool view_open(struct view *ret_view)
{
	size_t size_bytes = rte_rcu_qsbr_get_memsize(SHARD_COUNT_MAX);
	struct rte_rcu_qsbr *qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size_bytes, RTE_CACHE_LINE_SIZE));

	if (qsbr == NULL)
		return false;
	if (rte_rcu_qsbr_init(qsbr, SHARD_COUNT_MAX) != 0) {
		free(qsbr);
		return false;
	}
	*ret_view = (struct view){.qsbr = qsbr};
	return true;
}

void view_close(struct view *view)
{
	free(view->qsbr);
	*view = (struct view){};
}

/* Sleeps between the looks, since the control thread may share its CPU with the shard that it waits for. */
static void view_wait_for_grace(const struct view *view)
{
	const struct timespec pause = {.tv_nsec = GRACE_POLL_NS};
	uint64_t token = rte_rcu_qsbr_start(view->qsbr);

	while (rte_rcu_qsbr_check(view->qsbr, token, false) != 1)
		nanosleep(&pause, NULL);
}

void view_replace_policy(struct view *view, const struct policy_tables *policy)
{
	__atomic_store_n(&view->policy, policy, __ATOMIC_RELEASE);
	view_wait_for_grace(view);
}

void view_replace_adjacency(struct view *view, const struct adjacency_tables *adjacency)
{
	__atomic_store_n(&view->adjacency, adjacency, __ATOMIC_RELEASE);
	view_wait_for_grace(view);
}
