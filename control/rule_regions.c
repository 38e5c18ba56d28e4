/* SPDX-License-Identifier: Apache-2.0 */
#include "control/rule_regions.h"

#include <stdlib.h>

static uint32_t mask_of(uint32_t prefix_length_bits)
{
	return prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - prefix_length_bits);
}

static int compare_regions(const void *left, const void *right)
{
	const struct prefix_region *a = left, *b = right;

	if (a->address != b->address)
		return a->address < b->address ? -1 : 1;
	return a->prefix_length_bits < b->prefix_length_bits ? -1 : a->prefix_length_bits > b->prefix_length_bits;
}

static bool rule_holds(const struct policy_rule *rule, const struct prefix_region *region)
{
	return rule->prefix_length_bits <= region->prefix_length_bits &&
	       (region->address & mask_of(rule->prefix_length_bits)) == rule->address;
}

static void region_fill(
	struct prefix_region *region, const struct policy_rule *rules, size_t rule_count, bool default_deny)
{
	struct rule_region filled = {.verdict = default_deny ? RULE_DENY : RULE_ALLOW};

	for (size_t i = 0; i < rule_count; i++) {
		const struct policy_rule *rule = &rules[i];
		uint8_t verdict = rule->action == POLICY_RULE_ALLOW ? RULE_ALLOW : RULE_DENY;

		if (!rule_holds(rule, region))
			continue;
		if (rule->protocol == 0 && rule->port_first == 0 && rule->port_last == UINT16_MAX) {
			filled.verdict = verdict;
			break;
		}
		if (filled.entry_count == BPF_RULE_ENTRY_COUNT_MAX) {
			filled.verdict = RULE_UNDECIDED;
			break;
		}
		filled.entries[filled.entry_count++] = (struct rule_entry){
			.port_first = rule->port_first,
			.port_last = rule->port_last,
			.protocol = rule->protocol,
			.verdict = verdict,
		};
	}
	region->region = filled;
}

enum status rule_regions_build(const struct policy_rule *rules, size_t rule_count, bool default_deny,
	struct prefix_region **ret_regions, size_t *ret_count)
{
	struct prefix_region *regions = calloc(rule_count + 1, sizeof(*regions));
	size_t count = 1; /* the first is 0.0.0.0/0 */

	if (!regions)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < rule_count; i++)
		regions[i + 1] = (struct prefix_region){
			.address = rules[i].address,
			.prefix_length_bits = rules[i].prefix_length_bits,
		};
	qsort(regions, rule_count + 1, sizeof(*regions), compare_regions);
	for (size_t i = 1; i < rule_count + 1; i++)
		if (compare_regions(&regions[i], &regions[count - 1]) != 0)
			regions[count++] = regions[i];
	for (size_t i = 0; i < count; i++)
		region_fill(&regions[i], rules, rule_count, default_deny);
	*ret_regions = regions;
	*ret_count = count;
	return STATUS_OK;
}

uint64_t rule_regions_digest(const struct policy_rule *rules, size_t rule_count, bool default_deny, uint64_t seed)
{
	const uint64_t prime = 1099511628211u; /* FNV-1a, over numbers instead of bytes */
	uint64_t digest = (14695981039346656037u ^ seed) * prime;

	digest = (digest ^ default_deny) * prime;
	for (size_t i = 0; i < rule_count; i++) {
		const struct policy_rule *rule = &rules[i];

		digest = (digest ^ rule->address) * prime;
		digest = (digest ^ ((uint64_t)rule->prefix_length_bits << 16 | (uint64_t)rule->action << 8 |
					   rule->protocol)) *
			 prime;
		digest = (digest ^ ((uint64_t)rule->port_first << 16 | rule->port_last)) * prime;
	}
	digest ^= digest >> 29;
	return digest != 0 ? digest : 1;
}
