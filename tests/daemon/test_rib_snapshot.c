/* SPDX-License-Identifier: Apache-2.0 */
/* control/rib_snapshot.c and control/neighbour.c: from the kernel's tables to the dataplane's, without a kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/neighbour.h"
#include "control/rib_snapshot.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct result {
	struct adjacency_snapshot *snapshot;
	size_t size_bytes;
	struct rib_summary summary;
};

static void build(struct rib_view *view, struct result *ret_result)
{
	void *block;

	rib_view_sort(view);
	assert_int_equal(rib_snapshot_build(view, 5, &block, &ret_result->size_bytes, &ret_result->summary), STATUS_OK);
	ret_result->snapshot = block;
	assert_int_equal(ret_result->snapshot->generation, 5);
	assert_int_equal(ret_result->snapshot->size_bytes, ret_result->size_bytes);
}

/* What the longest prefix of the port says. NULL: no route; `unreachable` for a blackhole. */
static const struct adjacency_next_hop unreachable;

static const struct adjacency_next_hop *look(const struct result *result, unsigned port, uint32_t address)
{
	const struct adjacency_snapshot *snapshot = result->snapshot;
	const struct adjacency_route *routes = (const void *)((const char *)snapshot + snapshot->routes.offset_bytes);
	const struct adjacency_next_hop *hops =
		(const void *)((const char *)snapshot + snapshot->next_hops.offset_bytes);
	const struct adjacency_route *best = NULL;

	for (uint32_t i = 0; i < snapshot->routes.count; i++) {
		uint32_t mask =
			routes[i].prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - routes[i].prefix_length_bits);

		if (routes[i].port != port || (address & mask) != routes[i].address)
			continue;
		if (best != NULL && best->prefix_length_bits == routes[i].prefix_length_bits)
			fail_msg("the same prefix twice on a port");
		if (best == NULL || routes[i].prefix_length_bits > best->prefix_length_bits)
			best = &routes[i];
	}
	if (best == NULL)
		return NULL;
	if (best->next_hop_index == ADJACENCY_UNREACHABLE)
		return &unreachable;
	assert_true(best->next_hop_index < snapshot->next_hops.count);
	return &hops[best->next_hop_index];
}

/* How many slots of the default route's group lead to the address; 0 also when there is no group. */
static unsigned slots_of(const struct result *result, uint32_t address)
{
	const struct adjacency_snapshot *snapshot = result->snapshot;
	const struct adjacency_route *routes = (const void *)((const char *)snapshot + snapshot->routes.offset_bytes);
	const struct adjacency_group *groups = (const void *)((const char *)snapshot + snapshot->groups.offset_bytes);
	const struct adjacency_next_hop *hops =
		(const void *)((const char *)snapshot + snapshot->next_hops.offset_bytes);
	unsigned count = 0;

	for (uint32_t i = 0; i < snapshot->routes.count; i++) {
		if (routes[i].prefix_length_bits != 0 || routes[i].next_hop_index < ADJACENCY_GROUP)
			continue;
		for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++)
			count += hops[groups[routes[i].next_hop_index - ADJACENCY_GROUP].next_hops[slot]].address ==
				 address;
	}
	return count;
}

#define ROUTES(...)                                                                                                    \
	(struct rib_route[]){__VA_ARGS__},                                                                             \
		.route_count = sizeof((struct rib_route[]){__VA_ARGS__}) / sizeof(struct rib_route)
#define NEIGHBOURS(...)                                                                                                \
	(struct rib_neighbour[]){__VA_ARGS__},                                                                         \
		.neighbour_count = sizeof((struct rib_neighbour[]){__VA_ARGS__}) / sizeof(struct rib_neighbour)

static const struct rib_route outside_subnet = {
	.address = IP(192, 0, 2, 0), .prefix_length_bits = 24, .port = PORT_OUTSIDE, .kind = RIB_ROUTE_CONNECTED};
static const struct rib_route outside_default = {
	.port = PORT_OUTSIDE, .kind = RIB_ROUTE_GATEWAY, .gateway = IP(192, 0, 2, 254)};
static const struct rib_neighbour router = {
	.address = IP(192, 0, 2, 254), .port = PORT_OUTSIDE, .resolved = true, .mac = {2, 0, 0, 0, 0, 1}};

