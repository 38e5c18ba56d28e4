/* SPDX-License-Identifier: Apache-2.0 */
/* control/gateway_choice.c: spread, agreement and minimal disruption. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "control/gateway_choice.h"

enum { GATEWAY_COUNT = 5, NAME_COUNT = 10000 };

static const uint32_t gateways[GATEWAY_COUNT] = {0x0a640001, 0x0a640002, 0x0a640003, 0x0a640004, 0x0a650001};

static const char *name_of(int index)
{
	static char name[32];

	snprintf(name, sizeof(name), "workspace-%d", index);
	return name;
}

static size_t index_of(uint32_t address)
{
	for (size_t i = 0; i < GATEWAY_COUNT; i++)
		if (gateways[i] == address)
			return i;
	fail_msg("%08x is none of the gateways", address);
	return 0;
}

static void every_gateway_gets_its_share(void **state)
{
	int counts[GATEWAY_COUNT] = {0};

	for (int i = 0; i < NAME_COUNT; i++)
		counts[index_of(gateway_choose(name_of(i), gateways, NULL, GATEWAY_COUNT))]++;
	for (size_t i = 0; i < GATEWAY_COUNT; i++)
		assert_in_range(counts[i], NAME_COUNT / GATEWAY_COUNT * 9 / 10, NAME_COUNT / GATEWAY_COUNT * 11 / 10);
}

static void order_of_the_gateways_does_not_matter(void **state)
{
	uint32_t reversed[GATEWAY_COUNT];

	for (size_t i = 0; i < GATEWAY_COUNT; i++)
		reversed[i] = gateways[GATEWAY_COUNT - 1 - i];
	for (int i = 0; i < NAME_COUNT; i++)
		assert_int_equal(gateway_choose(name_of(i), gateways, NULL, GATEWAY_COUNT),
			gateway_choose(name_of(i), reversed, NULL, GATEWAY_COUNT));
}

static void gateway_that_goes_moves_its_own_workspaces_alone_and_over_all_others(void **state)
{
	const bool up[GATEWAY_COUNT] = {true, true, false, true, true};
	int moved[GATEWAY_COUNT] = {0};

	for (int i = 0; i < NAME_COUNT; i++) {
		uint32_t before = gateway_choose(name_of(i), gateways, NULL, GATEWAY_COUNT);
		uint32_t after = gateway_choose(name_of(i), gateways, up, GATEWAY_COUNT);

		if (before != gateways[2])
			assert_int_equal(after, before);
		else
			moved[index_of(after)]++;
	}
	assert_int_equal(moved[2], 0);
	for (size_t i = 0; i < GATEWAY_COUNT; i++)
		if (i != 2)
			assert_in_range(moved[i], NAME_COUNT / 5 / 4 * 8 / 10, NAME_COUNT / 5 / 4 * 12 / 10);
}

static void new_gateway_takes_its_share_and_moves_nobody_else(void **state)
{
	int taken = 0;

	for (int i = 0; i < NAME_COUNT; i++) {
		uint32_t before = gateway_choose(name_of(i), gateways, NULL, GATEWAY_COUNT - 1);
		uint32_t after = gateway_choose(name_of(i), gateways, NULL, GATEWAY_COUNT);

		if (after == before)
			continue;
		assert_int_equal(after, gateways[GATEWAY_COUNT - 1]);
		taken++;
	}
	assert_in_range(taken, NAME_COUNT / GATEWAY_COUNT * 9 / 10, NAME_COUNT / GATEWAY_COUNT * 11 / 10);
}

static void without_a_gateway_that_is_up_there_is_none(void **state)
{
	const bool up[GATEWAY_COUNT] = {false};

	assert_int_equal(gateway_choose("acme", gateways, up, GATEWAY_COUNT), 0);
	assert_int_equal(gateway_choose("acme", gateways, NULL, 0), 0);
	assert_int_equal(gateway_choose("acme", gateways, NULL, 1), gateways[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_gateway_gets_its_share),
		cmocka_unit_test(order_of_the_gateways_does_not_matter),
		cmocka_unit_test(gateway_that_goes_moves_its_own_workspaces_alone_and_over_all_others),
		cmocka_unit_test(new_gateway_takes_its_share_and_moves_nobody_else),
		cmocka_unit_test(without_a_gateway_that_is_up_there_is_none),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
