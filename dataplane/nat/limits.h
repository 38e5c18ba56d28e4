/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets without division: the generic cell rate algorithm. A bucket is
 * one number, the time at which it will be full again; taking a token moves it
 * by the token's cost. Thread: the shard's.
 */
#ifndef POSTERN_NAT_LIMITS_H
#define POSTERN_NAT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum {
	/* A bucket holds what its rate gives in this time. */
	LIMITS_BURST_NS = 1000000000,
	/* Answers (ICMP errors, RSTs) the gateway makes for one workspace: 100 a
	   second (RFC 1812 section 4.3.2.8). */
	LIMITS_ANSWER_NS = 10000000,
};

/* `cost_ns` 0: no limit. The bucket holds what its rate gives in `burst_ns`. */
static inline bool limits_take_burst(uint64_t *full_at_ns, uint64_t cost_ns, uint64_t burst_ns, uint64_t now_ns)
{
	if (cost_ns == 0)
		return true;
	const uint64_t from = *full_at_ns > now_ns ? *full_at_ns : now_ns;
	if (from >= now_ns + burst_ns)
		return false;
	*full_at_ns = from + cost_ns;
	return true;
}

static inline bool limits_take(uint64_t *full_at_ns, uint64_t cost_ns, uint64_t now_ns)
{
	return limits_take_burst(full_at_ns, cost_ns, LIMITS_BURST_NS, now_ns);
}

#endif
