/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments that wait take memory that all share: limits of workspaces and workers, what each is guaranteed, and what
 * waits for the first one at an address of the shared pool. */
#include "tests/nat/fixture.h"

#include "dataplane/nat/fragment.h"
#include "dataplane/nat/tally.h"

enum { FRAMES = 2600, TENANTS = 20 };

static const struct description datagram = {
	.source = WORKER,
	.destination = REMOTE,
	.source_port = 40000,
	.destination_port = 5000,
	.protocol = PROTOCOL_UDP,
	.payload_bytes = PAYLOAD_BYTES,
};

static struct frame frames[FRAMES];

/* Sends that piece of so many datagrams, with IDs of their own; how many of them got the verdict. */
static unsigned send_pieces(struct fixture *fixture, struct description of, unsigned piece, unsigned count,
	enum packet_verdict verdict, unsigned *used)
{
	unsigned got = 0;
	for (unsigned i = 0; i < count; i++) {
		assert_true(*used < FRAMES);
		struct frame *frame = &frames[(*used)++];
		of.ip_id = (uint16_t)*used;
		frame_piece(frame, &of, piece);
		got += fixture_run(fixture, frame) == verdict;
	}
	return got;
}

static unsigned hold_pieces(struct fixture *fixture, struct description of, unsigned count, unsigned *used)
{
	return send_pieces(fixture, of, 1, count, PACKET_HELD, used);
}

/* All that waits is given up, and nothing of it remains. */
static void assert_all_given_up(struct fixture *fixture, unsigned held)
{
	unsigned given = 0;
	fixture_pass(fixture, 40 * SECOND_NS);
	while (fixture_take(fixture) != NULL)
		given++;
	assert_int_equal(given, held);
	assert_int_equal(fixture->counters->shards[0].held, 0);
	const struct fragments *fragments = &fixture->shard->fragments;
	assert_int_equal(fragments->index.count, 0);
	assert_int_equal(fragments->held, 0);
	for (unsigned slot = 0; slot <= FRAGMENTS_POOL; slot++) {
		const struct fragment_budget *budget = &fragments->budgets[slot];
		assert_int_equal(budget->held, 0);
		for (unsigned port = 0; port < PORT_COUNT; port++)
			assert_int_equal(budget->datagrams[port], 0);
	}
	assert_int_equal(fixture->shard->tallies.index.count, 0);
}

static void e4_fragment_memory_is_limited_per_workspace(void **state)
{
	struct fixture *fixture = *state;
	unsigned used = 0;
	assert_int_equal(hold_pieces(fixture, datagram, 200, &used), HELD_PER_WORKSPACE_MAX);
	assert_int_equal(fixture_drops(fixture, DROP_FRAGMENT_LIMIT), 200 - HELD_PER_WORKSPACE_MAX);
	struct description globex = datagram;
	globex.vni = VNI_GLOBEX;
	assert_int_equal(hold_pieces(fixture, globex, 1, &used), 1);
	assert_all_given_up(fixture, HELD_PER_WORKSPACE_MAX + 1);
}

