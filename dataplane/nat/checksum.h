/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624, eqn.
 * 3). Any thread.
 *
 * Sums are kept in "network 16-bit words read as big-endian"; a delta is ~old +
 * new, so that one routine serves addresses, ports and TTL: checksum' =
 * ~(~checksum + delta).
 */
#ifndef POSTERN_NAT_CHECKSUM_H
#define POSTERN_NAT_CHECKSUM_H

#include <stdbool.h>

#include "dataplane/nat/bytes.h"

static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Sum of 16-bit words, not inverted; at most 64 KiB, so that 32 bits hold it.
 */
static inline uint32_t checksum_sum(const uint8_t *bytes, uint32_t length_bytes, uint32_t sum)
{
	uint32_t i = 0;
	for (; i + 1 < length_bytes; i += 2)
		sum += load_be16(bytes + i);
	if (i < length_bytes)
		sum += (uint32_t)bytes[i] << 8;
	return sum;
}

/*
 * Is the checksum over an IPv4 header without options right? Words are added as they lie in memory: the sum of swapped
 * words is the swapped sum (RFC 1071 section 2), and all ones is the same either way.
 */
static inline bool checksum_ipv4_right(const uint8_t *header)
{
	uint64_t words[2];
	uint32_t last;
	memcpy(words, header, sizeof(words));
	memcpy(&last, header + sizeof(words), sizeof(last));
	uint64_t sum = (words[0] & UINT32_MAX) + (words[0] >> 32) + (words[1] & UINT32_MAX) + (words[1] >> 32) + last;
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

static inline uint16_t checksum_of(const uint8_t *bytes, uint32_t length_bytes)
{
	return (uint16_t)~checksum_fold(checksum_sum(bytes, length_bytes, 0));
}

/* The part of a delta that comes from a 16-bit field. */
static inline uint32_t checksum_delta16(uint16_t old_value, uint16_t new_value)
{
	return (uint32_t)(uint16_t)~old_value + new_value;
}

/* … from a 32-bit field. */
static inline uint32_t checksum_delta32(uint32_t old_value, uint32_t new_value)
{
	return checksum_delta16((uint16_t)(old_value >> 16), (uint16_t)(new_value >> 16)) +
	       checksum_delta16((uint16_t)old_value, (uint16_t)new_value);
}

/* RFC 1624: never turns a right checksum into the other representation of zero.
 */
static inline uint16_t checksum_apply(uint16_t checksum, uint32_t delta)
{
	return (uint16_t)~checksum_fold((uint32_t)(uint16_t)~checksum + delta);
}

static inline void checksum_update(uint8_t *field, uint32_t delta)
{
	store_be16(field, checksum_apply(load_be16(field), delta));
}

/* Sum of the IPv4 pseudo header (RFC 768, RFC 9293 section 3.1). */
static inline uint32_t checksum_pseudo(uint32_t source, uint32_t destination, uint8_t protocol, uint16_t length_bytes)
{
	return (source >> 16) + (source & 0xffff) + (destination >> 16) + (destination & 0xffff) + protocol +
	       length_bytes;
}

#endif
