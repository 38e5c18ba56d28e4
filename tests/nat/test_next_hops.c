/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several next hops of one route: flows are spread over them by their slots, and stay. And prefixes that prefer one of
 * their workspace's egress IPs.
 */
#include "tests/nat/fixture.h"

#include <stdlib.h>

enum { FLOWS = 2000, FIRST_PORT = 10000, ROUTER_A = 2, ROUTER_B = 3 }; /* indexes of next hops */

struct block {
	struct adjacency_snapshot header;
	struct adjacency_next_hop next_hops[4];
	struct adjacency_route routes[3];
	struct adjacency_group groups[2] __attribute__((aligned(8)));
};

/* Two routers outside, of which A has so many slots of the default route, and two worker hosts; HOST_1 by two ways. */
static void block_fill(struct block *block, uint64_t generation, unsigned slots_of_a)
{
	*block = (struct block){
		.header =
			{
				.magic = ADJACENCY_MAGIC,
				.version = ADJACENCY_VERSION,
				.size_bytes = sizeof(*block),
				.generation = generation,
				.ports =
					{
						[PORT_INSIDE] = {{2, 0, 0, 0, 1, 1}, 1, 0, GATEWAY_INSIDE, 1550},
						[PORT_OUTSIDE] = {{2, 0, 0, 0, 1, 2}, 1, 0, GATEWAY_OUTSIDE, 1500},
					},
				.next_hops = {offsetof(struct block, next_hops), 4, sizeof(block->next_hops[0])},
				.routes = {offsetof(struct block, routes), 3, sizeof(block->routes[0])},
				.groups = {offsetof(struct block, groups), 2, sizeof(block->groups[0])},
			},
		.next_hops =
			{
				{{2, 0, 0, 0, 2, 1}, 1, PORT_INSIDE, HOST_1, 0},
				{{2, 0, 0, 0, 2, 2}, 1, PORT_INSIDE, HOST_2, 0},
				[ROUTER_A] = {{2, 0, 0, 0, 3, 1}, 1, PORT_OUTSIDE, IP(198, 51, 100, 1), 0},
				[ROUTER_B] = {{2, 0, 0, 0, 3, 2}, 1, PORT_OUTSIDE, IP(198, 51, 100, 3), 0},
			},
		.routes =
			{
				{HOST_1, 32, PORT_INSIDE, 0, ADJACENCY_GROUP | 1},
				{HOST_2, 32, PORT_INSIDE, 0, 1},
				{0, 0, PORT_OUTSIDE, 0, ADJACENCY_GROUP | 0},
			},
	};
	for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++) {
		block->groups[0].next_hops[slot] = slot < slots_of_a ? ROUTER_A : ROUTER_B;
		block->groups[1].next_hops[slot] = slot % 2;
	}
}

static void apply(struct fixture *fixture, const struct block *block)
{
	char text[NAT_TEXT_SIZE_BYTES] = "";
	if (!adjacency_snapshot_check(block, sizeof(*block), text))
		fail_msg("%s", text);
	void *memory = aligned_alloc(64, (adjacency_tables_size(&block->header) + 63) & ~(size_t)63);
	fixture->tables_memory[fixture->tables_count++] = memory;
	fixture->view.adjacency = adjacency_tables_build(memory, &block->header);
}

static void spread(struct fixture *fixture, unsigned slots_of_a)
{
	struct block block;
	block_fill(&block, ++fixture->generation, slots_of_a);
	apply(fixture, &block);
}

static struct description flow(unsigned number)
{
	return describe_udp((uint16_t)(FIRST_PORT + number), IP(192, 0, 2, 10 + number % 50), 443);
}

/* The last byte of the MAC that it goes to; 0: it does not. */
static unsigned way_of(struct fixture *fixture, const struct description *description)
{
	struct frame frame;
	return fixture_send(fixture, &frame, description) == PACKET_FORWARD ? frame.packet.data[5] : 0;
}

static void flows_are_spread_as_the_slots_say(void **state)
{
	struct fixture *fixture = *state;
	const unsigned slots_of_a[] = {ADJACENCY_GROUP_SLOTS / 2, ADJACENCY_GROUP_SLOTS / 4 * 3};
	for (unsigned round = 0; round < 2; round++) {
		unsigned by_a = 0, by_b = 0;
		spread(fixture, slots_of_a[round]);
		for (unsigned i = 0; i < FLOWS; i++) {
			const struct description description = flow(i);
			const unsigned way = way_of(fixture, &description);
			by_a += way == 1;
			by_b += way == 2;
		}
		const double share = (double)by_a / FLOWS, wanted = (double)slots_of_a[round] / ADJACENCY_GROUP_SLOTS;
		assert_int_equal(by_a + by_b, FLOWS);
		assert_true(share > wanted - 0.06 && share < wanted + 0.06);
	}
}

