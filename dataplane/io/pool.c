/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/io/pool.h"

#include <unistd.h>

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include "dataplane/nat/packet.h"

enum {
	POOL_PRIVATE_BYTES = RTE_ALIGN_CEIL(sizeof(struct packet), RTE_CACHE_LINE_SIZE),
	/* What the kernel keeps free before a frame in an AF_XDP port's buffer (XDP_PACKET_HEADROOM), beside DPDK's own. */
	POOL_XDP_HEADROOM_BYTES = 256,
};

struct rte_mempool *pool_create(uint32_t count, uint32_t frame_bytes)
{
	const uint32_t room_bytes =
		RTE_PKTMBUF_HEADROOM + POOL_XDP_HEADROOM_BYTES + RTE_ALIGN_CEIL(frame_bytes, RTE_CACHE_LINE_SIZE);
	struct rte_pktmbuf_pool_private settings = {
		.mbuf_data_room_size = (uint16_t)room_bytes,
		.mbuf_priv_size = POOL_PRIVATE_BYTES,
	};
	const unsigned element_bytes = sizeof(struct rte_mbuf) + POOL_PRIVATE_BYTES + room_bytes;
	/* Where a device's addresses are the process's own, they are as contiguous, and no gaps are needed at pages. */
	const unsigned flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;
	struct rte_mempool *pool = rte_mempool_create_empty(
		"packets", count, element_bytes, POOL_CACHE_COUNT, sizeof(settings), SOCKET_ID_ANY, flags);

	if (pool == NULL)
		return NULL;
	if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL) != 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_pktmbuf_pool_init(pool, &settings);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

uint32_t pool_af_xdp_frame_max_bytes(const struct rte_mempool *pool)
{
	const uint32_t before_bytes = pool->header_size + (uint32_t)sizeof(struct rte_mbuf) + POOL_PRIVATE_BYTES +
				      RTE_PKTMBUF_HEADROOM + POOL_XDP_HEADROOM_BYTES;

	return (uint32_t)getpagesize() - before_bytes - pool->trailer_size;
}

struct pool_bounds {
	uintptr_t begin, end;
	bool dense;
};

static void buffer_check(struct rte_mempool *pool, void *context, void *buffer, unsigned index)
{
	struct pool_bounds *bounds = context;
	const uintptr_t begin = (uintptr_t)buffer - pool->header_size;

	(void)index;
	bounds->dense &= begin >= bounds->begin &&
			 begin + pool->header_size + pool->elt_size + pool->trailer_size <= bounds->end;
}

bool pool_is_dense(struct rte_mempool *pool)
{
	const uintptr_t begin = (uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr;
	const size_t size_bytes = (size_t)pool->header_size + pool->elt_size + pool->trailer_size;
	struct pool_bounds bounds = {begin, begin + pool->populated_size * size_bytes, pool->nb_mem_chunks == 1};

	rte_mempool_obj_iter(pool, buffer_check, &bounds);
	return bounds.dense;
}
