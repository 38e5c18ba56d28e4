/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a scenario: builds its gateway, measures, checks that every packet went where it should, and tears it down.
 *
 * Owner and thread: main()'s. False: `ret_text` says what went wrong; there is no result.
 */
#ifndef POSTERN_BENCH_RUN_H
#define POSTERN_BENCH_RUN_H

#include "tools/bench/result.h"
#include "tools/bench/samples.h"

/* What the runs have in common. */
struct bench {
	const struct scenario *scenario;
	const struct options *options;
	struct gateway gateway;
	struct frames frames;
	struct rival rival;
	struct lane lane;
	bool gateway_open, lane_open;
};

/* Gateway, lane and outbound frames of the scenario; `sessions_max` a power of two. */
bool bench_open(struct bench *ret_bench, const struct scenario *scenario, const struct options *options,
	const struct policy_limits *first_limits, char *ret_text);
void bench_close(struct bench *bench);

/* Opens a session for each frame, for TCP with its handshake. */
bool bench_establish(struct bench *bench, char *ret_text);

/* Replies instead of what has been sent outbound. */
bool bench_turn(struct bench *bench, char *ret_text);

/* Were all packets since bench->lane was opened forwarded? Else which drops there were. */
bool bench_lossless(const struct bench *bench, char *ret_text);

/* The plan of the frames that the scenario sends outbound. */
struct frames_plan bench_frames_plan(const struct bench *bench);

bool run_steady(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_setup(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_fill(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_expiry(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_swap(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_bpf(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_shards(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);
bool run_flood(const struct scenario *scenario, const struct options *options, struct result *ret, char *ret_text);

#endif
