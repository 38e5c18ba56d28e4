/* SPDX-License-Identifier: Apache-2.0 */
#include "control/classifier_sweep.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "bpf/maps.h"
#include "control/classifier_maps.h"
#include "control/classifier_state.h"

enum { SWEEP_DELIVERIES, SWEEP_WORKERS, SWEEP_CLAIMS, SWEEP_MAP_COUNT };

union sweep_key {
	uint32_t ifindex;
	struct delivery_key delivery;
};

union sweep_value {
	struct worker_value worker;
	struct delivery_value delivery;
	struct claim_value claim;
};

struct sweep_part {
	char keys[CLASSIFIER_SWEEP_ENTRIES_MAX * sizeof(union sweep_key)];
	char values[CLASSIFIER_SWEEP_ENTRIES_MAX * sizeof(union sweep_value)]; /* which are not looked at */
	uint32_t count;
};

static bool is_wanted(const struct classifier_sweep_asks *asks, unsigned map, const union sweep_key *key)
{
	if (map == SWEEP_DELIVERIES)
		return asks->has_delivery(asks->context, key->delivery.vni, ntohl(key->delivery.address_be));
	return asks->has_worker(asks->context, key->ifindex);
}

/* The next entries. 0; -ENOENT: these are the last ones; or another -errno. */
static int part_read(int map_fd, struct classifier_sweep *sweep, struct sweep_part *part)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t next = 0;
	int error = 0;

	part->count = CLASSIFIER_SWEEP_ENTRIES_MAX;
	if (bpf_map_lookup_batch(map_fd, sweep->begun ? &sweep->bucket : NULL, &next, part->keys, part->values,
		    &part->count, &opts) != 0)
		error = -errno;
	if (error != 0 && error != -ENOENT)
		return error;
	sweep->begun = error == 0;
	sweep->bucket = next;
	return error;
}

static int part_clean(int map_fd, unsigned map, const struct sweep_part *part, const struct classifier_sweep_asks *asks,
	size_t *removed_count)
{
	size_t key_size_bytes = map == SWEEP_DELIVERIES ? sizeof(struct delivery_key) : sizeof(uint32_t);
	int error = 0;

	for (uint32_t i = 0; i < part->count; i++) {
		union sweep_key key = {0};

		memcpy(&key, part->keys + i * key_size_bytes, key_size_bytes);
		if (is_wanted(asks, map, &key))
			continue;
		if (bpf_map_delete_elem(map_fd, &key) == 0)
			(*removed_count)++;
		else if (errno != ENOENT)
			error = -errno;
	}
	return error;
}

enum status classifier_sweep_step(const struct classifier *classifier, struct classifier_sweep *sweep,
	const struct classifier_sweep_asks *asks, size_t *ret_removed_count, bool *ret_done, struct problems *problems)
{
	const int fds[SWEEP_MAP_COUNT] = {
		[SWEEP_DELIVERIES] = classifier->maps.deliveries,
		[SWEEP_WORKERS] = classifier->maps.workers,
		[SWEEP_CLAIMS] = classifier->maps.claims,
	};
	struct sweep_part *part = malloc(sizeof(*part));
	unsigned map = sweep->map;
	size_t removed_count = 0;
	int error, failed;

	if (!part)
		return STATUS_NO_MEMORY;
	error = part_read(fds[map], sweep, part);
	failed = error == 0 || error == -ENOENT ? part_clean(fds[map], map, part, asks, &removed_count) : error;
	free(part);
	if (removed_count != 0)
		classifier_maps_wait();
	if (failed != 0) {
		*sweep = (struct classifier_sweep){0};
		problems_add(problems, "the classifier's maps cannot be looked through: %s; run posternd as root",
			strerror(-failed));
		return STATUS_SYSTEM;
	}
	if (error == -ENOENT)
		sweep->map = (map + 1) % SWEEP_MAP_COUNT;
	*ret_removed_count = removed_count;
	*ret_done = error == -ENOENT && sweep->map == 0;
	return STATUS_OK;
}
