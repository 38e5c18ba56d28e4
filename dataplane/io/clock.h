/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOCK_MONOTONIC by the CPU's cycle counter: a multiplication instead of a call.
 *
 * Owner and thread: one shard each. Accuracy: the origin is taken anew each second, so that it follows the
 * kernel's clock, which NTP steers.
 */
#ifndef POSTERN_IO_CLOCK_H
#define POSTERN_IO_CLOCK_H

#include <stdint.h>
#include <time.h>

#include <rte_cycles.h>

enum { CLOCK_SHIFT = 32 };

struct clock {
	uint64_t origin_cycles;
	uint64_t origin_ns;
	uint64_t multiplier; /* nanoseconds per cycle, times 2^CLOCK_SHIFT */
	uint64_t second_cycles;
	uint64_t last_ns;
};

static inline uint64_t clock_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void clock_start(struct clock *clock)
{
	clock->second_cycles = rte_get_tsc_hz();
	clock->multiplier = (uint64_t)(((unsigned __int128)1000000000u << CLOCK_SHIFT) / clock->second_cycles);
	clock->origin_cycles = rte_get_tsc_cycles();
	clock->origin_ns = clock_monotonic_ns();
	clock->last_ns = clock->origin_ns;
}

/* Never goes back: a new origin may lie a little before what the old one had reached. */
static inline uint64_t clock_now_ns(struct clock *clock)
{
	uint64_t elapsed_cycles = rte_get_tsc_cycles() - clock->origin_cycles;
	uint64_t now_ns;

	if (__builtin_expect(elapsed_cycles > clock->second_cycles, 0)) {
		clock->origin_cycles += elapsed_cycles;
		clock->origin_ns = clock_monotonic_ns();
		elapsed_cycles = 0;
	}
	now_ns = clock->origin_ns + (uint64_t)(((unsigned __int128)elapsed_cycles * clock->multiplier) >> CLOCK_SHIFT);
	if (now_ns > clock->last_ns)
		clock->last_ns = now_ns;
	return clock->last_ns;
}

#endif
