/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classifier's maps: what is wanted in them, and the two steps that make it so: first what must go, then what must
 * come. Level-triggered: each step reads back what is there. Thread: posternd's only one.
 */
#ifndef POSTERN_CONTROL_CLASSIFIER_MAPS_H
#define POSTERN_CONTROL_CLASSIFIER_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"

struct classifier_maps {
	int workers, claims, deliveries, gateways, config; /* fds, the caller's */
};

/* A worker whose interface exists. */
struct wanted_worker {
	uint32_t ifindex;
	bool open;		   /* its entries are wanted */
	bool claimed;		   /* not open: what it sends is dropped as not admitted, not as unknown */
	bool outdated;		   /* programs of an older posternd are on it, to be replaced last */
	struct worker_value value; /* mac zero: keep what was learned for the same VNI and address */
};

struct wanted_delivery {
	struct delivery_key key;
	struct delivery_value value;
};

struct classifier_wanted {
	struct wanted_worker *workers; /* sorted by ifindex */
	size_t worker_count;
	struct wanted_delivery *deliveries; /* sorted by key; filled by classifier_maps_index() */
	size_t delivery_count;
	const __be32 *gateways_be;
	size_t gateway_count;
	struct worker_config config;
};

/* Sorts, and derives the deliveries of the open workers; `deliveries` has room for `worker_count`. */
void classifier_maps_index(struct classifier_wanted *wanted);

/*
 * Deletes the entries that are not wanted or are wanted with another content (their learned MAC is kept in `wanted`
 * while VNI and address stay). On return no program can still be reading a deleted entry.
 */
enum status classifier_maps_remove(
	const struct classifier_maps *maps, struct classifier_wanted *wanted, struct problems *problems);

/* Of gateways alone. */
enum status classifier_maps_remove_gateways(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems);

/* Writes the configuration, the gateways, the workers and last the deliveries that are missing. */
enum status classifier_maps_add(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems);

/*
 * The same two steps for the workers in `wanted` alone, whatever else is in the maps: in time that does not grow with
 * their number. Gateways and configuration are left as they are.
 */
enum status classifier_maps_remove_these(
	const struct classifier_maps *maps, struct classifier_wanted *wanted, struct problems *problems);
enum status classifier_maps_add_these(
	const struct classifier_maps *maps, const struct classifier_wanted *wanted, struct problems *problems);

/* All keys of a map, malloc'ed. Only posternd adds or deletes, so the walk is not disturbed. 0 or -errno. */
int classifier_maps_keys(int map_fd, size_t key_size_bytes, void **ret_keys, size_t *ret_count);

/*
 * Deleted memory may be given to the next entry at once, while a program on another CPU still holds the pointer: it
 * would read another worker's VNI (P2). Programs run inside an RCU read section; this waits until those of now have
 * ended.
 */
void classifier_maps_wait(void);

#endif
