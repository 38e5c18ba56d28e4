/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two shards on two CPUs beside one on one, in turns. "steered": every packet arrives at the shard that owns it, as from
 * a NIC that steers; "mixed": at any, so that half of them are handed over by the rings of production. Source and sink
 * are in the figures, since each thread has its own.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include "dataplane/io/burst.h"
#include "dataplane/io/handover.h"
#include "dataplane/nat/owner.h"
#include "tools/bench/run.h"

enum { SHARDS = 2, SLICE_BATCHES = 64, PASSES_MIN = 2 };

enum phase { PHASE_ONE, PHASE_STEERED, PHASE_MIXED, PHASE_COUNT };

struct runner {
	struct bench bench;
	struct shards *shards;
	uint32_t shard_index;
	enum phase phase;
	unsigned cpu;
	pthread_t thread;
	struct samples slices; /* cycles per packet sent */
	uint64_t handed_over, refused, dropped, end_cycles;
};

struct shards {
	struct runner runners[SHARDS];
	struct handover handover;
	struct counters_shard *counters; /* of all shards, in one piece */
	struct memory_block counters_block;
	uint64_t run_cycles;
	cpu_set_t cpus;		    /* those that there are */
	uint32_t running, finished; /* runners of the phase; atomics */
};

/* EAL has pinned this thread to one CPU: what the kernel would let it have is found by asking for all. */
static void cpus_find(cpu_set_t *ret_cpus)
{
	cpu_set_t before, all;

	CHECK(sched_getaffinity(0, sizeof(before), &before) == 0);
	memset(&all, 0xff, sizeof(all));
	if (sched_setaffinity(0, sizeof(all), &all) != 0 || sched_getaffinity(0, sizeof(*ret_cpus), ret_cpus) != 0)
		*ret_cpus = before;
	(void)sched_setaffinity(0, sizeof(before), &before);
}

static uint32_t owner_of_record(const struct frames_record *record)
{
	uint32_t source_be;

	memcpy(&source_be, &record->addresses_be, sizeof(source_be));
	return owner_of_worker(SHARDS, gateway_vni(0), __builtin_bswap32(source_be));
}

/* What this shard is sent in this phase: all, its own, or every other one whoever owns it. */
static void frames_choose(struct runner *runner)
{
	struct frames *frames = &runner->bench.frames;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < frames->count; i++) {
		const struct frames_record record = frames->records[i];

		if (runner->phase == PHASE_ONE ||
			(runner->phase == PHASE_STEERED ? owner_of_record(&record) : i % SHARDS) == runner->shard_index)
			frames->records[kept++] = record;
	}
	frames->count = kept;
	frames->next = 0;
}

static void verdicts(struct runner *runner, struct packet *const packets[], uint32_t count)
{
	const struct handover *handover = &runner->shards->handover;
	struct nat_shard *shard = runner->bench.gateway.shard;
	struct rte_mbuf *ended[FORWARD_BURST], *passed[FORWARD_BURST], *dropped[FORWARD_BURST];
	uint32_t ended_count = 0, passed_count = 0, dropped_count = 0, put = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (packets[i]->verdict == PACKET_HAND_OVER)
			passed[passed_count++] = burst_mbuf(packets[i]);
		else if (packets[i]->verdict == PACKET_DROP)
			dropped[dropped_count++] = burst_mbuf(packets[i]);
		else
			ended[ended_count++] = burst_send(packets[i]);
	}
	if (passed_count > 0)
		put = handover_put(handover, runner->shard_index, 1 - runner->shard_index, passed, passed_count);
	nat_count_handed_over(shard, put);
	runner->handed_over += put;
	runner->refused += passed_count - put;
	rte_pktmbuf_free_bulk(&passed[put], passed_count - put);
	rte_pktmbuf_free_bulk(ended, ended_count);
	rte_pktmbuf_free_bulk(dropped, dropped_count);
	runner->dropped += dropped_count;
}

static void source(struct runner *runner, const struct nat_view *view, uint64_t now_ns)
{
	struct gateway *gateway = &runner->bench.gateway;
	struct rte_mbuf *mbufs[FORWARD_BURST];
	struct packet *packets[FORWARD_BURST];
	uint32_t count;

	CHECK(rte_pktmbuf_alloc_bulk(runner->bench.lane.pool, mbufs, FORWARD_BURST) == 0);
	for (unsigned i = 0; i < FORWARD_BURST; i++)
		frames_write(&runner->bench.frames, frames_next(&runner->bench.frames), mbufs[i]);
	count = burst_receive(gateway->shard, PORT_INSIDE, mbufs, FORWARD_BURST, packets);
	nat_process(gateway->shard, view, packets, count, now_ns);
	verdicts(runner, packets, count);
}

