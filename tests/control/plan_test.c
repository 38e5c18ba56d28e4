/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: expected lines for pairs of configurations. */
#include "tests/control/check.h"

#include "control/plan.h"
#include "control/plan_sessions.h"

#define ACME                                                                                                           \
	"  - id: acme\n"                                                                                               \
	"    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]\n"                                                \
	"    egress: { ips: [203.0.113.10, 203.0.113.11] }\n"
#define GLOBEX                                                                                                         \
	"  - id: globex\n"                                                                                             \
	"    vpcs: [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ]\n"                                                \
	"    egress: { ips: [203.0.113.20] }\n"
#define HOST                                                                                                           \
	"worker_host:\n"                                                                                               \
	"  vtep: 10.100.0.2\n"                                                                                         \
	"  gateways: [10.100.0.1]\n"                                                                                   \
	"  workers:\n"

static const char base[] = CHECK_GATEWAY "workspaces:\n" ACME GLOBEX;

static void check_plan(const char *old_text, const char *new_text, const char *expected, bool needs_restart)
{
	struct model *old = old_text ? check_load(old_text) : NULL, *new = check_load(new_text);
	struct plan plan = {0};
	char *lines = NULL;
	size_t size_bytes = 0;
	FILE *out = open_memstream(&lines, &size_bytes);

	assert_non_null(out);
	assert_int_equal(plan_make(old, new, &plan), STATUS_OK);
	for (size_t i = 0; i < plan.count; i++)
		fprintf(out, "%s\n", plan.changes[i].text);
	fclose(out);
	assert_string_equal(lines, expected);
	assert_int_equal(plan.needs_restart, needs_restart);
	plan_clear(&plan);
	free(lines);
	model_free(old);
	model_free(new);
}

static void same_configuration_changes_nothing(void **state)
{
	check_plan(base, base, "", false);
	check_plan(base, CHECK_GATEWAY "# other lines, other order\nworkspaces:\n" GLOBEX ACME, "", false);
}

static void first_configuration_adds_everything(void **state)
{
	check_plan(NULL, CHECK_GATEWAY "metrics: { listen: 127.0.0.1:9464 }\nworkspaces:\n" ACME,
		"+ gateway\n"
		"~ metrics.listen: off -> 127.0.0.1:9464\n"
		"+ workspace acme: 1 VPC, 2 egress IPs 203.0.113.10, 203.0.113.11\n",
		false);
}

static void workspace_comes_and_goes_in_one_line(void **state)
{
	check_plan(base, CHECK_GATEWAY "workspaces:\n" GLOBEX,
		"- workspace acme: 1 VPC, 2 egress IPs 203.0.113.10, 203.0.113.11\n", false);
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME, base, "+ workspace globex: 1 VPC, 1 egress IP 203.0.113.20\n",
		false);
}

static void every_changed_value_is_named(void **state)
{
	check_plan(base,
		CHECK_GATEWAY "workspaces:\n" ACME "    timers: { udp: 2m }\n"
			      "    limits: { sessions: 64Ki, guaranteed_sessions: 1, worker: { half_open: 7 } }\n"
			      "    tcp_reset_gone: true\n"
			      "    other_protocols: allow\n"
			      "    mapping: { tcp: endpoint-independent }\n"
			      "    allow_private: true\n"
			      "    number: 17\n"
			      "    policy: { default: deny, rules: [ { action: allow } ] }\n" GLOBEX,
		"~ workspace acme: number: none -> 17\n"
		"~ workspace acme: mapping.tcp: endpoint-dependent -> endpoint-independent\n"
		"~ workspace acme: timers.udp: 5m -> 2m\n"
		"~ workspace acme: limits.sessions: 0 -> 65536\n"
		"~ workspace acme: limits.guaranteed_sessions: 0 -> 1\n"
		"~ workspace acme: limits.worker.half_open: 0 -> 7\n"
		"~ workspace acme: allow_private: false -> true\n"
		"~ workspace acme: tcp_reset_gone: false -> true\n"
		"~ workspace acme: other_protocols: deny -> allow\n"
		"~ workspace acme: policy.default: allow -> deny\n"
		"~ workspace acme: policy.rules: 0 elements -> 1 elements\n",
		false);
}

static void changed_rule_is_seen_though_their_number_is_the_same(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME
				 "    policy: { rules: [ { action: allow, to: 198.51.100.0/24 } ] }\n",
		CHECK_GATEWAY "workspaces:\n" ACME
			      "    policy: { rules: [ { action: allow, to: 198.51.101.0/24 } ] }\n",
		"~ workspace acme: policy.rules: changed (1 elements)\n", false);
}

