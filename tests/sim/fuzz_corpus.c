/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes seeds for the fuzzers: what the simulator would send, and snapshots that it would put in force.
 *
 *   fuzz_corpus packet|policy|adjacency|operations|sessions DIRECTORY
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

enum { SEEDS = 64 };

static const char *directory;

static void seed_write(unsigned number, uint8_t how, const void *bytes, size_t size_bytes)
{
	char path[1024];
	snprintf(path, sizeof(path), "%s/seed-%03u", directory, number);
	FILE *file = fopen(path, "wb");
	if (file == NULL || fputc(how, file) == EOF || fwrite(bytes, 1, size_bytes, file) != size_bytes ||
		fclose(file) != 0) {
		fprintf(stderr, "fuzz_corpus: %s could not be written\n", path);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	static struct shot shot;
	static uint8_t bytes[2048];
	if (argc != 3) {
		fprintf(stderr, "usage: fuzz_corpus packet|policy|adjacency|operations|sessions DIRECTORY\n");
		return 2;
	}
	const char *kind = argv[1];
	directory = argv[2];
	for (unsigned i = 0; i < SEEDS; i++) {
		struct sim *sim = sim_new(&sim_mixes[i % MIXES], (struct random){.state = i + 1});
		for (unsigned b = 0; b < sizeof(bytes); b++)
			bytes[b] = (uint8_t)random_next(&sim->random);
		if (!sim_run(sim, 200))
			fprintf(stderr, "fuzz_corpus: seed %u: %s\n", i, sim->problem);
		if (strcmp(kind, "packet") == 0) {
			traffic_next(&sim->traffic, &shot);
			if (shot.length_bytes <= sizeof(shot.bytes))
				seed_write(i, (uint8_t)(i << 2 | (shot.in_port == PORT_OUTSIDE)), shot.bytes,
					shot.length_bytes);
		} else if (strcmp(kind, "policy") == 0) {
			const struct policy_snapshot *snapshot = (const void *)sim->world->block;
			seed_write(i, (uint8_t)(i & 3), snapshot, snapshot->size_bytes);
		} else if (strcmp(kind, "adjacency") == 0) {
			seed_write(i, (uint8_t)(i & 1), &sim->world->adjacency, sizeof(sim->world->adjacency));
		} else if (strcmp(kind, "sessions") == 0) {
			seed_write(i, (uint8_t)i, bytes, 4 * (i % 16)); /* so many pieces of damage */
		} else {
			seed_write(i, (uint8_t)i, bytes, 64u << i / MIXES % 5); /* a few packets, or many */
		}
		sim_free(sim);
	}
	return 0;
}
