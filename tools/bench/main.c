/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postern-bench: what a packet costs. Drives the pipeline of postern-dataplane in this process, without a network card.
 */
#include <sched.h>
#include <stdio.h>

#include "tools/bench/run.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void list(void)
{
	for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++)
		printf("%-18s %s %s\n", scenario->name, scenario->by_request_only ? "*" : " ", scenario->text);
}

/* The last one that the process may use, as a shard by default. */
static unsigned cpu_default(void)
{
	cpu_set_t cpus;
	unsigned last = CPU_SETSIZE - 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
		return 0;
	while (last > 0 && !CPU_ISSET(last, &cpus))
		last--;
	return last;
}

static bool run(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text)
{
	static bool (*const runs[])(const struct scenario *, const struct options *, struct result *, char *) = {
		[SCENARIO_STEADY] = run_steady,
		[SCENARIO_SETUP] = run_setup,
		[SCENARIO_FILL] = run_fill,
		[SCENARIO_EXPIRY] = run_expiry,
		[SCENARIO_SWAP] = run_swap,
		[SCENARIO_BPF] = run_bpf,
		[SCENARIO_SHARDS] = run_shards,
		[SCENARIO_FLOOD] = run_flood,
	};

	return runs[scenario->kind](scenario, options, ret, ret_text);
}

int main(int argc, char *argv[])
{
	char text[BENCH_TEXT_SIZE_BYTES] = "";
	struct options options;
	int exit_code = EXIT_OK;

	switch (options_parse(argc, argv, &options, text)) {
	case OPTIONS_HELP:
		fputs(options_help, stdout);
		return EXIT_OK;
	case OPTIONS_LIST:
		list();
		return EXIT_OK;
	case OPTIONS_WRONG:
		fprintf(stderr, "postern-bench: %s; see --help\n", text);
		return EXIT_USAGE;
	case OPTIONS_RUN:
		break;
	}
	if (!memory_start(cpu_default(), text)) {
		fprintf(stderr, "postern-bench: %s\n", text);
		return EXIT_FAILED;
	}
	if (!options.json)
		result_print_head();
	for (unsigned i = 0; i < options.scenario_count; i++) {
		const struct scenario *scenario = options.scenarios[i];
		struct result result;

		if (!run(scenario, &options, &result, text)) {
			fprintf(stderr, "postern-bench: %s: %s\n", scenario->name, text);
			exit_code = EXIT_FAILED;
		} else if (options.json) {
			result_print_json(&result, scenario, &options);
		} else {
			result_print_row(&result, scenario);
		}
	}
	memory_stop();
	return exit_code;
}