static void egress_ip_that_moves_is_removed_and_added(void **state)
{
	check_plan(base,
		CHECK_GATEWAY "workspaces:\n"
			      "  - id: acme\n"
			      "    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]\n"
			      "    egress: { ips: [203.0.113.10] }\n"
			      "  - id: globex\n"
			      "    vpcs: [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ]\n"
			      "    egress: { ips: [203.0.113.20, 203.0.113.11] }\n",
		"- egress IP 203.0.113.11 of workspace acme\n"
		"+ egress IP 203.0.113.11 of workspace globex\n",
		false);
}

#define ACME_WITH(egress)                                                                                              \
	CHECK_GATEWAY "workspaces:\n"                                                                                  \
		      "  - { id: acme, vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ], egress: " egress       \
		      " }\n"

static void egress_ip_that_drains_is_named_and_stays_the_same_object(void **state)
{
	static const char active[] = ACME_WITH("{ ips: [203.0.113.10, 203.0.113.11] }");
	static const char draining[] = ACME_WITH("{ ips: [203.0.113.10], draining: [203.0.113.11, 203.0.113.12] }");

	check_plan(active, draining,
		"~ egress IP 203.0.113.11 of workspace acme: active -> draining\n"
		"+ egress IP 203.0.113.12 of workspace acme (draining)\n",
		false);
	check_plan(draining, active,
		"~ egress IP 203.0.113.11 of workspace acme: draining -> active\n"
		"- egress IP 203.0.113.12 of workspace acme\n",
		false);
	check_plan(CHECK_GATEWAY "workspaces: []\n", draining,
		"+ workspace acme: 1 VPC, 1 egress IP 203.0.113.10, 2 draining\n", false);
}

static void size_and_linger_of_the_shared_pool_are_named(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces: []\n",
		CHECK_GATEWAY "workspaces: []\nshared_pool: { ips: [], ports_per_workspace: 8192, linger: 36h }\n",
		"~ shared_pool.ports_per_workspace: 4096 -> 8192\n"
		"~ shared_pool.linger: 1d -> 1d12h\n",
		false);
}

static void vpc_with_another_vni_is_another_vpc(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME,
		CHECK_GATEWAY "workspaces:\n"
			      "  - id: acme\n"
			      "    vpcs: [ { id: main, vni: 7009, cidrs: [10.0.0.0/16] } ]\n"
			      "    egress: { ips: [203.0.113.10, 203.0.113.11] }\n",
		"- VPC main (VNI 7001) of workspace acme\n"
		"+ VPC main (VNI 7009) of workspace acme\n",
		false);
}

static void cidrs_and_listed_workers_of_a_vpc_are_followed(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME,
		CHECK_GATEWAY
		"workspaces:\n"
		"  - id: acme\n"
		"    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/8], workers: [ { ip: 10.0.0.5 } ] } ]\n"
		"    egress: { ips: [203.0.113.10, 203.0.113.11] }\n",
		"~ VPC main (VNI 7001) of workspace acme: cidrs: [10.0.0.0/16] -> [10.0.0.0/8]\n"
		"~ VPC main (VNI 7001) of workspace acme: workers: any -> listed\n"
		"+ listed worker 10.0.0.5 in VPC main of workspace acme\n",
		false);
}

static void worker_is_followed_by_vpc_and_address(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME HOST
				 "    - { interface: veth-w1, workspace: acme, vpc: main, ips: [10.0.0.5] }\n"
				 "    - { interface: veth-w2, workspace: acme, vpc: main, ips: [10.0.0.6] }\n",
		CHECK_GATEWAY
		"workspaces:\n" ACME HOST
		"    - { interface: veth-w9, workspace: acme, vpc: main, ips: [10.0.0.5], mac: 02:00:00:00:00:05 }\n"
		"    - { interface: veth-w3, workspace: acme, vpc: main, ips: [10.0.0.7] }\n",
		"~ worker 10.0.0.5 in VPC main of workspace acme on this host: interface: veth-w1 -> veth-w9\n"
		"~ worker 10.0.0.5 in VPC main of workspace acme on this host: mac: none -> 02:00:00:00:00:05\n"
		"- worker 10.0.0.6 in VPC main of workspace acme on this host\n"
		"+ worker 10.0.0.7 in VPC main of workspace acme on this host\n",
		false);
}

