/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/lane.h"

#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mempool.h>

#include "dataplane/io/burst.h"
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/checksum.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/stages.h"

enum {
	POOL_COUNT = 16384, /* as for a queue of a port in production */
	POOL_CACHE_COUNT = 512,
	POOL_HEAP_BYTES = 64 << 20,
	TIMER_TRIES = 1000,
};

/* ---- the pipelines ---- */

typedef void (*lane_process)(
	struct lane *lane, const struct nat_view *view, struct packet *packets[], uint32_t count, uint64_t now_ns);

static void process_nat(
	struct lane *lane, const struct nat_view *view, struct packet *packets[], uint32_t count, uint64_t now_ns)
{
	nat_process(lane->gateway->shard, view, packets, count, now_ns);
}

/* What nat_process() does before its first stage. */
static void receive_batch(struct lane *lane, const struct nat_view *view, struct batch *ret_batch,
	struct packet *packets[], uint32_t count, uint64_t now_ns)
{
	struct nat_shard *shard = lane->gateway->shard;
	uint64_t bytes = 0;

	batch_begin(shard, view, ret_batch, count, now_ns);
	for (uint32_t i = 0; i < count; i++) {
		struct packet *packet = packets[i];

		bytes += packet->length_bytes;
		packet->workspace_slot = WORKSPACE_NONE;
		ret_batch->live[i] = packet;
	}
	shard->counters->ports[lane->frames->in_port].rx_packets += count;
	shard->counters->ports[lane->frames->in_port].rx_bytes += bytes;
}

static void process_rte_hash(
	struct lane *lane, const struct nat_view *view, struct packet *packets[], uint32_t count, uint64_t now_ns)
{
	struct nat_shard *shard = lane->gateway->shard;
	struct batch batch;

	receive_batch(lane, view, &batch, packets, count, now_ns);
	parse_batch(shard, &batch);
	classify_batch(shard, &batch);
	fragment_batch(shard, &batch);
	rival_find_batch(lane->rival, shard, &batch);
	translate_batch(shard, &batch);
	rewrite_batch(shard, &batch);
	guard_batch(shard, &batch);
	emit_batch(shard, &batch);
}

/* A router's work, by the stages that the NAT uses too. */
static void process_forward(
	struct lane *lane, const struct nat_view *view, struct packet *packets[], uint32_t count, uint64_t now_ns)
{
	struct nat_shard *shard = lane->gateway->shard;
	struct batch batch;
	const bool outbound = count > 0 && packets[0]->in_port == PORT_INSIDE;
	const unsigned out_port = outbound ? PORT_OUTSIDE : PORT_INSIDE;
	const bool tunnel = !outbound && view->policy->encapsulation == POLICY_ENCAPSULATION_VXLAN;
	const uint32_t vtep = ADDRESS(10, 100, 0, 2);

	receive_batch(lane, view, &batch, packets, count, now_ns);
	parse_batch(shard, &batch);
	for (uint32_t i = 0; i < batch.count; i++) {
		struct packet *packet = batch.live[i];
		uint8_t *ip = packet->data + packet->ip_offset;
		const uint16_t ttl_word = load_be16(ip + IPV4_TTL_OFFSET);
		/* Inside nobody but the worker host is routed to; a router would not see egress IPs either. */
		const uint32_t towards = outbound ? packet->destination : tunnel ? vtep : gateway_worker_address(i);
		const enum drop_reason reason =
			ttl_word >> 8 <= 1 ? DROP_TTL_EXPIRED : route_find(shard, &batch, packet, out_port, towards);

		if (UNLIKELY(reason != DROP_NONE)) {
			shard_drop(shard, packet, reason);
			continue;
		}
		if (UNLIKELY(packet->ip_length_bytes > route_mtu_bytes(&batch, packet, out_port))) {
			shard_drop(shard, packet, DROP_TOO_BIG);
			continue;
		}
		store_be16(ip + IPV4_TTL_OFFSET, (uint16_t)(ttl_word - 0x100));
		checksum_update(ip + IPV4_CHECKSUM_OFFSET, checksum_delta16(ttl_word, (uint16_t)(ttl_word - 0x100)));
	}
	batch_compact(shard, &batch);
	for (uint32_t i = 0; i < batch.count; i++) {
		if (outbound)
			emit_outside(&batch, batch.live[i]);
		else
			emit_inside(&batch, batch.live[i], gateway_vni(0), vtep);
	}
}

