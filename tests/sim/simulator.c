/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded simulator (sim.h), one test point per mix of traffic.
 *
 *   simulator [--packets N] [--seed S] [--mix NAME] [--verbose]
 *
 * The packets go in rounds of ROUND_PACKETS, each of which runs every mix with a seed of its own, from an empty gateway
 * to an empty gateway. Without --seed the clock gives the first one, which is printed: the same seed replays the same
 * run. A mix ends at its first difference. --verbose prints what was dropped why and, at a difference, the last 50
 * events.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

enum { ROUND_PACKETS = 250000, ROUNDS_PER_LINE = 40 };

struct options {
	uint64_t packets, seed;
	const struct mix *only;
	bool verbose;
};

/* What has been done with a mix. */
struct tally_of_mix {
	uint64_t packets, sessions, expired, stale, policies;
	bool failed;
};

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void drops_print(const struct counters_shard *counts)
{
	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
		if (counts->drops[PORT_INSIDE][reason] + counts->drops[PORT_OUTSIDE][reason] != 0)
			printf("#   %-20s %8llu inside %8llu outside\n", drop_reason_label(reason),
				(unsigned long long)counts->drops[PORT_INSIDE][reason],
				(unsigned long long)counts->drops[PORT_OUTSIDE][reason]);
}

static void mix_run(
	const struct options *options, const struct mix *mix, uint64_t packets, uint64_t seed, struct tally_of_mix *of)
{
	struct sim *sim = sim_new(mix, (struct random){.state = seed});
	of->failed = !sim_run(sim, packets);
	const struct counters_shard *counts = sim->world->counts;
	of->packets += sim->packets;
	of->sessions += counts->sessions_created;
	of->expired += counts->sessions_expired;
	of->stale += counts->sessions_stale;
	of->policies += sim->world->generation;
	if (options->verbose)
		drops_print(counts);
	if (of->failed) {
		printf("# %s, seed %llu: %s\n# replay: simulator --mix %s --packets %llu --seed %llu --verbose\n",
			mix->name, (unsigned long long)seed, sim->problem, mix->name, (unsigned long long)packets,
			(unsigned long long)seed);
		if (options->verbose)
			sim_trace_print(sim);
	}
	sim_free(sim);
}

/* Returns how many mixes failed. */
static unsigned rounds_run(const struct options *options)
{
	struct tally_of_mix of[MIXES] = {{0}};
	const double begin_s = now_s();
	uint64_t done = 0;
	for (uint64_t round = 0; done < options->packets; round++) {
		const uint64_t left = options->packets - done;
		const uint64_t packets = left < ROUND_PACKETS ? left : ROUND_PACKETS;
		done += packets;
		for (unsigned i = 0; i < MIXES; i++) {
			const struct mix *mix = &sim_mixes[i];
			if (of[i].failed || (options->only != NULL && options->only != mix))
				continue;
			if (options->only != NULL)
				mix_run(options, mix, packets, options->seed + round * MIXES, &of[i]);
			else
				mix_run(options, mix, packets * mix->share / 100, options->seed + round * MIXES + i,
					&of[i]);
		}
		if (round % ROUNDS_PER_LINE == ROUNDS_PER_LINE - 1)
			printf("# %llu packets in %.0f s\n", (unsigned long long)done, now_s() - begin_s);
		fflush(stdout);
	}
	printf("# %llu packets, %.0f/s\n", (unsigned long long)done, (double)done / (now_s() - begin_s));
	unsigned failed = 0, point = 0;
	for (unsigned i = 0; i < MIXES; i++) {
		if (options->only != NULL && options->only != &sim_mixes[i])
			continue;
		printf("# %s: %llu packets; %llu sessions, %llu expired, %llu stale, %llu policies\n%sok %u - %s\n",
			sim_mixes[i].name, (unsigned long long)of[i].packets, (unsigned long long)of[i].sessions,
			(unsigned long long)of[i].expired, (unsigned long long)of[i].stale,
			(unsigned long long)of[i].policies, of[i].failed ? "not " : "", ++point, sim_mixes[i].claim);
		failed += of[i].failed;
	}
	return failed;
}

static int usage(void)
{
	fprintf(stderr, "usage: simulator [--packets N] [--seed S] [--mix NAME] [--verbose]\n");
	return 2;
}

static const struct mix *mix_by_name(const char *name)
{
	for (unsigned i = 0; i < MIXES; i++)
		if (strcmp(sim_mixes[i].name, name) == 0)
			return &sim_mixes[i];
	return NULL;
}

int main(int argc, char **argv)
{
	struct options options = {.packets = 1000000};
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--verbose") == 0)
			options.verbose = true;
		else if (i + 1 < argc && strcmp(argv[i], "--packets") == 0)
			options.packets = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
			options.seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && strcmp(argv[i], "--mix") == 0 && mix_by_name(argv[i + 1]) != NULL)
			options.only = mix_by_name(argv[++i]);
		else
			return usage();
	}
	if (options.packets == 0)
		return usage();
	if (options.seed == 0) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		options.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	}
	printf("TAP version 13\n1..%u\n# seed %llu\n", options.only != NULL ? 1 : (unsigned)MIXES,
		(unsigned long long)options.seed);
	fflush(stdout);
	return rounds_run(&options) == 0 ? 0 : 1;
}