static void changed_port_needs_a_restart(void **state)
{
	check_plan(base,
		"version: 1\n"
		"gateway:\n"
		"  inside: { interface: inside0, trusted_vteps: [10.100.0.0/24], queues: 2 }\n"
		"  outside: { interface: outside1 }\n"
		"  hairpin: allow\n"
		"workspaces:\n" ACME GLOBEX,
		"~ gateway.inside.queues: 1 -> 2 (needs a restart of postern-dataplane)\n"
		"~ gateway.outside.interface: outside0 -> outside1 (needs a restart of postern-dataplane)\n"
		"~ gateway.hairpin: deny -> allow\n",
		true);
}

static void move_to_the_shared_pool_is_named(void **state)
{
	check_plan(CHECK_GATEWAY "workspaces:\n" ACME,
		CHECK_GATEWAY "shared_pool: { ips: [203.0.113.200] }\n"
			      "workspaces:\n"
			      "  - id: acme\n"
			      "    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]\n"
			      "    egress: shared\n",
		"~ shared_pool.ips: [] -> [203.0.113.200]\n"
		"~ workspace acme: egress: own IPs -> shared\n"
		"- egress IP 203.0.113.10 of workspace acme\n"
		"- egress IP 203.0.113.11 of workspace acme\n",
		false);
}

/* ---- what a change does to live sessions ---- */

#define VPC(id, vni, more) "    vpcs: [ { id: " id ", vni: " vni ", cidrs: [10.0.0.0/16]" more " } ]\n"
#define POOL "shared_pool: { ips: [203.0.113.200, 203.0.113.201] }\n"
#define EGRESS(ips) "    egress: { ips: [" ips "] }\n"
#define ACME_OF(vpc, egress) "workspaces:\n  - id: acme\n" vpc egress

/* 10.0.0.5 of VNI 7001, by 203.0.113.10, from 10.100.0.2. */
static bool ends(const char *old_text, const char *new_text, uint32_t egress)
{
	const struct plan_session session = {
		.workspace = "acme",
		.vni = 7001,
		.inside_address = 0x0a000005,
		.egress_address = egress,
		.vtep = 0x0a640002,
	};
	struct model *old = check_load(old_text), *new = check_load(new_text);
	struct plan_sessions sessions;
	bool result;

	assert_true(plan_sessions_open(&sessions, old, new));
	result = plan_session_ends(&sessions, &session);
	assert_true(!result || plan_sessions_may_end(&sessions, "acme"));
	plan_sessions_close(&sessions);
	model_free(old);
	model_free(new);
	return result;
}

