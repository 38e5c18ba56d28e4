/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/io/clock.h"
#include "dataplane/nat/identity.h"
#include "tools/bench/random.h"

#define ROUTER ADDRESS(198, 51, 100, 1)
#define WORKER_HOST ADDRESS(10, 100, 0, 2)

static bool adjacency_apply(struct gateway *gateway, char *ret_text)
{
	struct {
		struct adjacency_snapshot header;
		struct adjacency_next_hop next_hops[3];
		struct adjacency_route routes[5];
	} block = {
		.header =
			{
				.magic = ADJACENCY_MAGIC,
				.version = ADJACENCY_VERSION,
				.size_bytes = sizeof(block),
				.generation = 1,
				.ports =
					{
						[PORT_INSIDE] = {{2, 0, 0, 0, 1, 1}, 1, 0, ADDRESS(10, 100, 0, 1),
							GATEWAY_FRAME_MTU_BYTES},
						[PORT_OUTSIDE] = {{2, 0, 0, 0, 1, 2}, 1, 0, ADDRESS(198, 51, 100, 2),
							GATEWAY_FRAME_MTU_BYTES},
					},
			},
		.next_hops =
			{
				{{2, 0, 0, 0, 2, 1}, 1, PORT_INSIDE, WORKER_HOST, 0},
				{{2, 0, 0, 0, 3, 1}, 1, PORT_OUTSIDE, ROUTER, 0},
				{{0}, 0, PORT_OUTSIDE, 0, 0}, /* the outside's own subnet: neighbours not known yet */
			},
		.routes =
			{
				{WORKER_HOST, 32, PORT_INSIDE, 0, 0},
				{ADDRESS(10, 0, 0, 0), 8, PORT_INSIDE, 0, 0},
				{ADDRESS(198, 51, 100, 0), 24, PORT_OUTSIDE, 0, 2},
				{ROUTER, 32, PORT_OUTSIDE, 0, 1},
				{0, 0, PORT_OUTSIDE, 0, 1},
			},
	};

	block.header.next_hops = (struct policy_table){
		(uint64_t)((uint8_t *)block.next_hops - (uint8_t *)&block), 3, sizeof(block.next_hops[0])};
	block.header.routes = (struct policy_table){
		(uint64_t)((uint8_t *)block.routes - (uint8_t *)&block), 5, sizeof(block.routes[0])};
	block.header.groups = (struct policy_table){0, 0, sizeof(struct adjacency_group)};
	if (!adjacency_snapshot_check(&block, sizeof(block), ret_text) ||
		!memory_allocate(
			adjacency_tables_size(&block.header), gateway->plan.pages, &gateway->adjacency_block, ret_text))
		return false;
	view_replace_adjacency(&gateway->view, adjacency_tables_build(gateway->adjacency_block.memory, &block.header));
	return true;
}

bool gateway_apply(struct gateway *gateway, char *ret_text)
{
	struct policy_snapshot *snapshot = gateway_snapshot(&gateway->plan, ++gateway->generation);
	struct memory_block block = {}, old = gateway->policy_block;
	struct policy_tables *tables = NULL;
	uint64_t start_ns, checked_ns, built_ns;

	if (snapshot == NULL) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "out of memory");
		return false;
	}
	start_ns = clock_monotonic_ns();
	checked_ns = start_ns;
	if (policy_snapshot_check(snapshot, snapshot->size_bytes, ret_text)) {
		checked_ns = clock_monotonic_ns();
		if (memory_allocate(policy_tables_size(snapshot),
			    gateway->plan.pages == MEMORY_PAGES_NORMAL ? MEMORY_PAGES_NORMAL : MEMORY_PAGES_LARGE,
			    &block, ret_text))
			tables = policy_tables_build(block.memory, gateway->identities, snapshot, ret_text);
	}
	free(snapshot);
	if (tables == NULL) {
		memory_free(&block);
		return false;
	}
	identities_publish(gateway->identities, gateway->counters);
	built_ns = clock_monotonic_ns();
	view_replace_policy(&gateway->view, tables);
	gateway->policy_block = block;
	memory_free(&old);
	gateway->check_ns = checked_ns - start_ns;
	gateway->build_ns = built_ns - checked_ns;
	gateway->swap_ns = clock_monotonic_ns() - built_ns;
	return true;
}

static bool memories_open(struct gateway *gateway, char *ret_text)
{
	const enum memory_pages pages = gateway->plan.pages;
	/* Only the session records lie in a file. */
	const enum memory_pages others = pages == MEMORY_PAGES_FILE ? MEMORY_PAGES_LARGE : pages;
	const size_t counters_bytes = sizeof(struct counters) + sizeof(struct counters_shard);

	return memory_allocate(nat_shard_size(&gateway->config), others, &gateway->shard_block, ret_text) &&
	       memory_allocate(gateway->config.sessions_max * sizeof(struct session), pages, &gateway->sessions_block,
		       ret_text) &&
	       memory_allocate(counters_bytes, others, &gateway->counters_block, ret_text) &&
	       memory_allocate(identities_size(), others, &gateway->identities_block, ret_text);
}

void gateway_clear(struct gateway *gateway, uint64_t now_ns)
{
	gateway->config.now_ns = now_ns;
	memset(gateway->shard_block.memory, 0, gateway->shard_block.size_bytes);
	memset(gateway->counters, 0, gateway->counters_block.size_bytes);
	gateway->counters->shard_count = 1;
	gateway->shard = nat_shard_init(gateway->shard_block.memory, &gateway->config);
	CHECK(gateway->shard != NULL);
}

bool gateway_open(struct gateway *ret_gateway, const struct gateway_plan *plan, uint64_t now_ns, char *ret_text)
{
	struct gateway *gateway = ret_gateway;
	struct random random = random_seeded(plan->seed);

	*gateway = (struct gateway){
		.plan = *plan,
		.config = {.shard_count = 1, .sessions_max = plan->sessions_max, .now_ns = now_ns},
	};
	for (unsigned i = 0; i < sizeof(gateway->config.secret); i++)
		gateway->config.secret[i] = (uint8_t)random_next(&random);
	if (!view_open(&gateway->view)) {
		snprintf(ret_text, BENCH_TEXT_SIZE_BYTES, "out of memory");
		return false;
	}
	if (!memories_open(gateway, ret_text)) {
		gateway_close(gateway);
		return false;
	}
	gateway->config.sessions = gateway->sessions_block.memory;
	gateway->counters = gateway->counters_block.memory;
	gateway->config.counters = &gateway->counters->shards[0];
	gateway->identities = gateway->identities_block.memory;
	gateway_clear(gateway, now_ns);
	if (!gateway_apply(gateway, ret_text) || !adjacency_apply(gateway, ret_text)) {
		gateway_close(gateway);
		return false;
	}
	return true;
}

void gateway_close(struct gateway *gateway)
{
	view_close(&gateway->view);
	memory_free(&gateway->shard_block);
	memory_free(&gateway->sessions_block);
	memory_free(&gateway->counters_block);
	memory_free(&gateway->identities_block);
	memory_free(&gateway->policy_block);
	memory_free(&gateway->adjacency_block);
}

double gateway_bytes_per_session(const struct gateway *gateway)
{
	const size_t records_bytes = gateway->config.sessions_max * sizeof(struct session);

	return (double)(nat_shard_size(&gateway->config) + records_bytes) / gateway->config.sessions_max;
}
