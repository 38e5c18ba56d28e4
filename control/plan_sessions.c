/* SPDX-License-Identifier: Apache-2.0 */
#include "control/plan_sessions.h"

#include <string.h>

#include "control/scalar.h"

static bool index_workspaces(const struct model *model, struct hash_index *ret_index)
{
	for (size_t i = 0; i < model->workspace_count; i++) {
		const char *id = model->workspaces[i].id;

		if (index_add(ret_index, id, strlen(id), i, NULL) == INDEX_NO_MEMORY)
			return false;
	}
	return true;
}

bool plan_sessions_open(struct plan_sessions *ret_sessions, const struct model *old, const struct model *new)
{
	*ret_sessions = (struct plan_sessions){.old = old, .new = new};
	if (index_workspaces(old, &ret_sessions->old_by_id) && index_workspaces(new, &ret_sessions->new_by_id))
		return true;
	plan_sessions_close(ret_sessions);
	return false;
}

void plan_sessions_close(struct plan_sessions *sessions)
{
	index_clear(&sessions->old_by_id);
	index_clear(&sessions->new_by_id);
}

static const struct model_workspace *find_workspace(
	const struct model *model, const struct hash_index *by_id, const char *id)
{
	uint64_t at;

	return index_find(by_id, id, strlen(id), &at) ? &model->workspaces[at] : NULL;
}

static const struct model_vpc *find_vpc(const struct model_workspace *workspace, uint32_t vni)
{
	for (size_t i = 0; i < workspace->vpc_count; i++) {
		if (workspace->vpcs[i].vni == vni)
			return &workspace->vpcs[i];
	}
	return NULL;
}

static bool cidrs_have(const struct model_cidr *cidrs, size_t count, uint32_t address)
{
	for (size_t i = 0; i < count; i++) {
		if ((address & scalar_prefix_mask(cidrs[i].prefix_length_bits)) == cidrs[i].address)
			return true;
	}
	return false;
}

static bool vpc_lists(const struct model_vpc *vpc, uint32_t address)
{
	for (size_t i = 0; i < vpc->worker_count; i++) {
		if (vpc->workers[i].address == address)
			return true;
	}
	return false;
}

/* Who is registered stays so over a change of the file. */
static bool worker_stays(const struct model_vpc *old, const struct model_vpc *new, uint32_t address)
{
	bool was_listed = old->workers_listed && vpc_lists(old, address);

	if (!old->workers_listed)
		return !new->workers_listed;
	return !was_listed || vpc_lists(new, address);
}

static bool vpc_stays(
	const struct model_workspace *old, const struct model_workspace *new, const struct plan_session *session)
{
	const struct model_vpc *was = find_vpc(old, session->vni), *is = find_vpc(new, session->vni);

	return was && is && strcmp(was->id, is->id) == 0 &&
	       cidrs_have(is->cidrs, is->cidr_count, session->inside_address) &&
	       worker_stays(was, is, session->inside_address);
}

/* Its own, with or without new sessions; or a range of the shared pool, which drains when it is wanted no more. */
static bool address_stays(
	const struct plan_sessions *sessions, const struct model_workspace *workspace, uint32_t address)
{
	const struct model *old = sessions->old, *new = sessions->new;

	return model_addresses_have(workspace->egress_ips, workspace->egress_ip_count, address) ||
	       model_addresses_have(workspace->draining_ips, workspace->draining_ip_count, address) ||
	       (model_addresses_have(old->shared_pool_ips, old->shared_pool_ip_count, address) &&
		       model_addresses_have(new->shared_pool_ips, new->shared_pool_ip_count, address));
}

bool plan_session_ends(const struct plan_sessions *sessions, const struct plan_session *session)
{
	const struct model *old = sessions->old, *new = sessions->new;
	const struct model_workspace *was = find_workspace(old, &sessions->old_by_id, session->workspace),
				     *is = find_workspace(new, &sessions->new_by_id, session->workspace);

	/* Not of the configuration that is wanted now; and a gateway that goes leaves the dataplane as it is. */
	if (!was || !old->gateway.present || !new->gateway.present)
		return false;
	if (!is || !vpc_stays(was, is, session) || !address_stays(sessions, is, session->egress_address))
		return true;
	return new->gateway.encapsulation == POLICY_ENCAPSULATION_VXLAN &&
	       !cidrs_have(new->gateway.trusted_vteps, new->gateway.trusted_vtep_count, session->vtep);
}

static bool cidrs_have_exactly(const struct model_vpc *vpc, const struct model_cidr *cidr)
{
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if (vpc->cidrs[i].address == cidr->address &&
			vpc->cidrs[i].prefix_length_bits == cidr->prefix_length_bits)
			return true;
	}
	return false;
}

static bool vpc_loses_nobody(const struct model_vpc *was, const struct model_vpc *is)
{
	if (!is || strcmp(was->id, is->id) != 0 || was->workers_listed != is->workers_listed)
		return false;
	for (size_t i = 0; i < was->cidr_count; i++) {
		if (!cidrs_have_exactly(is, &was->cidrs[i]))
			return false;
	}
	for (size_t i = 0; i < was->worker_count; i++) {
		if (!vpc_lists(is, was->workers[i].address))
			return false;
	}
	return true;
}

bool plan_sessions_may_end(const struct plan_sessions *sessions, const char *workspace)
{
	const struct model_workspace *was = find_workspace(sessions->old, &sessions->old_by_id, workspace),
				     *is = find_workspace(sessions->new, &sessions->new_by_id, workspace);

	if (!was || !is || plan_sessions_of_all(sessions->old, sessions->new))
		return was != NULL;
	for (size_t i = 0; i < was->vpc_count; i++) {
		if (!vpc_loses_nobody(&was->vpcs[i], find_vpc(is, was->vpcs[i].vni)))
			return true;
	}
	for (size_t i = 0; i < was->egress_ip_count; i++) {
		if (!address_stays(sessions, is, was->egress_ips[i]))
			return true;
	}
	for (size_t i = 0; i < was->draining_ip_count; i++) {
		if (!address_stays(sessions, is, was->draining_ips[i]))
			return true;
	}
	return false;
}

bool plan_sessions_of_all(const struct model *old, const struct model *new)
{
	const struct model_gateway *was = &old->gateway, *is = &new->gateway;

	if (was->trusted_vtep_count != is->trusted_vtep_count || old->shared_pool_ip_count != new->shared_pool_ip_count)
		return true;
	for (size_t i = 0; i < was->trusted_vtep_count; i++) {
		if (was->trusted_vteps[i].address != is->trusted_vteps[i].address ||
			was->trusted_vteps[i].prefix_length_bits != is->trusted_vteps[i].prefix_length_bits)
			return true;
	}
	return old->shared_pool_ip_count > 0 && memcmp(old->shared_pool_ips, new->shared_pool_ips,
							old->shared_pool_ip_count * sizeof(*old->shared_pool_ips)) != 0;
}
