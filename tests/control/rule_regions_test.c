/* SPDX-License-Identifier: Apache-2.0 */
/* control/rule_regions.c against the list of rules itself: the same verdict for every packet, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/rule_regions.h"

enum { ROUND_COUNT = 300, PACKET_COUNT = 300, RULE_COUNT = 24, TCP = 6, UDP = 17 };

static uint32_t random_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint32_t mask_of(uint32_t bits)
{
	return bits == 0 ? 0 : UINT32_MAX << (32 - bits);
}

/* Few addresses, ports and protocols, so that rules overlap. */
static uint32_t random_address(uint32_t *state)
{
	return 0x0a000000 | (random_next(state) & 0x03000303);
}

static struct policy_rule random_rule(uint32_t *state)
{
	static const uint8_t lengths[] = {0, 6, 8, 16, 22, 24, 30, 32}, protocols[] = {0, 0, TCP, TCP, UDP, 1};
	struct policy_rule rule = {
		.prefix_length_bits = lengths[random_next(state) % sizeof(lengths)],
		.action = (uint8_t)(random_next(state) & 1),
		.protocol = protocols[random_next(state) % sizeof(protocols)],
		.port_last = UINT16_MAX,
	};

	rule.address = random_address(state) & mask_of(rule.prefix_length_bits);
	if ((rule.protocol == TCP || rule.protocol == UDP) && random_next(state) % 4 != 0) {
		rule.port_first = (uint16_t)(random_next(state) % 8);
		rule.port_last = (uint16_t)(rule.port_first + random_next(state) % 3);
	}
	return rule;
}

static bool list_denies(const struct policy_rule *rules, size_t count, bool default_deny, uint32_t address,
	uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < count; i++)
		if ((address & mask_of(rules[i].prefix_length_bits)) == rules[i].address &&
			(rules[i].protocol == 0 || rules[i].protocol == protocol) && port >= rules[i].port_first &&
			port <= rules[i].port_last)
			return rules[i].action == POLICY_RULE_DENY;
	return default_deny;
}

static uint8_t regions_decide(
	const struct prefix_region *regions, size_t count, uint32_t address, uint8_t protocol, uint16_t port)
{
	const struct prefix_region *longest = NULL;

	for (size_t i = 0; i < count; i++)
		if ((address & mask_of(regions[i].prefix_length_bits)) == regions[i].address &&
			(!longest || regions[i].prefix_length_bits > longest->prefix_length_bits))
			longest = &regions[i];
	assert_non_null(longest);
	for (size_t i = 0; i < longest->region.entry_count; i++) {
		const struct rule_entry *entry = &longest->region.entries[i];

		if ((entry->protocol == 0 || entry->protocol == protocol) && port >= entry->port_first &&
			port <= entry->port_last)
			return entry->verdict;
	}
	return longest->region.verdict;
}

static void regions_decide_as_the_list_does(void **state)
{
	static const uint8_t protocols[] = {1, TCP, UDP, 47};
	uint32_t seed = 0x5eed, decided = 0, undecided = 0;

	for (int round = 0; round < ROUND_COUNT; round++) {
		struct policy_rule rules[RULE_COUNT];
		size_t rule_count = random_next(&seed) % (RULE_COUNT + 1), count;
		bool default_deny = random_next(&seed) & 1;
		struct prefix_region *regions;

		for (size_t i = 0; i < rule_count; i++)
			rules[i] = random_rule(&seed);
		assert_int_equal(rule_regions_build(rules, rule_count, default_deny, &regions, &count), STATUS_OK);
		assert_in_range(count, 1, rule_count + 1);
		for (int i = 0; i < PACKET_COUNT; i++) {
			uint32_t address = random_address(&seed);
			uint8_t protocol = protocols[random_next(&seed) % 4], verdict;
			uint16_t port = protocol == TCP || protocol == UDP ? (uint16_t)(random_next(&seed) % 10) : 0;

			verdict = regions_decide(regions, count, address, protocol, port);
			if (verdict == RULE_UNDECIDED) {
				undecided++;
				continue;
			}
			decided++;
			assert_int_equal(verdict == RULE_DENY,
				list_denies(rules, rule_count, default_deny, address, protocol, port));
		}
		free(regions);
	}
	/* Both have been met, and most is decided. */
	assert_true(undecided > 0);
	assert_true(decided > 20 * undecided);
}

static void rules_beyond_the_entries_are_undecided(void **state)
{
	struct policy_rule rules[BPF_RULE_ENTRY_COUNT_MAX + 1];
	struct prefix_region *regions;
	size_t count;

	for (uint16_t i = 0; i < BPF_RULE_ENTRY_COUNT_MAX + 1; i++)
		rules[i] = (struct policy_rule){.protocol = TCP, .port_first = i, .port_last = i};
	assert_int_equal(rule_regions_build(rules, BPF_RULE_ENTRY_COUNT_MAX, true, &regions, &count), STATUS_OK);
	assert_int_equal(count, 1);
	assert_int_equal(regions[0].region.entry_count, BPF_RULE_ENTRY_COUNT_MAX);
	assert_int_equal(regions[0].region.verdict, RULE_DENY);
	free(regions);
	assert_int_equal(rule_regions_build(rules, BPF_RULE_ENTRY_COUNT_MAX + 1, true, &regions, &count), STATUS_OK);
	assert_int_equal(regions[0].region.verdict, RULE_UNDECIDED);
	free(regions);
}

static void digest_tells_rules_apart(void **state)
{
	struct policy_rule rules[2] = {{.port_last = 1}, {.port_last = 1, .action = POLICY_RULE_ALLOW}}, swapped[2];
	uint64_t digest = rule_regions_digest(rules, 2, false, 7);

	swapped[0] = rules[1];
	swapped[1] = rules[0];
	assert_true(digest == rule_regions_digest(rules, 2, false, 7));
	assert_true(digest != rule_regions_digest(swapped, 2, false, 7));
	assert_true(digest != rule_regions_digest(rules, 1, false, 7));
	assert_true(digest != rule_regions_digest(rules, 2, true, 7));
	assert_true(digest != rule_regions_digest(rules, 2, false, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_decide_as_the_list_does),
		cmocka_unit_test(rules_beyond_the_entries_are_undecided),
		cmocka_unit_test(digest_tells_rules_apart),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
