/* SPDX-License-Identifier: Apache-2.0 */
/* control/mapping.c: what routes of the mapping table make of a configuration, and which of them mean nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <linux/rtnetlink.h>

#include "control/mapping.h"
#include "control/shared_pool.h"
#include "dataplane/nat/nat.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const char configuration[] =
	"version: 1\n"
	"gateway:\n"
	"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24] }\n"
	"  outside: { interface: outside0 }\n"
	"  netlink: { mapping_table: 4242 }\n"
	"workspaces:\n"
	"  - { id: acme, number: 17, vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16], preferred_egress: [\n"
	"      { cidr: 10.0.9.0/24, ip: 203.0.113.10 } ] } ], egress: { ips: [203.0.113.10, 203.0.113.11] } }\n"
	"  - { id: globex, number: 18, vpcs: [ { id: a, vni: 7002, cidrs: [10.0.0.0/16] },\n"
	"      { id: b, vni: 7003, cidrs: [10.0.0.0/24, 10.1.0.0/16] } ], egress: { ips: [203.0.113.20], draining: "
	"[203.0.113.21] } }\n"
	"  - { id: initech, number: 19, vpcs: [ { id: main, vni: 7004, cidrs: [10.0.0.0/16] } ], egress: shared }\n"
	"shared_pool: { ips: [203.0.113.200] }\n";

struct fixture {
	struct model *model;
	struct mappings mappings;
	struct problems warnings;
};

static struct kernel_route route(uint32_t address, uint8_t length, uint32_t source, uint32_t realm)
{
	return (struct kernel_route){.table = 4242,
		.address = address,
		.prefix_length_bits = length,
		.type = RTN_UNICAST,
		.source = source,
		.realm = realm};
}

static void apply(struct fixture *fixture, struct kernel_route *routes, size_t count)
{
	const struct kernel_routes all = {.routes = routes, .count = count};
	struct problems problems = {0}, unused = {0};

	assert_int_equal(
		config_parse("test", configuration, strlen(configuration), &fixture->model, &problems, &unused),
		STATUS_OK);
	assert_int_equal(mappings_apply(&all, fixture->model, &fixture->mappings, &fixture->warnings), STATUS_OK);
	problems_clear(&unused);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct fixture));
	return *state == NULL;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	model_free(fixture->model);
	mappings_clear(&fixture->mappings);
	problems_clear(&fixture->warnings);
	free(fixture);
	return 0;
}

static void a_prefix_of_the_vpc_prefers_an_ip_of_its_workspace(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 11), 17)};
	const struct model_workspace *acme;

	apply(fixture, routes, 1);
	acme = &fixture->model->workspaces[0];
	assert_int_equal(fixture->mappings.counts[MAPPING_IN_USE], 1);
	assert_int_equal(fixture->warnings.count, 0);
	assert_int_equal(acme->egress_ip_count, 2);
	assert_int_equal(acme->vpcs[0].cidr_count, 1);
	assert_int_equal(acme->vpcs[0].preferred_count, 2);
	assert_int_equal(acme->vpcs[0].preferred[1].address, IP(10, 0, 3, 0));
	assert_int_equal(acme->vpcs[0].preferred[1].egress_ip, IP(203, 0, 113, 11));
}

static void a_new_prefix_and_a_new_ip_are_added_and_compile(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {route(IP(10, 64, 3, 0), 24, IP(203, 0, 113, 7), 17)};
	struct shared_pool_table pool = {0};
	struct problems problems = {0}, warnings = {0};
	char why[NAT_TEXT_SIZE_BYTES];
	size_t size_bytes;
	void *block;

	apply(fixture, routes, 1);
	assert_int_equal(fixture->model->workspaces[0].egress_ip_count, 3);
	assert_int_equal(fixture->model->workspaces[0].vpcs[0].cidr_count, 2);
	assert_int_equal(shared_pool_assign(&pool, fixture->model, 1, &problems, &warnings), STATUS_OK);
	assert_int_equal(policy_compile(fixture->model, &pool, NULL, 1, &block, &size_bytes, &problems), STATUS_OK);
	assert_true(policy_snapshot_check(block, size_bytes, why));
	free(block);
	shared_pool_clear(&pool);
}

static void what_the_files_say_already_is_no_change(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {route(IP(10, 0, 9, 0), 24, IP(203, 0, 113, 10), 17)};

	apply(fixture, routes, 1);
	assert_int_equal(fixture->mappings.counts[MAPPING_IN_USE], 1);
	assert_int_equal(fixture->model->workspaces[0].vpcs[0].preferred_count, 1);
}

static void the_files_win(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 20), 17),  /* globex' */
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 200), 17), /* of the shared pool */
		route(IP(10, 0, 9, 0), 24, IP(203, 0, 113, 11), 17),  /* preferred otherwise */
		route(IP(10, 0, 0, 0), 8, IP(203, 0, 113, 11), 17),   /* around the VPC's own */
		route(IP(10, 1, 3, 0), 24, IP(203, 0, 113, 21), 18),  /* drains */
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 30), 19),  /* uses the shared pool */
	};
	char *before, *after;
	struct problems problems = {0}, unused = {0};
	struct model *untouched;

	apply(fixture, routes, sizeof(routes) / sizeof(routes[0]));
	assert_int_equal(fixture->mappings.counts[MAPPING_CONFLICT], sizeof(routes) / sizeof(routes[0]));
	assert_int_equal(fixture->warnings.count, sizeof(routes) / sizeof(routes[0]));
	assert_int_equal(
		config_parse("test", configuration, strlen(configuration), &untouched, &problems, &unused), STATUS_OK);
	before = model_print(untouched);
	after = model_print(fixture->model);
	assert_string_equal(after, before);
	free(before);
	free(after);
	model_free(untouched);
	problems_clear(&unused);
}

