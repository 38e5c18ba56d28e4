/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets' buffers, of normal pages, as the AF_XDP driver sees them: count · size bytes from the first one. And the
 * rings between shards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "dataplane/io/burst.h"
#include "dataplane/io/handover.h"
#include "dataplane/io/pool.h"

enum { COUNT = 2048, MORE = 66, FRAME_BYTES = 1792, JUMBO_FRAME_BYTES = 9216 };

struct seen {
	uintptr_t registered_end;
	uint32_t count, beyond;
};

static void see(struct rte_mempool *pool, void *context, void *buffer, unsigned index)
{
	struct seen *seen = context;
	const uintptr_t begin = (uintptr_t)buffer - pool->header_size;

	(void)index;
	seen->count++;
	seen->beyond += begin + rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL) > seen->registered_end;
}

static struct seen look(struct rte_mempool *pool)
{
	struct seen seen = {.registered_end = (uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr};

	seen.registered_end += pool->populated_size * rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL);
	rte_mempool_obj_iter(pool, see, &seen);
	return seen;
}

static void no_buffer_lies_beyond_what_the_af_xdp_driver_registers(void **state)
{
	struct rte_mempool *pool = pool_create(COUNT, FRAME_BYTES);
	struct seen seen;

	(void)state;
	assert_non_null(pool);
	seen = look(pool);
	assert_int_equal(seen.count, COUNT);
	assert_int_equal(seen.beyond, 0);
	assert_true(pool_is_dense(pool));
	rte_mempool_free(pool);
}

static void a_pool_with_a_buffer_to_a_page_is_not_taken_for_dense(void **state)
{
	struct rte_mempool *pool = rte_pktmbuf_pool_create(
		"gaps", COUNT, 0, sizeof(struct packet), RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);

	(void)state;
	assert_non_null(pool);
	assert_true(look(pool).beyond > 0);
	assert_false(pool_is_dense(pool));
	rte_mempool_free(pool);
}

static void every_buffer_has_room_for_a_descriptor_a_tunnel_and_a_frame(void **state)
{
	struct rte_mempool *pool = pool_create(COUNT, JUMBO_FRAME_BYTES);
	struct rte_mbuf *mbufs[COUNT];

	(void)state;
	assert_non_null(pool);
	assert_true(rte_pktmbuf_data_room_size(pool) >= RTE_PKTMBUF_HEADROOM + JUMBO_FRAME_BYTES);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, mbufs, COUNT), 0);
	assert_null(rte_pktmbuf_alloc(pool));
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_int_equal(rte_pktmbuf_priv_size(pool) % RTE_CACHE_LINE_SIZE, 0);
		assert_true(rte_pktmbuf_priv_size(pool) >= sizeof(struct packet));
		assert_ptr_equal(burst_mbuf(burst_packet(mbufs[i])), mbufs[i]);
		assert_true(rte_pktmbuf_headroom(mbufs[i]) >= PACKET_HEADROOM_MIN_BYTES);
		assert_true(rte_pktmbuf_tailroom(mbufs[i]) >= JUMBO_FRAME_BYTES);
	}
	rte_pktmbuf_free_bulk(mbufs, COUNT);
	rte_mempool_free(pool);
}

static void a_full_ring_takes_no_more_and_keeps_the_order(void **state)
{
	struct rte_mempool *pool = pool_create(COUNT, FRAME_BYTES);
	struct rte_mbuf *mbufs[HANDOVER_RING_COUNT + MORE], *taken[HANDOVER_RING_COUNT + MORE];
	struct handover handover;
	char text[NAT_TEXT_SIZE_BYTES];

	(void)state;
	assert_non_null(pool);
	assert_true(handover_open(&handover, 2, text));
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, mbufs, HANDOVER_RING_COUNT + MORE), 0);
	assert_int_equal(handover_put(&handover, 0, 1, mbufs, HANDOVER_RING_COUNT + MORE), HANDOVER_RING_COUNT);
	assert_int_equal(handover_put(&handover, 0, 1, &mbufs[HANDOVER_RING_COUNT], MORE), 0);
	assert_int_equal(handover_take(&handover, 1, 0, taken, 1), 0);
	assert_int_equal(handover_take(&handover, 0, 1, taken, MORE), MORE);
	assert_memory_equal(taken, mbufs, MORE * sizeof(mbufs[0]));
	assert_int_equal(handover_put(&handover, 0, 1, &mbufs[HANDOVER_RING_COUNT], MORE), MORE);
	rte_pktmbuf_free_bulk(taken, MORE);
	/* What is still in it is freed with it. */
	handover_close(&handover);
	assert_int_equal(rte_mempool_avail_count(pool), COUNT);
	rte_mempool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_buffer_lies_beyond_what_the_af_xdp_driver_registers),
		cmocka_unit_test(a_pool_with_a_buffer_to_a_page_is_not_taken_for_dense),
		cmocka_unit_test(every_buffer_has_room_for_a_descriptor_a_tunnel_and_a_frame),
		cmocka_unit_test(a_full_ring_takes_no_more_and_keeps_the_order),
	};
	char program[] = "io_test", no_huge[] = "--no-huge", memory[] = "-m", size[] = "64", no_pci[] = "--no-pci",
	     no_telemetry[] = "--no-telemetry", no_shconf[] = "--no-shconf", iova[] = "--iova-mode=va",
	     level[] = "--log-level=error";
	char *arguments[] = {program, no_huge, memory, size, no_pci, no_telemetry, no_shconf, iova, level};

	if (rte_eal_init(sizeof(arguments) / sizeof(arguments[0]), arguments) < 0)
		return EXIT_FAILURE;
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