static void every_packet_of_a_flow_goes_one_way_also_under_a_new_adjacency(void **state)
{
	struct fixture *fixture = *state;
	unsigned ways[64];
	for (unsigned round = 0; round < 4; round++) {
		spread(fixture, ADJACENCY_GROUP_SLOTS / 2);
		for (unsigned i = 0; i < 64; i++) {
			const struct description description = flow(i);
			const unsigned way = way_of(fixture, &description);
			if (round == 0)
				ways[i] = way;
			assert_int_equal(way, ways[i]);
		}
	}
}

/* The slots of A that B takes over move, and no others. */
static void flows_of_other_slots_stay_when_a_next_hop_goes(void **state)
{
	struct fixture *fixture = *state;
	unsigned ways[256], moved = 0;
	spread(fixture, ADJACENCY_GROUP_SLOTS / 2);
	for (unsigned i = 0; i < 256; i++) {
		const struct description description = flow(i);
		ways[i] = way_of(fixture, &description);
	}
	spread(fixture, ADJACENCY_GROUP_SLOTS / 4);
	for (unsigned i = 0; i < 256; i++) {
		const struct description description = flow(i);
		const unsigned way = way_of(fixture, &description);
		assert_true(way == ways[i] || (ways[i] == 1 && way == 2));
		moved += way != ways[i];
	}
	assert_true(moved > 0);
}

static uint16_t fragment_build(uint8_t *to, const uint8_t *ip, uint16_t from_bytes, uint16_t length_bytes, bool last)
{
	memcpy(to, ip, IPV4_HEADER_BYTES);
	memcpy(to + IPV4_HEADER_BYTES, ip + IPV4_HEADER_BYTES + from_bytes, length_bytes);
	store_be16(to + IPV4_LENGTH_OFFSET, (uint16_t)(IPV4_HEADER_BYTES + length_bytes));
	store_be16(to + IPV4_FRAGMENT_OFFSET, (uint16_t)((last ? 0 : 0x2000) | from_bytes / 8));
	store_be16(to + IPV4_CHECKSUM_OFFSET, 0);
	store_be16(to + IPV4_CHECKSUM_OFFSET, checksum_of(to, IPV4_HEADER_BYTES));
	return (uint16_t)(IPV4_HEADER_BYTES + length_bytes);
}

static void all_fragments_of_a_datagram_go_one_way(void **state)
{
	struct fixture *fixture = *state;
	spread(fixture, ADJACENCY_GROUP_SLOTS / 2);
	for (unsigned i = 0; i < 40; i++) {
		uint8_t whole[256], piece[256];
		unsigned ways[2];
		struct description description = flow(i);
		description.payload_bytes = 64;
		description.ip_id = (uint16_t)(100 + i);
		const uint16_t bytes = (uint16_t)(ip_build(whole, &description) - IPV4_HEADER_BYTES);
		for (unsigned j = 0; j < 2; j++) {
			struct frame frame;
			const uint16_t from = j == 0 ? 0 : 32, length = j == 0 ? 32 : (uint16_t)(bytes - 32);
			frame_wrap(&frame, false, VNI_ACME, HOST_1, piece,
				fragment_build(piece, whole, from, length, j == 1));
			assert_int_equal(fixture_run(fixture, &frame), PACKET_FORWARD);
			ways[j] = frame.packet.data[5];
		}
		assert_int_equal(ways[0], ways[1]);
	}
}

static void answers_are_spread_over_the_ways_to_the_worker_host(void **state)
{
	struct fixture *fixture = *state;
	unsigned counts[3] = {0};
	spread(fixture, ADJACENCY_GROUP_SLOTS);
	for (unsigned i = 0; i < 200; i++) {
		const struct seen seen = fixture_sent(fixture, flow(i));
		const struct description answer = reply_to(&seen);
		const unsigned way = way_of(fixture, &answer);
		assert_in_range(way, 1, 2);
		counts[way]++;
		assert_int_equal(way_of(fixture, &answer), way);
	}
	assert_true(counts[1] > 50 && counts[2] > 50);
}

static void a_next_hop_without_mac_is_asked_for_and_the_other_carries_its_own_flows(void **state)
{
	struct fixture *fixture = *state;
	struct block block;
	uint32_t address = 0, port = PORT_COUNT;
	unsigned passed = 0;
	block_fill(&block, ++fixture->generation, ADJACENCY_GROUP_SLOTS / 2);
	block.next_hops[ROUTER_B].resolved = 0;
	apply(fixture, &block);
	for (unsigned i = 0; i < 100; i++) {
		const struct description description = flow(i);
		const unsigned way = way_of(fixture, &description);
		assert_true(way == 0 || way == 1);
		passed += way == 1;
	}
	assert_int_equal(passed + fixture_drops(fixture, DROP_NO_NEIGHBOUR), 100);
	assert_true(passed > 20 && passed < 80);
	assert_true(nat_wanted_neighbour(fixture->shard, &address, &port));
	assert_int_equal(address, block.next_hops[ROUTER_B].address);
	assert_int_equal(port, PORT_OUTSIDE);
}

