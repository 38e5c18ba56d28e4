/* SPDX-License-Identifier: Apache-2.0 */
/* Rules across the values of `api`, and of `metrics` where it leans on them. */
#include "control/model_parse.h"

/* The node of a value, or the file's when it was left out. */
static const struct yaml_node *place_of(const struct model_draft *draft, const void *value)
{
	const struct yaml_node *node = model_draft_value(draft, value);

	return node != NULL ? node : draft->tree->root;
}

static void refuse(struct model_draft *draft, const void *value, const char *why)
{
	model_draft_add(draft, draft->problems, place_of(draft, value), "%s", why);
}

static void check_tokens(struct model_draft *draft)
{
	const struct model_api *api = &draft->model->api;

	if (api->jwks[0] != '\0' && (api->issuer[0] == '\0' || api->audience[0] == '\0'))
		refuse(draft, api->jwks,
			"needs api.jwt.issuer and api.jwt.audience: a token for somebody else must not count here");
}

void model_check_api(struct model_draft *draft)
{
	const struct model *model = draft->model;
	const struct model_api *api = &model->api;
	bool has_certificate = api->certificate[0] != '\0', has_callers = api->client_count > 0 || api->jwks[0] != '\0';

	if (has_certificate != (api->key[0] != '\0'))
		refuse(draft, has_certificate ? api->certificate : api->key,
			"api.certificate and api.key go together: set both");
	if (api->port != 0 && !has_certificate)
		refuse(draft, api->address, "needs api.certificate and api.key: the API is served with TLS alone");
	if (api->port != 0 && !has_callers)
		refuse(draft, api->address, "needs api.clients or api.jwt.jwks: else nobody could do anything there");
	if (api->client_count > 0 && api->client_ca[0] == '\0')
		refuse(draft, api->clients[0].san,
			"api.clients need api.client_ca, which their certificates come from");
	if ((model->metrics_flags & MODEL_METRICS_TLS) && !has_certificate)
		refuse(draft, model->metrics_address, "metrics.tls needs api.certificate and api.key");
	if ((model->metrics_flags & MODEL_METRICS_AUTH) && !(model->metrics_flags & MODEL_METRICS_TLS))
		refuse(draft, model->metrics_address,
			"metrics.auth needs metrics.tls: a token must not go in the clear");
	if ((model->metrics_flags & MODEL_METRICS_AUTH) && !has_callers)
		refuse(draft, model->metrics_address, "metrics.auth needs api.clients or api.jwt.jwks");
	check_tokens(draft);
}