/* Returns whether there was anything. */
static bool serve(struct runner *runner, const struct nat_view *view, uint64_t now_ns)
{
	struct nat_shard *shard = runner->bench.gateway.shard;
	struct rte_mbuf *mbufs[FORWARD_BURST];
	struct packet *packets[FORWARD_BURST];
	const uint32_t count = handover_take(
		&runner->shards->handover, 1 - runner->shard_index, runner->shard_index, mbufs, FORWARD_BURST);

	if (count == 0)
		return false;
	burst_taken(mbufs, count, packets);
	nat_process_taken(shard, view, packets, count, now_ns);
	verdicts(runner, packets, count);
	return true;
}

/*
 * A batch from the source and one from the other shard. Where other processes have the other CPU for a while, its ring
 * fills up: then nothing new is sent, and the waiting is not counted. Returns cycles of work; `ret_sent`: with a batch
 * from the source.
 */
static uint64_t batch(struct runner *runner, bool *ret_sent)
{
	struct gateway *gateway = &runner->bench.gateway;
	const struct rte_ring *ring = runner->shards->handover.rings[runner->shard_index][1 - runner->shard_index];
	const struct nat_view view = view_read(&gateway->view);
	const uint64_t now_ns = lane_now_ns(&runner->bench.lane), start_cycles = rte_rdtsc();
	bool served = false;

	*ret_sent = runner->phase != PHASE_MIXED || rte_ring_free_count(ring) >= 2 * FORWARD_BURST;
	if (*ret_sent)
		source(runner, &view, now_ns);
	if (runner->phase == PHASE_MIXED)
		served = serve(runner, &view, now_ns);
	nat_upkeep(gateway->shard, &view, now_ns);
	view_quiescent(&gateway->view, 0);
	if (*ret_sent || served)
		return rte_rdtsc() - start_cycles;
	sched_yield();
	return 0;
}

/* Cycles per packet sent, over so many batches. */
static double slice(struct runner *runner)
{
	uint64_t cycles = 0;

	for (unsigned batches = 0; batches < SLICE_BATCHES && rte_rdtsc() < runner->end_cycles;) {
		bool sent;

		cycles += batch(runner, &sent);
		batches += sent;
	}
	return (double)cycles / (SLICE_BATCHES * FORWARD_BURST);
}

static void *runner_main(void *argument)
{
	struct runner *runner = argument;
	const uint64_t passes = PASSES_MIN * (runner->bench.frames.count / FORWARD_BURST + 1);
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(runner->cpu, &cpus);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	/* So that it has a cache of the pool. */
	CHECK(rte_thread_register() == 0);
	runner->end_cycles = UINT64_MAX;
	for (uint64_t i = 0; i < passes;) {
		bool sent;

		(void)batch(runner, &sent);
		i += sent;
	}
	runner->handed_over = runner->refused = 0;
	runner->end_cycles = rte_rdtsc() + runner->shards->run_cycles;
	while (rte_rdtsc() < runner->end_cycles) {
		const double cycles = slice(runner);

		if (rte_rdtsc() < runner->end_cycles)
			samples_add(&runner->slices, cycles);
	}
	/* The other one may still wait for room in its ring. */
	__atomic_fetch_add(&runner->shards->finished, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&runner->shards->finished, __ATOMIC_SEQ_CST) < runner->shards->running) {
		const struct nat_view view = view_read(&runner->bench.gateway.view);

		if (runner->phase != PHASE_MIXED || !serve(runner, &view, lane_now_ns(&runner->bench.lane)))
			sched_yield();
	}
	rte_thread_unregister();
	return NULL;
}

static bool runner_open(struct shards *shards, uint32_t i, enum phase phase, const struct scenario *scenario,
	const struct options *options, char *ret_text)
{
	struct runner *runner = &shards->runners[i];
	struct nat_config *config = &runner->bench.gateway.config;

	if (!bench_open(&runner->bench, scenario, options, NULL, ret_text))
		return false;
	runner->shards = shards;
	runner->shard_index = i;
	runner->phase = phase;
	if (phase != PHASE_ONE) {
		config->shard_index = i;
		config->shard_count = SHARDS;
		config->hand_over = true;
		config->counters = &shards->counters[i];
		config->all_counters = shards->counters;
	}
	gateway_clear(&runner->bench.gateway, lane_now_ns(&runner->bench.lane));
	frames_choose(runner);
	return true;
}

/* Of the packets that were sent. */
struct parts {
	double handed_over, refused;
};

