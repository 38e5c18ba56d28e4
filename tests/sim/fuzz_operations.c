/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of operations on the whole core: the simulator, with the fuzzer's bytes in place of its random numbers, so
 * that each byte decides something: which packet, which change of policy, how much time. The oracle judges.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

enum { PACKETS_MAX = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	static struct sim *sim;
	const struct mix *mix = &sim_mixes[data[0] % MIXES];
	const struct random random = {.bytes = data + 1, .left = size - 1};
	if (sim == NULL)
		sim = sim_new(mix, random);
	else
		sim_restart(sim, mix, random);
	if (!sim_run(sim, PACKETS_MAX)) {
		fprintf(stderr, "%s\n", sim->problem);
		sim_trace_print(sim);
		abort();
	}
	return 0;
}
