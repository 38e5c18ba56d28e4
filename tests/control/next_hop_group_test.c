/* SPDX-License-Identifier: Apache-2.0 */
/* control/next_hop_group.c: shares by weight, and who moves when a next hop comes or goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/next_hop_group.h"

#define ROUTER(number) (0xc0000200u + (number))

static unsigned slots_of(const struct adjacency_group *group, uint16_t next_hop_index)
{
	unsigned count = 0;

	for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++)
		count += group->next_hops[slot] == next_hop_index;
	return count;
}

static void assert_share(const struct adjacency_group *group, uint16_t next_hop_index, unsigned percent)
{
	unsigned share = slots_of(group, next_hop_index) * 100 / ADJACENCY_GROUP_SLOTS;

	assert_in_range(share, percent - 6, percent + 6);
}

static void slots_are_shared_by_weight(void **state)
{
	const struct next_hop_member equal[] = {{ROUTER(1), 1, 10}, {ROUTER(2), 1, 20}};
	const struct next_hop_member weighted[] = {
		{ROUTER(1), 256, 10}, {ROUTER(2), 128, 20}, {ROUTER(3), 64, 30}, {ROUTER(4), 64, 40}};
	struct adjacency_group group;

	next_hop_group_fill(equal, 2, &group);
	assert_share(&group, 10, 50);
	assert_share(&group, 20, 50);
	next_hop_group_fill(weighted, 4, &group);
	assert_share(&group, 10, 50);
	assert_share(&group, 20, 25);
	assert_share(&group, 30, 12);
	assert_share(&group, 40, 12);
}

static void a_next_hop_that_goes_moves_its_own_slots_only_and_gets_them_back(void **state)
{
	const struct next_hop_member all[] = {
		{ROUTER(1), 1, 1}, {ROUTER(2), 3, 2}, {ROUTER(3), 1, 3}, {ROUTER(4), 2, 4}};
	const struct next_hop_member left[] = {{ROUTER(1), 1, 1}, {ROUTER(2), 3, 2}, {ROUTER(4), 2, 4}};
	struct adjacency_group before, without, after;
	unsigned moved = 0;

	next_hop_group_fill(all, 4, &before);
	next_hop_group_fill(left, 3, &without);
	next_hop_group_fill(all, 4, &after);
	for (unsigned slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++) {
		if (before.next_hops[slot] != 3)
			assert_int_equal(without.next_hops[slot], before.next_hops[slot]);
		else
			moved++;
	}
	assert_true(moved > 0);
	assert_int_equal(slots_of(&without, 3), 0);
	assert_memory_equal(&after, &before, sizeof(before));
}

static void the_order_of_the_next_hops_does_not_matter(void **state)
{
	const struct next_hop_member members[] = {{ROUTER(1), 1, 1}, {ROUTER(2), 1, 2}, {ROUTER(3), 1, 3}};
	const struct next_hop_member turned[] = {{ROUTER(3), 1, 3}, {ROUTER(1), 1, 1}, {ROUTER(2), 1, 2}};
	struct adjacency_group one, other;

	next_hop_group_fill(members, 3, &one);
	next_hop_group_fill(turned, 3, &other);
	assert_memory_equal(&one, &other, sizeof(one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_shared_by_weight),
		cmocka_unit_test(a_next_hop_that_goes_moves_its_own_slots_only_and_gets_them_back),
		cmocka_unit_test(the_order_of_the_next_hops_does_not_matter),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
