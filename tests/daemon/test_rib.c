/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control/rib.c against the kernel, in network namespaces of its own that nobody else sees:
 *
 *   inside0 10.100.0.1/24 ──── in_peer 10.100.0.2      outside0 192.0.2.1/24 ──── out_peer 192.0.2.254
 *   (the test's namespace)     (a second namespace)    (the test's namespace)     (the second namespace)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/rib.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

enum { DEADLINE_MS = 8000 };

struct fixture {
	struct event_base *base;
	struct log log;
	struct rib *rib;
	pid_t peer; /* holds the second namespace */
	unsigned adjacency_count, links_count, own_routes_count, mappings_count;
};

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *format, ...)
{
	char command[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void on_adjacency(void *context)
{
	struct fixture *fixture = context;

	fixture->adjacency_count++;
}

static void on_links(void *context)
{
	struct fixture *fixture = context;

	fixture->links_count++;
}

static void on_own_routes(void *context)
{
	struct fixture *fixture = context;

	fixture->own_routes_count++;
}

static void on_mappings(void *context)
{
	struct fixture *fixture = context;

	fixture->mappings_count++;
}

static const struct rib_handlers handlers = {.adjacency_changed = on_adjacency,
	.links_changed = on_links,
	.own_routes_changed = on_own_routes,
	.mappings_changed = on_mappings};

static void turn(struct fixture *fixture)
{
	static const struct timeval length = {.tv_usec = 5000};

	event_base_loopexit(fixture->base, &length);
	event_base_dispatch(fixture->base);
}

#define WAIT_FOR(fixture, condition)                                                                                   \
	do {                                                                                                           \
		struct timespec start, now;                                                                            \
		clock_gettime(CLOCK_MONOTONIC, &start);                                                                \
		while (!(condition)) {                                                                                 \
			clock_gettime(CLOCK_MONOTONIC, &now);                                                          \
			if ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 >             \
				DEADLINE_MS)                                                                           \
				fail_msg("waited in vain: %s", #condition);                                            \
			turn(fixture);                                                                                 \
		}                                                                                                      \
	} while (0)

/* What the longest prefix of the port says; NULL: no route, unreachable, or a group of next hops. */
static const struct adjacency_next_hop *look(const struct fixture *fixture, unsigned port, uint32_t address)
{
	const struct adjacency_snapshot *snapshot = rib_block(fixture->rib);
	const struct adjacency_route *routes, *best = NULL;

	if (snapshot == NULL)
		return NULL;
	routes = (const void *)((const char *)snapshot + snapshot->routes.offset_bytes);
	for (uint32_t i = 0; i < snapshot->routes.count; i++) {
		uint32_t mask =
			routes[i].prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - routes[i].prefix_length_bits);

		if (routes[i].port == port && (address & mask) == routes[i].address &&
			(best == NULL || routes[i].prefix_length_bits > best->prefix_length_bits))
			best = &routes[i];
	}
	if (best == NULL || best->next_hop_index == ADJACENCY_UNREACHABLE)
		return NULL;
	if (best->next_hop_index >= ADJACENCY_GROUP)
		return NULL;
	return (const struct adjacency_next_hop *)((const char *)snapshot + snapshot->next_hops.offset_bytes) +
	       best->next_hop_index;
}

static unsigned group_count(const struct fixture *fixture)
{
	return rib_get_summary(fixture->rib)->group_count;
}

static bool resolves(const struct fixture *fixture, unsigned port, uint32_t address)
{
	const struct adjacency_next_hop *hop = look(fixture, port, address);

	return hop != NULL && hop->resolved;
}

static uint32_t hop_address(const struct fixture *fixture, unsigned port, uint32_t address)
{
	const struct adjacency_next_hop *hop = look(fixture, port, address);

	return hop != NULL ? hop->address : 0;
}

static bool port_is(const struct fixture *fixture, unsigned port, bool up)
{
	const struct adjacency_snapshot *snapshot = rib_block(fixture->rib);

	return snapshot != NULL && snapshot->ports[port].up == up;
}

static pid_t namespace_hold(void)
{
	int ready[2];
	char byte;
	pid_t child;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void lab_build(const struct fixture *fixture)
{
	run("ip link set lo up");
	run("ip link add inside0 type veth peer name in_peer netns %d", fixture->peer);
	run("ip link add outside0 type veth peer name out_peer netns %d", fixture->peer);
	run("ip addr add 10.100.0.1/24 dev inside0; ip addr add 192.0.2.1/24 dev outside0; ip link set inside0 up; ip "
	    "link set "
	    "outside0 up mtu 1450");
	run("nsenter -t %d -n sh -c 'ip addr add 10.100.0.2/24 dev in_peer; ip addr add 192.0.2.254/24 dev out_peer; "
	    "ip addr add "
	    "192.0.2.253/24 dev out_peer; ip link set in_peer up; ip link set out_peer up; ip link set lo up'",
		fixture->peer);
}

static void rib_start(struct fixture *fixture)
{
	static struct model_cidr vtep = {.address = IP(10, 100, 0, 2), .prefix_length_bits = 32};
	struct model model = {.gateway = {.present = true, .trusted_vteps = &vtep, .trusted_vtep_count = 1}};
	struct problems problems = {0};

	strcpy(model.gateway.ports[PORT_INSIDE].interface, "inside0");
	strcpy(model.gateway.ports[PORT_OUTSIDE].interface, "outside0");
	assert_int_equal(
		rib_open(fixture->base, &fixture->log, &handlers, fixture, &fixture->rib, &problems), STATUS_OK);
	rib_set_model(fixture->rib, &model);
}

static int fixture_open(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	if (unshare(CLONE_NEWNET) != 0) {
		print_message("# a network namespace needs root\n");
		return -1;
	}
	fixture->peer = namespace_hold();
	fixture->base = event_base_new();
	log_open(&fixture->log, LOG_LEVEL_ERROR);
	rib_start(fixture);
	*state = fixture;
	return 0;
}

static int fixture_close(void **state)
{
	struct fixture *fixture = *state;

	rib_close(fixture->rib);
	event_base_free(fixture->base);
	kill(fixture->peer, SIGKILL);
	waitpid(fixture->peer, NULL, 0);
	free(fixture);
	return 0;
}

static void missing_interfaces_are_no_ports_and_are_found_when_they_come(void **state)
{
	struct fixture *fixture = *state;

	WAIT_FOR(fixture, rib_block(fixture->rib) != NULL);
	assert_int_equal(rib_get_view(fixture->rib)->ports[PORT_INSIDE].interface_index, 0);
	assert_int_equal(rib_block(fixture->rib)->ports[PORT_INSIDE].up, 0);
	lab_build(fixture);
	WAIT_FOR(fixture, port_is(fixture, PORT_INSIDE, true) && port_is(fixture, PORT_OUTSIDE, true));
	WAIT_FOR(fixture, rib_block(fixture->rib)->ports[PORT_OUTSIDE].address == IP(192, 0, 2, 1));
	assert_int_equal(rib_block(fixture->rib)->ports[PORT_INSIDE].address, IP(10, 100, 0, 1));
	assert_int_equal(rib_block(fixture->rib)->ports[PORT_OUTSIDE].mtu_bytes, 1450);
	assert_true(fixture->links_count > 0);
}

static void gateways_and_vteps_are_resolved_without_traffic(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("ip route add default via 192.0.2.254");
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	assert_int_equal(hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)), IP(192, 0, 2, 254));
	WAIT_FOR(fixture, resolves(fixture, PORT_INSIDE, IP(10, 100, 0, 2)));
	run("ip neigh show to 192.0.2.254 | grep -q managed");
}

