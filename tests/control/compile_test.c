/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled policy keeps the contract of dataplane/contract/policy.h. */
#include "tests/control/check.h"

#include "control/shared_pool.h"
#include "dataplane/nat/nat.h"

static const char text[] = CHECK_GATEWAY
	"  hairpin: allow\n"
	"workspaces:\n"
	"  - id: acme\n"
	"    number: 17\n"
	"    vpcs:\n"
	"      - { id: main, vni: 7001, cidrs: [10.0.0.0/16, 10.4.0.0/16], workers: [ { ip: 10.0.0.5, vtep: 10.100.0.2 "
	"} ] }\n"
	"      - { id: build, vni: 7003, cidrs: [10.0.0.0/16] }\n"
	"    egress: { ips: [203.0.113.10], draining: [203.0.113.11] }\n"
	"    allow_private: true\n"
	"    other_protocols: allow\n"
	"    tcp_reset_idle: true\n"
	"    tcp_reset_gone: true\n"
	"    timers: { udp: 120 }\n"
	"    limits: { sessions: 64Ki, guaranteed_sessions: 1, half_open: 2, new_sessions_per_second: 3, "
	"packets_per_second: 4, bytes_per_second: 8Mbit, sessions_per_remote: 5, fragments_held: 6, "
	"guaranteed_fragments: 4, worker: { sessions: 7, half_open: 8, new_sessions_per_second: 9, "
	"sessions_per_remote: 10, fragments_held: 11 } }\n"
	"    policy: { default: deny, rules: [ { action: allow, to: 198.51.100.0/24, protocol: tcp, ports: 443 } ] }\n"
	"  - id: initech\n"
	"    vpcs: [ { id: main, vni: 7004, cidrs: [10.0.0.0/16], workers: [] } ]\n"
	"    egress: shared\n"
	"  - id: globex\n"
	"    vpcs: [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ]\n"
	"    egress: { ips: [203.0.113.20] }\n"
	"shared_pool: { ips: [203.0.113.200] }\n";

/* `pool` goes on from what it is. */
static void *compile_with(const char *source, struct shared_pool_table *pool, uint64_t now_s, size_t *ret_size_bytes)
{
	struct problems problems = {0}, warnings = {0};
	struct model *model = check_load(source);
	void *block = NULL;

	assert_int_equal(shared_pool_assign(pool, model, now_s, &problems, &warnings), STATUS_OK);
	assert_int_equal(policy_compile(model, pool, NULL, 42, &block, ret_size_bytes, &problems), STATUS_OK);
	assert_int_equal(problems.count, 0);
	assert_int_equal(warnings.count, 0);
	model_free(model);
	return block;
}

static void *compile(const char *source, size_t *ret_size_bytes)
{
	struct shared_pool_table pool = {0};
	void *block = compile_with(source, &pool, 1000, ret_size_bytes);

	shared_pool_clear(&pool);
	return block;
}

static const void *table(const void *block, enum policy_table_id id, uint32_t count, uint32_t record_size_bytes)
{
	const struct policy_snapshot *snapshot = block;
	const struct policy_table *of = &snapshot->tables[id];

	assert_int_equal(of->count, count);
	assert_int_equal(of->record_size_bytes, record_size_bytes);
	assert_int_equal(of->offset_bytes % 8, 0);
	assert_true(of->offset_bytes >= sizeof(*snapshot));
	assert_true(of->offset_bytes + (uint64_t)count * record_size_bytes <= snapshot->size_bytes);
	return (const char *)block + of->offset_bytes;
}

static void header_says_what_the_gateway_is(void **state)
{
	size_t size_bytes = 0;
	void *block = compile(text, &size_bytes);
	const struct policy_snapshot *snapshot = block;
	const struct policy_vtep_prefix *prefixes = table(block, POLICY_VTEP_PREFIXES, 1, sizeof(*prefixes));

	assert_int_equal(snapshot->magic, POLICY_MAGIC);
	assert_int_equal(snapshot->version, POLICY_VERSION);
	assert_int_equal(snapshot->size_bytes, size_bytes);
	assert_int_equal(snapshot->generation, 42);
	assert_int_equal(snapshot->encapsulation, POLICY_ENCAPSULATION_VXLAN);
	assert_int_equal(snapshot->hairpin, POLICY_HAIRPIN_ALLOW);
	assert_int_equal(snapshot->vxlan_udp_port, 4789);
	assert_int_equal(snapshot->vtep_address, 0);
	assert_string_equal(snapshot->ports[PORT_INSIDE].interface, "inside0");
	assert_string_equal(snapshot->ports[PORT_OUTSIDE].interface, "outside0");
	assert_int_equal(snapshot->ports[PORT_OUTSIDE].queue_count, 1);
	assert_int_equal(prefixes[0].address, 0x0a640000);
	assert_int_equal(prefixes[0].prefix_length_bits, 24);
	free(block);
}

