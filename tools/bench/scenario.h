/* SPDX-License-Identifier: Apache-2.0 */
/* What postern-bench can measure, by name. Read-only. */
#ifndef POSTERN_BENCH_SCENARIO_H
#define POSTERN_BENCH_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

enum scenario_kind {
	SCENARIO_STEADY, /* packets of sessions that exist */
	SCENARIO_SETUP,	 /* each packet opens a session */
	SCENARIO_FILL,	 /* the same, with that many ports taken towards one remote */
	SCENARIO_EXPIRY, /* idle sessions end while others work */
	SCENARIO_SWAP,	 /* policies are swapped while sessions work */
	SCENARIO_BPF,	 /* the BPF programs, in the kernel */
	SCENARIO_SHARDS, /* two shards on two CPUs, and one */
	SCENARIO_FLOOD,	 /* one workspace opens sessions as fast as it can while others work */
};

struct scenario {
	const char *name, *text;
	enum scenario_kind kind;
	uint32_t sessions;
	uint32_t further_sessions;	/* room for those that come in the course of it */
	uint32_t workspaces;		/* 0: one */
	uint32_t egress_per_workspace;	/* 0: 16 */
	uint32_t workers_per_workspace; /* listed; 0: the VPCs list none */
	bool tcp;			/* else UDP */
	bool endpoint_dependent;	/* UDP; TCP always is */
	bool inbound, vxlan, imix;
	bool churned;	      /* the free list is in random order, as after a long life */
	double fill;	      /* SCENARIO_FILL: part of the ports taken */
	bool by_request_only; /* large or long: only when named */
};

/* All of them; ends at a name of NULL. */
extern const struct scenario scenarios[];

/* NULL: there is none of that name. */
const struct scenario *scenario_find(const char *name);

#endif
