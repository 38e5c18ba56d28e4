/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/image.h"

#include <stdlib.h>
#include <string.h>

uint32_t image_take(const struct image *image, uint8_t *to)
{
	uint32_t used = 0;
	for (unsigned r = 0; r < IMAGE_REGIONS; r++) {
		if (used + image->regions[r].size_bytes > IMAGE_MAX_BYTES)
			abort();
		memcpy(to + used, image->regions[r].at, image->regions[r].size_bytes);
		used += image->regions[r].size_bytes;
	}
	return used;
}

void image_begin(struct image *image, const struct world *world)
{
	struct nat_shard *shard = world->shard;
	const struct image_region regions[IMAGE_REGIONS] = {
		{(uint8_t *)shard, offsetof(struct nat_shard, fragments)},
		{(uint8_t *)shard->inside.buckets, (shard->inside.mask + 1) * (uint32_t)sizeof(struct index_bucket)},
		{(uint8_t *)shard->outside.buckets, (shard->outside.mask + 1) * (uint32_t)sizeof(struct index_bucket)},
		{(uint8_t *)shard->deadlines, 64},
		{(uint8_t *)shard->workspaces, 4 * sizeof(struct shard_workspace)},
		{(uint8_t *)shard->port_maps,
			(shard->port_map_set_mask + 1) * PORT_MAP_WAYS * (uint32_t)sizeof(struct port_map)},
		{(uint8_t *)shard->sessions, 16 * sizeof(struct session)},
	};
	memcpy(image->regions, regions, sizeof(regions));
	image->base = malloc(IMAGE_MAX_BYTES);
	if (image->base == NULL)
		abort();
	image->size_bytes = image_take(image, image->base);
}

void image_put(const struct image *image, const uint8_t *from)
{
	for (unsigned r = 0; r < IMAGE_REGIONS; r++) {
		memcpy(image->regions[r].at, from, image->regions[r].size_bytes);
		from += image->regions[r].size_bytes;
	}
}

/* Runs of what differs from the base: place and length (each 4 bytes), then the bytes; a run of one value is one byte.
 */
uint8_t *image_compress(const struct image *image)
{
	static uint8_t now[IMAGE_MAX_BYTES], packed[2 * IMAGE_MAX_BYTES];
	const uint32_t size = image_take(image, now);
	uint32_t used = 4;
	for (uint32_t at = 0; at < size;) {
		if (memcmp(now + at, image->base + at, size - at < 64 ? size - at : 64) == 0) {
			at += 64;
			continue;
		}
		while (now[at] == image->base[at])
			at++;
		uint32_t end = at + 1, same = 1;
		while (end < size && now[end] == now[at] && now[end] != image->base[end])
			end++, same++;
		if (same < 16)
			while (end < size && (now[end] != image->base[end]))
				end++;
		const bool fill = same >= 16;
		const uint32_t head[2] = {at, (end - at) << 1 | fill};
		memcpy(packed + used, head, sizeof(head));
		memcpy(packed + used + sizeof(head), now + at, fill ? 1 : end - at);
		used += (uint32_t)sizeof(head) + (fill ? 1 : end - at);
		at = end;
	}
	memcpy(packed, &used, sizeof(used));
	uint8_t *copy = malloc(used);
	if (copy == NULL)
		abort();
	return memcpy(copy, packed, used);
}

void image_expand(const struct image *image, const uint8_t *packed, uint8_t *to)
{
	uint32_t used, head[2];
	memcpy(&used, packed, sizeof(used));
	memcpy(to, image->base, image->size_bytes);
	for (uint32_t at = 4; at < used;) {
		memcpy(head, packed + at, sizeof(head));
		at += (uint32_t)sizeof(head);
		if (head[1] & 1) {
			memset(to + head[0], packed[at], head[1] >> 1);
			at++;
		} else {
			memcpy(to + head[0], packed + at, head[1] >> 1);
			at += head[1] >> 1;
		}
	}
}
