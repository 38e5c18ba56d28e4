/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations on the whole core: the simulator, with the fuzzer's bytes in place of its random numbers, so
 * that each byte decides something: which packet, which change of policy, how much time. The oracle judges.
 *
 * Byte 0 says which mix, byte 1 which workspaces and which flows there are at the beginning: to make them takes some 1,500
 * numbers, and nothing would be left for the operations if each of them took bytes.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

enum { PACKETS_MAX = 400, HEAD = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= HEAD)
		return 0;
	static struct sim *sim;
	const struct mix *mix = &sim_mixes[data[0] % MIXES];
	const struct random beginning = {.state = data[1]};
	if (sim == NULL)
		sim = sim_new(mix, beginning);
	else
		sim_restart(sim, mix, beginning);
	sim->random = (struct random){.bytes = data + HEAD, .left = size - HEAD};
	if (!sim_run(sim, PACKETS_MAX)) {
		fprintf(stderr, "%s\n", sim->problem);
		sim_trace_print(sim);
		abort();
	}
	return 0;
}
