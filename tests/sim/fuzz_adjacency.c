/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an adjacency snapshot: what the check accepts must build, and the longest prefix must win, as a linear
 * search finds it. Byte 0, bit 0: the header's constants are put right.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/adjacency.h"
#include "dataplane/nat/nat.h"

static bool covers(const struct adjacency_route *route, uint32_t address)
{
	return route->prefix_length_bits == 0 || (address ^ route->address) >> (32 - route->prefix_length_bits) == 0;
}

/* Is that the next hop of the route, or one of its group's? */
static bool leads_to(
	const struct adjacency_snapshot *snapshot, const struct adjacency_route *route, uint32_t flow, uint32_t index)
{
	const struct adjacency_group *groups =
		(const void *)((const uint8_t *)snapshot + snapshot->groups.offset_bytes);
	if (route->next_hop_index == ADJACENCY_UNREACHABLE || route->next_hop_index < ADJACENCY_GROUP)
		return route->next_hop_index == index;
	return groups[route->next_hop_index - ADJACENCY_GROUP].next_hops[flow % ADJACENCY_GROUP_SLOTS] == index;
}

/* The longest prefix; of equal ones any will do. */
static void compare(const struct adjacency_tables *tables, const struct adjacency_snapshot *snapshot, unsigned port,
	uint32_t address)
{
	const struct adjacency_route *routes =
		(const void *)((const uint8_t *)snapshot + snapshot->routes.offset_bytes);
	const struct adjacency_hop *hop = adjacency_find(tables, port, address, address * 7);
	const uint32_t index = hop != NULL ? (uint32_t)(hop - tables->next_hops) : ADJACENCY_UNREACHABLE;
	int longest = -1;
	bool found = false;
	for (uint32_t i = 0; i < snapshot->routes.count; i++)
		if (routes[i].port == port && covers(&routes[i], address) && routes[i].prefix_length_bits > longest)
			longest = routes[i].prefix_length_bits;
	for (uint32_t i = 0; i < snapshot->routes.count; i++)
		found = found || (routes[i].port == port && covers(&routes[i], address) &&
					 routes[i].prefix_length_bits == longest &&
					 leads_to(snapshot, &routes[i], address * 7, index));
	if (longest < 0 ? hop != NULL : !found)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[NAT_TEXT_SIZE_BYTES];
	if (size < 1 + sizeof(struct adjacency_snapshot))
		return 0;
	const size_t size_bytes = size - 1;
	struct adjacency_snapshot *snapshot = aligned_alloc(8, (size_bytes + 7) & ~(size_t)7);
	if (snapshot == NULL)
		abort();
	memcpy(snapshot, data + 1, size_bytes);
	if (data[0] & 1) {
		snapshot->magic = ADJACENCY_MAGIC;
		snapshot->version = ADJACENCY_VERSION;
		snapshot->size_bytes = size_bytes;
		snapshot->generation |= 1;
		snapshot->next_hops.record_size_bytes = sizeof(struct adjacency_next_hop);
		snapshot->routes.record_size_bytes = sizeof(struct adjacency_route);
		snapshot->groups.record_size_bytes = sizeof(struct adjacency_group);
	}
	if (adjacency_snapshot_check(snapshot, size_bytes, text)) {
		const size_t tables_bytes = (adjacency_tables_size(snapshot) + 63) & ~(size_t)63;
		void *memory = aligned_alloc(64, tables_bytes);
		if (memory == NULL)
			abort();
		memset(memory, 0, tables_bytes);
		const struct adjacency_tables *tables = adjacency_tables_build(memory, snapshot);
		const struct adjacency_route *routes =
			(const void *)((const uint8_t *)snapshot + snapshot->routes.offset_bytes);
		for (unsigned port = 0; port < PORT_COUNT; port++) {
			compare(tables, snapshot, port, 0);
			compare(tables, snapshot, port, UINT32_MAX);
			for (uint32_t i = 0; i < snapshot->routes.count && i < 64; i++) {
				compare(tables, snapshot, port, routes[i].address);
				compare(tables, snapshot, port, routes[i].address - 1);
				compare(tables, snapshot, port, routes[i].address + 257);
			}
		}
		free(memory);
	}
	free(snapshot);
	return 0;
}
