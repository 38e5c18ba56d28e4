/* SPDX-License-Identifier: Apache-2.0 */
#include "control/object_times.h"

#include <stdlib.h>
#include <string.h>

#include "control/model_match.h"

static size_t ip_count(const struct model_workspace *workspace)
{
	return workspace->egress_ip_count + workspace->draining_ip_count;
}

static uint32_t ip_at(const struct model_workspace *workspace, size_t index, bool *ret_drains)
{
	*ret_drains = index >= workspace->egress_ip_count;
	return *ret_drains ? workspace->draining_ips[index - workspace->egress_ip_count] : workspace->egress_ips[index];
}

enum status object_times_make(const struct model *model, struct object_times *ret_times)
{
	struct object_times times = {0};
	size_t count = 0;

	for (size_t i = 0; i < model->workspace_count; i++)
		count += ip_count(&model->workspaces[i]);
	times.workspaces = calloc(model->workspace_count + 1, sizeof(*times.workspaces));
	times.ip_first = calloc(model->workspace_count + 1, sizeof(*times.ip_first));
	times.ips = calloc(count + 1, sizeof(*times.ips));
	if (!times.workspaces || !times.ip_first || !times.ips) {
		object_times_clear(&times);
		return STATUS_NO_MEMORY;
	}
	for (size_t i = 0; i < model->workspace_count; i++)
		times.ip_first[i + 1] = times.ip_first[i] + (uint32_t)ip_count(&model->workspaces[i]);
	*ret_times = times;
	return STATUS_OK;
}

void object_times_clear(struct object_times *times)
{
	free(times->workspaces);
	free(times->ips);
	free(times->ip_first);
	memset(times, 0, sizeof(*times));
}

/* Where the address is in the workspace, in the same state; -1: nowhere. */
static long find_ip(const struct model_workspace *workspace, uint32_t address, bool drains)
{
	bool other_drains;

	for (size_t i = 0; i < ip_count(workspace); i++) {
		if (ip_at(workspace, i, &other_drains) == address && other_drains == drains)
			return (long)i;
	}
	return -1;
}

static void carry_ips(struct object_times *times, const struct model *model, size_t index,
	const struct object_times *before_times, const struct model *before, size_t before_index,
	enum object_time_kind kind)
{
	const struct model_workspace *workspace = &model->workspaces[index], *other = &before->workspaces[before_index];

	for (size_t i = 0; i < ip_count(workspace); i++) {
		bool drains;
		uint32_t address = ip_at(workspace, i, &drains);
		long at = find_ip(other, address, drains);

		if (at >= 0)
			times->ips[times->ip_first[index] + i].since_s[kind] =
				before_times->ips[before_times->ip_first[before_index] + (size_t)at].since_s[kind];
	}
}

enum status object_times_carry(struct object_times *times, const struct model *model,
	const struct object_times *before_times, const struct model *before, enum object_time_kind kind, double now_s)
{
	struct model_match match;

	for (size_t i = 0; i < model->workspace_count; i++)
		times->workspaces[i].since_s[kind] = now_s;
	for (size_t i = 0; i < times->ip_first[model->workspace_count]; i++)
		times->ips[i].since_s[kind] = now_s;
	if (!before)
		return STATUS_OK;
	if (model_match(before, model, &match) != STATUS_OK)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < model->workspace_count; i++) {
		uint32_t before_index = match.old_of_new[i];

		if (before_index == MODEL_MATCH_NONE)
			continue;
		if (match.same[i])
			times->workspaces[i].since_s[kind] = before_times->workspaces[before_index].since_s[kind];
		carry_ips(times, model, i, before_times, before, before_index, kind);
	}
	model_match_clear(&match);
	return STATUS_OK;
}

const struct object_time *object_times_ip(const struct object_times *times, size_t workspace_index, size_t index)
{
	return &times->ips[times->ip_first[workspace_index] + index];
}
