/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/result.h"

#include <math.h>
#include <stdio.h>

#include <rte_cycles.h>

#include "dataplane/nat/check.h"

static const char *const stage_names[LANE_STAGE_COUNT] = {
#define STAGE_NAME(name) #name,
	LANE_STAGES_LIST(STAGE_NAME)
#undef STAGE_NAME
};

struct result result_empty(void)
{
	struct result result = {
		.cycles_per_packet = NAN,
		.cycles_low = NAN,
		.cycles_high = NAN,
		.forward_cycles_per_packet = NAN,
		.rte_hash_cycles_per_packet = NAN,
		.source_sink_cycles_per_packet = NAN,
		.cycles_per_session = NAN,
		.bytes_per_session = NAN,
		.pages = "large",
	};

	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
		result.stages[i] = NAN;
	return result;
}

void result_add(struct result *result, const char *name, double value)
{
	CHECK(result->extras_count < RESULT_EXTRAS_MAX);
	result->extras[result->extras_count].name = name;
	result->extras[result->extras_count++].value = value;
}

static double per_second(double cycles)
{
	return cycles > 0 ? (double)rte_get_tsc_hz() / cycles : NAN;
}

/* All figures are numbers and all names are ours: nothing needs quoting. */
static void print_number(const char *name, double value, int digits)
{
	if (isfinite(value))
		printf(", \"%s\": %.*f", name, digits, value);
	else
		printf(", \"%s\": null", name);
}

void result_print_json(const struct result *result, const struct scenario *scenario, const struct options *options)
{
	printf("{\"name\": \"%s\", \"sessions\": %llu", scenario->name, (unsigned long long)result->sessions);
	print_number("cycles_per_packet", result->cycles_per_packet, 2);
	print_number("mpps", per_second(result->cycles_per_packet) / 1e6, 3);
	print_number("cycles_low", result->cycles_low, 2);
	print_number("cycles_high", result->cycles_high, 2);
	print_number("forward_cycles_per_packet", result->forward_cycles_per_packet, 2);
	print_number("rte_hash_cycles_per_packet", result->rte_hash_cycles_per_packet, 2);
	print_number("ratio_to_forward", result->cycles_per_packet / result->forward_cycles_per_packet, 3);
	print_number("ratio_rte_hash", result->rte_hash_cycles_per_packet / result->cycles_per_packet, 3);
	print_number("source_sink_cycles_per_packet", result->source_sink_cycles_per_packet, 2);
	if (isfinite(result->cycles_per_session)) {
		print_number("cycles_per_session", result->cycles_per_session, 1);
		print_number("sessions_per_second", per_second(result->cycles_per_session), 0);
	}
	printf(", \"stages\": {");
	for (unsigned i = 0; i < LANE_STAGE_COUNT; i++) {
		if (isfinite(result->stages[i]))
			printf("%s\"%s\": %.2f", i == 0 ? "" : ", ", stage_names[i], result->stages[i]);
		else
			printf("%s\"%s\": null", i == 0 ? "" : ", ", stage_names[i]);
	}
	printf("}");
	print_number("bytes_per_session", result->bytes_per_session, 1);
	for (unsigned i = 0; i < result->extras_count; i++)
		print_number(result->extras[i].name, result->extras[i].value, 2);
	printf(", \"pages\": \"%s\", \"descriptors\": %u, \"runs\": %u, \"seed\": %llu, \"tsc_hz\": %llu}\n",
		result->pages, options->descriptors, options->runs, (unsigned long long)options->seed,
		(unsigned long long)rte_get_tsc_hz());
	fflush(stdout);
}

void result_print_head(void)
{
	printf("cycles of a %.2f GHz counter; without source and sink\n\n", (double)rte_get_tsc_hz() / 1e9);
	printf("%-18s %9s %8s %8s %8s %8s %9s %9s\n", "scenario", "sessions", "cycles", "Mpps", "forward", "ratio",
		"rte_hash", "ratio");
}

static void print_cell(double value, int width, int digits)
{
	if (isfinite(value))
		printf(" %*.*f", width, digits, value);
	else
		printf(" %*s", width, "-");
}

void result_print_row(const struct result *result, const struct scenario *scenario)
{
	printf("%-18s %9llu", scenario->name, (unsigned long long)result->sessions);
	print_cell(result->cycles_per_packet, 8, 1);
	print_cell(per_second(result->cycles_per_packet) / 1e6, 8, 2);
	print_cell(result->forward_cycles_per_packet, 8, 1);
	print_cell(result->cycles_per_packet / result->forward_cycles_per_packet, 8, 2);
	print_cell(result->rte_hash_cycles_per_packet, 9, 1);
	print_cell(result->rte_hash_cycles_per_packet / result->cycles_per_packet, 9, 2);
	printf("\n");
	if (isfinite(result->stages[LANE_STAGE_parse])) {
		printf("%18s", "");
		for (unsigned i = 0; i < LANE_STAGE_COUNT; i++)
			if (isfinite(result->stages[i]))
				printf(" %s %.1f", stage_names[i], result->stages[i]);
		printf("\n");
	}
	for (unsigned i = 0; i < result->extras_count; i++)
		printf("%18s %s %.2f\n", "", result->extras[i].name, result->extras[i].value);
	fflush(stdout);
}