static void the_default_route_gives_the_routers_mac(void **state)
{
	struct rib_view view = {.routes = ROUTES(outside_default, outside_subnet), .neighbours = NEIGHBOURS(router)};
	const struct adjacency_next_hop *hop;
	struct result result;

	build(&view, &result);
	hop = look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1));
	assert_true(hop->resolved);
	assert_memory_equal(hop->mac, router.mac, 6);
	assert_null(look(&result, PORT_INSIDE, IP(198, 51, 100, 1)));
	assert_int_equal(result.summary.next_hop_count, 1);
	assert_int_equal(result.summary.resolved_count, 1);
	free(result.snapshot);
}

static void a_silent_neighbour_never_falls_through_to_the_default_route(void **state)
{
	struct rib_neighbour failed = {.address = IP(192, 0, 2, 9), .port = PORT_OUTSIDE};
	struct rib_view view = {
		.routes = ROUTES(outside_default, outside_subnet), .neighbours = NEIGHBOURS(router, failed)};
	const struct adjacency_next_hop *hop;
	struct result result;

	build(&view, &result);
	hop = look(&result, PORT_OUTSIDE, IP(192, 0, 2, 9));
	assert_false(hop->resolved);
	assert_int_equal(hop->address, 0);
	hop = look(&result, PORT_OUTSIDE, IP(192, 0, 2, 10));
	assert_false(hop->resolved);
	hop = look(&result, PORT_OUTSIDE, router.address);
	assert_true(hop->resolved);
	free(result.snapshot);
}

static void an_unresolved_gateway_is_named(void **state)
{
	struct rib_view view = {.routes = ROUTES(outside_default, outside_subnet)};
	const struct adjacency_next_hop *hop;
	struct result result;

	build(&view, &result);
	hop = look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1));
	assert_false(hop->resolved);
	assert_int_equal(hop->address, IP(192, 0, 2, 254));
	free(result.snapshot);
}

static void a_blackhole_counts_on_both_ports_unless_a_smaller_metric_wins(void **state)
{
	struct rib_route blackhole = {
		.address = IP(10, 0, 0, 0), .prefix_length_bits = 8, .kind = RIB_ROUTE_UNREACHABLE, .metric = 100};
	struct rib_route better = outside_default;
	struct result result;

	better.address = IP(10, 0, 0, 0);
	better.prefix_length_bits = 8;
	better.metric = 50;
	struct rib_view view = {.routes = ROUTES(outside_default, outside_subnet, blackhole)};
	build(&view, &result);
	assert_ptr_equal(look(&result, PORT_OUTSIDE, IP(10, 1, 1, 1)), &unreachable);
	assert_ptr_equal(look(&result, PORT_INSIDE, IP(10, 1, 1, 1)), &unreachable);
	free(result.snapshot);

	struct rib_view with_better = {.routes = ROUTES(outside_default, outside_subnet, blackhole, better)};
	build(&with_better, &result);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(10, 1, 1, 1))->address, IP(192, 0, 2, 254));
	assert_ptr_equal(look(&result, PORT_INSIDE, IP(10, 1, 1, 1)), &unreachable);
	free(result.snapshot);

	better.metric = 200;
	struct rib_view with_worse = {.routes = ROUTES(outside_default, outside_subnet, blackhole, better)};
	build(&with_worse, &result);
	assert_ptr_equal(look(&result, PORT_OUTSIDE, IP(10, 1, 1, 1)), &unreachable);
	free(result.snapshot);
}

static void of_two_routes_the_smaller_metric_is_taken(void **state)
{
	struct rib_route other = outside_default;
	struct result result;

	other.gateway = IP(192, 0, 2, 253);
	other.metric = 1;
	struct rib_view view = {.routes = ROUTES(other, outside_subnet, outside_default)};
	build(&view, &result);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->address, IP(192, 0, 2, 254));
	free(result.snapshot);
}

