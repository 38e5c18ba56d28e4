/* SPDX-License-Identifier: Apache-2.0 */
#include "control/jwt.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "control/yaml_tree.h"

enum { SIGNATURE_BYTES = 64, PART_MAX_BYTES = JWT_TOKEN_MAX_BYTES };

/* ---- base64url without padding (RFC 7515, appendix C) ---- */

static int base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* False: not the one encoding of any bytes, or they do not fit. */
static bool base64url_decode(
	const char *text, size_t length, uint8_t *ret_bytes, size_t size_bytes, size_t *ret_length_bytes)
{
	size_t used = 0;
	uint32_t bits = 0;
	unsigned bit_count = 0;

	if (length % 4 == 1)
		return false;
	for (size_t i = 0; i < length; i++) {
		int value = base64url_value(text[i]);

		if (value < 0)
			return false;
		bits = (bits << 6 | (uint32_t)value) & 0xffffff;
		bit_count += 6;
		if (bit_count < 8)
			continue;
		bit_count -= 8;
		if (used == size_bytes)
			return false;
		ret_bytes[used++] = (uint8_t)(bits >> bit_count);
	}
	/* Bits that are left over must be zero: else two texts would be the same bytes. */
	if (bits & ((1u << bit_count) - 1))
		return false;
	*ret_length_bytes = used;
	return true;
}

/* ---- keys ---- */

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is_absent_or(const json_t *object, const char *key, const char *value)
{
	const json_t *given = json_object_get(object, key);

	return given == NULL || (json_is_string(given) && strcmp(json_string_value(given), value) == 0);
}

static bool is_printable(const char *text, size_t size_bytes)
{
	size_t length = text != NULL ? strlen(text) : 0;

	if (length == 0 || length >= size_bytes)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return true;
}

static const struct jwt_key *keys_find(const struct jwt_keys *keys, const char *id)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (strcmp(keys->keys[i].id, id) == 0)
			return &keys->keys[i];
	}
	return NULL;
}

/* NULL: taken, or of another kind. Else what is wrong. */
static const char *keys_add(struct jwt_keys *keys, const json_t *json)
{
	const char *type = string_of(json, "kty"), *curve = string_of(json, "crv"), *id = string_of(json, "kid");
	const char *point = string_of(json, "x");
	struct jwt_key *key = &keys->keys[keys->count];
	size_t length_bytes = 0;

	if (json_object_get(json, "d") != NULL || json_object_get(json, "k") != NULL)
		return "has a private or secret key (d, k): this file is for public keys alone";
	if (type == NULL || curve == NULL || strcmp(type, "OKP") != 0 || strcmp(curve, "Ed25519") != 0 ||
		!is_absent_or(json, "alg", "EdDSA") || !is_absent_or(json, "use", "sig"))
		return NULL;
	if (!is_printable(id, JWT_ID_SIZE_BYTES))
		return "has no usable kid: must be 1 to 127 printable characters without blanks";
	if (keys_find(keys, id) != NULL)
		return "has the kid of another key";
	if (keys->count == JWT_KEY_COUNT_MAX)
		return "is one too many: at most 64 keys are taken";
	if (point == NULL || !base64url_decode(point, strlen(point), key->bytes, JWT_KEY_BYTES, &length_bytes) ||
		length_bytes != JWT_KEY_BYTES)
		return "has no usable x: must be 32 bytes in base64url";
	strcpy(key->id, id);
	keys->count++;
	return NULL;
}

enum status jwt_keys_parse(
	const char *file, const char *text, size_t length_bytes, struct jwt_keys *ret_keys, struct problems *problems)
{
	json_error_t error;
	json_t *json = json_loadb(text, length_bytes, JSON_REJECT_DUPLICATES, &error), *list, *element;
	struct jwt_keys *keys = calloc(1, sizeof(*keys));
	bool good = false;
	size_t index;

	list = json_object_get(json, "keys");
	if (keys == NULL)
		problems_add(problems, "%s: out of memory", file);
	else if (json == NULL)
		problems_add(problems, "%s:%d: not valid JSON: %s", file, error.line, error.text);
	else if (!json_is_array(list))
		problems_add(problems, "%s: must be a JWK Set: {\"keys\": [...]}", file);
	else
		good = true;
	json_array_foreach(list, index, element)
	{
		const char *why = good ? keys_add(keys, element) : NULL;

		if (why != NULL) {
			problems_add(problems, "%s: keys[%zu]: %s", file, index, why);
			good = false;
		}
	}
	if (good && keys->count == 0) {
		problems_add(problems, "%s: no key with kty OKP and crv Ed25519 is in it", file);
		good = false;
	}
	if (good)
		*ret_keys = *keys;
	free(keys);
	json_decref(json);
	return good ? STATUS_OK : STATUS_INVALID;
}

enum status jwt_keys_load(const char *path, struct jwt_keys *ret_keys, struct problems *problems)
{
	size_t length_bytes;
	char *bytes;
	enum status status = yaml_tree_read_file(path, JWT_FILE_MAX_BYTES, &bytes, &length_bytes, problems);

	if (status != STATUS_OK)
		return status;
	status = jwt_keys_parse(path, bytes, length_bytes, ret_keys, problems);
	free(bytes);
	return status;
}

/* ---- tokens ---- */

struct token {
	const char *parts[3]; /* header, payload, signature; encoded */
	size_t lengths[3];
};

static bool token_split(const char *text, struct token *ret_token)
{
	if (strlen(text) > JWT_TOKEN_MAX_BYTES)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		ret_token->parts[i] = text;
		ret_token->lengths[i] = strcspn(text, ".");
		text += ret_token->lengths[i];
		if (ret_token->lengths[i] == 0 || (i < 2) != (*text == '.'))
			return false;
		text += i < 2;
	}
	return true;
}

