/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/hash.h"

#include <string.h>

#if defined(__x86_64__)
#include <wmmintrin.h>
#endif

void hash_secret_init(struct hash_secret *ret_secret, const uint8_t secret[32])
{
	memcpy(ret_secret->words, secret, sizeof(ret_secret->words));
	ret_secret->use_aes = false;
#if defined(__x86_64__)
	__builtin_cpu_init();
	ret_secret->use_aes = __builtin_cpu_supports("aes");
#endif
}

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v1 = rotate_left(sip->v1, 13) ^ sip->v0;
	sip->v0 = rotate_left(sip->v0, 32);
	sip->v2 += sip->v3;
	sip->v3 = rotate_left(sip->v3, 16) ^ sip->v2;
	sip->v0 += sip->v3;
	sip->v3 = rotate_left(sip->v3, 21) ^ sip->v0;
	sip->v2 += sip->v1;
	sip->v1 = rotate_left(sip->v1, 17) ^ sip->v2;
	sip->v2 = rotate_left(sip->v2, 32);
}

static void hash_batch_sip(
	const struct hash_secret *secret, const struct hash_key keys[], uint32_t count, uint64_t hashes[])
{
	for (uint32_t i = 0; i < count; i++) {
		struct sip sip = {
			secret->words[0] ^ 0x736f6d6570736575u,
			secret->words[1] ^ 0x646f72616e646f6du,
			secret->words[0] ^ 0x6c7967656e657261u,
			secret->words[1] ^ 0x7465646279746573u,
		};
		const uint64_t words[3] = {keys[i].low, keys[i].high, 16ull << 56};
		for (unsigned w = 0; w < 3; w++) {
			sip.v3 ^= words[w];
			sip_round(&sip);
			sip.v0 ^= words[w];
		}
		sip.v2 ^= 0xff;
		sip_round(&sip);
		sip_round(&sip);
		sip_round(&sip);
		hashes[i] = sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
	}
}

#if defined(__x86_64__)
__attribute__((target("aes,sse4.1"))) static void hash_batch_aes(
	const struct hash_secret *secret, const struct hash_key keys[], uint32_t count, uint64_t hashes[])
{
	const __m128i first = _mm_loadu_si128((const __m128i *)&secret->words[0]);
	const __m128i second = _mm_loadu_si128((const __m128i *)&secret->words[2]);
	for (uint32_t i = 0; i < count; i++) {
		__m128i state = _mm_xor_si128(_mm_loadu_si128((const __m128i *)&keys[i]), first);
		state = _mm_aesenc_si128(state, second);
		state = _mm_aesenc_si128(state, first);
		state = _mm_aesenc_si128(state, second);
		hashes[i] = (uint64_t)_mm_cvtsi128_si64(state);
	}
}
#endif

void hash_batch(const struct hash_secret *secret, const struct hash_key keys[], uint32_t count, uint64_t hashes[])
{
#if defined(__x86_64__)
	if (secret->use_aes) {
		hash_batch_aes(secret, keys, count, hashes);
		return;
	}
#endif
	hash_batch_sip(secret, keys, count, hashes);
}
