/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every second batch is a flood of SYNs of one workspace, each a session of its own, beyond its limits; the others are
 * packets of sessions of all workspaces. Those must lose nothing, and should cost what they cost without the flood.
 */
#include <stdio.h>

#include <rte_cycles.h>

#include "dataplane/nat/bytes.h"
#include "tools/bench/run.h"

enum { FLOOD_FRAMES = 1 << 20, SLICE_BATCHES = 64 };

static const struct policy_limits flooder_limits = {
	.sessions = 32768,
	.half_open = 4096,
	.new_sessions_per_second = 10000,
};

struct flood {
	struct bench bench;
	struct frames syns;
	uint64_t lost; /* packets of the others */
	struct samples others_slices, syns_slices;
	struct samples quiet, others, syns_cost, empty;
};

/* Of `batch_count` batches of one kind, `with_syns`: a batch of SYNs before each, timed apart. */
static void slice(struct flood *flood, bool with_syns)
{
	struct lane *lane = &flood->bench.lane;
	uint64_t others_cycles = 0, syns_cycles = 0;

	for (unsigned i = 0; i < SLICE_BATCHES; i++) {
		uint64_t forwarded;

		if (with_syns) {
			lane->frames = &flood->syns;
			syns_cycles += lane_run(lane, LANE_NAT, 1);
		}
		lane->frames = &flood->bench.frames;
		forwarded = lane->forwarded;
		others_cycles += lane_run(lane, LANE_NAT, 1);
		flood->lost += forwarded + FORWARD_BURST - lane->forwarded;
	}
	samples_add(&flood->others_slices, (double)others_cycles / SLICE_BATCHES / FORWARD_BURST);
	samples_add(&flood->syns_slices, (double)syns_cycles / SLICE_BATCHES / FORWARD_BURST);
}

static double empty_measure(struct flood *flood)
{
	samples_clear(&flood->others_slices);
	flood->bench.lane.frames = &flood->bench.frames;
	for (unsigned i = 0; i < SLICE_BATCHES * 8; i++)
		samples_add(&flood->others_slices, (double)lane_run(&flood->bench.lane, LANE_EMPTY, 1) / FORWARD_BURST);
	return samples_median(&flood->others_slices);
}

static void measure(struct flood *flood, bool with_syns, uint64_t share_cycles)
{
	const struct options *options = flood->bench.options;
	const uint64_t start_cycles = rte_rdtsc();
	uint64_t packets = 0;

	samples_clear(&flood->others_slices);
	samples_clear(&flood->syns_slices);
	do {
		slice(flood, with_syns);
		packets += SLICE_BATCHES * FORWARD_BURST;
	} while (options->packets != 0 ? packets < options->packets : rte_rdtsc() - start_cycles < share_cycles);
}

static void run_once(struct flood *flood, uint64_t share_cycles)
{
	const double empty = empty_measure(flood);

	samples_add(&flood->empty, empty);
	measure(flood, false, share_cycles);
	samples_add(&flood->quiet, samples_median(&flood->others_slices) - empty);
	measure(flood, true, share_cycles);
	samples_add(&flood->others, samples_median(&flood->others_slices) - empty);
	samples_add(&flood->syns_cost, samples_median(&flood->syns_slices) - empty);
}

static void finish(struct flood *flood, struct result *ret)
{
	const struct counters_shard *counters = flood->bench.gateway.config.counters;
	struct result result = result_empty();
	uint64_t refused = 0;

	for (unsigned reason = DROP_LIMIT_SESSIONS; reason <= DROP_LIMIT_HALF_OPEN; reason++)
		refused += counters->drops[PORT_INSIDE][reason];
	result.sessions = flood->bench.scenario->sessions;
	result.cycles_per_packet = samples_median(&flood->others);
	result.source_sink_cycles_per_packet = samples_median(&flood->empty);
	result.bytes_per_session = gateway_bytes_per_session(&flood->bench.gateway);
	result.pages = flood->bench.gateway.sessions_block.kind;
	result_add(&result, "quiet_cycles_per_packet", samples_median(&flood->quiet));
	result_add(&result, "flood_cycles_per_packet", samples_median(&flood->syns_cost));
	result_add(&result, "flood_refused", (double)refused);
	result_add(&result, "others_lost", (double)flood->lost);
	*ret = result;
}

bool run_flood(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct flood flood = {};
	const uint64_t share_cycles = (uint64_t)(options->seconds * (double)rte_get_tsc_hz() / options->runs / 2);
	const struct frames_plan plan = {
		.count = FLOOD_FRAMES,
		.protocol = PROTOCOL_TCP,
		.tcp_flags = TCP_SYN,
		.one_workspace = true,
		.seed = options->seed + 1,
	};
	bool done = bench_open(&flood.bench, scenario, options, &flooder_limits, ret_text) &&
		    bench_establish(&flood.bench, ret_text) &&
		    frames_outbound(&flood.syns, &flood.bench.gateway, &plan, ret_text);

	for (unsigned run = 0; done && run < options->runs; run++)
		run_once(&flood, share_cycles);
	if (done && flood.lost != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "%llu packets of other workspaces were lost under the flood",
			(unsigned long long)flood.lost);
		done = false;
	}
	if (done)
		finish(&flood, ret);
	frames_free(&flood.syns);
	if (flood.bench.gateway_open || flood.bench.lane_open)
		bench_close(&flood.bench);
	samples_free(&flood.others_slices);
	samples_free(&flood.syns_slices);
	samples_free(&flood.quiet);
	samples_free(&flood.others);
	samples_free(&flood.syns_cost);
	samples_free(&flood.empty);
	return done;
}