static void workspace_owns_its_ranges(void **state)
{
	size_t size_bytes = 0;
	void *block = compile(text, &size_bytes);
	const struct policy_workspace *workspaces = table(block, POLICY_WORKSPACES, 3, sizeof(*workspaces));
	const struct policy_egress_ip *ips = table(block, POLICY_EGRESS_IPS, 4, sizeof(*ips));
	const struct policy_rule *rules = table(block, POLICY_RULES, 1, sizeof(*rules));

	assert_string_equal(workspaces[0].id, "acme");
	assert_int_equal(workspaces[0].number, 17);
	assert_int_equal(workspaces[0].egress_first, 0);
	assert_int_equal(workspaces[0].egress_count, 2);
	assert_int_equal(workspaces[0].rule_count, 1);
	assert_int_equal(workspaces[0].flags, POLICY_WORKSPACE_ALLOW_PRIVATE | POLICY_WORKSPACE_TCP_RST_UNKNOWN |
						      POLICY_WORKSPACE_DEFAULT_DENY | POLICY_WORKSPACE_ALLOW_OTHER |
						      POLICY_WORKSPACE_RESET_IDLE | POLICY_WORKSPACE_RESET_GONE);
	assert_int_equal(workspaces[0].timers.udp_s, 120);
	assert_int_equal(workspaces[0].limits.sessions, 65536);
	assert_int_equal(workspaces[0].limits.sessions_guaranteed, 1);
	assert_int_equal(workspaces[1].limits.sessions_guaranteed, POLICY_GUARANTEED_SHARE); /* says nothing */
	assert_int_equal(workspaces[1].limits.half_open, 16384);
	assert_int_equal(workspaces[1].limits.new_sessions_per_second, 20000);
	assert_int_equal(workspaces[0].limits.half_open, 2);
	assert_int_equal(workspaces[0].limits.new_sessions_per_second, 3);
	assert_int_equal(workspaces[0].limits.packets_per_second, 4);
	assert_int_equal(workspaces[0].limits.bytes_per_second, 1000000);
	assert_int_equal(workspaces[0].limits.sessions_per_remote, 5);
	assert_int_equal(workspaces[0].limits.fragments_held, 6);
	assert_int_equal(workspaces[0].limits.worker_sessions, 7);
	assert_int_equal(workspaces[0].limits.worker_half_open, 8);
	assert_int_equal(workspaces[0].limits.worker_new_sessions_per_second, 9);
	assert_int_equal(workspaces[0].limits.worker_sessions_per_remote, 10);
	assert_int_equal(workspaces[0].limits.worker_fragments_held, 11);
	assert_int_equal(workspaces[0].limits.fragments_guaranteed, 4);
	assert_int_equal(workspaces[1].limits.fragments_guaranteed, POLICY_GUARANTEED_SHARE); /* says nothing */
	assert_int_equal(workspaces[2].egress_first, 3);
	assert_int_equal(workspaces[2].egress_count, 1);
	assert_int_equal(ips[0].address, 0xcb00710a);
	assert_int_equal(ips[0].state, POLICY_EGRESS_ACTIVE);
	assert_int_equal(ips[0].port_first, 0);
	assert_int_equal(ips[0].port_last, 0);
	assert_int_equal(ips[1].address, 0xcb00710b);
	assert_int_equal(ips[1].state, POLICY_EGRESS_DRAINING);
	assert_int_equal(ips[3].workspace_index, 2);
	assert_int_equal(ips[3].state, POLICY_EGRESS_ACTIVE);
	assert_int_equal(rules[0].address, 0xc6336400);
	assert_int_equal(rules[0].prefix_length_bits, 24);
	assert_int_equal(rules[0].action, POLICY_RULE_ALLOW);
	assert_int_equal(rules[0].protocol, 6);
	assert_int_equal(rules[0].port_first, 443);
	assert_int_equal(rules[0].port_last, 443);
	free(block);
}

static void workspace_on_the_shared_pool_has_its_range(void **state)
{
	size_t size_bytes = 0;
	void *block = compile(text, &size_bytes);
	const struct policy_workspace *workspaces = table(block, POLICY_WORKSPACES, 3, sizeof(*workspaces));
	const struct policy_egress_ip *ips = table(block, POLICY_EGRESS_IPS, 4, sizeof(*ips));

	assert_true(workspaces[1].flags & POLICY_WORKSPACE_SHARED_POOL);
	assert_int_equal(workspaces[1].egress_first, 2);
	assert_int_equal(workspaces[1].egress_count, 1);
	assert_int_equal(ips[2].address, 0xcb0071c8);
	assert_int_equal(ips[2].workspace_index, 1);
	assert_int_equal(ips[2].state, POLICY_EGRESS_ACTIVE);
	assert_int_equal(ips[2].port_first, 1024);
	assert_int_equal(ips[2].port_last, 5119);
	free(block);
}

