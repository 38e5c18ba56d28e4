/* SPDX-License-Identifier: Apache-2.0 */
/* The section `api` of the field table; see control/fields_table.c, which has the rest. */
#include "control/fields.h"
#include "control/model.h"

#define API_VALUE(record, member)                                                                                      \
	.offset = offsetof(record, member), .size_bytes = (uint8_t)sizeof(((record *)0)->member),                      \
	.present_offset = FIELD_NOWHERE
#define API_TEXT(record, member) .offset = offsetof(record, member), .present_offset = FIELD_NOWHERE
#define API_LIST(record, member, member_count)                                                                         \
	.list = true, .offset = offsetof(record, member), .count_offset = offsetof(record, member_count),              \
	.present_offset = FIELD_NOWHERE
#define API_SECTION(its_path, its_fields, record, its_doc)                                                             \
	{                                                                                                              \
		.path = (its_path), .doc = (its_doc), .fields = (its_fields),                                          \
		.field_count = sizeof(its_fields) / sizeof((its_fields)[0]), .record_size_bytes = sizeof(record),      \
		.source_offset = FIELD_NOWHERE                                                                         \
	}

static const char *const group_roles[] = {"operate", "read", NULL}; /* enum model_api_group_role */

static const struct field client_fields[] = {
	{.key = "san",
		.type = FIELD_SAN,
		API_TEXT(struct model_api_client, san),
		.doc = "A subject alternative name of the client's certificate, compared as it stands."},
	{.key = "roles",
		.type = FIELD_ROLE,
		.min = 1,
		.max = 16,
		API_LIST(struct model_api_client, roles, role_count),
		.doc = "What it may do: read; operate, which may change everything; workspace:ID, that one alone; "
		       "host:VTEP, "
		       "the workers of that worker host."},
};
static const struct field_section client_section = API_SECTION(
	"api.clients[]", client_fields, struct model_api_client, "A client that is known by its certificate.");

static const struct field jwt_fields[] = {
	{.key = "jwks",
		.type = FIELD_PATH,
		.default_text = "",
		API_TEXT(struct model, api.jwks),
		.doc = "A file with the public Ed25519 keys that may sign tokens, as a JWK Set; read anew when it "
		       "changes. Without it there are no tokens."},
	{.key = "issuer",
		.type = FIELD_TEXT,
		.default_text = "",
		API_TEXT(struct model, api.issuer),
		.doc = "What iss must be. Required with jwks."},
	{.key = "audience",
		.type = FIELD_TEXT,
		.default_text = "",
		API_TEXT(struct model, api.audience),
		.doc = "What aud must be, or have in it. Required with jwks."},
	{.key = "max_life",
		.type = FIELD_DURATION,
		.min = 1,
		.max = 86400,
		.default_text = "15m",
		API_VALUE(struct model, api.token_life_max_s),
		.doc = "The longest life of a token, exp less nbf, that is accepted."},
};
static const struct field_section jwt_section = API_SECTION("api.jwt", jwt_fields, struct model,
	"Bearer tokens: JSON Web Tokens, EdDSA with Ed25519 alone. Their scope has the roles, as clients do.");

static const struct field api_fields[] = {
	{.key = "listen",
		.type = FIELD_LISTEN,
		.default_text = "off",
		API_VALUE(struct model, api.address),
		.second_offset = offsetof(struct model, api.port),
		.doc = "Where the API is served over HTTPS, with TLS 1.3. The Unix socket is always there."},
	{.key = "certificate",
		.type = FIELD_PATH,
		.default_text = "",
		API_TEXT(struct model, api.certificate),
		.doc = "The server's certificate and its chain, PEM; read anew when it changes."},
	{.key = "key",
		.type = FIELD_PATH,
		.default_text = "",
		API_TEXT(struct model, api.key),
		.doc = "Its private key, PEM."},
	{.key = "client_ca",
		.type = FIELD_PATH,
		.default_text = "",
		API_TEXT(struct model, api.client_ca),
		.doc = "The authorities that clients' certificates must come from, PEM."},
	{.key = "clients",
		.type = FIELD_MAP,
		.section = &client_section,
		.min = 0,
		.max = 1024,
		.default_text = "",
		API_LIST(struct model, api.clients, api.client_count),
		.doc = "The certificates that count, by name. Nobody else is let in by certificate."},
	{.key = "jwt",
		.type = FIELD_MAP,
		.section = &jwt_section,
		.offset = 0,
		.present_offset = FIELD_NOWHERE,
		.default_text = "",
		.doc = "Bearer tokens."},
	{.key = "trust_grace",
		.type = FIELD_DURATION,
		.min = 0,
		.max = 86400,
		.default_text = "1m",
		API_VALUE(struct model, api.trust_grace_s),
		.doc = "When client_ca or jwt.jwks has changed and can not be used, for so long the one before counts; "
		       "then nobody is let in by it until it can."},
	{.key = "group_role",
		.type = FIELD_CHOICE,
		.choices = group_roles,
		.default_text = "operate",
		API_VALUE(struct model, api.group_role),
		.doc = "What members of the Unix socket's group may do; root may do everything."},
	{.key = "audit_log",
		.type = FIELD_PATH,
		.default_text = "",
		API_TEXT(struct model, api.audit_log),
		.doc = "The file that every change by the API or by command, and of files, is written to, a line of "
		       "JSON each; without it audit.log in the run directory."},
};
const struct field_section fields_api = API_SECTION(
	"api", api_fields, struct model, "The HTTP API beyond the Unix socket, and its audit log. See postern-api(7).");