static void a_host_route_wins_over_a_neighbour_of_the_same_address(void **state)
{
	struct rib_neighbour neighbour = {
		.address = IP(192, 0, 2, 9), .port = PORT_OUTSIDE, .resolved = true, .mac = {2, 0, 0, 0, 0, 9}};
	struct rib_route host = outside_default;
	struct result result;

	host.address = neighbour.address;
	host.prefix_length_bits = 32;
	struct rib_view view = {.routes = ROUTES(outside_subnet, host), .neighbours = NEIGHBOURS(router, neighbour)};
	build(&view, &result);
	assert_int_equal(look(&result, PORT_OUTSIDE, neighbour.address)->address, router.address);
	free(result.snapshot);
}

static void a_connected_host_route_is_its_neighbour(void **state)
{
	struct rib_route host = outside_subnet;
	struct rib_neighbour neighbour = {
		.address = IP(192, 0, 2, 77), .port = PORT_OUTSIDE, .mac = {2, 0, 0, 0, 0, 7}};
	struct result result;

	host.address = neighbour.address;
	host.prefix_length_bits = 32;
	struct rib_view unresolved = {.routes = ROUTES(host), .neighbours = NEIGHBOURS(neighbour)};
	build(&unresolved, &result);
	assert_false(look(&result, PORT_OUTSIDE, neighbour.address)->resolved);
	assert_int_equal(look(&result, PORT_OUTSIDE, neighbour.address)->address, neighbour.address);
	free(result.snapshot);

	neighbour.resolved = true;
	struct rib_view resolved = {.routes = ROUTES(host), .neighbours = NEIGHBOURS(neighbour)};
	build(&resolved, &result);
	assert_true(look(&result, PORT_OUTSIDE, neighbour.address)->resolved);
	free(result.snapshot);
}

static void more_than_fits_is_left_out_and_told(void **state)
{
	enum { COUNT = ROUTE_COUNT_MAX + 1000 };
	struct rib_route *routes = calloc(COUNT, sizeof(*routes));
	struct rib_view view = {.routes = routes, .route_count = COUNT};
	struct result result;

	for (uint32_t i = 0; i < COUNT; i++) {
		routes[i] = outside_default;
		routes[i].address = IP(20, 0, 0, 0) + (i << 8);
		routes[i].prefix_length_bits = 24;
	}
	routes[COUNT - 1] = outside_default;
	build(&view, &result);
	assert_int_equal(result.snapshot->routes.count, ROUTE_COUNT_MAX);
	assert_int_equal(result.summary.left_out_count, 1000);
	assert_non_null(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	free(result.snapshot);
	/* A worker host that was only learned keeps its place. */
	routes[COUNT - 2] = outside_subnet;
	view.neighbours = (struct rib_neighbour[]){router};
	view.neighbour_count = 1;
	build(&view, &result);
	assert_true(look(&result, PORT_OUTSIDE, router.address)->resolved);
	assert_int_equal(result.snapshot->routes.count, ROUTE_COUNT_MAX);
	free(result.snapshot);
	free(routes);
}

/* A subnet full of hosts: the way out and what was set by hand or configured stay. */
static void learned_neighbours_push_out_no_route_and_no_lasting_neighbour(void **state)
{
	enum { COUNT = NEXT_HOP_COUNT_MAX + 1000 };
	struct rib_neighbour *neighbours = calloc(COUNT, sizeof(*neighbours));
	struct rib_route wide = {.address = IP(192, 0, 0, 0),
		.prefix_length_bits = 16,
		.port = PORT_OUTSIDE,
		.kind = RIB_ROUTE_CONNECTED};
	struct rib_view view = {
		.routes = ROUTES(outside_default, wide), .neighbours = neighbours, .neighbour_count = COUNT};
	struct result result;

	for (uint32_t i = 0; i < COUNT; i++)
		neighbours[i] = (struct rib_neighbour){
			.address = IP(192, 0, 3, 0) + i, .port = PORT_OUTSIDE, .resolved = true, .mac = {2}};
	neighbours[COUNT - 1] = router;
	neighbours[COUNT - 2].fixed = true; /* of the highest addresses: last in order */
	rib_view_sort(&view);
	rib_view_keep(&view, PORT_OUTSIDE, IP(192, 0, 3, 0) + COUNT - 3);
	build(&view, &result);
	assert_true(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->resolved);
	assert_true(look(&result, PORT_OUTSIDE, IP(192, 0, 3, 0) + COUNT - 2)->resolved);
	assert_true(look(&result, PORT_OUTSIDE, IP(192, 0, 3, 0) + COUNT - 3)->resolved);
	assert_false(look(&result, PORT_OUTSIDE, IP(192, 0, 3, 0) + COUNT - 4)->resolved);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(192, 0, 3, 0) + COUNT - 4)->address, 0); /* asked for */
	free(result.snapshot);
	free(neighbours);
}