/* Packets per cycle of all that run together; NAN when it can not be measured. */
static double run_phase(struct shards *shards, enum phase phase, const struct scenario *scenario,
	const struct options *options, struct parts *ret_parts, char *ret_text)
{
	const uint32_t count = phase == PHASE_ONE ? 1 : SHARDS;
	double packets_per_cycle = 0;
	uint32_t opened = 0, started = 0;
	bool done = true;
	int cpu = -1;

	shards->running = count;
	shards->finished = 0;
	memset(shards->counters, 0, shards->counters_block.size_bytes);
	for (; done && opened < count; opened++)
		done = runner_open(shards, opened, phase, scenario, options, ret_text);
	for (; done && started < count; started++) {
		struct runner *runner = &shards->runners[started];

		do
			cpu = (cpu + 1) % CPU_SETSIZE;
		while (!CPU_ISSET(cpu, &shards->cpus));
		runner->cpu = (unsigned)cpu;
		CHECK(pthread_create(&runner->thread, NULL, runner_main, runner) == 0);
	}
	for (uint32_t i = 0; i < started; i++) {
		struct runner *runner = &shards->runners[i];
		double sent;

		pthread_join(runner->thread, NULL);
		sent = (double)runner->slices.seen * SLICE_BATCHES * FORWARD_BURST;
		ret_parts->handed_over += (double)runner->handed_over / sent / count;
		ret_parts->refused += (double)runner->refused / sent / count;
		/* What a full ring refused has cost next to nothing, and counts as nothing. */
		packets_per_cycle += (1 - (double)runner->refused / sent) / samples_median(&runner->slices);
		if (runner->dropped != 0) {
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES,
				"%llu packets were dropped: a figure with drops in it is none",
				(unsigned long long)runner->dropped);
			done = false;
		}
	}
	/* Packets in the rings belong to the lanes' pools, which go now. */
	for (uint32_t from = 0; from < SHARDS; from++) {
		struct rte_mbuf *mbuf;

		while (handover_take(&shards->handover, from, 1 - from, &mbuf, 1) == 1)
			rte_pktmbuf_free(mbuf);
	}
	for (uint32_t i = 0; i < opened; i++) {
		bench_close(&shards->runners[i].bench);
		samples_free(&shards->runners[i].slices);
		shards->runners[i] = (struct runner){};
	}
	return done ? packets_per_cycle : (double)NAN;
}

bool run_shards(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct shards *shards = calloc(1, sizeof(*shards));
	struct samples speeds[PHASE_COUNT] = {}, ratios[PHASE_COUNT] = {};
	struct result result = result_empty();
	struct parts parts = {};
	bool done;

	if (shards == NULL) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "out of memory");
		return false;
	}
	cpus_find(&shards->cpus);
	if (CPU_COUNT(&shards->cpus) < SHARDS) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "two shards need two CPUs that the process may use");
		free(shards);
		return false;
	}
	shards->run_cycles =
		(uint64_t)(options->seconds * (double)rte_get_tsc_hz() / ((options->runs + 1) * PHASE_COUNT));
	done = memory_allocate(SHARDS * sizeof(struct counters_shard), MEMORY_PAGES_NORMAL, &shards->counters_block,
		       ret_text) &&
	       handover_open(&shards->handover, SHARDS, ret_text);
	shards->counters = shards->counters_block.memory;
	for (unsigned run = 0; done && run < options->runs; run++) {
		double speed[PHASE_COUNT];

		for (unsigned phase = 0; done && phase < PHASE_COUNT; phase++) {
			parts = (struct parts){};
			speed[phase] = run_phase(shards, (enum phase)phase, scenario, options, &parts, ret_text);
			done = !isnan(speed[phase]);
		}
		for (unsigned phase = 0; done && phase < PHASE_COUNT; phase++) {
			samples_add(&speeds[phase], speed[phase]);
			samples_add(&ratios[phase], speed[phase] / speed[PHASE_ONE]);
		}
	}
	if (done) {
		const double hz = (double)rte_get_tsc_hz();

		result.sessions = scenario->sessions;
		result.cycles_per_packet = 1 / samples_median(&speeds[PHASE_STEERED]);
		result_add(&result, "one_shard_mpps", samples_median(&speeds[PHASE_ONE]) * hz / 1e6);
		result_add(&result, "two_shards_mpps", samples_median(&speeds[PHASE_STEERED]) * hz / 1e6);
		result_add(&result, "two_shards_mixed_mpps", samples_median(&speeds[PHASE_MIXED]) * hz / 1e6);
		result_add(&result, "ratio", samples_median(&ratios[PHASE_STEERED]));
		result_add(&result, "ratio_mixed", samples_median(&ratios[PHASE_MIXED]));
		/* Of the last run, whose last phase is the mixed one. */
		result_add(&result, "mixed_handed_over_percent", 100 * parts.handed_over);
		result_add(&result, "mixed_ring_full_percent", 100 * parts.refused);
		*ret = result;
	}
	for (unsigned phase = 0; phase < PHASE_COUNT; phase++) {
		samples_free(&speeds[phase]);
		samples_free(&ratios[phase]);
	}
	handover_close(&shards->handover);
	memory_free(&shards->counters_block);
	free(shards);
	return done;
}
