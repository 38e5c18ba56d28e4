/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a shard as bytes, to be put back later: what decides its future when only the first few session records
 * are in use. Compressed, it is the difference from the image at image_begin().
 */
#ifndef POSTERN_TESTS_SIM_IMAGE_H
#define POSTERN_TESTS_SIM_IMAGE_H

#include "tests/sim/world.h"

enum { IMAGE_REGIONS = 7, IMAGE_MAX_BYTES = 262144 };

struct image_region {
	uint8_t *at;
	uint32_t size_bytes;
};

struct image {
	struct image_region regions[IMAGE_REGIONS];
	uint8_t *base;
	uint32_t size_bytes;
};

void image_begin(struct image *image, const struct world *world);
uint32_t image_take(const struct image *image, uint8_t *to);
void image_put(const struct image *image, const uint8_t *from);
/* malloc'ed. */
uint8_t *image_compress(const struct image *image);
void image_expand(const struct image *image, const uint8_t *packed, uint8_t *to);

#endif
