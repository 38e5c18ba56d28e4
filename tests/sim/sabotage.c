/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What if the rest of the core were wrong? Sessions are damaged on purpose, as no input could, and the isolation guard
 * alone stands between a packet and another tenant (P1, P2).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

#define IP_ACME WORLD_IP(203, 0, 113, 10)
#define IP_GLOBEX WORLD_IP(203, 0, 113, 20)
#define REMOTE WORLD_IP(192, 0, 2, 10)
#define WORKER WORLD_IP(10, 0, 0, 5)

enum { VNI_ACME = 7001, VNI_GLOBEX = 7002 };

static int setup(void **state)
{
	struct world *world = world_new(1024, 0, 1, 1);
	struct world_draft *draft = &world->draft;
	for (unsigned i = 0; i < 2; i++) {
		draft->workspaces[i] = draft->workspaces[0];
		draft->workspaces[i].id[1] = (char)('0' + i);
		draft->workspaces[i].egress_first = i;
		draft->workspaces[i].egress_count = 1;
		draft->vpcs[i] = (struct policy_vpc){.id = "main", .vni = VNI_ACME + i, .workspace_index = i};
		draft->vpcs[i].cidr_first = i;
		draft->vpcs[i].cidr_count = 1;
		draft->cidrs[i] = (struct policy_cidr){WORLD_IP(10, 0, 0, 0), i == 0 ? 16 : 30};
		draft->egress_ips[i] =
			(struct policy_egress_ip){.address = i == 0 ? IP_ACME : IP_GLOBEX, .workspace_index = i};
	}
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = draft->counts[POLICY_EGRESS_IPS] = 2;
	draft->counts[POLICY_CIDRS] = 2;
	world_policy(world);
	world_adjacency(world);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static struct world_frame *send(struct world *world, unsigned in_port, uint32_t source, uint16_t source_port,
	uint32_t destination, uint16_t destination_port)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	uint8_t ip[64] = {0}, bytes[256];
	wire_put16(ip + 20, source_port);
	wire_put16(ip + 22, destination_port);
	wire_put16(ip + 24, 20);
	wire_ip_header(ip, 40, WIRE_UDP, source, destination);
	wire_seal_l4(ip);
	const struct wire_tunnel tunnel = {
		mac, mac, mac, mac, WORLD_IP(10, 100, 0, 2), WORLD_GATEWAY_INSIDE, VNI_ACME, 50000, 4789, 64};
	const uint32_t length_bytes =
		in_port == PORT_INSIDE ? wire_wrap(bytes, &tunnel, ip, 40) : wire_plain(bytes, mac, mac, ip, 40);
	struct world_frame *frame = world_frame_new(world, in_port, bytes, length_bytes);
	world_process(world, (struct world_frame *const[]){frame}, 1);
	return frame;
}

static struct session *session_open(struct world *world)
{
	struct world_frame *frame = send(world, PORT_INSIDE, WORKER, 5000, REMOTE, 443);
	assert_int_equal(frame->packet.verdict, PACKET_FORWARD);
	world_frame_free(world, frame);
	for (uint32_t i = 0; i < 1024; i++)
		if (world->sessions[i].state != SESSION_FREE)
			return &world->sessions[i];
	fail();
	return NULL;
}

static void expect_stopped(struct world *world, struct world_frame *frame, enum drop_reason reason)
{
	assert_int_equal(frame->packet.verdict, PACKET_DROP);
	assert_int_equal(frame->packet.drop_reason, reason);
	assert_int_equal(world->counts->guard_violations, 1);
	world_frame_free(world, frame);
}

static void p1_the_guard_stops_a_packet_under_another_workspaces_ip(void **state)
{
	struct world *world = *state;
	session_open(world)->egress_address = IP_GLOBEX;
	/* The session's record is no longer sound, and other checks would see that: the guard is asked alone. */
	struct policy_tables *tables = (struct policy_tables *)world->view.policy;
	const uint16_t slot = policy_egress(tables, IP_ACME)->slot;
	tables->egress_slots[slot].address = IP_GLOBEX;
	expect_stopped(world, send(world, PORT_INSIDE, WORKER, 5000, REMOTE, 443), DROP_GUARD_EGRESS);
}

static void p1_the_guard_stops_a_packet_under_nobodys_ip(void **state)
{
	struct world *world = *state;
	session_open(world)->egress_address = WORKER;
	struct policy_tables *tables = (struct policy_tables *)world->view.policy;
	tables->egress_slots[policy_egress(tables, IP_ACME)->slot].address = WORKER;
	expect_stopped(world, send(world, PORT_INSIDE, WORKER, 5000, REMOTE, 443), DROP_GUARD_EGRESS);
}

static void p2_the_guard_stops_a_reply_into_another_workspaces_tunnel(void **state)
{
	struct world *world = *state;
	const struct policy_tables *tables = world->view.policy;
	uint8_t bytes[64] = {0x45};
	struct packet packet = {.in_port = PORT_OUTSIDE, .data = bytes, .destination = IP_ACME, .vni = VNI_GLOBEX};
	wire_put32(bytes + 16, WORLD_IP(10, 0, 0, 1)); /* an address that both VPCs have */
	assert_false(guard_passes(tables, &packet));
	packet.vni = VNI_ACME;
	assert_true(guard_passes(tables, &packet));
}

static void p2_the_guard_stops_a_reply_to_an_address_outside_of_the_vpc(void **state)
{
	struct world *world = *state;
	const struct policy_tables *tables = world->view.policy;
	uint8_t bytes[64] = {0x45};
	struct packet packet = {.in_port = PORT_OUTSIDE, .data = bytes, .destination = IP_GLOBEX, .vni = VNI_GLOBEX};
	wire_put32(bytes + 16, WORLD_IP(10, 0, 0, 1));
	assert_true(guard_passes(tables, &packet));
	wire_put32(bytes + 16, WORKER);
	assert_false(guard_passes(tables, &packet));
}

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			p1_the_guard_stops_a_packet_under_another_workspaces_ip, setup, teardown),
		cmocka_unit_test_setup_teardown(p1_the_guard_stops_a_packet_under_nobodys_ip, setup, teardown),
		cmocka_unit_test_setup_teardown(
			p2_the_guard_stops_a_reply_into_another_workspaces_tunnel, setup, teardown),
		cmocka_unit_test_setup_teardown(
			p2_the_guard_stops_a_reply_to_an_address_outside_of_the_vpc, setup, teardown),
	};
	return cmocka_run_group_tests_name("sabotage", tests, NULL, NULL);
}
