/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New TCP sessions towards one remote by one IP of which most ports are taken. A batch of new sessions is measured,
 * then taken away again, so that the fill stays what it is.
 */
#include <rte_cycles.h>

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/session.h"
#include "tools/bench/run.h"

enum { PORT_SUM = 64512, BATCHES_MIN = 200 };

struct fill {
	struct bench bench;
	uint32_t taken; /* a multiple of the batch */
	struct samples batches, net, p99, longest, empty, forward, variant_batches;
	double mean_sum;
};

/* The sessions of the frames from `first` on. */
static void remove_sessions(struct fill *fill, uint32_t first)
{
	struct nat_shard *shard = fill->bench.gateway.shard;

	for (uint32_t i = first; i < first + FORWARD_BURST; i++) {
		const struct frames_record *record = &fill->bench.frames.records[i];
		const struct hash_key key = session_key_inside(__builtin_bswap32((uint32_t)record->addresses_be),
			__builtin_bswap16((uint16_t)record->ports_be),
			__builtin_bswap32((uint32_t)(record->addresses_be >> 32)),
			__builtin_bswap16((uint16_t)(record->ports_be >> 16)), __builtin_bswap32(record->vni_be) >> 8,
			PROTOCOL_TCP);
		const uint32_t index = session_find_inside(shard, key, hash_one(&shard->secret, key));

		if (index != INDEX_NONE)
			session_remove(shard, index);
	}
}

static double variant_median(struct fill *fill, enum lane_variant variant, uint32_t batch_count)
{
	samples_clear(&fill->variant_batches);
	for (uint32_t i = 0; i < batch_count; i++) {
		fill->bench.frames.next = fill->taken;
		samples_add(&fill->variant_batches, (double)lane_run(&fill->bench.lane, variant, 1) / FORWARD_BURST);
	}
	return samples_median(&fill->variant_batches);
}

static void run_once(struct fill *fill, uint64_t share_cycles)
{
	const struct options *options = fill->bench.options;
	struct frames *frames = &fill->bench.frames;
	const uint64_t start_cycles = rte_rdtsc();
	const double empty = variant_median(fill, LANE_EMPTY, BATCHES_MIN);
	uint32_t next = fill->taken;
	uint64_t packets = 0;
	double sum = 0;

	samples_add(&fill->empty, empty);
	samples_add(&fill->forward, variant_median(fill, LANE_FORWARD, BATCHES_MIN) - empty);
	samples_clear(&fill->batches);
	do {
		double cycles;

		frames->next = next;
		cycles = (double)lane_run(&fill->bench.lane, LANE_NAT, 1) / FORWARD_BURST - empty;
		samples_add(&fill->batches, cycles);
		sum += cycles;
		remove_sessions(fill, next);
		next += FORWARD_BURST;
		if (next + FORWARD_BURST > frames->count)
			next = fill->taken;
		packets += FORWARD_BURST;
	} while (options->packets != 0 ? packets < options->packets : rte_rdtsc() - start_cycles < share_cycles);
	samples_add(&fill->net, samples_median(&fill->batches));
	samples_add(&fill->p99, samples_quantile(&fill->batches, 0.99));
	samples_add(&fill->longest, samples_quantile(&fill->batches, 1) * FORWARD_BURST);
	fill->mean_sum += sum / ((double)packets / FORWARD_BURST);
}

static void finish(struct fill *fill, struct result *ret)
{
	struct result result = result_empty();
	const double cycles_per_us = (double)rte_get_tsc_hz() / 1e6;

	result.sessions = fill->taken;
	result.cycles_per_session = samples_median(&fill->net);
	result.cycles_per_packet = result.cycles_per_session;
	result.forward_cycles_per_packet = samples_median(&fill->forward);
	result.source_sink_cycles_per_packet = samples_median(&fill->empty);
	result.bytes_per_session = gateway_bytes_per_session(&fill->bench.gateway);
	result.pages = fill->bench.gateway.sessions_block.kind;
	result_add(&result, "cycles_per_session_mean", fill->mean_sum / fill->bench.options->runs);
	result_add(&result, "cycles_per_session_p99", samples_median(&fill->p99));
	result_add(&result, "longest_batch_us", samples_quantile(&fill->longest, 1) / cycles_per_us);
	*ret = result;
}

bool run_fill(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct fill fill = {};
	const uint64_t share_cycles = (uint64_t)(options->seconds * (double)rte_get_tsc_hz() / options->runs);
	bool done = bench_open(&fill.bench, scenario, options, NULL, ret_text);

	/* Half of the measured batch comes before the wanted fill, half behind it. */
	fill.taken = (uint32_t)(PORT_SUM * scenario->fill - FORWARD_BURST / 2.0) / FORWARD_BURST * FORWARD_BURST;
	if (done) {
		lane_run(&fill.bench.lane, LANE_NAT, fill.taken / FORWARD_BURST);
		done = bench_lossless(&fill.bench, ret_text);
	}
	for (unsigned run = 0; done && run < options->runs; run++)
		run_once(&fill, share_cycles);
	done = done && bench_lossless(&fill.bench, ret_text);
	if (done)
		finish(&fill, ret);
	if (fill.bench.gateway_open || fill.bench.lane_open)
		bench_close(&fill.bench);
	samples_free(&fill.batches);
	samples_free(&fill.net);
	samples_free(&fill.p99);
	samples_free(&fill.longest);
	samples_free(&fill.empty);
	samples_free(&fill.forward);
	samples_free(&fill.variant_batches);
	return done;
}
