/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "dataplane/nat/bytes.h"
#include "tools/bench/run.h"

enum {
	SESSIONS_MIN = 1024,
	EGRESS_IPS_DEFAULT = 16,
	/* Of the clock that counts batches: 10 million packets a second. */
	BATCH_NS = FORWARD_BURST * 100,
};

static uint32_t sessions_max_of(const struct scenario *scenario)
{
	uint32_t count = SESSIONS_MIN;

	while (count < scenario->sessions + scenario->further_sessions)
		count *= 2;
	return count;
}

struct frames_plan bench_frames_plan(const struct bench *bench)
{
	const struct scenario *scenario = bench->scenario;

	return (struct frames_plan){
		.count = scenario->sessions,
		.protocol = scenario->tcp ? PROTOCOL_TCP : PROTOCOL_UDP,
		.tcp_flags = TCP_SYN,
		.imix = scenario->imix,
		.one_remote = scenario->kind == SCENARIO_FILL,
		.seed = bench->options->seed,
	};
}

bool bench_open(struct bench *ret_bench, const struct scenario *scenario, const struct options *options,
	const struct policy_limits *first_limits, char *ret_text)
{
	const struct gateway_plan plan = {
		.sessions_max = sessions_max_of(scenario),
		.workspace_count = scenario->workspaces != 0 ? scenario->workspaces : 1,
		.egress_per_workspace =
			scenario->egress_per_workspace != 0 ? scenario->egress_per_workspace : EGRESS_IPS_DEFAULT,
		.workers_per_workspace = scenario->workers_per_workspace,
		.vxlan = scenario->vxlan,
		.mapping_udp = scenario->endpoint_dependent ? POLICY_MAPPING_ENDPOINT_DEPENDENT
							    : POLICY_MAPPING_ENDPOINT_INDEPENDENT,
		.first_limits = first_limits != NULL ? *first_limits : (struct policy_limits){},
		.seed = options->seed,
		.pages = options->pages,
	};
	struct bench *bench = ret_bench;
	struct frames_plan frames_plan;

	*bench = (struct bench){.scenario = scenario, .options = options};
	bench->lane_open = lane_open(
		&bench->lane, options->pages, options->descriptors, options->packets != 0 ? BATCH_NS : 0, ret_text);
	bench->gateway_open =
		bench->lane_open && gateway_open(&bench->gateway, &plan, lane_now_ns(&bench->lane), ret_text);
	frames_plan = bench_frames_plan(bench);
	if (!bench->gateway_open || !frames_outbound(&bench->frames, &bench->gateway, &frames_plan, ret_text)) {
		bench_close(bench);
		return false;
	}
	bench->lane.gateway = &bench->gateway;
	bench->lane.frames = &bench->frames;
	bench->lane.rival = &bench->rival;
	view_enter(&bench->gateway.view, 0);
	return true;
}

void bench_close(struct bench *bench)
{
	if (bench->frames.count != 0 && bench->gateway_open)
		view_leave(&bench->gateway.view, 0);
	rival_close(&bench->rival);
	frames_free(&bench->frames);
	if (bench->gateway_open)
		gateway_close(&bench->gateway);
	if (bench->lane_open)
		lane_close(&bench->lane);
}

bool bench_turn(struct bench *bench, char *ret_text)
{
	const struct frames_plan plan = bench_frames_plan(bench);
	struct frames outbound = bench->frames, inbound;

	if (!frames_inbound(&inbound, &bench->gateway, &plan, ret_text))
		return false;
	frames_free(&outbound);
	bench->frames = inbound;
	return true;
}

/* SYN and ACK from outside; the frames of inside stay what they are. */
static bool answer_syns(struct bench *bench, char *ret_text)
{
	const struct frames_plan plan = bench_frames_plan(bench);
	struct frames replies;

	if (!frames_inbound(&replies, &bench->gateway, &plan, ret_text))
		return false;
	frames_set_flags(&replies, TCP_SYN | TCP_ACK);
	bench->lane.frames = &replies;
	lane_pass(&bench->lane);
	bench->lane.frames = &bench->frames;
	frames_free(&replies);
	return true;
}

bool bench_establish(struct bench *bench, char *ret_text)
{
	uint64_t active;

	lane_pass(&bench->lane);
	active = bench->gateway.config.counters->sessions_active;
	if (active != bench->scenario->sessions) {
		bench_lossless(bench, ret_text);
		return false;
	}
	if (!bench->scenario->tcp)
		return true;
	if (!answer_syns(bench, ret_text))
		return false;
	frames_set_flags(&bench->frames, TCP_ACK);
	lane_pass(&bench->lane);
	return true;
}

bool bench_lossless(const struct bench *bench, char *ret_text)
{
	const struct counters_shard *counters = bench->gateway.config.counters;

	if (bench->lane.sent == bench->lane.forwarded)
		return true;
	for (unsigned port = 0; port < PORT_COUNT; port++)
		for (unsigned reason = 1; reason < DROP_REASON_COUNT; reason++)
			if (counters->drops[port][reason] != 0) {
				snprintf(ret_text, BENCH_TEXT_SIZE_BYTES,
					"%llu packets were dropped as %s: a figure with drops in it is none",
					(unsigned long long)counters->drops[port][reason], drop_reason_label(reason));
				return false;
			}
	snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "packets were lost without a reason");
	return false;
}
