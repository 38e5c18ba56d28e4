/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CHECK(): for our own mistakes only. Stays on in release; never fires on a
 * packet, a configuration or a peer.
 */
#ifndef POSTERN_NAT_CHECK_H
#define POSTERN_NAT_CHECK_H

#define CHECK(condition)                                                                                               \
	do {                                                                                                           \
		if (__builtin_expect(!(condition), 0))                                                                 \
			__builtin_trap();                                                                              \
	} while (0)

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