/* Beside those that the file lists; whose VPC or address is not there is left out. */
static void registered_workers_are_compiled_where_their_vpc_has_them(void **state)
{
	static const char listing[] = CHECK_GATEWAY
		"workspaces:\n"
		"  - { id: acme, vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16], workers: [ { ip: 10.0.0.5 } ] } "
		"], "
		"egress: { ips: [203.0.113.10] } }\n"
		"  - { id: globex, vpcs: [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ], egress: { ips: "
		"[203.0.113.20] } }\n";
	static const struct model_registered_worker registered[] = {
		{.vni = 7002, .address = 0x0a000005, .vtep = 0x0a640002, .incarnation = 77},
		{.vni = 7001, .address = 0x0a000005, .vtep = 0x0a640002, .incarnation = 78}, /* listed */
		{.vni = 7002, .address = 0x0a010005, .vtep = 0x0a640002, .incarnation = 79}, /* outside */
		{.vni = 7003, .address = 0x0a000005, .vtep = 0x0a640002, .incarnation = 80}, /* no such VPC */
	};
	const struct policy_registered all = {.workers = registered, .count = 4};
	const struct shared_pool_table empty = {0};
	struct problems problems = {0};
	struct model *model = check_load(listing);
	const struct policy_worker *workers;
	void *block = NULL;
	size_t size_bytes = 0;

	assert_int_equal(policy_compile(model, &empty, &all, 42, &block, &size_bytes, &problems), STATUS_OK);
	workers = table(block, POLICY_WORKERS, 2, sizeof(*workers));
	assert_int_equal(workers[0].vpc_index, 0);
	assert_int_equal(workers[0].incarnation, 0);
	assert_int_equal(workers[1].vpc_index, 1);
	assert_int_equal(workers[1].address, 0x0a000005);
	assert_int_equal(workers[1].vtep, 0x0a640002);
	assert_int_equal(workers[1].incarnation, 77);
	free(block);
	model_free(model);
}

/* Fail closed. */
static void workspace_without_a_range_has_no_egress_ip(void **state)
{
	const struct shared_pool_table empty = {0};
	struct problems problems = {0};
	struct model *model = check_load(text);
	const struct policy_workspace *workspaces;
	void *block = NULL;
	size_t size_bytes = 0;

	assert_int_equal(policy_compile(model, &empty, NULL, 42, &block, &size_bytes, &problems), STATUS_OK);
	workspaces = table(block, POLICY_WORKSPACES, 3, sizeof(*workspaces));
	assert_int_equal(workspaces[1].egress_count, 0);
	assert_true(workspaces[1].flags & POLICY_WORKSPACE_SHARED_POOL);
	free(block);
	model_free(model);
}

#define MOVER(egress)                                                                                                  \
	CHECK_GATEWAY "workspaces:\n"                                                                                  \
		      "  - { id: acme, vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ], egress: " egress       \
		      " }\n"                                                                                           \
		      "shared_pool: { ips: [203.0.113.200], linger: 10s }\n"

static void workspace_that_leaves_the_pool_drains_its_range_and_then_has_it_no_more(void **state)
{
	struct shared_pool_table pool = {0};
	size_t size_bytes = 0;
	const struct policy_workspace *workspaces;
	const struct policy_egress_ip *ips;
	void *block = compile_with(MOVER("shared"), &pool, 1000, &size_bytes);

	table(block, POLICY_EGRESS_IPS, 1, sizeof(*ips));
	free(block);

	block = compile_with(MOVER("{ ips: [203.0.113.10] }"), &pool, 2000, &size_bytes);
	workspaces = table(block, POLICY_WORKSPACES, 1, sizeof(*workspaces));
	ips = table(block, POLICY_EGRESS_IPS, 2, sizeof(*ips));
	assert_false(workspaces[0].flags & POLICY_WORKSPACE_SHARED_POOL);
	assert_int_equal(workspaces[0].egress_count, 2);
	assert_int_equal(ips[0].address, 0xcb00710a);
	assert_int_equal(ips[0].state, POLICY_EGRESS_ACTIVE);
	assert_int_equal(ips[1].address, 0xcb0071c8);
	assert_int_equal(ips[1].state, POLICY_EGRESS_DRAINING);
	assert_int_equal(ips[1].port_first, 1024);
	assert_int_equal(ips[1].port_last, 5119);
	free(block);

	block = compile_with(MOVER("{ ips: [203.0.113.10] }"), &pool, 2010, &size_bytes);
	table(block, POLICY_EGRESS_IPS, 1, sizeof(*ips));
	free(block);
	shared_pool_clear(&pool);
}

