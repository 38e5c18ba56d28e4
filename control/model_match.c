/* SPDX-License-Identifier: Apache-2.0 */
#include "control/model_match.h"

#include <stdlib.h>
#include <string.h>

#include "control/index.h"
#include "control/plan.h"

struct matcher {
	const struct model *old, *new;
	struct hash_index by_id; /* of the old ones; made when it is needed first */
};

static bool find_by_id(struct matcher *matcher, const char *id, uint64_t *ret_index, bool *ret_no_memory)
{
	const struct model *old = matcher->old;

	if (matcher->by_id.used_count == 0 && !index_reserve(&matcher->by_id, old->workspace_count))
		*ret_no_memory = true;
	for (size_t i = 0; matcher->by_id.used_count < old->workspace_count && !*ret_no_memory; i++) {
		const char *key = old->workspaces[i].id;

		*ret_no_memory = index_add(&matcher->by_id, key, strlen(key), i, NULL) == INDEX_NO_MEMORY;
	}
	return !*ret_no_memory && index_find(&matcher->by_id, id, strlen(id), ret_index);
}

/* Mostly the same in the same order: the one behind the last one that was found is tried first. */
static bool match_ids(struct matcher *matcher, struct model_match *match)
{
	const struct model *old = matcher->old, *new = matcher->new;
	bool no_memory = false;
	uint64_t next = 0;

	for (size_t i = 0; i < new->workspace_count; i++) {
		const char *id = new->workspaces[i].id;

		match->old_of_new[i] = MODEL_MATCH_NONE;
		if ((next >= old->workspace_count || strcmp(old->workspaces[next].id, id) != 0) &&
			(old->workspace_count == 0 || !find_by_id(matcher, id, &next, &no_memory))) {
			if (no_memory)
				return false;
			continue;
		}
		match->old_of_new[i] = (uint32_t)next;
		match->new_of_old[next] = (uint32_t)i;
		match->removed_count--;
		match->same[i] = memcmp(&old->workspaces[next], &new->workspaces[i], sizeof(*new->workspaces)) == 0 ||
				 plan_workspaces_equal(&old->workspaces[next], &new->workspaces[i]);
		next++;
	}
	return true;
}

enum status model_match(const struct model *old, const struct model *new, struct model_match *ret_match)
{
	struct matcher matcher = {.old = old, .new = new};
	struct model_match match = {
		.old_of_new = malloc((new->workspace_count + 1) * sizeof(*match.old_of_new)),
		.new_of_old = malloc((old->workspace_count + 1) * sizeof(*match.new_of_old)),
		.same = calloc(new->workspace_count + 1, sizeof(*match.same)),
		.removed_count = old->workspace_count,
	};
	bool done = match.old_of_new && match.new_of_old && match.same;

	for (size_t i = 0; done && i < old->workspace_count; i++)
		match.new_of_old[i] = MODEL_MATCH_NONE;
	done = done && match_ids(&matcher, &match);
	index_clear(&matcher.by_id);
	if (!done) {
		model_match_clear(&match);
		return STATUS_NO_MEMORY;
	}
	*ret_match = match;
	return STATUS_OK;
}

void model_match_clear(struct model_match *match)
{
	free(match->old_of_new);
	free(match->new_of_old);
	free(match->same);
	memset(match, 0, sizeof(*match));
}
