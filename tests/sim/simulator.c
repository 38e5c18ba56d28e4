/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded simulator (sim.h), one test point per mix of traffic.
 *
 *   simulator [--packets N] [--seed S] [--skip N] [--jobs N] [--mix NAME] [--verbose]
 *
 * The packets go in rounds of ROUND_PACKETS, each of which runs every mix with a seed of its own, from an empty gateway
 * to an empty gateway. Without --seed the clock gives the first one, which is printed: the same seed replays the same
 * run. --jobs deals the rounds to so many processes. --skip leaves out the rounds of so many packets at the beginning: so
 * a run that was broken off goes on where the last line of its progress was. A mix ends at its first difference.
 * --verbose prints what was dropped why and, at a difference, the last 50 events.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

enum { ROUND_PACKETS = 250000, JOBS_MAX = 64, PROGRESS_S = 10, POLL_NS = 100000000 };

struct options {
	uint64_t packets, seed, skip;
	unsigned jobs;
	const struct mix *only;
	bool verbose;
};

/* What has been done with a mix. */
struct tally_of_mix {
	uint64_t packets, sessions, expired, stale, policies;
	bool failed;
};

/* What a process has done; shared with the one that started it. */
struct job {
	struct tally_of_mix of[MIXES];
	uint64_t rounds, done; /* whole ones, and their packets */
	uint64_t mix, seed;    /* of what it is doing */
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

static void mix_run(const struct options *options, struct sim **sim, unsigned mix, uint64_t packets, struct job *job)
{
	const struct random random = {.state = job->seed};
	struct tally_of_mix *of = &job->of[mix];
	if (*sim == NULL)
		*sim = sim_new(&sim_mixes[mix], random);
	else
		sim_restart(*sim, &sim_mixes[mix], random);
	of->failed = !sim_run(*sim, packets);
	const struct counters_shard *counts = (*sim)->world->counts;
	of->packets += (*sim)->packets;
	of->sessions += counts->sessions_created;
	of->expired += counts->sessions_expired;
	of->stale += counts->sessions_stale;
	of->policies += (*sim)->world->generation;
	if (options->verbose)
		drops_print(counts);
	if (of->failed) {
		printf("# %s, seed %llu: %s\n# replay: simulator --mix %s --packets %llu --seed %llu --verbose\n",
			sim_mixes[mix].name, (unsigned long long)job->seed, (*sim)->problem, sim_mixes[mix].name,
			(unsigned long long)packets, (unsigned long long)job->seed);
		if (options->verbose)
			sim_trace_print(*sim);
		fflush(stdout);
	}
}

static uint64_t rounds(const struct options *options)
{
	return (options->packets + ROUND_PACKETS - 1) / ROUND_PACKETS;
}

static void progress_print(const struct options *options, const struct job *jobs, double begin_s)
{
	const uint64_t skipped = options->skip / ROUND_PACKETS * ROUND_PACKETS;
	uint64_t done = 0, least = UINT64_MAX; /* rounds that every job has done */
	unsigned failed = 0;
	for (unsigned j = 0; j < options->jobs; j++) {
		done += jobs[j].done;
		least = jobs[j].rounds < least ? jobs[j].rounds : least;
		for (unsigned i = 0; i < MIXES; i++)
			failed += jobs[j].of[i].failed;
	}
	const double rate = (double)done / (now_s() - begin_s);
	printf("# %llu of %llu packets, %.0f/s, %u violations, %.0f min to go; from here on: --skip %llu\n",
		(unsigned long long)(skipped + done), (unsigned long long)options->packets, rate, failed,
		rate > 0 ? (double)(options->packets - skipped - done) / rate / 60 : 0,
		(unsigned long long)(skipped + least * options->jobs * ROUND_PACKETS));
	fflush(stdout);
}

/* Every jobs-th round, from the number-th on. Alone, it says itself how far it is. */
static void job_run(const struct options *options, struct job *jobs, unsigned number, double begin_s)
{
	struct job *job = &jobs[number];
	struct sim *sim = NULL;
	double said_s = begin_s;
	for (uint64_t round = options->skip / ROUND_PACKETS + number; round < rounds(options); round += options->jobs) {
		const uint64_t left = options->packets - round * ROUND_PACKETS;
		const uint64_t packets = left < ROUND_PACKETS ? left : ROUND_PACKETS;
		for (unsigned i = 0; i < MIXES; i++) {
			const struct mix *mix = &sim_mixes[i];
			if (job->of[i].failed || (options->only != NULL && options->only != mix))
				continue;
			job->mix = i;
			job->seed = options->seed + round * MIXES + (options->only != NULL ? 0 : i);
			mix_run(options, &sim, i, options->only != NULL ? packets : packets * mix->share / 100, job);
		}
		job->rounds++;
		job->done += packets;
		if (options->jobs == 1 && now_s() - said_s >= PROGRESS_S) {
			said_s = now_s();
			progress_print(options, jobs, begin_s);
		}
	}
	if (sim != NULL)
		sim_free(sim);
}

/* Returns how many jobs did not come to their end. */
static unsigned jobs_run(const struct options *options, struct job *jobs, double begin_s)
{
	pid_t children[JOBS_MAX];
	unsigned running = 0, lost = 0;
	double said_s = begin_s;
	for (unsigned j = 0; j < options->jobs; j++) {
		children[j] = fork();
		if (children[j] == 0) {
			job_run(options, jobs, j, begin_s);
			exit(0);
		}
		running += children[j] > 0;
		lost += children[j] < 0;
	}
	while (running > 0) {
		int status;
		const pid_t child = waitpid(-1, &status, WNOHANG);
		if (child <= 0) {
			const struct timespec moment = {.tv_nsec = POLL_NS};
			nanosleep(&moment, NULL);
			if (now_s() - said_s >= PROGRESS_S) {
				said_s = now_s();
				progress_print(options, jobs, begin_s);
			}
			continue;
		}
		running--;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		lost++;
		for (unsigned j = 0; j < options->jobs; j++)
			if (children[j] == child)
				printf("# a job ended with status %#x in mix %s, seed %llu\n", (unsigned)status,
					sim_mixes[jobs[j].mix].name, (unsigned long long)jobs[j].seed);
	}
	return lost;
}

/* Returns how many mixes failed. */
static unsigned sum_print(const struct options *options, const struct job *jobs)
{
	unsigned failed = 0, point = 0;
	for (unsigned i = 0; i < MIXES; i++) {
		struct tally_of_mix sum = {0};
		if (options->only != NULL && options->only != &sim_mixes[i])
			continue;
		for (unsigned j = 0; j < options->jobs; j++) {
			sum.packets += jobs[j].of[i].packets;
			sum.sessions += jobs[j].of[i].sessions;
			sum.expired += jobs[j].of[i].expired;
			sum.stale += jobs[j].of[i].stale;
			sum.policies += jobs[j].of[i].policies;
			sum.failed = sum.failed || jobs[j].of[i].failed;
		}
		printf("# %s: %llu packets; %llu sessions, %llu expired, %llu stale, %llu policies\n%sok %u - %s\n",
			sim_mixes[i].name, (unsigned long long)sum.packets, (unsigned long long)sum.sessions,
			(unsigned long long)sum.expired, (unsigned long long)sum.stale,
			(unsigned long long)sum.policies, sum.failed ? "not " : "", ++point, sim_mixes[i].claim);
		failed += sum.failed;
	}
	return failed;
}

static int usage(void)
{
	fprintf(stderr, "usage: simulator [--packets N] [--seed S] [--skip N] [--jobs N] [--mix NAME] [--verbose]\n");
	return 2;
}

static const struct mix *mix_by_name(const char *name)
{
	for (unsigned i = 0; i < MIXES; i++)
		if (strcmp(sim_mixes[i].name, name) == 0)
			return &sim_mixes[i];
	return NULL;
}

static bool options_read(struct options *options, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const bool value = i + 1 < argc;
		if (strcmp(argv[i], "--verbose") == 0)
			options->verbose = true;
		else if (value && strcmp(argv[i], "--packets") == 0)
			options->packets = strtoull(argv[++i], NULL, 0);
		else if (value && strcmp(argv[i], "--seed") == 0)
			options->seed = strtoull(argv[++i], NULL, 0);
		else if (value && strcmp(argv[i], "--skip") == 0)
			options->skip = strtoull(argv[++i], NULL, 0);
		else if (value && strcmp(argv[i], "--jobs") == 0)
			options->jobs = (unsigned)strtoul(argv[++i], NULL, 0);
		else if (value && strcmp(argv[i], "--mix") == 0 && mix_by_name(argv[i + 1]) != NULL)
			options->only = mix_by_name(argv[++i]);
		else
			return false;
	}
	return options->packets > options->skip && options->jobs >= 1 && options->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
	struct options options = {.packets = 1000000, .jobs = 1};
	if (!options_read(&options, argc, argv))
		return usage();
	if (options.seed == 0) {
		struct timespec now;
		clock_gettime(CLOCK_REALTIME, &now);
		options.seed = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	}
	struct job *jobs =
		mmap(NULL, options.jobs * sizeof(*jobs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (jobs == MAP_FAILED)
		abort();
	printf("TAP version 13\n1..%u\n# seed %llu\n", options.only != NULL ? 1 : (unsigned)MIXES,
		(unsigned long long)options.seed);
	fflush(stdout);
	const double begin_s = now_s();
	unsigned lost = 0;
	if (options.jobs == 1)
		job_run(&options, jobs, 0, begin_s);
	else
		lost = jobs_run(&options, jobs, begin_s);
	progress_print(&options, jobs, begin_s);
	const unsigned failed = sum_print(&options, jobs);
	if (lost > 0)
		printf("Bail out! %u of %u jobs did not come to their end\n", lost, options.jobs);
	munmap(jobs, options.jobs * sizeof(*jobs));
	return failed + lost == 0 ? 0 : 1;
}