static uint64_t stage_end(struct lane *lane, enum lane_stage stage, uint64_t begin_cycles)
{
	const uint64_t now_cycles = rte_rdtsc();
	const uint64_t cycles = now_cycles - begin_cycles;

	lane->stage_cycles[stage] += cycles > lane->timer_cycles ? cycles - lane->timer_cycles : 0;
	return now_cycles;
}

static void process_stages(
	struct lane *lane, const struct nat_view *view, struct packet *packets[], uint32_t count, uint64_t now_ns)
{
	struct nat_shard *shard = lane->gateway->shard;
	struct batch batch;
	uint64_t cycles;

	receive_batch(lane, view, &batch, packets, count, now_ns);
	cycles = rte_rdtsc();
	parse_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_parse, cycles);
	classify_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_classify, cycles);
	fragment_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_fragment, cycles);
	find_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_find, cycles);
	translate_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_translate, cycles);
	rewrite_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_rewrite, cycles);
	guard_batch(shard, &batch);
	cycles = stage_end(lane, LANE_STAGE_guard, cycles);
	emit_batch(shard, &batch);
	stage_end(lane, LANE_STAGE_emit, cycles);
}

/* ---- around them ---- */

static inline void source_fill(struct lane *lane, struct rte_mbuf *mbufs[FORWARD_BURST])
{
	CHECK(rte_pktmbuf_alloc_bulk(lane->pool, mbufs, FORWARD_BURST) == 0);
	for (unsigned i = 0; i < FORWARD_BURST; i++)
		frames_write(lane->frames, frames_next(lane->frames), mbufs[i]);
}

static inline void sink_take(struct lane *lane, struct rte_mbuf *mbufs[], uint32_t count)
{
	if (lane->descriptor_count == 0) {
		rte_pktmbuf_free_bulk(mbufs, count);
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct rte_mbuf **place = &lane->descriptors[lane->descriptor_at];

		lane->descriptor_at = lane->descriptor_at + 1 < lane->descriptor_count ? lane->descriptor_at + 1 : 0;
		if (*place != NULL)
			rte_pktmbuf_free(*place);
		*place = mbufs[i];
	}
}

/* What the forwarding loop does with the verdicts of a batch, but for the call of the driver. */
static inline void send(struct lane *lane, struct packet *packets[], uint32_t count)
{
	struct rte_mbuf *sent[PORT_COUNT][FORWARD_BURST], *dropped[FORWARD_BURST];
	uint32_t sent_count[PORT_COUNT] = {}, dropped_count = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct packet *packet = packets[i];

		if (LIKELY(packet->verdict == PACKET_FORWARD))
			sent[packet->out_port][sent_count[packet->out_port]++] = burst_send(packet);
		else if (packet->verdict == PACKET_DROP)
			dropped[dropped_count++] = burst_mbuf(packet);
		else
			CHECK(packet->verdict == PACKET_HELD);
	}
	if (dropped_count > 0)
		rte_pktmbuf_free_bulk(dropped, dropped_count);
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		uint64_t bytes = 0;

		if (sent_count[port] == 0)
			continue;
		for (uint32_t i = 0; i < sent_count[port]; i++)
			bytes += sent[port][i]->pkt_len;
		nat_count_tx(lane->gateway->shard, port, sent_count[port], bytes);
		lane->forwarded += sent_count[port];
		sink_take(lane, sent[port], sent_count[port]);
	}
}

static inline __attribute__((always_inline)) void batch_run(
	struct lane *lane, lane_process process, bool upkeep, bool timed)
{
	struct gateway *gateway = lane->gateway;
	struct rte_mbuf *mbufs[FORWARD_BURST];
	struct packet *packets[FORWARD_BURST];
	uint64_t cycles = 0;
	uint32_t count;

	source_fill(lane, mbufs);
	lane->sent += FORWARD_BURST;
	if (process == NULL) {
		lane->forwarded += FORWARD_BURST;
		sink_take(lane, mbufs, FORWARD_BURST);
		return;
	}
	const struct nat_view view = view_read(&gateway->view);
	const uint64_t now_ns = lane_now_ns(lane);
	if (timed)
		cycles = rte_rdtsc();
	count = burst_receive(gateway->shard, lane->frames->in_port, mbufs, FORWARD_BURST, packets);
	if (timed)
		stage_end(lane, LANE_STAGE_receive, cycles);
	process(lane, &view, packets, count, now_ns);
	if (timed)
		cycles = rte_rdtsc();
	send(lane, packets, count);
	if (timed)
		cycles = stage_end(lane, LANE_STAGE_send, cycles);
	if (upkeep)
		nat_upkeep(gateway->shard, &view, now_ns);
	if (timed)
		stage_end(lane, LANE_STAGE_upkeep, cycles);
	view_quiescent(&gateway->view, 0);
}

