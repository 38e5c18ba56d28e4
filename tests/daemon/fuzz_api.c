/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers send to the API: the head of a request, a token, the payload of a token that is well signed, a key
 * set, and a body on its way to a configuration. The first byte chooses.
 */
#include <jansson.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/api_problem.h"
#include "control/http_request.h"
#include "control/jwt.h"
#include "control/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

enum { NOW_S = 1000000, TOKEN_SIZE_BYTES = 3 * JWT_TOKEN_MAX_BYTES };

static size_t base64url(const uint8_t *bytes, size_t length_bytes, char *ret_text)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t used = 0;

	for (size_t i = 0; i < length_bytes; i += 3) {
		uint32_t bits = (uint32_t)bytes[i] << 16;

		if (i + 1 < length_bytes)
			bits |= (uint32_t)bytes[i + 1] << 8;
		if (i + 2 < length_bytes)
			bits |= bytes[i + 2];
		for (unsigned j = 0; j < (length_bytes - i < 3 ? length_bytes - i + 1 : 4); j++)
			ret_text[used++] = letters[bits >> (18 - 6 * j) & 63];
	}
	ret_text[used] = '\0';
	return used;
}

static struct jwt_expectation expectation_of(struct jwt_keys *keys, EVP_PKEY *key)
{
	size_t length_bytes = JWT_KEY_BYTES;

	memset(keys, 0, sizeof(*keys));
	keys->count = 1;
	strcpy(keys->keys[0].id, "k");
	EVP_PKEY_get_raw_public_key(key, keys->keys[0].bytes, &length_bytes);
	return (struct jwt_expectation){
		.keys = keys, .issuer = "i", .audience = "a", .life_max_s = 900, .now_s = NOW_S};
}

/* A token that is accepted must say what it must. */
static void check_accepted(const struct jwt_claims *claims)
{
	if (claims->subject[0] == '\0' || claims->roles.scoped_count > API_SCOPED_ROLE_COUNT_MAX)
		abort();
}

static void fuzz_token(const char *text, const uint8_t *payload, size_t payload_bytes)
{
	static const uint8_t secret[32] = {1};
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof(secret));
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct jwt_keys keys;
	const struct jwt_expectation expectation = expectation_of(&keys, key);
	struct jwt_claims claims;
	uint8_t signature[64];
	size_t used, signature_bytes = sizeof(signature);
	char token[TOKEN_SIZE_BYTES] = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ."; /* {"alg":"EdDSA","kid":"k"} */

	/* Nobody can sign by chance. */
	if (jwt_verify(text, &expectation, &claims) == NULL)
		abort();
	used = strlen(token);
	used += base64url(payload, payload_bytes, token + used);
	EVP_DigestSignInit(context, NULL, NULL, NULL, key);
	EVP_DigestSign(context, signature, &signature_bytes, (const unsigned char *)token, used);
	token[used++] = '.';
	base64url(signature, sizeof(signature), token + used);
	if (jwt_verify(token, &expectation, &claims) == NULL)
		check_accepted(&claims);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
}

static void fuzz_keys(const char *text, size_t length_bytes)
{
	struct problems problems = {0};
	struct jwt_keys keys;

	if (jwt_keys_parse("f", text, length_bytes, &keys, &problems) == STATUS_OK &&
		(keys.count == 0 || keys.count > JWT_KEY_COUNT_MAX))
		abort();
	problems_clear(&problems);
}

/* As control/api_change.c does. */
static void fuzz_body(const char *bytes, size_t length_bytes)
{
	json_t *body = json_loadb(bytes, length_bytes, JSON_REJECT_DUPLICATES, NULL), *fragment;
	struct problems problems = {0}, warnings = {0};
	struct model *model = NULL;
	bool all_in_body;
	char *text;

	if (body == NULL)
		return;
	fragment = json_pack("{s:[o]}", "workspaces", body);
	text = json_dumps(fragment, JSON_INDENT(1));
	json_decref(fragment);
	if (text == NULL)
		return;
	if (config_parse("f", text, strlen(text), &model, &problems, &warnings) == STATUS_OK)
		abort(); /* a fragment alone has no version */
	json_decref(api_problem_list(&problems, "f", "workspaces[0]", &all_in_body));
	problems_clear(&problems);
	problems_clear(&warnings);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct http_request request;
	char *text;

	if (size_bytes == 0 || size_bytes > JWT_TOKEN_MAX_BYTES)
		return 0;
	text = malloc(size_bytes);
	memcpy(text, data + 1, size_bytes - 1);
	text[size_bytes - 1] = '\0';
	switch (data[0] % 4) {
	case 0:
		http_request_parse(text, size_bytes - 1, &request);
		break;
	case 1:
		fuzz_token(text, data + 1, size_bytes - 1);
		break;
	case 2:
		fuzz_keys(text, size_bytes - 1);
		break;
	default:
		fuzz_body(text, size_bytes - 1);
		break;
	}
	free(text);
	return 0;
}
