/* SPDX-License-Identifier: Apache-2.0 */
#include "control/vpc_finder.h"

#include <stdio.h>
#include <string.h>

#include "control/scalar.h"

void vpc_finder_set(struct vpc_finder *finder, const struct model *model)
{
	vpc_finder_clear(finder);
	finder->model = model;
	for (size_t i = 0; i < model->workspace_count; i++)
		(void)index_add(&finder->workspaces, model->workspaces[i].id, strlen(model->workspaces[i].id), i, NULL);
}

void vpc_finder_clear(struct vpc_finder *finder)
{
	index_clear(&finder->workspaces);
	memset(finder, 0, sizeof(*finder));
}

static const struct model_vpc *find_vpc(const struct model_workspace *workspace, const char *id)
{
	for (size_t i = 0; i < workspace->vpc_count; i++) {
		if (strcmp(workspace->vpcs[i].id, id) == 0)
			return &workspace->vpcs[i];
	}
	return NULL;
}

uint32_t vpc_finder_place(
	const struct vpc_finder *finder, const struct worker_spec *spec, char ret_why[WORKER_WHY_SIZE_BYTES])
{
	const struct model_vpc *vpc;
	char address[SCALAR_SIZE_BYTES];
	uint64_t index;

	if (finder->model == NULL ||
		!index_find(&finder->workspaces, spec->workspace, strlen(spec->workspace), &index)) {
		snprintf(ret_why, WORKER_WHY_SIZE_BYTES, "there is no workspace %s in the configuration",
			spec->workspace);
		return 0;
	}
	vpc = find_vpc(&finder->model->workspaces[index], spec->vpc);
	if (vpc == NULL) {
		snprintf(ret_why, WORKER_WHY_SIZE_BYTES, "workspace %s has no VPC %s", spec->workspace, spec->vpc);
		return 0;
	}
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		if ((spec->address & scalar_prefix_mask(vpc->cidrs[i].prefix_length_bits)) == vpc->cidrs[i].address)
			return vpc->vni;
	}
	scalar_format_ipv4(spec->address, address);
	snprintf(ret_why, WORKER_WHY_SIZE_BYTES, "%.15s is outside of VPC %s of workspace %s", address, spec->vpc,
		spec->workspace);
	return 0;
}