/* One function each, so that a profiler sees them apart. */
static __attribute__((noinline)) void lane_empty(struct lane *lane, uint32_t batch_count)
{
	for (uint32_t i = 0; i < batch_count; i++)
		batch_run(lane, NULL, false, false);
}

static __attribute__((noinline)) void lane_forward(struct lane *lane, uint32_t batch_count)
{
	for (uint32_t i = 0; i < batch_count; i++)
		batch_run(lane, process_forward, false, false);
}

static __attribute__((noinline)) void lane_nat(struct lane *lane, uint32_t batch_count)
{
	for (uint32_t i = 0; i < batch_count; i++)
		batch_run(lane, process_nat, true, false);
}

static __attribute__((noinline)) void lane_rte_hash(struct lane *lane, uint32_t batch_count)
{
	for (uint32_t i = 0; i < batch_count; i++)
		batch_run(lane, process_rte_hash, true, false);
}

static __attribute__((noinline)) void lane_stages(struct lane *lane, uint32_t batch_count)
{
	for (uint32_t i = 0; i < batch_count; i++)
		batch_run(lane, process_stages, true, true);
}

uint64_t lane_run(struct lane *lane, enum lane_variant variant, uint32_t batch_count)
{
	static void (*const runs[LANE_VARIANT_COUNT])(struct lane *, uint32_t) = {
		lane_empty, lane_forward, lane_nat, lane_rte_hash, lane_stages};
	const uint64_t start_cycles = rte_rdtsc_precise();

	runs[variant](lane, batch_count);
	return rte_rdtsc_precise() - start_cycles;
}

/* Apart from lane_nat(), so that a profiler that looks there sees nothing of what comes before a measurement. */
__attribute__((noinline)) void lane_pass(struct lane *lane)
{
	for (uint32_t sent = 0; sent < lane->frames->count; sent += FORWARD_BURST)
		batch_run(lane, process_nat, true, false);
	lane->frames->next = 0;
}

static uint64_t timer_calibrate(void)
{
	uint64_t least_cycles = UINT64_MAX;

	for (unsigned i = 0; i < TIMER_TRIES; i++) {
		const uint64_t start_cycles = rte_rdtsc();
		const uint64_t cycles = rte_rdtsc() - start_cycles;

		least_cycles = cycles < least_cycles ? cycles : least_cycles;
	}
	return least_cycles;
}

bool lane_open(
	struct lane *ret_lane, enum memory_pages pages, uint32_t descriptor_count, uint64_t batch_ns, char *ret_text)
{
	struct lane lane = {.descriptor_count = descriptor_count, .batch_ns = batch_ns};
	char name[sizeof("packets-") + 2 * sizeof(uintptr_t)]; /* there may be several lanes at a time */

	snprintf(name, sizeof(name), "packets-%lx", (unsigned long)(uintptr_t)ret_lane);
	if (!memory_heap_open(POOL_HEAP_BYTES, pages == MEMORY_PAGES_NORMAL ? pages : MEMORY_PAGES_LARGE, name,
		    &lane.pool_heap, ret_text))
		return false;
	/* As dataplane/io/port.c makes it. */
	lane.pool = rte_pktmbuf_pool_create(name, POOL_COUNT, POOL_CACHE_COUNT,
		RTE_ALIGN_CEIL(sizeof(struct packet), RTE_CACHE_LINE_SIZE), RTE_MBUF_DEFAULT_BUF_SIZE,
		lane.pool_heap.socket);
	if (descriptor_count > 0)
		lane.descriptors = calloc(descriptor_count, sizeof(*lane.descriptors));
	if (lane.pool == NULL || (descriptor_count > 0 && lane.descriptors == NULL)) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "no memory for packet buffers: %s", rte_strerror(rte_errno));
		lane_close(&lane);
		return false;
	}
	lane.timer_cycles = timer_calibrate();
	clock_start(&lane.clock);
	if (batch_ns != 0)
		lane.ahead_ns = 1000000000;
	*ret_lane = lane;
	return true;
}

void lane_close(struct lane *lane)
{
	free(lane->descriptors);
	rte_mempool_free(lane->pool);
	memory_heap_close(&lane->pool_heap);
	*lane = (struct lane){};
}
