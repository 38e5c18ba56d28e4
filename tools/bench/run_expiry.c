/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that nobody uses any more come to their end, all within a second, while others work on. The clock is moved
 * ahead in two steps, with the working sessions used in between.
 */
#include <rte_cycles.h>

#include "tools/bench/run.h"

enum { QUIET_BATCHES = 20000, IDLE_FIRST_S = 250, IDLE_THEN_S = 55, BATCHES_MAX = 100000000 };

struct expiry {
	struct bench bench;
	struct frames working;
	struct samples batches;
	struct samples quiet, during, per_session, longest, p999, duration_ms, quiet_longest;
};

static void seconds_pass(struct expiry *expiry, uint64_t seconds)
{
	expiry->bench.lane.ahead_ns += seconds * 1000000000u;
}

static uint64_t sessions_active(const struct expiry *expiry)
{
	return expiry->bench.gateway.config.counters->sessions_active;
}

/* Median of the batches; their longest into `longest`. */
static double quiet_measure(struct expiry *expiry)
{
	samples_clear(&expiry->batches);
	for (unsigned i = 0; i < QUIET_BATCHES; i++)
		samples_add(&expiry->batches, (double)lane_run(&expiry->bench.lane, LANE_NAT, 1));
	samples_add(&expiry->quiet_longest, samples_quantile(&expiry->batches, 1));
	return samples_median(&expiry->batches);
}

static double empty_measure(struct expiry *expiry)
{
	samples_clear(&expiry->batches);
	for (unsigned i = 0; i < QUIET_BATCHES; i++)
		samples_add(&expiry->batches, (double)lane_run(&expiry->bench.lane, LANE_EMPTY, 1));
	return samples_median(&expiry->batches);
}

static bool run_once(struct expiry *expiry, char *ret_text)
{
	struct lane *lane = &expiry->bench.lane;
	const double cycles_per_ms = (double)rte_get_tsc_hz() / 1e3;
	uint64_t batch_count = 0, working, expired;
	double sum = 0, quiet, empty;

	lane->frames = &expiry->bench.frames;
	lane_pass(lane);
	lane->frames = &expiry->working;
	lane_pass(lane);
	working = expiry->working.count;
	empty = empty_measure(expiry);
	quiet = quiet_measure(expiry) - empty;
	seconds_pass(expiry, IDLE_FIRST_S);
	lane_pass(lane);
	expired = sessions_active(expiry) - working;
	seconds_pass(expiry, IDLE_THEN_S);
	samples_clear(&expiry->batches);
	while (sessions_active(expiry) > working && batch_count < BATCHES_MAX) {
		const double cycles = (double)lane_run(lane, LANE_NAT, 1) - empty;

		samples_add(&expiry->batches, cycles);
		sum += cycles;
		batch_count++;
	}
	if (expired == 0 || sessions_active(expiry) != working || batch_count == 0)
		return bench_lossless(&expiry->bench, ret_text) && false;
	samples_add(&expiry->quiet, quiet / FORWARD_BURST);
	samples_add(&expiry->during, sum / (double)batch_count / FORWARD_BURST);
	samples_add(&expiry->per_session, (sum - quiet * (double)batch_count) / (double)expired);
	samples_add(&expiry->longest, samples_quantile(&expiry->batches, 1));
	samples_add(&expiry->p999, samples_quantile(&expiry->batches, 0.999));
	samples_add(&expiry->duration_ms, sum / cycles_per_ms);
	return true;
}

static void finish(struct expiry *expiry, struct result *ret)
{
	const double cycles_per_us = (double)rte_get_tsc_hz() / 1e6;
	struct result result = result_empty();

	result.sessions = expiry->bench.scenario->sessions;
	result.cycles_per_packet = samples_median(&expiry->during);
	result.bytes_per_session = gateway_bytes_per_session(&expiry->bench.gateway);
	result.pages = expiry->bench.gateway.sessions_block.kind;
	result_add(&result, "quiet_cycles_per_packet", samples_median(&expiry->quiet));
	result_add(&result, "cycles_per_expired_session", samples_median(&expiry->per_session));
	result_add(&result, "longest_batch_us", samples_median(&expiry->longest) / cycles_per_us);
	result_add(&result, "batch_p999_us", samples_median(&expiry->p999) / cycles_per_us);
	result_add(&result, "quiet_longest_batch_us", samples_median(&expiry->quiet_longest) / cycles_per_us);
	result_add(&result, "duration_ms", samples_median(&expiry->duration_ms));
	*ret = result;
}

bool run_expiry(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct expiry expiry = {};
	struct frames_plan plan;
	bool done = bench_open(&expiry.bench, scenario, options, NULL, ret_text);

	if (done) {
		plan = bench_frames_plan(&expiry.bench);
		plan.first_number = plan.count;
		plan.count = scenario->further_sessions;
		done = frames_outbound(&expiry.working, &expiry.bench.gateway, &plan, ret_text);
	}
	for (unsigned run = 0; done && run < options->runs; run++)
		done = run_once(&expiry, ret_text);
	done = done && bench_lossless(&expiry.bench, ret_text);
	if (done)
		finish(&expiry, ret);
	frames_free(&expiry.working);
	if (expiry.bench.gateway_open || expiry.bench.lane_open)
		bench_close(&expiry.bench);
	samples_free(&expiry.batches);
	samples_free(&expiry.quiet);
	samples_free(&expiry.during);
	samples_free(&expiry.per_session);
	samples_free(&expiry.longest);
	samples_free(&expiry.p999);
	samples_free(&expiry.duration_ms);
	samples_free(&expiry.quiet_longest);
	return done;
}
