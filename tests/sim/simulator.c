/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded simulator (sim.h), one test point per mix of traffic.
 *
 *   simulator [--packets N] [--seed S] [--mix NAME] [--verbose]
 *
 * Without --seed the clock gives one, which is printed: the same seed replays the same run. --verbose prints what was
 * dropped why and, at a divergence, the last 50 events.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

static bool mix_run(const struct mix *mix, uint64_t packets, uint64_t seed, bool verbose)
{
	struct timespec begin, end;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	struct sim *sim = sim_new(mix, (struct random){.state = seed});
	const bool fine = sim_run(sim, packets);
	clock_gettime(CLOCK_MONOTONIC, &end);
	const double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
	const struct counters_shard *counts = sim->world->counts;
	printf("# %s: %llu packets, %.0f/s; %llu sessions, %llu expired, %llu stale, %llu policies; %.0f s simulated\n",
		mix->name, (unsigned long long)sim->packets, (double)sim->packets / seconds,
		(unsigned long long)counts->sessions_created, (unsigned long long)counts->sessions_expired,
		(unsigned long long)counts->sessions_stale, (unsigned long long)sim->world->generation,
		(double)sim->world->now_ns / 1e9);
	for (unsigned reason = 0; verbose && reason < DROP_REASON_COUNT; reason++)
		if (counts->drops[PORT_INSIDE][reason] + counts->drops[PORT_OUTSIDE][reason] != 0)
			printf("#   %-20s %8llu inside %8llu outside\n", drop_reason_label(reason),
				(unsigned long long)counts->drops[PORT_INSIDE][reason],
				(unsigned long long)counts->drops[PORT_OUTSIDE][reason]);
	if (!fine) {
		printf("# %s, seed %llu: %s\n# replay: simulator --mix %s --packets %llu --seed %llu --verbose\n",
			mix->name, (unsigned long long)seed, sim->problem, mix->name, (unsigned long long)packets,
			(unsigned long long)seed);
		if (verbose)
			sim_trace_print(sim);
	}
	sim_free(sim);
	return fine;
}

static int usage(void)
{
	fprintf(stderr, "usage: simulator [--packets N] [--seed S] [--mix NAME] [--verbose]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t packets = 1000000, seed = 0;
	const char *only = NULL;
	bool verbose = false;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0)
			verbose = true;
		else if (i + 1 < argc && strcmp(argv[i], "--packets") == 0)
			packets = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--mix") == 0)
			only = argv[++i];
		else
			return usage();
	}
	if (seed == 0) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	}
	const unsigned mix_count = MIXES;
	unsigned failed = 0, run_count = 0;
	printf("TAP version 13\n1..%u\n# seed %llu\n", only != NULL ? 1 : mix_count, (unsigned long long)seed);
	for (unsigned i = 0; i < mix_count; i++) {
		const struct mix *mix = &sim_mixes[i];
		if (only != NULL && strcmp(only, mix->name) != 0)
			continue;
		fflush(stdout);
		const bool fine = mix_run(mix, only != NULL ? packets : packets * mix->share / 100,
			only != NULL ? seed : seed + i, verbose);
		printf("%sok %u - %s\n", fine ? "" : "not ", ++run_count, mix->claim);
		failed += !fine;
	}
	if (run_count == 0)
		return usage();
	return failed == 0 ? 0 : 1;
}
