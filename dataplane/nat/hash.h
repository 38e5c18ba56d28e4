/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyed hash of 16-byte keys. Whoever sends packets chooses ports and
 * addresses, so the hash must not be predictable: three AES rounds under a
 * secret key where the processor has them, else SipHash-1-3. Chosen at start.
 * Any thread.
 */
#ifndef POSTERN_NAT_HASH_H
#define POSTERN_NAT_HASH_H

#include <stdbool.h>
#include <stdint.h>

struct hash_secret {
	uint64_t words[4];
	bool use_aes;
};

struct hash_key {
	uint64_t low, high;
};

void hash_secret_init(struct hash_secret *ret_secret, const uint8_t secret[32]);

/* hashes[i] = hash of keys[i]. */
void hash_batch(const struct hash_secret *secret, const struct hash_key keys[], uint32_t count, uint64_t hashes[]);

static inline uint64_t hash_one(const struct hash_secret *secret, struct hash_key key)
{
	uint64_t hash;
	hash_batch(secret, &key, 1, &hash);
	return hash;
}

/* For tables whose keys nobody outside chooses. */
static inline uint64_t hash_mix(uint64_t value)
{
	value ^= value >> 32;
	value *= 0xd6e8feb86659fd93u;
	value ^= value >> 32;
	value *= 0xd6e8feb86659fd93u;
	return value ^ (value >> 32);
}

/* The same, for the tables that every packet asks: one multiplication, of which the upper half is well mixed. */
static inline uint32_t hash_quick(uint64_t value)
{
	return (uint32_t)((value * 0x9e3779b97f4a7c15u) >> 32);
}

#endif
