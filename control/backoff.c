/* SPDX-License-Identifier: Apache-2.0 */
#include "control/backoff.h"

#include <sys/random.h>

uint32_t backoff_ticks(uint32_t failure_count)
{
	uint32_t ticks = failure_count >= 5 ? BACKOFF_TICKS_MAX : 1u << failure_count;
	uint32_t chance = 0;

	/* Without randomness the waits are merely alike. */
	if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance))
		chance = 0;
	return ticks + chance % (ticks / 2 + 1);
}
