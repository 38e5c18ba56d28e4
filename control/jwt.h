/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037), and the file of the keys that may sign.
 *
 * The algorithm is EdDSA, whatever a token says: another one, "none" too, is refused before anything is computed, and a
 * key is only ever used as what it is. The key is the one of exactly the token's `kid`; keys in or behind a token (jwk,
 * jku, x5c) are not looked at. `crit` is refused. iss, aud, sub, nbf and exp must be there. Pure but for reading the
 * file; any thread.
 */
#ifndef POSTERN_CONTROL_JWT_H
#define POSTERN_CONTROL_JWT_H

#include <stddef.h>
#include <stdint.h>

#include "control/api_caller.h"
#include "control/status.h"

enum {
	JWT_KEY_BYTES = 32,
	JWT_KEY_COUNT_MAX = 64,
	JWT_ID_SIZE_BYTES = 128,    /* of kid and sub */
	JWT_TOKEN_MAX_BYTES = 8192, /* of a token */
	JWT_FILE_MAX_BYTES = 256 * 1024,
	JWT_LEEWAY_S = 10, /* clocks may differ by so much, for nbf */
};

struct jwt_key {
	char id[JWT_ID_SIZE_BYTES];
	uint8_t bytes[JWT_KEY_BYTES];
};

struct jwt_keys {
	struct jwt_key keys[JWT_KEY_COUNT_MAX];
	size_t count;
};

/* What a token must say. */
struct jwt_expectation {
	const struct jwt_keys *keys;
	const char *issuer, *audience;
	uint64_t life_max_s; /* of exp - nbf */
	uint64_t now_s;
};

struct jwt_claims {
	char subject[JWT_ID_SIZE_BYTES];
	struct api_roles roles; /* of `scope`; words that are no role here are somebody else's, and ignored */
};

/*
 * A JWK Set (RFC 7517) of public keys, kty OKP, crv Ed25519, each with its kid. Keys of other kinds are left out;
 * a private key in it is an error, since the file would give it to whoever reads it.
 */
enum status jwt_keys_load(const char *path, struct jwt_keys *ret_keys, struct problems *problems);
enum status jwt_keys_parse(
	const char *file, const char *text, size_t length_bytes, struct jwt_keys *ret_keys, struct problems *problems);

/* NULL: the token is good. Else why not, in words that do not help to forge one. */
const char *jwt_verify(const char *token, const struct jwt_expectation *expectation, struct jwt_claims *ret_claims);

#endif