static void groups_that_lead_nowhere_are_refused(void **state)
{
	char text[NAT_TEXT_SIZE_BYTES];
	struct block block;
	block_fill(&block, 1, 100);
	assert_true(adjacency_snapshot_check(&block, sizeof(block), text));
	block.groups[1].next_hops[ADJACENCY_GROUP_SLOTS - 1] = 4;
	assert_false(adjacency_snapshot_check(&block, sizeof(block), text));
	block_fill(&block, 1, 100);
	block.routes[0].next_hop_index = ADJACENCY_GROUP | 2;
	assert_false(adjacency_snapshot_check(&block, sizeof(block), text));
	block_fill(&block, 1, 100);
	block.header.groups.count = 3;
	assert_false(adjacency_snapshot_check(&block, sizeof(block), text));
}

/* ---- preferred egress IPs ---- */

/* acme's 10.0.1.0/24 prefers its second IP, and of that 10.0.1.128/25 its first one. */
static void prefer(struct fixture *fixture)
{
	struct policy_draft *draft = &fixture->draft;
	draft->cidrs[2] = draft->cidrs[0];
	draft->cidrs[3] = (struct policy_cidr){IP(10, 0, 1, 0), 24, 2, 0};
	draft->cidrs[4] = (struct policy_cidr){IP(10, 0, 1, 128), 25, 1, 0};
	draft->counts[POLICY_CIDRS] = 5;
	draft->vpcs[0].cidr_first = 2;
	draft->vpcs[0].cidr_count = 3;
	fixture_apply(fixture);
}

static uint32_t egress_of(struct fixture *fixture, uint32_t worker, uint16_t source_port)
{
	struct description description = describe_udp(source_port, REMOTE, 443);
	description.source = worker;
	return fixture_sent(fixture, description).source;
}

static void workers_of_a_prefix_leave_by_the_ip_that_it_prefers(void **state)
{
	struct fixture *fixture = *state;
	unsigned firsts = 0, seconds = 0;
	prefer(fixture);
	for (uint32_t i = 1; i < 100; i++) {
		assert_int_equal(egress_of(fixture, IP(10, 0, 1, 0) + i, 5000), ACME_IP_2);
		assert_int_equal(egress_of(fixture, IP(10, 0, 1, 128) + i, 5000), ACME_IP_1);
		const uint32_t egress = egress_of(fixture, IP(10, 0, 7, 0) + i, 5000);
		firsts += egress == ACME_IP_1;
		seconds += egress == ACME_IP_2;
	}
	assert_true(firsts > 20 && seconds > 20); /* the others as ever */
}

static void a_preferred_ip_that_drains_leaves_its_workers_to_the_others(void **state)
{
	struct fixture *fixture = *state;
	prefer(fixture);
	assert_int_equal(egress_of(fixture, IP(10, 0, 1, 9), 5000), ACME_IP_2);
	fixture->draft.egress_ips[1].state = POLICY_EGRESS_DRAINING;
	fixture_apply(fixture);
	assert_int_equal(egress_of(fixture, IP(10, 0, 1, 9), 5000), ACME_IP_2); /* its mapping lives on */
	assert_int_equal(egress_of(fixture, IP(10, 0, 1, 10), 5001), ACME_IP_1);
}

static void nobody_prefers_the_ip_of_another_workspace(void **state)
{
	struct fixture *fixture = *state;
	char text[NAT_TEXT_SIZE_BYTES];
	size_t size_bytes;
	for (uint32_t preferred = 1; preferred <= 4; preferred++) {
		fixture->draft.cidrs[0].egress_preferred = preferred;
		struct policy_snapshot *snapshot = draft_compile(&fixture->draft, 9, &size_bytes);
		assert_int_equal(policy_snapshot_check(snapshot, size_bytes, text), preferred <= 2);
		free(snapshot);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	cmocka_set_message_output(CM_OUTPUT_TAP);
	const struct CMUnitTest tests[] = {
		TEST(flows_are_spread_as_the_slots_say),
		TEST(every_packet_of_a_flow_goes_one_way_also_under_a_new_adjacency),
		TEST(flows_of_other_slots_stay_when_a_next_hop_goes),
		TEST(all_fragments_of_a_datagram_go_one_way),
		TEST(answers_are_spread_over_the_ways_to_the_worker_host),
		TEST(a_next_hop_without_mac_is_asked_for_and_the_other_carries_its_own_flows),
		TEST(groups_that_lead_nowhere_are_refused),
		TEST(workers_of_a_prefix_leave_by_the_ip_that_it_prefers),
		TEST(a_preferred_ip_that_drains_leaves_its_workers_to_the_others),
		TEST(nobody_prefers_the_ip_of_another_workspace),
	};
	return cmocka_run_group_tests_name("next hops", tests, NULL, NULL);
}