static void an_unresolved_default_gateway_is_found(void **state)
{
	struct rib_neighbour known = router;
	struct rib_route backup = outside_default, unreachable_default = {.kind = RIB_ROUTE_UNREACHABLE};
	struct rib_view view = {.routes = ROUTES(backup, outside_default, outside_subnet)};
	uint32_t address = 0;

	view.routes[0].gateway = IP(192, 0, 2, 1);
	view.routes[0].metric = 20;
	rib_view_sort(&view);
	assert_true(rib_view_default_unresolved(&view, &address));
	assert_int_equal(address, IP(192, 0, 2, 254)); /* of the smaller metric */
	view.neighbours = &known;
	view.neighbour_count = 1;
	assert_false(rib_view_default_unresolved(&view, &address));
	known.resolved = false;
	assert_true(rib_view_default_unresolved(&view, &address));
	view.routes[0] = unreachable_default; /* nothing is to leave by it */
	assert_false(rib_view_default_unresolved(&view, &address));
	view.route_count = 0;
	assert_false(rib_view_default_unresolved(&view, &address));
}

static struct rib_route default_by(uint32_t gateway, uint32_t number, uint16_t order, uint16_t weight)
{
	struct rib_route route = outside_default;

	route.gateway = gateway;
	route.number = number;
	route.order = order;
	route.weight = weight;
	return route;
}

static struct rib_neighbour answers(uint32_t address)
{
	struct rib_neighbour neighbour = router;

	neighbour.address = address;
	return neighbour;
}

static void over_next_hops_that_answer_flows_are_spread_by_weight(void **state)
{
	const uint32_t a = IP(192, 0, 2, 1), b = IP(192, 0, 2, 2), silent = IP(192, 0, 2, 3);
	struct rib_view view = {.routes = ROUTES(outside_subnet, default_by(a, 4, 0, 3), default_by(b, 4, 1, 1),
					default_by(silent, 4, 2, 1)),
		.neighbours = NEIGHBOURS(answers(a), answers(b))};
	struct result result;
	uint32_t unused;

	build(&view, &result);
	assert_int_equal(result.summary.group_count, 1);
	assert_in_range(slots_of(&result, a), ADJACENCY_GROUP_SLOTS * 2 / 3, ADJACENCY_GROUP_SLOTS * 5 / 6);
	assert_int_equal(slots_of(&result, a) + slots_of(&result, b), ADJACENCY_GROUP_SLOTS);
	assert_false(rib_view_default_unresolved(&view, &unused));
	free(result.snapshot);
	/* The last one that answers has no group, and costs nothing of one. */
	view.neighbour_count = 1;
	build(&view, &result);
	assert_int_equal(result.summary.group_count, 0);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->address, a);
	free(result.snapshot);
	view.neighbour_count = 0;
	build(&view, &result);
	assert_false(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->resolved);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->address, a);
	assert_true(rib_view_default_unresolved(&view, &unused));
	free(result.snapshot);
}

/* As the kernel: of routes that were appended to the same prefix it takes the first. */
static void two_routes_of_one_prefix_are_not_spread_over(void **state)
{
	const uint32_t a = IP(192, 0, 2, 1), b = IP(192, 0, 2, 2);
	struct rib_view view = {.routes = ROUTES(outside_subnet, default_by(b, 5, 0, 1), default_by(a, 4, 0, 1)),
		.neighbours = NEIGHBOURS(answers(a), answers(b))};
	struct result result;

	build(&view, &result);
	assert_int_equal(result.summary.group_count, 0);
	assert_int_equal(look(&result, PORT_OUTSIDE, IP(198, 51, 100, 1))->address, a);
	free(result.snapshot);
}

