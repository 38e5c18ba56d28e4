/* SPDX-License-Identifier: Apache-2.0 */
#include "control/revision.h"

#include <stdlib.h>
#include <string.h>

/* Any valid generation: the daemon writes the real one into the copy that is sent. */
static const uint64_t compiled_generation = 1;

static int vni_compare(const void *left, const void *right)
{
	const struct revision_vni *a = left, *b = right;

	return a->vni < b->vni ? -1 : a->vni > b->vni;
}

static enum status revision_index_vnis(struct revision *revision)
{
	const struct model *model = revision->model;
	size_t count = 0;

	for (size_t i = 0; i < model->workspace_count; i++)
		count += model->workspaces[i].vpc_count;
	revision->vnis = calloc(count + 1, sizeof(*revision->vnis));
	if (revision->vnis == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < model->workspace_count; i++) {
		for (size_t j = 0; j < model->workspaces[i].vpc_count; j++)
			revision->vnis[revision->vni_count++] = (struct revision_vni){
				.vni = model->workspaces[i].vpcs[j].vni,
				.workspace_index = (uint32_t)i,
			};
	}
	qsort(revision->vnis, revision->vni_count, sizeof(*revision->vnis), vni_compare);
	return STATUS_OK;
}

/* Without a gateway there is nothing to assign, and what is remembered stays. */
static enum status revision_compile(struct revision *revision, const struct revision_basis *basis,
	struct problems *problems, struct problems *warnings)
{
	void *block;
	enum status status = STATUS_OK;

	revision->registered_version = basis->registered_version;
	if (basis->shared_pool != NULL)
		status = shared_pool_copy(basis->shared_pool, &revision->shared_pool);
	if (status != STATUS_OK || !revision->model->gateway.present)
		return status;
	if (basis->in_force != NULL)
		shared_pool_hold(&revision->shared_pool, basis->in_force, basis->now_s);
	status = shared_pool_assign(&revision->shared_pool, revision->model, basis->now_s, problems, warnings);
	if (status == STATUS_OK)
		status = policy_compile(revision->model, &revision->shared_pool, &basis->registered,
			compiled_generation, &block, &revision->policy_size_bytes, problems);
	if (status == STATUS_OK)
		revision->policy = block;
	return status;
}

/* Before the drains: these are laid over what the kernel says, too. */
static enum status revision_map(struct revision *revision, const struct revision_basis *basis,
	struct problems *problems, struct problems *warnings)
{
	const struct model_gateway *gateway = &revision->model->gateway;
	const struct kernel_routes *routes;

	if (!gateway->present || gateway->mapping_table == 0 || basis->mapping_routes == NULL)
		return STATUS_OK;
	revision->text_without_mappings = model_print(revision->model);
	revision->mappings = calloc(1, sizeof(*revision->mappings));
	if (revision->text_without_mappings == NULL || revision->mappings == NULL)
		return STATUS_NO_MEMORY;
	if (!basis->mapping_routes(basis->mapping_context, gateway->mapping_table, &routes, problems))
		return STATUS_SYSTEM;
	return mappings_apply(routes, revision->model, revision->mappings, warnings);
}

static enum status revision_derive(struct revision *revision, const struct revision_basis *basis,
	struct problems *problems, struct problems *warnings)
{
	enum status status = revision_map(revision, basis, problems, warnings);

	if (status == STATUS_OK && basis->drains != NULL)
		status = drains_apply(basis->drains, revision->model, basis->now_s, warnings);
	if (status != STATUS_OK)
		return status;
	status = revision_index_vnis(revision);
	if (status == STATUS_OK)
		status = object_times_make(revision->model, &revision->times);
	return status == STATUS_OK ? revision_compile(revision, basis, problems, warnings) : status;
}

enum status revision_load(const char *path, const struct revision_basis *basis, struct revision **ret_revision,
	struct config_directories *directories, struct problems *problems, struct problems *warnings)
{
	struct revision *revision = calloc(1, sizeof(*revision));
	enum status status;

	if (revision == NULL)
		return STATUS_NO_MEMORY;
	revision->reference_count = 1;
	status = config_load_all(path, &basis->api, &revision->model, directories, problems, warnings);
	if (status == STATUS_OK)
		status = revision_derive(revision, basis, problems, warnings);
	if (status != STATUS_OK) {
		revision_release(revision);
		return status;
	}
	*ret_revision = revision;
	return STATUS_OK;
}

enum status revision_renew(struct revision *revision, const struct revision_basis *basis,
	struct revision **ret_revision, struct problems *problems, struct problems *warnings)
{
	struct revision *origin = revision->origin != NULL ? revision->origin : revision;
	struct revision *renewed = calloc(1, sizeof(*renewed));
	enum status status;

	if (renewed == NULL)
		return STATUS_NO_MEMORY;
	renewed->reference_count = 1;
	renewed->origin = revision_hold(origin);
	renewed->model = origin->model;
	renewed->text_without_mappings = origin->text_without_mappings;
	renewed->mappings = origin->mappings;
	renewed->vnis = origin->vnis;
	renewed->vni_count = origin->vni_count;
	status = revision_compile(renewed, basis, problems, warnings);
	if (status != STATUS_OK) {
		revision_release(renewed);
		return status;
	}
	*ret_revision = renewed;
	return STATUS_OK;
}

void revision_take_mappings(struct revision *revision, struct revision *newer)
{
	struct mappings before;

	if (revision->mappings == NULL || newer->mappings == NULL)
		return;
	before = *revision->mappings;
	*revision->mappings = *newer->mappings;
	*newer->mappings = before;
}

char *revision_text_to_keep(const struct revision *revision)
{
	return revision->text_without_mappings != NULL ? strdup(revision->text_without_mappings)
						       : model_print(revision->model);
}

struct revision *revision_hold(struct revision *revision)
{
	if (revision != NULL)
		revision->reference_count++;
	return revision;
}

void revision_release(struct revision *revision)
{
	if (revision == NULL || --revision->reference_count > 0)
		return;
	shared_pool_clear(&revision->shared_pool);
	free(revision->policy);
	if (revision->origin != NULL) {
		revision_release(revision->origin);
	} else {
		model_free(revision->model);
		free(revision->text_without_mappings);
		if (revision->mappings != NULL)
			mappings_clear(revision->mappings);
		free(revision->mappings);
		object_times_clear(&revision->times);
		free(revision->vnis);
	}
	free(revision);
}

struct object_times *revision_times(struct revision *revision)
{
	return revision->origin != NULL ? &revision->origin->times : &revision->times;
}

const struct model_workspace *revision_workspace_of_vni(const struct revision *revision, uint32_t vni)
{
	struct revision_vni key = {.vni = vni};
	const struct revision_vni *found;

	if (revision == NULL || revision->vni_count == 0)
		return NULL;
	found = bsearch(&key, revision->vnis, revision->vni_count, sizeof(key), vni_compare);
	return found != NULL ? &revision->model->workspaces[found->workspace_index] : NULL;
}
