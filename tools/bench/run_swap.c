/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control thread builds the whole policy anew and swaps it in, while sessions work on. What counts is the longest
 * batch, beside the longest of the pauses in between, when nothing but the machine can have caused it.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "tools/bench/run.h"

enum { EMPTY_BATCHES = 10000, WINDOW_MAX = 2 * OPTIONS_RUNS_MAX + 2 };

struct swap {
	struct bench bench;
	/* The control thread's. */
	uint64_t pause_ns;
	struct samples check_ms, build_ms, swap_ms;
	bool failed;
	char text[BENCH_TEXT_SIZE_BYTES];
	/* Written by the control thread, read by the other: windows are counted, even ones are quiet. */
	uint32_t window;
	uint32_t done;
	/* The measuring thread's. */
	double longest[WINDOW_MAX];
	struct samples batches[2];
};

static void pause_ns(uint64_t ns)
{
	struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	while (nanosleep(&rest, &rest) != 0)
		;
}

/* Anywhere but on the measuring thread's CPU, if there is another: the thread has inherited that one. */
static void leave_cpu(void)
{
	const long count = sysconf(_SC_NPROCESSORS_ONLN);
	const unsigned cpu = (unsigned)sched_getcpu();
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (long i = 0; i < count && i < CPU_SETSIZE; i++)
		if ((unsigned)i != cpu)
			CPU_SET((unsigned)i, &cpus);
	if (CPU_COUNT(&cpus) > 0)
		(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
}

static void *control(void *argument)
{
	struct swap *swap = argument;
	const unsigned runs = swap->bench.options->runs;

	leave_cpu();
	for (unsigned run = 0; run < runs && !swap->failed; run++) {
		pause_ns(swap->pause_ns);
		__atomic_fetch_add(&swap->window, 1, __ATOMIC_RELEASE);
		swap->failed = !gateway_apply(&swap->bench.gateway, swap->text);
		samples_add(&swap->check_ms, (double)swap->bench.gateway.check_ns / 1e6);
		samples_add(&swap->build_ms, (double)swap->bench.gateway.build_ns / 1e6);
		samples_add(&swap->swap_ms, (double)swap->bench.gateway.swap_ns / 1e6);
		/* Until every session has been reviewed. */
		pause_ns(swap->pause_ns);
		__atomic_fetch_add(&swap->window, 1, __ATOMIC_RELEASE);
	}
	pause_ns(swap->pause_ns);
	__atomic_store_n(&swap->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void measure(struct swap *swap)
{
	while (!__atomic_load_n(&swap->done, __ATOMIC_ACQUIRE)) {
		const uint32_t window = __atomic_load_n(&swap->window, __ATOMIC_ACQUIRE);
		const double cycles = (double)lane_run(&swap->bench.lane, LANE_NAT, 1);

		samples_add(&swap->batches[window % 2], cycles);
		if (cycles > swap->longest[window])
			swap->longest[window] = cycles;
	}
}

static double empty_measure(struct swap *swap)
{
	struct samples batches = {};
	double median;

	for (unsigned i = 0; i < EMPTY_BATCHES; i++)
		samples_add(&batches, (double)lane_run(&swap->bench.lane, LANE_EMPTY, 1));
	median = samples_median(&batches);
	samples_free(&batches);
	return median;
}

static void finish(struct swap *swap, double empty, struct result *ret)
{
	const double cycles_per_us = (double)rte_get_tsc_hz() / 1e6;
	struct result result = result_empty();
	struct samples longest[2] = {};

	for (uint32_t window = 0; window <= swap->window; window++)
		samples_add(&longest[window % 2], swap->longest[window] / cycles_per_us);
	result.sessions = swap->bench.gateway.config.counters->sessions_active;
	result.cycles_per_packet = (samples_median(&swap->batches[1]) - empty) / FORWARD_BURST;
	result.source_sink_cycles_per_packet = empty / FORWARD_BURST;
	result.bytes_per_session = gateway_bytes_per_session(&swap->bench.gateway);
	result.pages = swap->bench.gateway.sessions_block.kind;
	result_add(&result, "quiet_cycles_per_packet", (samples_median(&swap->batches[0]) - empty) / FORWARD_BURST);
	result_add(&result, "longest_batch_us", samples_median(&longest[1]));
	result_add(&result, "quiet_longest_batch_us", samples_median(&longest[0]));
	result_add(&result, "longest_batch_us_worst", samples_quantile(&longest[1], 1));
	result_add(&result, "quiet_longest_batch_us_worst", samples_quantile(&longest[0], 1));
	result_add(&result, "batch_p999_us", samples_quantile(&swap->batches[1], 0.999) / cycles_per_us);
	result_add(&result, "quiet_batch_p999_us", samples_quantile(&swap->batches[0], 0.999) / cycles_per_us);
	result_add(&result, "check_ms", samples_median(&swap->check_ms));
	result_add(&result, "build_ms", samples_median(&swap->build_ms));
	result_add(&result, "swap_ms", samples_median(&swap->swap_ms));
	samples_free(&longest[0]);
	samples_free(&longest[1]);
	*ret = result;
}

bool run_swap(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	struct swap swap = {.pause_ns = (uint64_t)(options->seconds * 1e9 / (2.0 * options->runs + 1))};
	bool done = bench_open(&swap.bench, scenario, options, NULL, ret_text);
	double empty = 0;
	pthread_t thread;

	done = done && bench_establish(&swap.bench, ret_text);
	if (done) {
		empty = empty_measure(&swap);
		done = pthread_create(&thread, NULL, control, &swap) == 0;
		if (!done)
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "no thread left for the swaps");
	}
	if (done) {
		measure(&swap);
		pthread_join(thread, NULL);
		done = !swap.failed && bench_lossless(&swap.bench, ret_text);
		if (swap.failed)
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "%s", swap.text);
	}
	if (done && swap.bench.gateway.config.counters->sessions_active != scenario->sessions) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "the swaps ended sessions of workers that had not changed");
		done = false;
	}
	if (done)
		finish(&swap, empty, ret);
	if (swap.bench.gateway_open || swap.bench.lane_open)
		bench_close(&swap.bench);
	samples_free(&swap.check_ms);
	samples_free(&swap.build_ms);
	samples_free(&swap.swap_ms);
	samples_free(&swap.batches[0]);
	samples_free(&swap.batches[1]);
	return done;
}
