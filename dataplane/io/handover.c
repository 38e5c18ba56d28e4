/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/handover.h"

#include <stdio.h>

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

bool handover_open(struct handover *ret_handover, uint32_t shard_count, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	struct handover handover = {.shard_count = shard_count};

	for (uint32_t from = 0; from < shard_count; from++) {
		for (uint32_t to = 0; to < shard_count; to++) {
			char name[sizeof("handover-4294967295-4294967295")];

			if (from == to)
				continue;
			snprintf(name, sizeof(name), "handover-%u-%u", from, to);
			handover.rings[from][to] = rte_ring_create(name, HANDOVER_RING_COUNT, SOCKET_ID_ANY,
				RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
			if (handover.rings[from][to] != NULL)
				continue;
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES,
				"no memory for the rings between %u shards (%s): give the process more with -m, or "
				"fewer cores",
				shard_count, rte_strerror(rte_errno));
			handover_close(&handover);
			return false;
		}
	}
	*ret_handover = handover;
	return true;
}

void handover_close(struct handover *handover)
{
	for (uint32_t from = 0; from < handover->shard_count; from++) {
		for (uint32_t to = 0; to < handover->shard_count; to++) {
			struct rte_mbuf *mbuf;

			while (handover->rings[from][to] != NULL && handover_take(handover, from, to, &mbuf, 1) == 1)
				rte_pktmbuf_free(mbuf);
			rte_ring_free(handover->rings[from][to]);
		}
	}
	*handover = (struct handover){};
}

uint32_t handover_put(
	const struct handover *handover, uint32_t from, uint32_t to, struct rte_mbuf *const mbufs[], uint32_t count)
{
	return rte_ring_sp_enqueue_burst(handover->rings[from][to], (void *const *)mbufs, count, NULL);
}

uint32_t handover_take(
	const struct handover *handover, uint32_t from, uint32_t to, struct rte_mbuf *mbufs[], uint32_t count)
{
	return rte_ring_sc_dequeue_burst(handover->rings[from][to], (void **)mbufs, count, NULL);
}