static void e4_fragment_memory_is_limited_per_worker(void **state)
{
	struct fixture *fixture = *state;
	fixture->draft.workspaces[0].limits.worker_fragments_held = 3;
	fixture_apply(fixture);
	unsigned used = 0;
	assert_int_equal(hold_pieces(fixture, datagram, 10, &used), 3);
	assert_int_equal(fixture_drops(fixture, DROP_FRAGMENT_LIMIT), 7);
	struct description neighbour = datagram;
	neighbour.source = WORKER_2;
	assert_int_equal(hold_pieces(fixture, neighbour, 10, &used), 3);
	struct description globex = datagram; /* its VPC has the same addresses, and it no such limit */
	globex.vni = VNI_GLOBEX;
	assert_int_equal(hold_pieces(fixture, globex, 10, &used), 10);
	/* Its first one lets one of them go: there is room for one more. */
	struct description first = datagram;
	first.ip_id = 1;
	struct frame frame;
	frame_piece(&frame, &first, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	assert_ptr_equal(fixture_take(fixture), &frames[0]);
	assert_int_equal(frames[0].packet.verdict, PACKET_FORWARD);
	assert_int_equal(hold_pieces(fixture, datagram, 10, &used), 1);
	fixture_pass(fixture, 320 * SECOND_NS);
	assert_all_given_up(fixture, 3 + 3 + 10);
}

static void p7_fragments_from_outside_take_no_room_from_those_inside(void **state)
{
	struct fixture *fixture = *state;
	for (unsigned i = 0; i < 6000; i++) {
		struct frame *frame = &frames[i % FRAMES];
		struct description of = {.outside = true,
			.source = IP(192, 0, 2, 1 + i % 200),
			.destination = i % 2 ? ACME_IP_1 : GLOBEX_IP,
			.protocol = PROTOCOL_UDP,
			.payload_bytes = PAYLOAD_BYTES,
			.ip_id = (uint16_t)i};
		frame_piece(frame, &of, 1);
		fixture_run(fixture, frame);
	}
	for (unsigned piece = 0; piece < PIECES; piece++) {
		struct frame frame;
		frame_piece(&frame, &datagram, piece);
		assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	}
}

static void crowd(struct fixture *fixture, unsigned quiet_guaranteed)
{
	draft_crowd(&fixture->draft, TENANTS);
	for (unsigned i = 0; i < TENANTS; i++)
		fixture->draft.workspaces[i].limits.fragments_guaranteed = POLICY_GUARANTEED_SHARE;
	fixture->draft.workspaces[0].limits.fragments_guaranteed = quiet_guaranteed;
	fixture_apply(fixture);
}

/* Each of the others takes what he can get; what they have together. */
static unsigned the_others_hold(struct fixture *fixture, unsigned *used)
{
	unsigned held = 0;
	for (unsigned i = 1; i < TENANTS; i++) {
		struct description of = datagram;
		of.vni = VNI_ACME + i;
		held += hold_pieces(fixture, of, HELD_PER_WORKSPACE_MAX, used);
	}
	return held;
}

static void p7_a_share_of_the_waiting_places_is_there_whatever_the_others_do(void **state)
{
	struct fixture *fixture = *state;
	const unsigned share = HELD_MAX / 2 / TENANTS;
	unsigned used = 0;
	crowd(fixture, POLICY_GUARANTEED_SHARE);
	/* Those that come first borrow what is not promised, and the last of them still get their share. */
	assert_int_equal(the_others_hold(fixture, &used), HELD_MAX - share);
	assert_int_equal(hold_pieces(fixture, datagram, HELD_PER_WORKSPACE_MAX, &used), share);
	assert_int_equal(fixture->shard->fragments.held_promised, 0);
	assert_all_given_up(fixture, HELD_MAX);
	/* Without a guarantee there would have been none. */
	fixture->draft.workspaces[0].limits.fragments_guaranteed = 0;
	fixture_apply(fixture);
	used = 0;
	assert_int_equal(the_others_hold(fixture, &used), HELD_MAX);
	assert_int_equal(hold_pieces(fixture, datagram, 1, &used), 0);
}

static void p7_waiting_places_guaranteed_in_numbers_come_before_the_shares(void **state)
{
	struct fixture *fixture = *state;
	unsigned used = 0;
	crowd(fixture, 50);
	assert_int_equal(the_others_hold(fixture, &used), HELD_MAX - 50);
	assert_int_equal(hold_pieces(fixture, datagram, HELD_PER_WORKSPACE_MAX, &used), 50);
}

/* Also of the datagrams whose first fragment has come, and whose others are still under way. */
static void p7_a_share_of_the_datagrams_is_there_whatever_the_others_do(void **state)
{
	struct fixture *fixture = *state;
	const unsigned places = DATAGRAMS_MAX / PORT_COUNT, share = places / 2 / TENANTS;
	unsigned used = 0, taken = 0;
	crowd(fixture, POLICY_GUARANTEED_SHARE);
	for (unsigned i = 1; i < TENANTS; i++) {
		struct description of = datagram;
		of.vni = VNI_ACME + i;
		taken += send_pieces(fixture, of, 0, DATAGRAMS_PER_WORKSPACE_MAX, PACKET_FORWARD, &used);
	}
	assert_int_equal(taken, places - share);
	used = 0;
	assert_int_equal(send_pieces(fixture, datagram, 0, DATAGRAMS_PER_WORKSPACE_MAX, PACKET_FORWARD, &used), share);
}

/* A reply to the workspace's worker, by the port that it has of the shared address. */
static struct description shared_reply(struct fixture *fixture, unsigned workspace, uint16_t worker_port)
{
	struct description of = describe_udp(worker_port, REMOTE, 5000);
	of.vni = VNI_ACME + workspace;
	const struct seen out = fixture_sent(fixture, of);
	struct description reply = reply_to(&out);
	reply.payload_bytes = PAYLOAD_BYTES;
	return reply;
}

static void rfc4787_14_fragments_to_a_shared_address_pass_in_any_order(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	for (unsigned i = 0; i < 12; i++) {
		const unsigned workspace = i % 2;
		struct description reply = shared_reply(fixture, workspace, (uint16_t)(40000 + i));
		reply.ip_id = (uint16_t)(i + 1);
		unsigned through = 0;
		for (unsigned piece = 0; piece < PIECES; piece++) {
			struct frame *frame = &frames[i * PIECES + piece];
			frame_piece(frame, &reply, piece_orders[i / 2][piece]);
			through += fixture_run(fixture, frame) == PACKET_FORWARD;
		}
		for (struct frame *given = fixture_take(fixture); given != NULL; given = fixture_take(fixture))
			through += given->packet.verdict == PACKET_FORWARD;
		assert_int_equal(through, PIECES);
		for (unsigned piece = 0; piece < PIECES; piece++) {
			const struct frame *frame = &frames[i * PIECES + piece];
			const uint8_t *vxlan = frame->packet.data + ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + 8;
			assert_int_equal(load_be32(vxlan + 4) >> 8, VNI_ACME + workspace);
			assert_int_equal(
				load_be32(vxlan + 8 + ETHERNET_HEADER_BYTES + IPV4_DESTINATION_OFFSET), WORKER);
		}
	}
	fixture_pass(fixture, 320 * SECOND_NS);
	assert_all_given_up(fixture, 0);
}

static void p7_what_waits_at_a_shared_address_is_the_pools_to_pay(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	struct description reply = shared_reply(fixture, 0, 40000);
	unsigned used = 0;
	assert_int_equal(hold_pieces(fixture, reply, 200, &used), HELD_PER_WORKSPACE_MAX);
	assert_int_equal(fixture_drops(fixture, DROP_FRAGMENT_LIMIT), 200 - HELD_PER_WORKSPACE_MAX);
	for (unsigned slot = 0; slot < 2; slot++) {
		assert_int_equal(fixture->shard->fragments.budgets[slot].held, 0);
		assert_int_equal(fixture->shard->fragments.budgets[slot].datagrams[PORT_OUTSIDE], 0);
	}
	/* Each workspace still has all that is its own. */
	assert_int_equal(hold_pieces(fixture, datagram, 200, &used), HELD_PER_WORKSPACE_MAX);
	/* When the first one comes, the datagram is its workspace's, and the pool has room again. */
	struct frame frame;
	reply.ip_id = 1;
	frame_piece(&frame, &reply, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	assert_ptr_equal(fixture_take(fixture), &frames[0]);
	assert_int_equal(fixture->shard->fragments.budgets[0].datagrams[PORT_OUTSIDE], 1);
	assert_int_equal(hold_pieces(fixture, reply, 10, &used), 1);
	/* What has no ports has no part in a shared address, and does not wait for one. */
	reply.protocol = 47;
	fixture_expect_drop(fixture, &reply, DROP_NO_SESSION);
	frame_piece(&frame, &reply, 1);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_DROP);
	assert_int_equal(frame.packet.drop_reason, DROP_FRAGMENT);
	fixture_pass(fixture, 320 * SECOND_NS);
	assert_all_given_up(fixture, 2 * HELD_PER_WORKSPACE_MAX);
}

static void what_waits_at_a_shared_address_never_reaches_the_ports_next_owner(void **state)
{
	struct fixture *fixture = *state;
	fixture_share(fixture);
	struct description reply = shared_reply(fixture, 0, 40000);
	frame_piece(&frames[0], &reply, 1);
	assert_int_equal(fixture_run(fixture, &frames[0]), PACKET_HELD);
	/* acme's ports and globex's change places. */
	for (unsigned i = 0; i < 2; i++) {
		fixture->draft.egress_ips[i].port_first = (uint16_t)(2048 - 1024 * i);
		fixture->draft.egress_ips[i].port_last = (uint16_t)(3071 - 1024 * i);
	}
	fixture_apply(fixture);
	reply = shared_reply(fixture, 1, 40000);
	struct frame frame;
	frame_piece(&frame, &reply, 0);
	assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
	assert_int_equal(frame_read(&frame).vni, VNI_GLOBEX);
	assert_ptr_equal(fixture_take(fixture), &frames[0]);
	assert_int_equal(frames[0].packet.verdict, PACKET_DROP);
	assert_int_equal(frames[0].packet.drop_reason, DROP_STALE_SESSION);
}

/* One of its own addresses becomes a shared one while fragments to it are under way. */
static void what_began_at_an_own_address_goes_nowhere_when_that_is_shared(void **state)
{
	struct fixture *fixture = *state;
	struct description reply = {.outside = true,
		.source = REMOTE,
		.destination = ACME_IP_1,
		.protocol = PROTOCOL_UDP,
		.payload_bytes = PAYLOAD_BYTES,
		.ip_id = 7};
	frame_piece(&frames[0], &reply, 1);
	assert_int_equal(fixture_run(fixture, &frames[0]), PACKET_HELD);
	fixture_share(fixture);
	for (unsigned i = 0; i < 2; i++)
		fixture->draft.egress_ips[i].address = ACME_IP_1;
	fixture_apply(fixture);
	frame_piece(&frames[1], &reply, 2);
	assert_int_equal(fixture_run(fixture, &frames[1]), PACKET_DROP);
	assert_int_equal(frames[1].packet.drop_reason, DROP_FRAGMENT);
	assert_all_given_up(fixture, 1);
}

/* Its session has ended with the address, and the worker's next one with the same remote is on another address. */
static void a_later_fragment_does_not_follow_a_session_on_another_address(void **state)
{
	struct fixture *fixture = *state;
	struct policy_draft *draft = &fixture->draft;
	fixture_share(fixture);
	draft->egress_ips[2] = draft->egress_ips[1];
	draft->egress_ips[1] = (struct policy_egress_ip){.address = ACME_IP_1, .state = POLICY_EGRESS_DRAINING};
	draft->workspaces[0].egress_count = 2;
	draft->workspaces[1].egress_first = 2;
	draft->counts[POLICY_EGRESS_IPS] = 3;
	fixture_apply(fixture);
	const struct description reply = shared_reply(fixture, 0, 40000);
	assert_int_equal(reply.destination, SHARED_IP);
	frame_piece(&frames[0], &reply, 0);
	assert_int_equal(fixture_run(fixture, &frames[0]), PACKET_FORWARD);
	/* The shared address is not acme's any more. */
	draft->egress_ips[0] = (struct policy_egress_ip){.address = ACME_IP_1};
	draft->egress_ips[1] = draft->egress_ips[2];
	draft->workspaces[0].egress_count = draft->workspaces[1].egress_first = 1;
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
	assert_int_equal(shared_reply(fixture, 0, 40000).destination, ACME_IP_1);
	frame_piece(&frames[1], &reply, 1);
	assert_int_equal(fixture_run(fixture, &frames[1]), PACKET_DROP);
	assert_int_equal(frames[1].packet.drop_reason, DROP_FRAGMENT);
	assert_int_equal(fixture->counters->shards[0].guard_violations, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(e4_fragment_memory_is_limited_per_workspace),
		TEST(e4_fragment_memory_is_limited_per_worker),
		TEST(p7_fragments_from_outside_take_no_room_from_those_inside),
		TEST(p7_a_share_of_the_waiting_places_is_there_whatever_the_others_do),
		TEST(p7_waiting_places_guaranteed_in_numbers_come_before_the_shares),
		TEST(p7_a_share_of_the_datagrams_is_there_whatever_the_others_do),
		TEST(rfc4787_14_fragments_to_a_shared_address_pass_in_any_order),
		TEST(p7_what_waits_at_a_shared_address_is_the_pools_to_pay),
		TEST(what_waits_at_a_shared_address_never_reaches_the_ports_next_owner),
		TEST(what_began_at_an_own_address_goes_nowhere_when_that_is_shared),
		TEST(a_later_fragment_does_not_follow_a_session_on_another_address),
	};
	return cmocka_run_group_tests_name("fragment budgets", tests, NULL, NULL);
}