static void routes_with_the_same_next_hops_share_a_group_and_their_number_is_limited(void **state)
{
	enum { COUNT = 2 * (NEXT_HOP_GROUP_COUNT_MAX + 10) };
	struct rib_route *routes = calloc(COUNT, sizeof(*routes));
	struct rib_neighbour neighbours[] = {answers(IP(192, 0, 2, 1)), answers(IP(192, 0, 2, 2))};
	struct rib_view view = {.routes = routes, .route_count = COUNT, .neighbours = neighbours, .neighbour_count = 2};
	struct result result;

	for (unsigned distinct = 0; distinct < 2; distinct++) {
		for (uint32_t i = 0; i < COUNT; i++) {
			routes[i] = default_by(IP(192, 0, 2, 1) + i % 2, i / 2, (uint16_t)(i % 2), 1);
			routes[i].address = IP(20, 0, 0, 0) + (i / 2 << 8);
			routes[i].prefix_length_bits = 24;
			routes[i].weight = distinct && i % 2 ? (uint16_t)(i / 2 + 1) : 1;
		}
		build(&view, &result);
		assert_int_equal(result.summary.group_count, distinct ? NEXT_HOP_GROUP_COUNT_MAX : 1);
		assert_int_equal(result.summary.unspread_count, distinct ? 10 : 0);
		assert_int_equal(result.summary.left_out_count, 0);
		assert_int_equal(result.snapshot->routes.count, COUNT / 2);
		free(result.snapshot);
	}
	free(routes);
}

static void the_same_view_gives_the_same_bytes(void **state)
{
	struct rib_view view = {.routes = ROUTES(outside_default, outside_subnet), .neighbours = NEIGHBOURS(router)};
	struct result first, second;

	build(&view, &first);
	build(&view, &second);
	assert_int_equal(first.size_bytes, second.size_bytes);
	assert_memory_equal(first.snapshot, second.snapshot, first.size_bytes);
	free(first.snapshot);
	free(second.snapshot);
}

/* ---- neighbours ---- */

struct asked {
	unsigned count;
	uint32_t address;
	bool keep;
};

static void ask(void *context, uint32_t interface_index, uint32_t address, bool keep)
{
	struct asked *asked = context;

	asked->count++;
	asked->address = address;
	asked->keep = keep;
}

static const uint64_t second_ns = 1000000000ull;

static void an_unresolved_neighbour_is_asked_for_each_second(void **state)
{
	struct rib_view view = {.ports = {{.interface_index = 3}, {.interface_index = 4}}};
	struct neighbours neighbours = {0};
	struct asked asked = {0};

	neighbours_begin(&neighbours);
	neighbours_want_lasting(&neighbours, PORT_OUTSIDE, IP(192, 0, 2, 254));
	neighbours_end(&neighbours);
	neighbours_tick(&neighbours, &view, 10 * second_ns, ask, &asked);
	neighbours_tick(&neighbours, &view, 10 * second_ns + 1, ask, &asked);
	assert_int_equal(asked.count, 1);
	assert_true(asked.keep);
	for (unsigned i = 1; i < 100; i++)
		neighbours_tick(&neighbours, &view, (10 + i) * second_ns, ask, &asked);
	assert_int_equal(asked.count, 100);
	neighbours_free(&neighbours);
}

static void a_requested_neighbour_that_never_answers_is_given_up(void **state)
{
	struct rib_view view = {.ports = {{.interface_index = 3}, {.interface_index = 4}}};
	struct neighbours neighbours = {0};
	struct asked asked = {0};

	neighbours_request(&neighbours, PORT_INSIDE, IP(10, 100, 0, 9));
	for (unsigned i = 1; i < 100; i++)
		neighbours_tick(&neighbours, &view, i * second_ns, ask, &asked);
	assert_int_equal(asked.count, NEIGHBOUR_ATTEMPT_MAX);
	assert_int_equal(neighbours.count, 0);
	neighbours_free(&neighbours);
}

