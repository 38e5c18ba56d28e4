/* SPDX-License-Identifier: Apache-2.0 */
/* Which egress IP a listed worker gets, and that it keeps it: dataplane/nat/pairing.h. */
#include "tests/nat/fixture.h"

#include <string.h>

#include "dataplane/nat/policy.h"

enum { WORKERS = 8 };

#define WORKER_N(n) (IP(10, 0, 1, 0) + (n))
#define ACME_IP_3 IP(203, 0, 113, 12)

/* The first `count` workers of acme are listed. */
static void list_workers(struct fixture *fixture, uint32_t count)
{
	fixture->draft.vpcs[0].flags = POLICY_VPC_WORKERS_LISTED;
	for (uint32_t i = 0; i < count; i++)
		fixture->draft.workers[i] = (struct policy_worker){.vpc_index = 0, .address = WORKER_N(i)};
	fixture->draft.counts[POLICY_WORKERS] = count;
	fixture_apply(fixture);
}

/* acme's egress IP number `n` of the draft. */
static void set_state(struct fixture *fixture, uint32_t n, enum policy_egress_state state)
{
	fixture->draft.egress_ips[n].state = state;
	fixture_apply(fixture);
}

/* Acme's list of IPs is the draft's beginning; a third one comes after its two. */
static void add_third_ip(struct fixture *fixture)
{
	struct policy_draft *draft = &fixture->draft;
	assert_int_equal(draft->egress_ips[1].address, ACME_IP_2);
	memmove(&draft->egress_ips[3], &draft->egress_ips[2],
		(draft->counts[POLICY_EGRESS_IPS] - 2) * sizeof(draft->egress_ips[0]));
	draft->egress_ips[2] = (struct policy_egress_ip){.workspace_index = 0, .address = ACME_IP_3};
	draft->counts[POLICY_EGRESS_IPS]++;
	draft->workspaces[0].egress_count = 3;
	for (uint32_t i = 1; i < draft->counts[POLICY_WORKSPACES]; i++)
		draft->workspaces[i].egress_first++;
	fixture_apply(fixture);
}

/* The egress IP of a new session of that worker. */
static uint32_t egress_of(struct fixture *fixture, uint32_t n)
{
	static uint16_t port = 20000;
	const struct seen seen = fixture_sent(fixture, (struct description){
							       .source = WORKER_N(n),
							       .destination = REMOTE,
							       .source_port = port++,
							       .destination_port = 5000,
							       .protocol = PROTOCOL_UDP,
						       });
	return seen.source;
}

static uint32_t count_on(struct fixture *fixture, uint32_t first, uint32_t end, uint32_t address)
{
	uint32_t count = 0;
	for (uint32_t n = first; n < end; n++)
		count += egress_of(fixture, n) == address;
	return count;
}

static void workers_spread_evenly(void **state)
{
	struct fixture *fixture = *state;
	list_workers(fixture, WORKERS);
	assert_int_equal(count_on(fixture, 0, WORKERS, ACME_IP_1), WORKERS / 2);
	assert_int_equal(count_on(fixture, 0, WORKERS, ACME_IP_2), WORKERS / 2);
}

static void a_new_egress_ip_is_preferred_by_new_workers_and_moves_no_old_one(void **state)
{
	struct fixture *fixture = *state;
	uint32_t before[4];
	list_workers(fixture, 4);
	for (uint32_t n = 0; n < 4; n++)
		before[n] = egress_of(fixture, n);
	add_third_ip(fixture);
	for (uint32_t n = 0; n < 4; n++)
		assert_int_equal(egress_of(fixture, n), before[n]);
	list_workers(fixture, 6);
	assert_int_equal(count_on(fixture, 4, 6, ACME_IP_3), 2);
	list_workers(fixture, 9); /* now it has as many as the others */
	for (uint32_t n = 0; n < 4; n++)
		assert_int_equal(egress_of(fixture, n), before[n]);
	assert_int_equal(count_on(fixture, 0, 9, ACME_IP_1), 3);
	assert_int_equal(count_on(fixture, 0, 9, ACME_IP_3), 3);
}

static void only_the_workers_of_an_ip_that_is_drained_get_another(void **state)
{
	struct fixture *fixture = *state;
	list_workers(fixture, WORKERS);
	uint32_t before[WORKERS];
	for (uint32_t n = 0; n < WORKERS; n++)
		before[n] = egress_of(fixture, n);
	add_third_ip(fixture);
	set_state(fixture, 0, POLICY_EGRESS_DRAINING);
	assert_int_equal(count_on(fixture, 0, WORKERS, ACME_IP_1), 0);
	for (uint32_t n = 0; n < WORKERS; n++) {
		if (before[n] == ACME_IP_2)
			assert_int_equal(egress_of(fixture, n), ACME_IP_2);
		else
			assert_int_equal(egress_of(fixture, n), ACME_IP_3);
	}
	/* Back in service it gets new workers, and none of those that have moved. */
	set_state(fixture, 0, POLICY_EGRESS_ACTIVE);
	assert_int_equal(count_on(fixture, 0, WORKERS, ACME_IP_1), 0);
	list_workers(fixture, WORKERS + 2);
	assert_int_equal(count_on(fixture, WORKERS, WORKERS + 2, ACME_IP_1), 2);
}

static void a_successor_inherits_no_pairing(void **state)
{
	struct fixture *fixture = *state;
	list_workers(fixture, 4);
	add_third_ip(fixture);
	assert_int_not_equal(egress_of(fixture, 0), ACME_IP_3);
	fixture->draft.workers[0].incarnation = 1;
	fixture_apply(fixture);
	assert_int_equal(egress_of(fixture, 0), ACME_IP_3);
	/* An IP that comes anew under the same address is another IP: whoever had it is paired afresh. */
	fixture->draft.workers[5] = (struct policy_worker){.vpc_index = 0, .address = WORKER_N(5)};
	fixture->draft.workers[4] = (struct policy_worker){.vpc_index = 0, .address = WORKER_N(4)};
	fixture->draft.counts[POLICY_WORKERS] = 6;
	fixture_apply(fixture);
	assert_int_equal(count_on(fixture, 0, 6, ACME_IP_3), 2);
	fixture->draft.egress_ips[2].incarnation = 1;
	fixture_apply(fixture);
	assert_int_equal(count_on(fixture, 0, 6, ACME_IP_3), 2);
	assert_int_equal(count_on(fixture, 0, 6, ACME_IP_1), 2);
}

static void a_worker_leaves_its_ip_only_for_want_of_a_port(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < 2; i++) {
		fixture->draft.egress_ips[i].port_first = 1024;
		fixture->draft.egress_ips[i].port_last = 1535;
	}
	list_workers(fixture, 1);
	const uint32_t own = egress_of(fixture, 0);
	for (unsigned i = 1; i < 512; i++)
		assert_int_equal(egress_of(fixture, 0), own);
	assert_int_equal(egress_of(fixture, 0), own == ACME_IP_1 ? ACME_IP_2 : ACME_IP_1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(workers_spread_evenly),
		TEST(a_new_egress_ip_is_preferred_by_new_workers_and_moves_no_old_one),
		TEST(only_the_workers_of_an_ip_that_is_drained_get_another),
		TEST(a_successor_inherits_no_pairing),
		TEST(a_worker_leaves_its_ip_only_for_want_of_a_port),
	};
	return cmocka_run_group_tests_name("pairing", tests, NULL, NULL);
}
