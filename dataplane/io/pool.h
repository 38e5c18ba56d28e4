/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers of the packets of both ports, with the core's descriptor in each buffer's private area, so that it lives
 * as long as the packet: the core may keep both.
 *
 * net_af_xdp of DPDK 22.11 gives the kernel the pool as count · size bytes from its first one, and takes it for granted
 * that no buffer lies beyond. DPDK by itself lets no buffer cross a page: of normal pages one holds a single buffer, so
 * that a third of the pool lay outside. The kernel passes such a buffer over when it fills a receive ring, and it is
 * lost; when all are, the port receives nothing any more. So buffers are laid out without gaps.
 *
 * Owner: the ports (port.h). Thread: control; shards allocate and free. Limits: all memory is taken here.
 */
#ifndef POSTERN_IO_POOL_H
#define POSTERN_IO_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct rte_mempool;

enum { POOL_CACHE_COUNT = 512 }; /* of each lcore */

/* For frames of up to `frame_bytes`. NULL: no memory; rte_errno says why. Freed by rte_mempool_free(). */
struct rte_mempool *pool_create(uint32_t count, uint32_t frame_bytes);

/* The longest frame that an AF_XDP port can take into such a buffer, which the kernel wants within a page. */
uint32_t pool_af_xdp_frame_max_bytes(const struct rte_mempool *pool);

/* Do all buffers lie in count · size bytes of one piece, as the AF_XDP driver takes for granted? */
bool pool_is_dense(struct rte_mempool *pool);

#endif
