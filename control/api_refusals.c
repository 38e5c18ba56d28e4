/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/refusals: the destinations that are refused most, as the dataplane remembers them (contract/counters.h). */
#include <stdlib.h>
#include <string.h>

#include "control/api.h"
#include "control/api_request.h"
#include "control/api_status.h"
#include "control/daemon.h"

enum { REFUSAL_COUNT_MAX = COUNTERS_REFUSALS * SHARD_COUNT_MAX };

struct refusals {
	struct counters_refusal of[REFUSAL_COUNT_MAX];
	size_t count;
};

static bool same_refusal(const struct counters_refusal *a, const struct counters_refusal *b)
{
	return a->address == b->address && a->port == b->port && a->protocol == b->protocol && a->reason == b->reason &&
	       a->workspace_slot == b->workspace_slot;
}

/* One that is in motion may be told half old, half new: it is a hint, not an account. */
static void refusals_add(struct refusals *refusals, const struct counters_refusal *refusal)
{
	if (refusal->address == 0 || refusal->count == 0 || refusal->reason >= DROP_REASON_COUNT)
		return;
	for (size_t i = 0; i < refusals->count; i++)
		if (same_refusal(&refusals->of[i], refusal)) {
			refusals->of[i].count += refusal->count;
			return;
		}
	refusals->of[refusals->count++] = *refusal;
}

static int more_often_first(const void *left, const void *right)
{
	const struct counters_refusal *a = left, *b = right;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return memcmp(a, b, sizeof(*a));
}

static json_t *refusal_json(const struct counters_refusal *refusal, const char *workspace)
{
	return json_pack("{s:s, s:o, s:i, s:i, s:s, s:I, s:s}", "workspace", workspace, "address",
		api_address_json(refusal->address), "port", (int)refusal->port, "protocol", (int)refusal->protocol,
		"reason", drop_reason_label(refusal->reason), "packets", (json_int_t)refusal->count, "text",
		drop_reason_text(refusal->reason));
}

static json_t *refusals_json(const struct daemon *daemon, const char *wanted)
{
	struct refusals *refusals = calloc(1, sizeof(*refusals));
	json_t *array = json_array();
	char workspace[ID_SIZE_BYTES];

	for (uint32_t shard = 0; refusals != NULL && shard < daemon->counters.shard_count; shard++)
		for (size_t i = 0; i < COUNTERS_REFUSALS; i++) {
			const struct counters_refusal copy = daemon->counters.counters->shards[shard].refusals[i];

			refusals_add(refusals, &copy);
		}
	if (refusals != NULL)
		qsort(refusals->of, refusals->count, sizeof(refusals->of[0]), more_often_first);
	for (size_t i = 0; refusals != NULL && i < refusals->count; i++)
		if (counters_view_name(&daemon->counters, refusals->of[i].workspace_slot, workspace) &&
			(wanted == NULL || strcmp(wanted, workspace) == 0))
			json_array_append_new(array, refusal_json(&refusals->of[i], workspace));
	free(refusals);
	return json_pack("{s:o}", "refusals", array);
}

static void serve_refusals(struct daemon *daemon, struct api_request *request)
{
	api_answer(request, 200, refusals_json(daemon, api_request_query(request, "workspace")));
}

const struct api_route api_refusals_routes[] = {
	{
		.method = HTTP_METHOD_GET,
		.pattern = "/v1/refusals",
		.permission = API_READ,
		.serve = serve_refusals,
		.summary = "The destinations that new sessions are refused to most often, with workspace and reason.",
		.query = "workspace: Its id.",
		.answer_schema = "Refusals",
	},
	{.pattern = NULL},
};
