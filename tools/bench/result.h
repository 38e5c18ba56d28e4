/* SPDX-License-Identifier: Apache-2.0 */
/* What a scenario gave, and how it is printed: a table for people, one JSON object per scenario for programs. */
#ifndef POSTERN_BENCH_RESULT_H
#define POSTERN_BENCH_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/bench/lane.h"
#include "tools/bench/options.h"
#include "tools/bench/scenario.h"

enum { RESULT_EXTRAS_MAX = 24 };

/* NAN: not measured in this scenario; printed as null. */
struct result {
	uint64_t sessions;
	double cycles_per_packet;	/* without source and sink */
	double cycles_low, cycles_high; /* tenth and ninetieth part of its measurements */
	double forward_cycles_per_packet, rte_hash_cycles_per_packet;
	double source_sink_cycles_per_packet;
	double stages[LANE_STAGE_COUNT];
	double cycles_per_session;
	double bytes_per_session;
	const char *pages;
	struct {
		const char *name;
		double value;
	} extras[RESULT_EXTRAS_MAX]; /* figures that only some scenarios have */
	unsigned extras_count;
};

struct result result_empty(void);
void result_add(struct result *result, const char *name, double value);

void result_print_json(const struct result *result, const struct scenario *scenario, const struct options *options);
void result_print_head(void);
void result_print_row(const struct result *result, const struct scenario *scenario);

#endif