static void what_names_no_workspace_no_vpc_or_no_ip_means_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {
		route(IP(10, 0, 3, 0), 24, 0, 17), route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 11), 0),
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 11), 1 << 16 | 17), /* realm 1/17 */
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 11), 99), route(IP(10, 0, 3, 0), 24, IP(192, 168, 0, 1), 17),
		route(IP(127, 0, 3, 0), 24, IP(203, 0, 113, 11), 17), route(0, 0, IP(203, 0, 113, 11), 17),
		route(IP(10, 0, 0, 0), 26, IP(203, 0, 113, 20), 18), /* in both VPCs of globex */
		route(IP(10, 9, 0, 0), 24, IP(203, 0, 113, 20), 18), /* in none */
	};

	apply(fixture, routes, sizeof(routes) / sizeof(routes[0]));
	assert_int_equal(fixture->mappings.counts[MAPPING_INVALID], sizeof(routes) / sizeof(routes[0]));
	for (size_t i = 0; i < fixture->mappings.count; i++)
		assert_true(fixture->mappings.entries[i].why[0] != '\0');
}

static void an_ip_that_two_numbers_claim_is_the_smaller_ones(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {
		route(IP(10, 1, 3, 0), 24, IP(203, 0, 113, 7), 18), route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 7), 17)};

	apply(fixture, routes, 2);
	assert_int_equal(fixture->mappings.counts[MAPPING_IN_USE], 1);
	assert_int_equal(fixture->mappings.counts[MAPPING_CONFLICT], 1);
	assert_string_equal(fixture->mappings.entries[0].workspace, "acme");
	assert_int_equal(fixture->mappings.entries[0].state, MAPPING_IN_USE);
	assert_int_equal(fixture->model->workspaces[1].egress_ip_count, 1);
}

static void of_one_prefix_the_smaller_metric_counts(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 10), 17),
		route(IP(10, 0, 3, 0), 24, IP(203, 0, 113, 11), 17)};

	routes[0].metric = 5;
	routes[1].metric = 4;
	apply(fixture, routes, 2);
	assert_int_equal(fixture->model->workspaces[0].vpcs[0].preferred[1].egress_ip, IP(203, 0, 113, 11));
	assert_int_equal(fixture->mappings.counts[MAPPING_CONFLICT], 1);
}

static void local_routes_are_no_mappings(void **state)
{
	struct fixture *fixture = *state;
	struct kernel_route routes[] = {route(IP(203, 0, 113, 10), 32, 0, 0)};
	const struct kernel_routes none = {0};

	routes[0].type = RTN_LOCAL;
	apply(fixture, routes, 1);
	assert_int_equal(fixture->mappings.count, 0);
	assert_int_equal(fixture->mappings.digest, mappings_digest(&none));
}

static void one_workspace_has_a_bounded_number_of_them(void **state)
{
	enum { COUNT = MAPPING_PER_WORKSPACE_MAX + 50 };
	struct fixture *fixture = *state;
	struct kernel_route *routes = calloc(COUNT, sizeof(*routes));

	for (uint32_t i = 0; i < COUNT; i++)
		routes[i] = route(IP(10, 0, 0, 0) + i, 32, IP(203, 0, 113, 10), 17);
	apply(fixture, routes, COUNT);
	assert_int_equal(fixture->mappings.counts[MAPPING_IN_USE], MAPPING_PER_WORKSPACE_MAX);
	assert_int_equal(fixture->mappings.counts[MAPPING_INVALID], 50);
	free(routes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_prefix_of_the_vpc_prefers_an_ip_of_its_workspace),
		TEST(a_new_prefix_and_a_new_ip_are_added_and_compile),
		TEST(what_the_files_say_already_is_no_change),
		TEST(the_files_win),
		TEST(what_names_no_workspace_no_vpc_or_no_ip_means_nothing),
		TEST(an_ip_that_two_numbers_claim_is_the_smaller_ones),
		TEST(of_one_prefix_the_smaller_metric_counts),
		TEST(local_routes_are_no_mappings),
		TEST(one_workspace_has_a_bounded_number_of_them),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
