/* SPDX-License-Identifier: Apache-2.0 */
/* Each packet opens a session: from an empty table up to the scenario's sessions, again and again. */
#include <math.h>
#include <stdlib.h>

#include <rte_cycles.h>

#include "dataplane/nat/session.h"
#include "tools/bench/random.h"
#include "tools/bench/run.h"

enum { SLICE_BATCHES = 16, SLICE_PACKETS = SLICE_BATCHES * FORWARD_BURST };

struct setup {
	struct bench bench;
	uint32_t *order; /* of the session records, random */
	struct random random;
	struct samples slices, net, low, high, empty;
	struct samples forward_slices, forward;
	struct samples stage_slices[LANE_STAGE_COUNT], stages[LANE_STAGE_COUNT];
};

/* Ends every session, in random order where the scenario wants the free list to be so. */
static void clear(struct setup *setup)
{
	struct bench *bench = &setup->bench;
	struct nat_shard *shard = bench->gateway.shard;
	const uint32_t sessions_max = bench->gateway.config.sessions_max;

	bench->frames.next = 0;
	if (!bench->scenario->churned) {
		gateway_clear(&bench->gateway, lane_now_ns(&bench->lane));
		return;
	}
	for (uint32_t i = sessions_max; i > 1; i--) {
		const uint32_t other = random_below(&setup->random, i);
		const uint32_t index = setup->order[i - 1];

		setup->order[i - 1] = setup->order[other];
		setup->order[other] = index;
	}
	for (uint32_t i = 0; i < sessions_max; i++)
		if (shard->sessions[setup->order[i]].state != SESSION_FREE)
			session_remove(shard, setup->order[i]);
}

/* Slices over all frames. Only whole ones, so that no frame comes twice. */
static void fill(struct setup *setup, enum lane_variant variant, struct samples *slices)
{
	struct lane *lane = &setup->bench.lane;
	const uint32_t slice_count = setup->bench.scenario->sessions / SLICE_PACKETS;

	for (uint32_t slice = 0; slice < slice_count; slice++) {
		for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
			lane->stage_cycles[i] = 0;
		samples_add(slices, (double)lane_run(lane, variant, SLICE_BATCHES) / SLICE_PACKETS);
		for (unsigned i = 0; variant == LANE_STAGES && i < LANE_STAGE_COUNT; i++)
			samples_add(&setup->stage_slices[i], (double)lane->stage_cycles[i] / SLICE_PACKETS);
	}
}

static void run_once(struct setup *setup, uint64_t share_cycles)
{
	const struct options *options = setup->bench.options;
	const uint64_t start_cycles = rte_rdtsc();
	uint64_t packets = 0;
	double empty;

	samples_clear(&setup->slices);
	samples_clear(&setup->forward_slices);
	fill(setup, LANE_EMPTY, &setup->slices);
	empty = samples_median(&setup->slices);
	samples_add(&setup->empty, empty);
	samples_clear(&setup->slices);
	fill(setup, LANE_FORWARD, &setup->forward_slices);
	samples_add(&setup->forward, samples_median(&setup->forward_slices) - empty);
	do {
		clear(setup);
		fill(setup, LANE_NAT, &setup->slices);
		packets += setup->bench.scenario->sessions;
	} while (options->packets != 0 ? packets < options->packets : rte_rdtsc() - start_cycles < share_cycles);
	samples_add(&setup->net, samples_median(&setup->slices) - empty);
	samples_add(&setup->low, samples_quantile(&setup->slices, 0.1) - empty);
	samples_add(&setup->high, samples_quantile(&setup->slices, 0.9) - empty);
	clear(setup);
	samples_clear(&setup->slices);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		samples_clear(&setup->stage_slices[i]);
	fill(setup, LANE_STAGES, &setup->slices);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		samples_add(&setup->stages[i], samples_median(&setup->stage_slices[i]));
}

static void finish(struct setup *setup, struct result *ret)
{
	struct result result = result_empty();

	result.sessions = setup->bench.scenario->sessions;
	result.cycles_per_session = samples_median(&setup->net);
	result.cycles_per_packet = result.cycles_per_session;
	result.cycles_low = samples_median(&setup->low);
	result.cycles_high = samples_median(&setup->high);
	result.forward_cycles_per_packet = samples_median(&setup->forward);
	result.source_sink_cycles_per_packet = samples_median(&setup->empty);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		result.stages[i] = samples_median(&setup->stages[i]);
	result.bytes_per_session = gateway_bytes_per_session(&setup->bench.gateway);
	result.pages = setup->bench.gateway.sessions_block.kind;
	*ret = result;
}

static void close_all(struct setup *setup)
{
	if (setup->bench.gateway_open || setup->bench.lane_open)
		bench_close(&setup->bench);
	free(setup->order);
	samples_free(&setup->slices);
	samples_free(&setup->net);
	samples_free(&setup->low);
	samples_free(&setup->high);
	samples_free(&setup->empty);
	samples_free(&setup->forward_slices);
	samples_free(&setup->forward);
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++) {
		samples_free(&setup->stage_slices[i]);
		samples_free(&setup->stages[i]);
	}
}

bool run_setup(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct setup setup = {.random = random_seeded(options->seed)};
	const uint64_t share_cycles = (uint64_t)(options->seconds * (double)rte_get_tsc_hz() / options->runs);
	bool done = bench_open(&setup.bench, scenario, options, NULL, ret_text);

	if (done) {
		const uint32_t sessions_max = setup.bench.gateway.config.sessions_max;

		setup.order = malloc(sessions_max * sizeof(*setup.order));
		CHECK(setup.order != NULL);
		for (uint32_t i = 0; i < sessions_max; i++)
			setup.order[i] = i;
		done = bench_establish(&setup.bench, ret_text);
	}
	for (unsigned run = 0; done && run < options->runs; run++)
		run_once(&setup, share_cycles);
	done = done && bench_lossless(&setup.bench, ret_text);
	if (done)
		finish(&setup, ret);
	close_all(&setup);
	return done;
}
