/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core and the oracle side by side under everything that may happen to a gateway. Each packet is compared byte by
 * byte and reason by reason; besides, without the oracle, whose egress IP each packet leaves with (P1) and who gets
 * each reply (P2), the conservation law, and at the end that nothing is left (P10).
 *
 * What happens is drawn from struct random: a seeded generator in the simulator, the fuzzer's bytes in fuzz_operations.
 */
#ifndef POSTERN_TESTS_SIM_SIM_H
#define POSTERN_TESTS_SIM_SIM_H

#include "dataplane/nat/fragment.h"
#include "tests/sim/oracle.h"
#include "tests/sim/traffic.h"

enum { TRACE = 50, MIXES = 8 };

struct mix {
	const char *name, *claim;
	struct traffic_mix traffic;
	struct model_options model;
	uint32_t sessions_max, port_count; /* port_count 0: the whole slice */
	uint32_t shard_count;
	unsigned packets_per_change; /* of the policy; 0: never */
	unsigned share;		     /* of all packets, in percent */
};

extern const struct mix sim_mixes[MIXES];

struct trace {
	uint64_t handle, now_ns;
	const char *what; /* NULL: a packet */
	uint8_t in_port, verdict, reason, bytes[110];
	uint32_t length_bytes;
};

struct sim {
	const struct mix *mix;
	struct random random;
	struct model model, before;
	const struct shot *batch[NAT_BATCH_MAX]; /* in the order in which they are sent */
	bool waits;				 /* `waiting` goes next, and alone */
	bool broken;				 /* the adjacency is not the ordinary one */
	uint64_t handle, packets, traced, audited_ns;
	uint64_t session_events; /* of the core, when session_used was noted */
	uint32_t datagram_count; /* likewise */
	bool session_used[ORACLE_SESSIONS_MAX], datagram_used[DATAGRAMS_MAX];
	char problem[600];
	/* What follows is not cleared by sim_restart(). */
	struct world *world;
	struct oracle *oracle;
	struct shot shots[NAT_BATCH_MAX], waiting;
	struct trace trace[TRACE];
	struct traffic traffic;
};

struct sim *sim_new(const struct mix *mix, struct random random);
/* From the beginning, in the same memory; mixes have the same sessions_max. */
void sim_restart(struct sim *sim, const struct mix *mix, struct random random);
void sim_free(struct sim *sim);
/* So many packets, or until the random bytes are used up, and to an empty gateway. On false `sim->problem` says what
 * is wrong. */
bool sim_run(struct sim *sim, uint64_t packets);
void sim_trace_print(const struct sim *sim);

#endif
