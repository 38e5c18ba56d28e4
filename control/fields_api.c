/* SPDX-License-Identifier: Apache-2.0 */
/* The section `api` of the field table. */
#include "control/fields_table.h"

static const char *const group_roles[] = {"operate", "read", NULL}; /* enum model_api_group_role */

static const struct field client_fields[] = {
	{.key = "san",
		.type = FIELD_SAN,
		VALUE(struct model_api_client, san),
		.doc = "A subject alternative name of the client's certificate, compared as it stands."},
	{.key = "roles",
		.type = FIELD_ROLE,
		RANGE(1, 16),
		LIST(struct model_api_client, roles, role_count),
		.doc = "What it may do: read; operate, which may change everything; workspace:ID, that one alone; "
		       "host:VTEP, "
		       "the workers of that worker host."},
};
SECTION(client_section, "api.clients[]", client_fields, struct model_api_client, FIELD_NOWHERE,
	"A client that is known by its certificate.");

static const struct field jwt_fields[] = {
	{.key = "jwks",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model, api.jwks),
		.doc = "A file with the public Ed25519 keys that may sign tokens, as a JWK Set; read anew when it "
		       "changes. Without it there are no tokens."},
	{.key = "issuer",
		.type = FIELD_TEXT,
		.default_text = "",
		VALUE(struct model, api.issuer),
		.doc = "What iss must be. Required with jwks."},
	{.key = "audience",
		.type = FIELD_TEXT,
		.default_text = "",
		VALUE(struct model, api.audience),
		.doc = "What aud must be, or have in it. Required with jwks."},
	{.key = "max_life",
		.type = FIELD_DURATION,
		RANGE(1, 86400),
		.default_text = "15m",
		VALUE(struct model, api.token_life_max_s),
		.doc = "The longest life of a token, exp less nbf, that is accepted."},
};
SECTION(jwt_section, "api.jwt", jwt_fields, struct model, FIELD_NOWHERE,
	"Bearer tokens: JSON Web Tokens, EdDSA with Ed25519 alone. Their scope has the roles, as clients do.");

static const struct field api_fields[] = {
	{.key = "listen",
		.type = FIELD_LISTEN,
		.default_text = "off",
		VALUE(struct model, api.address),
		.second_offset = offsetof(struct model, api.port),
		.doc = "Where the API is served over HTTPS, with TLS 1.3. The Unix socket is always there."},
	{.key = "certificate",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model, api.certificate),
		.doc = "The server's certificate and its chain, PEM; read anew when it changes."},
	{.key = "key",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model, api.key),
		.doc = "Its private key, PEM."},
	{.key = "client_ca",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model, api.client_ca),
		.doc = "The authorities that clients' certificates must come from, PEM."},
	{.key = "clients",
		.type = FIELD_MAP,
		.section = &client_section,
		RANGE(0, 1024),
		.default_text = "",
		LIST(struct model, api.clients, api.client_count),
		.doc = "The certificates that count, by name. Nobody else is let in by certificate."},
	{.key = "jwt", MAP_INLINE(jwt_section), .default_text = "", .doc = "Bearer tokens."},
	{.key = "trust_grace",
		.type = FIELD_DURATION,
		RANGE(0, 86400),
		.default_text = "1m",
		VALUE(struct model, api.trust_grace_s),
		.doc = "When client_ca or jwt.jwks has changed and can not be used, for so long the one before counts; "
		       "then nobody is let in by it until it can."},
	{.key = "group_role",
		.type = FIELD_CHOICE,
		.choices = group_roles,
		.default_text = "operate",
		VALUE(struct model, api.group_role),
		.doc = "What members of the Unix socket's group may do; root may do everything."},
	{.key = "audit_log",
		.type = FIELD_PATH,
		.default_text = "",
		VALUE(struct model, api.audit_log),
		.doc = "The file that every change by the API or by command, and of files, is written to, a line of "
		       "JSON each; without it audit.log in the run directory."},
};
EXTERN_SECTION(fields_api, "api", api_fields, struct model, FIELD_NOWHERE,
	"The HTTP API beyond the Unix socket, and its audit log. See postern-api(7).");
