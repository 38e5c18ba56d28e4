/* SPDX-License-Identifier: Apache-2.0 */
/* The command line. Owner: main(). */
#ifndef POSTERN_BENCH_OPTIONS_H
#define POSTERN_BENCH_OPTIONS_H

#include "tools/bench/lane.h"
#include "tools/bench/memory.h"
#include "tools/bench/scenario.h"

enum { OPTIONS_SCENARIOS_MAX = 64, OPTIONS_RUNS_MAX = 100, OPTIONS_DESCRIPTORS_MAX = 8192 };

enum options_outcome { OPTIONS_RUN, OPTIONS_LIST, OPTIONS_HELP, OPTIONS_WRONG };

struct options {
	const struct scenario *scenarios[OPTIONS_SCENARIOS_MAX];
	unsigned scenario_count;
	bool json;
	double seconds;	  /* per scenario */
	uint64_t packets; /* per variant and run, instead of seconds, on a clock of its own; 0: none */
	unsigned runs;
	uint64_t seed;
	enum memory_pages pages;
	uint32_t descriptors;
	bool only_set;
	enum lane_variant only; /* measure nothing else */
};

/* OPTIONS_WRONG: `ret_text` says what. */
enum options_outcome options_parse(int argc, char *argv[], struct options *ret_options, char *ret_text);

extern const char options_help[];

#endif
