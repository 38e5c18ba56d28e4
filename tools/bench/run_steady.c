/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of sessions that exist: plain forwarding, NAT, NAT with rte_hash, and the stages, in turns. */
#include <math.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "tools/bench/run.h"

enum {
	SLICE_BATCHES = 64,
	SLICE_PACKETS = SLICE_BATCHES * FORWARD_BURST,
	/*
	 * The variants take turns of this many slices: some milliseconds, shorter than the phases in which a machine is
	 * slow for reasons of its own, and long enough to have the caches to themselves.
	 */
	TURN_SLICES = 32,
};

/* Medians of one figure per run. */
struct steady {
	struct bench bench;
	struct samples slices[LANE_VARIANT_COUNT]; /* cycles per packet, of the present run */
	struct samples stage_slices[LANE_STAGE_COUNT];
	struct samples net[LANE_VARIANT_COUNT];
	struct samples low, high;
	struct samples stages[LANE_STAGE_COUNT];
};

static bool wanted(const struct options *options, enum lane_variant variant)
{
	return !options->only_set || options->only == variant;
}

/* A turn of a variant, of `slice_count` slices. */
static void turn(struct steady *steady, enum lane_variant variant, uint64_t slice_count)
{
	struct lane *lane = &steady->bench.lane;

	for (uint64_t slice = 0; slice < slice_count; slice++) {
		memset(lane->stage_cycles, 0, sizeof(lane->stage_cycles));
		samples_add(&steady->slices[variant], (double)lane_run(lane, variant, SLICE_BATCHES) / SLICE_PACKETS);
		for (unsigned i = 0; variant == LANE_STAGES && i < LANE_STAGE_COUNT; i++)
			samples_add(&steady->stage_slices[i], (double)lane->stage_cycles[i] / SLICE_PACKETS);
	}
}

/* All variants in turns, until the time or the packets of a run are used. */
static void turns(struct steady *steady, uint64_t run_cycles)
{
	const struct options *options = steady->bench.options;
	const uint64_t start_cycles = rte_rdtsc();
	uint64_t slices_left = (options->packets + SLICE_PACKETS - 1) / SLICE_PACKETS;
	uint64_t slice_count = TURN_SLICES;

	do {
		if (options->packets != 0)
			slice_count = RTE_MIN(slices_left, (uint64_t)TURN_SLICES);
		for (enum lane_variant variant = LANE_EMPTY; variant < LANE_VARIANT_COUNT; variant++)
			if (wanted(options, variant))
				turn(steady, variant, slice_count);
		slices_left -= RTE_MIN(slices_left, slice_count);
	} while (options->packets != 0 ? slices_left > 0 : rte_rdtsc() - start_cycles < run_cycles);
}

static void run_once(struct steady *steady, uint64_t run_cycles)
{
	double empty;

	for (unsigned i = 0; i < LANE_VARIANT_COUNT; i++)
		samples_clear(&steady->slices[i]);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		samples_clear(&steady->stage_slices[i]);
	turns(steady, run_cycles);
	empty = samples_median(&steady->slices[LANE_EMPTY]);
	for (unsigned i = 0; i < LANE_STAGES; i++)
		if (steady->slices[i].count > 0)
			samples_add(
				&steady->net[i], samples_median(&steady->slices[i]) - (i == LANE_EMPTY ? 0 : empty));
	if (steady->slices[LANE_NAT].count > 0) {
		samples_add(&steady->low, samples_quantile(&steady->slices[LANE_NAT], 0.1) - empty);
		samples_add(&steady->high, samples_quantile(&steady->slices[LANE_NAT], 0.9) - empty);
	}
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		if (steady->stage_slices[i].count > 0)
			samples_add(&steady->stages[i], samples_median(&steady->stage_slices[i]));
}

static double median_or_none(struct samples *samples)
{
	return samples->count > 0 ? samples_median(samples) : NAN;
}

static bool prepare(
	struct steady *steady, const struct scenario *scenario, const struct options *options, char *ret_text)
{
	struct bench *bench = &steady->bench;

	if (!bench_open(bench, scenario, options, NULL, ret_text))
		return false;
	return bench_establish(bench, ret_text) && (!scenario->inbound || bench_turn(bench, ret_text)) &&
	       (!wanted(options, LANE_RTE_HASH) || rival_open(&bench->rival, &bench->gateway, ret_text));
}

static void finish(struct steady *steady, struct result *ret)
{
	struct result result = result_empty();

	result.sessions = steady->bench.gateway.config.counters->sessions_active;
	result.cycles_per_packet = median_or_none(&steady->net[LANE_NAT]);
	result.cycles_low = median_or_none(&steady->low);
	result.cycles_high = median_or_none(&steady->high);
	result.forward_cycles_per_packet = median_or_none(&steady->net[LANE_FORWARD]);
	result.rte_hash_cycles_per_packet = median_or_none(&steady->net[LANE_RTE_HASH]);
	result.source_sink_cycles_per_packet = median_or_none(&steady->net[LANE_EMPTY]);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		result.stages[i] = median_or_none(&steady->stages[i]);
	result.bytes_per_session = gateway_bytes_per_session(&steady->bench.gateway);
	result.pages = steady->bench.gateway.sessions_block.kind;
	*ret = result;
}

static void forget(struct steady *steady)
{
	for (unsigned i = 0; i < LANE_VARIANT_COUNT; i++)
		samples_clear(&steady->net[i]);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		samples_clear(&steady->stages[i]);
	samples_clear(&steady->low);
	samples_clear(&steady->high);
}

static void close_all(struct steady *steady)
{
	if (steady->bench.gateway_open || steady->bench.lane_open)
		bench_close(&steady->bench);
	for (unsigned i = 0; i < LANE_VARIANT_COUNT; i++) {
		samples_free(&steady->slices[i]);
		samples_free(&steady->net[i]);
	}
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++) {
		samples_free(&steady->stage_slices[i]);
		samples_free(&steady->stages[i]);
	}
	samples_free(&steady->low);
	samples_free(&steady->high);
}

bool run_steady(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct steady steady = {};
	const uint64_t run_cycles = (uint64_t)(options->seconds * (double)rte_get_tsc_hz() / (options->runs + 1));
	bool done = prepare(&steady, scenario, options, ret_text);

	/* The first one only warms up. */
	for (unsigned run = 0; done && run <= options->runs; run++) {
		if (run == 1)
			forget(&steady);
		run_once(&steady, run_cycles);
	}
	done = done && bench_lossless(&steady.bench, ret_text);
	if (done)
		finish(&steady, ret);
	close_all(&steady);
	return done;
}