static void a_wanted_neighbour_is_resolved_only_inside_a_subnet(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(192, 0, 2, 253)) != NULL);
	assert_false(resolves(fixture, PORT_OUTSIDE, IP(192, 0, 2, 253)));
	rib_want_neighbour(fixture->rib, IP(192, 0, 2, 253), PORT_OUTSIDE);
	rib_want_neighbour(fixture->rib, IP(198, 51, 100, 1), PORT_OUTSIDE);
	rib_want_neighbour(fixture->rib, IP(192, 0, 2, 253), 77);
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(192, 0, 2, 253)));
	run("! ip neigh show | grep -q 198.51.100.1");
}

static void a_route_change_is_seen(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("ip route add default via 192.0.2.254");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 254));
	run("ip route replace default via 192.0.2.253");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 253));
	run("ip route add blackhole 198.51.100.0/24");
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == NULL);
	run("ip route del blackhole 198.51.100.0/24; ip route flush default");
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(203, 0, 113, 1)) == NULL);
}

static void over_a_multipath_route_flows_are_spread_once_both_next_hops_answer(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("ip route add 198.51.100.0/24 nexthop via 192.0.2.250 nexthop via 192.0.2.254");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 254));
	run("nsenter -t %d -n ip address add 192.0.2.250/24 dev out_peer", (int)fixture->peer);
	WAIT_FOR(fixture, group_count(fixture) == 1);
	run("nsenter -t %d -n ip address del 192.0.2.250/24 dev out_peer; ip neigh del 192.0.2.250 dev outside0",
		(int)fixture->peer);
	WAIT_FOR(fixture, group_count(fixture) == 0);
	assert_int_equal(hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)), IP(192, 0, 2, 254));
}

static void follow_next_hop_objects(struct fixture *fixture)
{
	run("ip nexthop add id 1 via 192.0.2.250 dev outside0");
	run("ip nexthop add id 2 via 192.0.2.254 dev outside0");
	run("ip nexthop add id 10 group 1/2");
	run("ip route add 198.51.100.0/24 nhid 10");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 254));
	run("nsenter -t %d -n ip address add 192.0.2.250/24 dev out_peer", (int)fixture->peer);
	WAIT_FOR(fixture, group_count(fixture) == 1);
	run("ip nexthop replace id 10 group 1");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 250));
	run("ip nexthop delete id 10");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) != IP(192, 0, 2, 250));
}

static void a_route_by_next_hop_objects_is_followed(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	follow_next_hop_objects(fixture);
}