static void vpc_owns_its_cidrs_and_workers(void **state)
{
	size_t size_bytes = 0;
	void *block = compile(text, &size_bytes);
	const struct policy_vpc *vpcs = table(block, POLICY_VPCS, 4, sizeof(*vpcs));
	const struct policy_cidr *cidrs = table(block, POLICY_CIDRS, 5, sizeof(*cidrs));
	const struct policy_worker *workers = table(block, POLICY_WORKERS, 1, sizeof(*workers));

	assert_string_equal(vpcs[0].id, "main");
	assert_int_equal(vpcs[0].vni, 7001);
	assert_int_equal(vpcs[0].cidr_first, 0);
	assert_int_equal(vpcs[0].cidr_count, 2);
	assert_int_equal(vpcs[0].flags, POLICY_VPC_WORKERS_LISTED);
	assert_int_equal(vpcs[1].cidr_first, 2);
	assert_int_equal(vpcs[1].flags, 0);
	assert_int_equal(vpcs[2].flags, POLICY_VPC_WORKERS_LISTED);
	assert_int_equal(vpcs[3].workspace_index, 2);
	assert_int_equal(cidrs[1].address, 0x0a040000);
	assert_int_equal(cidrs[1].prefix_length_bits, 16);
	assert_int_equal(workers[0].vpc_index, 0);
	assert_int_equal(workers[0].address, 0x0a000005);
	assert_int_equal(workers[0].vtep, 0x0a640002);
	free(block);
}

static void same_model_gives_the_same_bytes(void **state)
{
	size_t first_size_bytes = 0, second_size_bytes = 0;
	void *first = compile(text, &first_size_bytes), *second = compile(text, &second_size_bytes);

	assert_int_equal(first_size_bytes, second_size_bytes);
	assert_memory_equal(first, second, first_size_bytes);
	free(first);
	free(second);
}

static void printed_model_compiles_to_the_same_bytes(void **state)
{
	struct model *model = check_load(text);
	char *printed = model_print(model);
	size_t first_size_bytes = 0, second_size_bytes = 0;
	void *first = compile(text, &first_size_bytes), *second = compile(printed, &second_size_bytes);

	assert_int_equal(first_size_bytes, second_size_bytes);
	assert_memory_equal(first, second, first_size_bytes);
	model_free(model);
	free(printed);
	free(first);
	free(second);
}

static void dataplanes_own_check_accepts_the_block(void **state)
{
	static const char none[] =
		"version: 1\n"
		"gateway:\n"
		"  inside: { interface: inside0, encapsulation: none, plain_vni: 7 }\n"
		"  outside: { interface: outside0, device: \"0000:03:00.1\", queues: 4 }\n"
		"workspaces:\n"
		"  - { id: a, vpcs: [ { id: b, vni: 7, cidrs: [10.0.0.0/8] } ], egress: { ips: [45.0.0.1] } }\n";
	static const char *const sources[] = {text, none, CHECK_GATEWAY "workspaces: []\n"};

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		char why[NAT_TEXT_SIZE_BYTES] = "";
		size_t size_bytes = 0;
		void *block = compile(sources[i], &size_bytes);

		if (!policy_snapshot_check(block, size_bytes, why))
			fail_msg("%s", why);
		free(block);
	}
}

static void worker_host_without_gateway_has_no_policy(void **state)
{
	const struct shared_pool_table empty = {0};
	struct problems problems = {0};
	struct model *model = check_load("version: 1\n"
					 "workspaces: []\n"
					 "worker_host: { vtep: 10.100.0.2, gateways: [10.100.0.1] }\n");
	void *block = NULL;
	size_t size_bytes = 0;

	assert_int_equal(policy_compile(model, &empty, NULL, 1, &block, &size_bytes, &problems), STATUS_INVALID);
	assert_null(block);
	assert_int_equal(problems.count, 1);
	problems_clear(&problems);
	model_free(model);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_says_what_the_gateway_is),
		cmocka_unit_test(workspace_owns_its_ranges),
		cmocka_unit_test(workspace_on_the_shared_pool_has_its_range),
		cmocka_unit_test(registered_workers_are_compiled_where_their_vpc_has_them),
		cmocka_unit_test(workspace_without_a_range_has_no_egress_ip),
		cmocka_unit_test(workspace_that_leaves_the_pool_drains_its_range_and_then_has_it_no_more),
		cmocka_unit_test(vpc_owns_its_cidrs_and_workers),
		cmocka_unit_test(same_model_gives_the_same_bytes),
		cmocka_unit_test(printed_model_compiles_to_the_same_bytes),
		cmocka_unit_test(dataplanes_own_check_accepts_the_block),
		cmocka_unit_test(worker_host_without_gateway_has_no_policy),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("compile", tests, NULL, NULL);
}
