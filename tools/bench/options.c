/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUNS_DEFAULT = 7, SECONDS_DEFAULT = 4, SECONDS_MAX = 3600 };

const char options_help[] =
	"usage: postern-bench [--json] [--scenario NAME]... [--list] [--seconds N | --packets N] [--runs N] [--seed "
	"S]\n"
	"                     [--pages KIND] [--descriptors N] [--only VARIANT] [--help]\n"
	"\n"
	"Measures the packet pipeline in this process: the same object code as postern-dataplane, real packet "
	"buffers,\n"
	"batches of 32, a source and a sink in memory. Needs no root, no network card and no hugepages.\n"
	"\n"
	"  --scenario NAME   measure this one; again for more (default: all that are not marked * in --list)\n"
	"  --list            the scenarios and what they are\n"
	"  --json            one JSON object per scenario, one per line\n"
	"  --seconds N       how long to measure, per scenario (default 4)\n"
	"  --packets N       instead: N packets per variant and run, on a clock of its own, so that it repeats "
	"exactly\n"
	"  --runs N          interleaved runs, of which the median is printed, 1 to 100 (default 7)\n"
	"  --seed S          of sessions, order and keys (default 1)\n"
	"  --pages KIND      large: hugepages or transparent large pages (default); file: session records in shared\n"
	"                    memory as in a session file on a tmpfs; normal: 4 KiB pages everywhere\n"
	"  --descriptors N   let the sink keep N buffers before it returns them, as a port's rings do, so that "
	"buffers\n"
	"                    are cold; a multiple of 32 up to 8192 (default 0)\n"
	"  --only VARIANT    measure only empty, forward, nat, rte_hash or stages; for profilers\n"
	"\n"
	"Cycles are ticks of the time stamp counter, per packet, without source and sink. Exit codes: 0 measured,\n"
	"1 failed, 2 usage.\n";

static bool number_parse(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < minimum || number > maximum)
		return false;
	*ret_number = number;
	return true;
}

static bool seconds_parse(const char *text, double *ret_seconds)
{
	char *end;
	const double seconds = strtod(text, &end);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || !(seconds > 0 && seconds <= SECONDS_MAX))
		return false;
	*ret_seconds = seconds;
	return true;
}

static bool word_parse(const char *text, const char *const words[], unsigned count, unsigned *ret_index)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, words[i]) != 0)
			continue;
		*ret_index = i;
		return true;
	}
	return false;
}

static bool scenario_add(struct options *options, const char *name)
{
	const struct scenario *scenario = scenario_find(name);

	if (scenario == NULL || options->scenario_count == OPTIONS_SCENARIOS_MAX)
		return false;
	options->scenarios[options->scenario_count++] = scenario;
	return true;
}

enum option_key {
	KEY_HELP = 'h',
	KEY_JSON = 'j',
	KEY_SCENARIO = 's',
	KEY_LIST = 'l',
	KEY_SECONDS = 't',
	KEY_PACKETS = 'p',
	KEY_RUNS = 'r',
	KEY_SEED = 'e',
	KEY_PAGES = 'g',
	KEY_DESCRIPTORS = 'd',
	KEY_ONLY = 'o',
};

/* False: the value does not fit; `ret_wanted` says what would. */
static bool option_set(struct options *options, int key, const char *value, const char **ret_wanted)
{
	static const char *const pages[] = {"large", "file", "normal"};
	static const char *const variants[] = {"empty", "forward", "nat", "rte_hash", "stages"};
	uint64_t number = 0;
	unsigned index = 0;
	bool done;

	switch (key) {
	case KEY_SCENARIO:
		*ret_wanted = "a name from --list";
		return scenario_add(options, value);
	case KEY_SECONDS:
		*ret_wanted = "a number above 0, at most 3600";
		return seconds_parse(value, &options->seconds);
	case KEY_PACKETS:
		*ret_wanted = "a number from 1 to 10000000000";
		return number_parse(value, 1, 10000000000u, &options->packets);
	case KEY_RUNS:
		*ret_wanted = "a number from 1 to 100";
		done = number_parse(value, 1, OPTIONS_RUNS_MAX, &number);
		options->runs = (unsigned)number;
		return done;
	case KEY_SEED:
		*ret_wanted = "a number";
		return number_parse(value, 0, UINT64_MAX, &options->seed);
	case KEY_PAGES:
		*ret_wanted = "large, file or normal";
		done = word_parse(value, pages, 3, &index);
		options->pages = (enum memory_pages)index;
		return done;
	case KEY_DESCRIPTORS:
		*ret_wanted = "a multiple of 32 up to 8192";
		done = number_parse(value, 0, OPTIONS_DESCRIPTORS_MAX, &number) && number % FORWARD_BURST == 0;
		options->descriptors = (uint32_t)number;
		return done;
	default:
		*ret_wanted = "empty, forward, nat, rte_hash or stages";
		options->only_set = word_parse(value, variants, LANE_VARIANT_COUNT, &index);
		options->only = (enum lane_variant)index;
		return options->only_set;
	}
}

static void scenarios_default(struct options *options)
{
	for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++)
		if (!scenario->by_request_only)
			options->scenarios[options->scenario_count++] = scenario;
}

enum options_outcome options_parse(int argc, char *argv[], struct options *ret_options, char *ret_text)
{
	static const struct option known[] = {
		{"help", no_argument, NULL, KEY_HELP},
		{"json", no_argument, NULL, KEY_JSON},
		{"list", no_argument, NULL, KEY_LIST},
		{"scenario", required_argument, NULL, KEY_SCENARIO},
		{"seconds", required_argument, NULL, KEY_SECONDS},
		{"packets", required_argument, NULL, KEY_PACKETS},
		{"runs", required_argument, NULL, KEY_RUNS},
		{"seed", required_argument, NULL, KEY_SEED},
		{"pages", required_argument, NULL, KEY_PAGES},
		{"descriptors", required_argument, NULL, KEY_DESCRIPTORS},
		{"only", required_argument, NULL, KEY_ONLY},
		{},
	};
	struct options options = {.seconds = SECONDS_DEFAULT, .runs = RUNS_DEFAULT, .seed = 1};
	enum options_outcome outcome = OPTIONS_RUN;
	bool seconds_given = false;
	int key, at;

	opterr = 0;
	while ((key = getopt_long(argc, argv, "h", known, &at)) != -1) {
		const char *wanted;

		if (key == KEY_HELP)
			return OPTIONS_HELP;
		if (key == KEY_LIST)
			outcome = OPTIONS_LIST;
		else if (key == KEY_JSON)
			options.json = true;
		else if (key == '?') {
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "%.80s is no option, or lacks its value",
				argv[optind - 1]);
			return OPTIONS_WRONG;
		} else if (!option_set(&options, key, optarg, &wanted)) {
			snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "--%s takes %s, not “%.80s”", known[at].name, wanted,
				optarg);
			return OPTIONS_WRONG;
		}
		seconds_given |= key == KEY_SECONDS;
	}
	if (optind < argc) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "“%.80s” is no option", argv[optind]);
		return OPTIONS_WRONG;
	}
	if (seconds_given && options.packets != 0) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "--seconds and --packets exclude each other");
		return OPTIONS_WRONG;
	}
	if (options.scenario_count == 0)
		scenarios_default(&options);
	*ret_options = options;
	return outcome;
}