static void a_session_ends_with_what_it_needs_and_with_nothing_else(void **state)
{
	static const uint32_t own = 0xcb00710a, pooled = 0xcb0071c8;
	static const char ips[] = CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10, 203.0.113.11"));
	static const struct {
		const char *new_text;
		bool ends;
	} cases[] = {
		{ips, false},
		{CHECK_GATEWAY "workspaces:\n" GLOBEX, true},
		{CHECK_GATEWAY ACME_OF(VPC("main", "7009", ""), EGRESS("203.0.113.10")), true},
		{CHECK_GATEWAY ACME_OF(VPC("other", "7001", ""), EGRESS("203.0.113.10")), true},
		{CHECK_GATEWAY ACME_OF(
			 "    vpcs: [ { id: main, vni: 7001, cidrs: [10.1.0.0/16] } ]\n", EGRESS("203.0.113.10")),
			true},
		{CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.11")), true},
		{CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10, 203.0.113.12")), false},
		{CHECK_GATEWAY ACME_OF(
			 VPC("main", "7001", ""), "    egress: { ips: [203.0.113.11], draining: [203.0.113.10] }\n"),
			false},
		{CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""),
			 EGRESS("203.0.113.10")) "    policy: { default: deny }\n    limits: { sessions: 100 }\n",
			false},
		{CHECK_GATEWAY POOL ACME_OF(VPC("main", "7001", ""), "    egress: shared\n"), true},
		/* Somebody of an open VPC is nobody of the list's. */
		{CHECK_GATEWAY ACME_OF(VPC("main", "7001", ", workers: [ { ip: 10.0.0.5 } ]"), EGRESS("203.0.113.10")),
			true},
		{"version: 1\ngateway:\n  inside: { interface: inside0, trusted_vteps: [10.101.0.0/24] }\n"
		 "  outside: { interface: outside0 }\n" ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10")),
			true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(ends(ips, cases[i].new_text, own), cases[i].ends);
	/* The range of a workspace that leaves the pool drains; an address that leaves it is gone. */
	assert_false(ends(CHECK_GATEWAY POOL ACME_OF(VPC("main", "7001", ""), "    egress: shared\n"),
		CHECK_GATEWAY POOL ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10")), pooled));
	assert_true(ends(CHECK_GATEWAY POOL ACME_OF(VPC("main", "7001", ""), "    egress: shared\n"),
		CHECK_GATEWAY
		"shared_pool: { ips: [203.0.113.201] }\n" ACME_OF(VPC("main", "7001", ""), "    egress: shared\n"),
		pooled));
}

/* Of thousands of workspaces whose timers change, none is asked for its sessions. */
static void only_where_something_goes_may_sessions_end(void **state)
{
	static const struct {
		const char *new_vpc, *new_egress;
		bool may;
	} cases[] = {
		{VPC("main", "7001", ""), EGRESS("203.0.113.10") "    timers: { udp: 400s }\n", false},
		{VPC("main", "7001", ""), EGRESS("203.0.113.10, 203.0.113.11"), false},
		{VPC("main", "7001", ""), EGRESS("203.0.113.11"), true},
		{VPC("main", "7001", ", workers: []"), EGRESS("203.0.113.10"), true},
		{"    vpcs: [ { id: main, vni: 7001, cidrs: [10.0.0.0/17, 10.0.128.0/17] } ]\n", EGRESS("203.0.113.10"),
			true},
	};
	struct model *old = check_load(CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10")) GLOBEX);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];
		struct plan_sessions sessions;
		struct model *new;

		snprintf(text, sizeof(text), "%sworkspaces:\n  - id: acme\n%s%s%s", CHECK_GATEWAY, cases[i].new_vpc,
			cases[i].new_egress, GLOBEX);
		new = check_load(text);
		assert_true(plan_sessions_open(&sessions, old, new));
		assert_int_equal(plan_sessions_may_end(&sessions, "acme"), cases[i].may);
		assert_false(plan_sessions_may_end(&sessions, "globex"));
		assert_false(plan_sessions_may_end(&sessions, "nobody"));
		plan_sessions_close(&sessions);
		model_free(new);
	}
	model_free(old);
}

static void of_listed_workers_those_that_leave_the_list_lose_their_sessions(void **state)
{
	static const char listed[] = CHECK_GATEWAY ACME_OF(
		VPC("main", "7001", ", workers: [ { ip: 10.0.0.5 }, { ip: 10.0.0.6 } ]"), EGRESS("203.0.113.10"));
	static const char without[] =
		CHECK_GATEWAY ACME_OF(VPC("main", "7001", ", workers: [ { ip: 10.0.0.6 } ]"), EGRESS("203.0.113.10"));
	static const char moved[] = CHECK_GATEWAY ACME_OF(
		VPC("main", "7001", ", workers: [ { ip: 10.0.0.5, vtep: 10.100.0.9 } ]"), EGRESS("203.0.113.10"));
	static const char open[] = CHECK_GATEWAY ACME_OF(VPC("main", "7001", ""), EGRESS("203.0.113.10"));

	assert_true(ends(listed, without, 0xcb00710a));
	assert_true(ends(listed, open, 0xcb00710a));
	assert_false(ends(listed, moved, 0xcb00710a));
	/* Nobody else than a registered worker can have one here. */
	assert_false(ends(without, open, 0xcb00710a));
	assert_false(ends(without, listed, 0xcb00710a));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_configuration_changes_nothing),
		cmocka_unit_test(first_configuration_adds_everything),
		cmocka_unit_test(workspace_comes_and_goes_in_one_line),
		cmocka_unit_test(every_changed_value_is_named),
		cmocka_unit_test(changed_rule_is_seen_though_their_number_is_the_same),
		cmocka_unit_test(egress_ip_that_moves_is_removed_and_added),
		cmocka_unit_test(egress_ip_that_drains_is_named_and_stays_the_same_object),
		cmocka_unit_test(size_and_linger_of_the_shared_pool_are_named),
		cmocka_unit_test(vpc_with_another_vni_is_another_vpc),
		cmocka_unit_test(cidrs_and_listed_workers_of_a_vpc_are_followed),
		cmocka_unit_test(worker_is_followed_by_vpc_and_address),
		cmocka_unit_test(changed_port_needs_a_restart),
		cmocka_unit_test(move_to_the_shared_pool_is_named),
		cmocka_unit_test(a_session_ends_with_what_it_needs_and_with_nothing_else),
		cmocka_unit_test(only_where_something_goes_may_sessions_end),
		cmocka_unit_test(of_listed_workers_those_that_leave_the_list_lose_their_sessions),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