static void a_stale_neighbour_is_refreshed_each_30_s_and_a_fixed_one_never(void **state)
{
	struct rib_neighbour known = {
		.address = IP(10, 100, 0, 9), .port = PORT_INSIDE, .resolved = true, .stale = true};
	struct rib_view view = {
		.ports = {{.interface_index = 3}, {.interface_index = 4}}, .neighbours = &known, .neighbour_count = 1};
	struct neighbours neighbours = {0};
	struct asked asked = {0};

	neighbours_request(&neighbours, PORT_INSIDE, known.address);
	for (unsigned i = 1; i <= 91; i++)
		neighbours_tick(&neighbours, &view, i * second_ns, ask, &asked);
	assert_int_equal(asked.count, 4);
	known.stale = false;
	known.fixed = true;
	neighbours_begin(&neighbours);
	neighbours_want_lasting(&neighbours, PORT_INSIDE, known.address);
	neighbours_end(&neighbours);
	for (unsigned i = 100; i <= 200; i++)
		neighbours_tick(&neighbours, &view, i * second_ns, ask, &asked);
	assert_int_equal(asked.count, 4);
	neighbours_free(&neighbours);
}

static void the_list_of_neighbours_is_bounded(void **state)
{
	struct neighbours neighbours = {0};

	for (uint32_t i = 0; i < NEIGHBOUR_COUNT_MAX + 100; i++)
		neighbours_request(&neighbours, PORT_INSIDE, IP(10, 100, 0, 0) + i);
	assert_int_equal(neighbours.count, NEIGHBOUR_COUNT_MAX);
	neighbours_free(&neighbours);
}

static void requested_neighbours_push_out_no_lasting_one(void **state)
{
	struct rib_view view = {.ports = {{.interface_index = 3}, {.interface_index = 4}}};
	struct neighbours neighbours = {0};
	struct asked asked = {0};
	size_t lasting = 0;

	for (uint32_t i = 0; i < NEIGHBOUR_COUNT_MAX; i++)
		neighbours_request(&neighbours, PORT_INSIDE, IP(10, 100, 0, 0) + i);
	neighbours_begin(&neighbours);
	neighbours_want_lasting(&neighbours, PORT_OUTSIDE, IP(192, 0, 2, 254));
	neighbours_end(&neighbours);
	assert_int_equal(neighbours.count, NEIGHBOUR_COUNT_MAX);
	for (size_t i = 0; i < neighbours.count; i++)
		lasting += neighbours.wanted[i].lasting;
	assert_int_equal(lasting, 1);
	neighbours_request(&neighbours, PORT_INSIDE, IP(10, 200, 0, 1)); /* full: it takes nobody's place */
	neighbours_tick(&neighbours, &view, second_ns, ask, &asked);
	assert_int_equal(asked.count, NEIGHBOUR_COUNT_MAX);
	neighbours_free(&neighbours);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_default_route_gives_the_routers_mac),
		cmocka_unit_test(a_silent_neighbour_never_falls_through_to_the_default_route),
		cmocka_unit_test(an_unresolved_gateway_is_named),
		cmocka_unit_test(a_blackhole_counts_on_both_ports_unless_a_smaller_metric_wins),
		cmocka_unit_test(of_two_routes_the_smaller_metric_is_taken),
		cmocka_unit_test(a_host_route_wins_over_a_neighbour_of_the_same_address),
		cmocka_unit_test(a_connected_host_route_is_its_neighbour),
		cmocka_unit_test(more_than_fits_is_left_out_and_told),
		cmocka_unit_test(learned_neighbours_push_out_no_route_and_no_lasting_neighbour),
		cmocka_unit_test(an_unresolved_default_gateway_is_found),
		cmocka_unit_test(over_next_hops_that_answer_flows_are_spread_by_weight),
		cmocka_unit_test(two_routes_of_one_prefix_are_not_spread_over),
		cmocka_unit_test(routes_with_the_same_next_hops_share_a_group_and_their_number_is_limited),
		cmocka_unit_test(the_same_view_gives_the_same_bytes),
		cmocka_unit_test(an_unresolved_neighbour_is_asked_for_each_second),
		cmocka_unit_test(a_requested_neighbour_that_never_answers_is_given_up),
		cmocka_unit_test(a_stale_neighbour_is_refreshed_each_30_s_and_a_fixed_one_never),
		cmocka_unit_test(the_list_of_neighbours_is_bounded),
		cmocka_unit_test(requested_neighbours_push_out_no_lasting_one),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
