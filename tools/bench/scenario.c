/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/scenario.h"

#include <stddef.h>
#include <string.h>

enum { ALL_PORTS_OF_16 = 16 * 64512 }; /* every port of 16 IPs, endpoint-independent */

#define STEADY(name_, sessions_, text_, ...)                                                                           \
	{                                                                                                              \
		.name = name_, .text = text_, .kind = SCENARIO_STEADY, .sessions = sessions_, __VA_ARGS__              \
	}
#define SETUP(name_, sessions_, text_, ...)                                                                            \
	{                                                                                                              \
		.name = name_, .text = text_, .kind = SCENARIO_SETUP, .sessions = sessions_, __VA_ARGS__               \
	}
#define FILL(name_, fill_, text_)                                                                                      \
	{                                                                                                              \
		.name = name_, .text = text_, .kind = SCENARIO_FILL, .sessions = 65536, .egress_per_workspace = 1,     \
		.tcp = true, .fill = fill_                                                                             \
	}

const struct scenario scenarios[] = {
	STEADY("out-1", 1, "UDP from inside, 64-byte frames", .inbound = false),
	STEADY("out-1k", 1024, "the same, 1,024 sessions in random order", .inbound = false),
	STEADY("out-64k", 65536, "65,536 sessions", .inbound = false),
	STEADY("out-1m", ALL_PORTS_OF_16, "1,032,192 sessions: every port of 16 IPs", .inbound = false),
	STEADY("in-1", 1, "replies from outside", .inbound = true),
	STEADY("in-1k", 1024, "replies, 1,024 sessions", .inbound = true),
	STEADY("in-64k", 65536, "replies, 65,536 sessions", .inbound = true),
	STEADY("in-1m", ALL_PORTS_OF_16, "replies, 1,032,192 sessions", .inbound = true),
	SETUP("setup-64k", 65536, "new UDP sessions, one workspace, 16 IPs", .churned = false),
	SETUP("setup-64k-churned", 65536, "the same on a table that has lived: free records in random order",
		.churned = true),
	SETUP("setup-64k-ed", 65536, "endpoint-dependent mapping", .endpoint_dependent = true),
	SETUP("setup-64k-vxlan", 65536, "VXLAN inside, one workspace, 16 IPs", .vxlan = true),
	SETUP("setup-1024ws", 65536, "VXLAN inside, 1,024 workspaces with an IP each", .vxlan = true,
		.workspaces = 1024, .egress_per_workspace = 1),
	STEADY("vxlan-64k", 65536, "VXLAN inside, outbound", .vxlan = true),
	STEADY("vxlan-in-64k", 65536, "VXLAN inside, replies", .vxlan = true, .inbound = true),
	STEADY("vxlan-10kws-64k", 65536, "VXLAN inside, 10,000 workspaces with an IP each", .vxlan = true,
		.workspaces = 10000, .egress_per_workspace = 1),
	STEADY("tcp-64k", 65536, "established TCP, outbound", .tcp = true),
	STEADY("tcp-in-64k", 65536, "established TCP, inbound", .tcp = true, .inbound = true),
	STEADY("imix-64k", 65536, "UDP, frames of 64, 594 and 1,518 bytes as 7:4:1", .imix = true),
	FILL("fill-50", 0.50, "new TCP sessions to one remote by one IP, half of the ports taken"),
	FILL("fill-90", 0.90, "90 % of the ports taken"),
	FILL("fill-99", 0.99, "99 % of the ports taken"),
	FILL("fill-99.9", 0.999, "99.9 % of the ports taken"),
	{
		.name = "bpf",
		.text = "the BPF programs in the kernel, and their path beside tc mirred; needs root",
		.kind = SCENARIO_BPF,
		.by_request_only = true,
	},
	{
		.name = "expiry-1m",
		.text = "a million idle sessions end while 65,536 work",
		.kind = SCENARIO_EXPIRY,
		.sessions = 1 << 20,
		.further_sessions = 65536,
		.egress_per_workspace = 32,
	},
	{
		.name = "swap-10k",
		.text = "policy of 10,000 workspaces and 100,000 workers swapped while 65,536 sessions work",
		.kind = SCENARIO_SWAP,
		.sessions = 65536,
		.workspaces = 10000,
		.egress_per_workspace = 1,
		.workers_per_workspace = 10,
		.vxlan = true,
	},
	{
		.name = "synflood",
		.text = "one workspace floods with SYNs, every second batch, while 1,023 others work",
		.kind = SCENARIO_FLOOD,
		.sessions = 65536,
		.further_sessions = 65536,
		.workspaces = 1024,
		.egress_per_workspace = 1,
		.vxlan = true,
	},
	{
		.name = "shards-2",
		.text = "two shards on two CPUs beside one on one: every packet at its owner, and at any",
		.kind = SCENARIO_SHARDS,
		.sessions = 65536,
		.by_request_only = true,
	},
	STEADY("out-256k", 262144, "for the plot", .by_request_only = true),
	STEADY("in-256k", 262144, "for the plot", .inbound = true, .by_request_only = true),
	STEADY("out-4m", 4194304, "4,194,304 sessions over 80 IPs", .egress_per_workspace = 80,
		.by_request_only = true),
	STEADY("in-4m", 4194304, "replies, 4,194,304 sessions", .egress_per_workspace = 80, .inbound = true,
		.by_request_only = true),
	STEADY("out-16m", 16777216, "16,777,216 sessions over 320 IPs; 8 GiB of memory", .egress_per_workspace = 320,
		.by_request_only = true),
	STEADY("in-16m", 16777216, "replies, 16,777,216 sessions; 8 GiB of memory", .egress_per_workspace = 320,
		.inbound = true, .by_request_only = true),
	{.name = NULL},
};

const struct scenario *scenario_find(const char *name)
{
	for (const struct scenario *scenario = scenarios; scenario->name != NULL; scenario++)
		if (strcmp(scenario->name, name) == 0)
			return scenario;
	return NULL;
}