/* With this setting the kernel tells of such a route no more than the number of its object. */
static void a_route_by_next_hop_objects_is_followed_without_compat_mode(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("sysctl -q -w net.ipv4.nexthop_compat_mode=0");
	follow_next_hop_objects(fixture);
	run("ip nexthop add id 3 dev outside0; ip route add 198.51.100.0/24 nhid 3");
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) != NULL);
	run("ip nexthop add id 4 blackhole; ip nexthop replace id 3 via 192.0.2.254 dev outside0");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == IP(192, 0, 2, 254));
	run("ip route add default via 192.0.2.253; ip route replace 198.51.100.0/24 nhid 4");
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == NULL);
}

static void routes_of_our_own_protocol_are_told_and_shadow_nothing(void **state)
{
	struct fixture *fixture = *state;
	unsigned before;

	lab_build(fixture);
	run("ip route add 198.51.100.0/24 via 192.0.2.254");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 7)) == IP(192, 0, 2, 254));
	before = fixture->own_routes_count;
	run("ip route add blackhole 198.51.100.7 metric 133 protocol 133");
	WAIT_FOR(fixture, fixture->own_routes_count > before);
	run("ip route add 198.51.101.0/24 via 192.0.2.254");
	WAIT_FOR(fixture, hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 101, 1)) == IP(192, 0, 2, 254));
	assert_int_equal(hop_address(fixture, PORT_OUTSIDE, IP(198, 51, 100, 7)), IP(192, 0, 2, 254));
}

static void a_link_that_goes_down_or_away_takes_its_routes(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("ip route add default via 192.0.2.254");
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	run("nsenter -t %d -n ip link set out_peer down", fixture->peer);
	WAIT_FOR(fixture, port_is(fixture, PORT_OUTSIDE, false));
	run("nsenter -t %d -n ip link set out_peer up", fixture->peer);
	WAIT_FOR(fixture, port_is(fixture, PORT_OUTSIDE, true) && resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	run("ip link del outside0");
	WAIT_FOR(fixture, port_is(fixture, PORT_OUTSIDE, false));
	WAIT_FOR(fixture, look(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)) == NULL);
	assert_int_equal(rib_get_view(fixture->rib)->ports[PORT_OUTSIDE].interface_index, 0);
}

static void a_flushed_neighbour_is_asked_for_again(void **state)
{
	struct fixture *fixture = *state;
	unsigned before;

	lab_build(fixture);
	run("ip route add default via 192.0.2.254");
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	before = fixture->adjacency_count;
	run("ip neigh del 192.0.2.254 dev outside0");
	WAIT_FOR(fixture, fixture->adjacency_count > before);
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
}

static void a_neighbours_new_mac_is_seen(void **state)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x42};
	struct fixture *fixture = *state;

	lab_build(fixture);
	run("ip route add default via 192.0.2.254");
	run("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:41 dev outside0 nud permanent");
	WAIT_FOR(fixture, resolves(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1)));
	run("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:42 dev outside0 nud permanent");
	WAIT_FOR(fixture, memcmp(look(fixture, PORT_OUTSIDE, IP(198, 51, 100, 1))->mac, mac, 6) == 0);
	/* Another second of upkeep leaves the permanent entry alone. */
	WAIT_FOR(fixture, system("ip neigh show to 192.0.2.254 | grep -q PERMANENT") == 0);
}

static void a_burst_of_routes_ends_in_the_right_snapshot(void **state)
{
	struct fixture *fixture = *state;

	lab_build(fixture);
	WAIT_FOR(fixture, port_is(fixture, PORT_OUTSIDE, true));
	run("for i in $(seq 0 249); do for j in $(seq 0 15); do echo route add 20.$i.$j.0/24 via 192.0.2.254; done; "
	    "done | ip "
	    "-batch -");
	WAIT_FOR(fixture, rib_get_summary(fixture->rib)->route_count >= 4000);
	run("for i in $(seq 0 249); do for j in $(seq 0 15); do echo route del 20.$i.$j.0/24 via 192.0.2.254; done; "
	    "done | ip "
	    "-batch -");
	WAIT_FOR(fixture, rib_get_summary(fixture->rib)->route_count < 20);
}

#define RIB_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RIB_TEST(missing_interfaces_are_no_ports_and_are_found_when_they_come),
		RIB_TEST(gateways_and_vteps_are_resolved_without_traffic),
		RIB_TEST(a_wanted_neighbour_is_resolved_only_inside_a_subnet),
		RIB_TEST(a_route_change_is_seen),
		RIB_TEST(over_a_multipath_route_flows_are_spread_once_both_next_hops_answer),
		RIB_TEST(a_route_by_next_hop_objects_is_followed),
		RIB_TEST(a_route_by_next_hop_objects_is_followed_without_compat_mode),
		RIB_TEST(routes_of_our_own_protocol_are_told_and_shadow_nothing),
		RIB_TEST(a_link_that_goes_down_or_away_takes_its_routes),
		RIB_TEST(a_flushed_neighbour_is_asked_for_again),
		RIB_TEST(a_neighbours_new_mac_is_seen),
		RIB_TEST(a_burst_of_routes_ends_in_the_right_snapshot),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
