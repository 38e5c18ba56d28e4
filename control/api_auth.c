/* SPDX-License-Identifier: Apache-2.0 */
#include "control/api_auth.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control/daemon.h"
#include "control/jwt.h"
#include "control/tls.h"

static const struct model_api *api_of(const struct daemon *daemon)
{
	return daemon->config.desired != NULL ? &daemon->config.desired->model->api : NULL;
}

/* Who can open the socket is root or in its group: the file's mode has seen to that. */
static void identify_local(struct daemon *daemon, const struct http_peer *peer, struct api_caller *caller)
{
	const struct model_api *api = api_of(daemon);
	bool owner = peer->uid == 0 || peer->uid == geteuid();

	caller->kind = API_CALLER_LOCAL;
	snprintf(caller->name, sizeof(caller->name), "uid=%u pid=%d", (unsigned)peer->uid, (int)peer->pid);
	caller->roles.read = true;
	caller->roles.operate = owner || api == NULL || api->group_role == MODEL_GROUP_OPERATES;
}

/* "Bearer TOKEN"; NULL: something else. RFC 6750, 2.1. */
static const char *bearer_token(const char *authorization)
{
	static const char scheme[] = "Bearer ";

	if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
		return NULL;
	authorization += strlen(scheme);
	return authorization + strspn(authorization, " ");
}

static bool identify_token(struct daemon *daemon, const char *authorization, struct api_caller *caller,
	char ret_why[API_AUTH_WHY_SIZE_BYTES])
{
	const struct model_api *api = api_of(daemon);
	const char *token = bearer_token(authorization), *why = "Authorization: must be Bearer and a token";
	struct jwt_claims claims;

	if (api == NULL || api->jwks[0] == '\0')
		why = "tokens are not taken here: api.jwt.jwks is not set";
	else if (!listeners_trust(daemon, TRUST_TOKEN_KEYS))
		why = "tokens are not taken now: the file of their keys can not be used (api.jwt.jwks)";
	else if (token != NULL) {
		const struct jwt_expectation expectation = {
			.keys = &daemon->listeners.token_keys,
			.issuer = api->issuer,
			.audience = api->audience,
			.life_max_s = api->token_life_max_s,
			.now_s = (uint64_t)daemon_unix_s(),
		};

		why = jwt_verify(token, &expectation, &claims);
	}
	if (why != NULL) {
		snprintf(ret_why, API_AUTH_WHY_SIZE_BYTES, "%s", why);
		return false;
	}
	caller->kind = API_CALLER_TOKEN;
	snprintf(caller->name, sizeof(caller->name), "token %.120s@%.180s", claims.subject, api->issuer);
	caller->roles = claims.roles;
	return true;
}

static bool identify_certificate(struct daemon *daemon, const struct ssl_st *session, struct api_caller *caller,
	char ret_why[API_AUTH_WHY_SIZE_BYTES])
{
	const struct model_api *api = api_of(daemon);
	const char *name;

	if (session != NULL && !listeners_trust(daemon, TRUST_CLIENT_CA)) {
		snprintf(ret_why, API_AUTH_WHY_SIZE_BYTES,
			"client certificates are not taken now: the file of their authorities can not be used "
			"(api.client_ca)");
		return false;
	}
	if (session == NULL || api == NULL || !tls_client_roles(session, api, &caller->roles, &name)) {
		snprintf(ret_why, API_AUTH_WHY_SIZE_BYTES,
			"who asks is not known: show a client certificate with a name on api.clients, or a bearer "
			"token");
		return false;
	}
	caller->kind = API_CALLER_CERTIFICATE;
	snprintf(caller->name, sizeof(caller->name), "certificate %.250s", name);
	return true;
}

bool api_auth_identify(struct daemon *daemon, const struct http_exchange *exchange, struct api_caller *ret_caller,
	char ret_why[API_AUTH_WHY_SIZE_BYTES])
{
	const char *authorization = exchange->request.fields[HTTP_FIELD_AUTHORIZATION];

	if (exchange->peer.local) {
		identify_local(daemon, &exchange->peer, ret_caller);
		return true;
	}
	/*
	 * A token that was sent is what counts, also when it is no good: what a caller may do must not depend on luck.
	 */
	if (authorization != NULL)
		return identify_token(daemon, authorization, ret_caller, ret_why);
	return identify_certificate(daemon, exchange->peer.tls, ret_caller, ret_why);
}

bool api_auth_metrics_wanted(const struct daemon *daemon)
{
	/* Without a configuration nothing listens there. */
	return daemon->config.desired != NULL &&
	       (daemon->config.desired->model->metrics_flags & MODEL_METRICS_AUTH) != 0;
}
