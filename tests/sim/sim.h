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

struct sim {
	const struct mix *mix;
	struct random random;
	struct world *world;
	struct oracle *oracle;
	struct model model, before;
	struct traffic traffic;
	struct shot shots[NAT_BATCH_MAX];
	uint64_t handle, packets;
	bool session_used[ORACLE_SESSIONS_MAX], datagram_used[DATAGRAMS_MAX];
	bool broken; /* the adjacency is not the ordinary one */
	struct {
		char text[200];
		uint8_t bytes[110];
		uint32_t length_bytes;
	} trace[TRACE];
	uint64_t traced;
	char problem[600];
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