/* NULL: no JSON object. */
static json_t *token_part_json(const struct token *token, unsigned part)
{
	uint8_t bytes[PART_MAX_BYTES];
	size_t length_bytes;
	json_t *json;

	if (!base64url_decode(token->parts[part], token->lengths[part], bytes, sizeof(bytes), &length_bytes))
		return NULL;
	json = json_loadb((const char *)bytes, length_bytes, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

static const char *check_header(const json_t *header, const struct jwt_keys *keys, const struct jwt_key **ret_key)
{
	const char *algorithm = string_of(header, "alg"), *id = string_of(header, "kid");

	if (algorithm == NULL || strcmp(algorithm, "EdDSA") != 0)
		return "the token's alg must be EdDSA";
	if (json_object_get(header, "crit") != NULL)
		return "the token has critical extensions (crit), and none is known here";
	if (id == NULL)
		return "the token names no key (kid)";
	*ret_key = keys_find(keys, id);
	return *ret_key != NULL ? NULL : "the token's key (kid) is not known here";
}

static bool signature_is_good(const struct token *token, const struct jwt_key *key)
{
	uint8_t signature[SIGNATURE_BYTES];
	size_t length_bytes = 0;
	EVP_PKEY *public_key;
	EVP_MD_CTX *context;
	bool good = false;

	if (!base64url_decode(token->parts[2], token->lengths[2], signature, sizeof(signature), &length_bytes) ||
		length_bytes != SIGNATURE_BYTES)
		return false;
	public_key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->bytes, JWT_KEY_BYTES);
	context = EVP_MD_CTX_new();
	if (public_key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, public_key) == 1)
		good = EVP_DigestVerify(context, signature, length_bytes, (const unsigned char *)token->parts[0],
			       token->lengths[0] + 1 + token->lengths[1]) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(public_key);
	return good;
}

/* RFC 7519, 4.1.3: a string, or a list of them. */
static bool audience_has(const json_t *audience, const char *wanted)
{
	const json_t *element;
	size_t index;

	if (json_is_string(audience))
		return strcmp(json_string_value(audience), wanted) == 0;
	json_array_foreach(audience, index, element)
	{
		if (json_is_string(element) && strcmp(json_string_value(element), wanted) == 0)
			return true;
	}
	return false;
}

static const char *check_times(const json_t *payload, const struct jwt_expectation *expectation)
{
	const json_t *not_before = json_object_get(payload, "nbf"), *expiry = json_object_get(payload, "exp");
	uint64_t from_s, to_s;

	if (!json_is_integer(not_before) || !json_is_integer(expiry) || json_integer_value(not_before) < 0 ||
		json_integer_value(expiry) < 0)
		return "the token must have nbf and exp, whole seconds";
	from_s = (uint64_t)json_integer_value(not_before);
	to_s = (uint64_t)json_integer_value(expiry);
	if (to_s <= expectation->now_s)
		return "the token has expired";
	if (from_s > expectation->now_s + JWT_LEEWAY_S)
		return "the token is not valid yet";
	if (to_s - from_s > expectation->life_max_s)
		return "the token's life, exp - nbf, is longer than api.jwt.max_life allows";
	return NULL;
}

static void take_scopes(const json_t *payload, struct api_roles *roles)
{
	const char *at = string_of(payload, "scope");

	while (at != NULL && *at != '\0') {
		size_t length = strcspn(at, " ");
		char role[API_ROLE_SIZE_BYTES];

		if (length > 0 && length < sizeof(role)) {
			memcpy(role, at, length);
			role[length] = '\0';
			api_roles_add(roles, role);
		}
		at += length + strspn(at + length, " ");
	}
}

static const char *check_payload(
	const json_t *payload, const struct jwt_expectation *expectation, struct jwt_claims *claims)
{
	const char *issuer = string_of(payload, "iss"), *subject = string_of(payload, "sub");
	const char *why;

	if (issuer == NULL || strcmp(issuer, expectation->issuer) != 0)
		return "the token's issuer (iss) is not the one that counts here";
	if (!audience_has(json_object_get(payload, "aud"), expectation->audience))
		return "the token is for others (aud)";
	if (!is_printable(subject, JWT_ID_SIZE_BYTES))
		return "the token's subject (sub) must be 1 to 127 printable characters without blanks";
	why = check_times(payload, expectation);
	if (why != NULL)
		return why;
	strcpy(claims->subject, subject);
	take_scopes(payload, &claims->roles);
	return NULL;
}

/* Nothing of the payload is looked at before the signature is good. */
const char *jwt_verify(const char *text, const struct jwt_expectation *expectation, struct jwt_claims *ret_claims)
{
	struct jwt_claims claims = {0};
	const struct jwt_key *key;
	struct token token;
	json_t *header, *payload;
	const char *why;

	if (!token_split(text, &token))
		return "the token is no JWT";
	header = token_part_json(&token, 0);
	if (header == NULL)
		return "the token's header is no JSON object";
	why = check_header(header, expectation->keys, &key);
	if (why == NULL && !signature_is_good(&token, key))
		why = "the token's signature is not that of its key";
	json_decref(header);
	if (why != NULL)
		return why;
	payload = token_part_json(&token, 1);
	if (payload == NULL)
		return "the token's payload is no JSON object";
	why = check_payload(payload, expectation, &claims);
	json_decref(payload);
	if (why == NULL)
		*ret_claims = claims;
	return why;
}
