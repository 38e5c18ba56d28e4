/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Egress rules (the first match wins) as regions for a longest-prefix match: one region for each prefix that a rule
 * names, and one for the whole of IPv4. An address belongs to the longest of them; the rules whose prefix holds the
 * region are then exactly those that hold the address, so its entries, in their order, decide as the list would.
 *
 * Limit: BPF_RULE_ENTRY_COUNT_MAX entries; what comes behind them is RULE_UNDECIDED, and left to the gateway. Pure;
 * any thread.
 */
#ifndef POSTERN_CONTROL_RULE_REGIONS_H
#define POSTERN_CONTROL_RULE_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/maps.h"
#include "control/status.h"
#include "dataplane/contract/policy.h"

struct prefix_region {
	uint32_t address; /* host order, host bits zero */
	uint32_t prefix_length_bits;
	struct rule_region region;
};

/* Sorted by prefix; malloc'ed. */
enum status rule_regions_build(const struct policy_rule *rules, size_t rule_count, bool default_deny,
	struct prefix_region **ret_regions, size_t *ret_count);

/* The same rules, default and seed give the same number, others very probably another; never 0. */
uint64_t rule_regions_digest(const struct policy_rule *rules, size_t rule_count, bool default_deny, uint64_t seed);

#endif
