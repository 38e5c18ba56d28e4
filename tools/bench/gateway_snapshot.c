/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/gateway.h"

/* Where the tables stand in the block. */
struct layout {
	uint32_t counts[POLICY_TABLE_COUNT];
	size_t offsets[POLICY_TABLE_COUNT];
	size_t size_bytes;
};

static const uint32_t record_sizes[POLICY_TABLE_COUNT] = {
	[POLICY_WORKSPACES] = sizeof(struct policy_workspace),
	[POLICY_VPCS] = sizeof(struct policy_vpc),
	[POLICY_CIDRS] = sizeof(struct policy_cidr),
	[POLICY_EGRESS_IPS] = sizeof(struct policy_egress_ip),
	[POLICY_WORKERS] = sizeof(struct policy_worker),
	[POLICY_RULES] = sizeof(struct policy_rule),
	[POLICY_VTEP_PREFIXES] = sizeof(struct policy_vtep_prefix),
};

static struct layout layout_of(const struct gateway_plan *plan)
{
	struct layout layout = {
		.counts =
			{
				[POLICY_WORKSPACES] = plan->workspace_count,
				[POLICY_VPCS] = plan->workspace_count,
				[POLICY_CIDRS] = plan->workspace_count,
				[POLICY_EGRESS_IPS] = plan->workspace_count * plan->egress_per_workspace,
				[POLICY_WORKERS] = plan->workspace_count * plan->workers_per_workspace,
				[POLICY_VTEP_PREFIXES] = 1,
			},
		.size_bytes = sizeof(struct policy_snapshot),
	};

	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++) {
		layout.offsets[id] = layout.size_bytes;
		layout.size_bytes += ((size_t)layout.counts[id] * record_sizes[id] + 7) & ~(size_t)7;
	}
	return layout;
}

static void *table(struct policy_snapshot *block, const struct layout *layout, enum policy_table_id id)
{
	return (uint8_t *)block + layout->offsets[id];
}

static void header_fill(struct policy_snapshot *block, const struct gateway_plan *plan, const struct layout *layout,
	uint64_t generation)
{
	block->magic = POLICY_MAGIC;
	block->version = POLICY_VERSION;
	block->size_bytes = layout->size_bytes;
	block->generation = generation;
	snprintf(block->ports[PORT_INSIDE].interface, INTERFACE_NAME_SIZE_BYTES, "inside0");
	snprintf(block->ports[PORT_OUTSIDE].interface, INTERFACE_NAME_SIZE_BYTES, "outside0");
	block->encapsulation = plan->vxlan ? POLICY_ENCAPSULATION_VXLAN : POLICY_ENCAPSULATION_NONE;
	block->plain_vni = plan->vxlan ? 0 : gateway_vni(0);
	block->vxlan_udp_port = 4789;
	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++)
		block->tables[id] = (struct policy_table){layout->offsets[id], layout->counts[id], record_sizes[id]};
}

static void workspace_fill(
	struct policy_snapshot *block, const struct gateway_plan *plan, const struct layout *layout, uint32_t index)
{
	struct policy_workspace *workspace = (struct policy_workspace *)table(block, layout, POLICY_WORKSPACES) + index;
	struct policy_vpc *vpc = (struct policy_vpc *)table(block, layout, POLICY_VPCS) + index;
	struct policy_cidr *cidr = (struct policy_cidr *)table(block, layout, POLICY_CIDRS) + index;
	struct policy_egress_ip *ips = table(block, layout, POLICY_EGRESS_IPS);
	struct policy_worker *workers = table(block, layout, POLICY_WORKERS);

	snprintf(workspace->id, sizeof(workspace->id), "workspace-%05u", index);
	workspace->egress_first = index * plan->egress_per_workspace;
	workspace->egress_count = plan->egress_per_workspace;
	workspace->mapping_tcp = POLICY_MAPPING_ENDPOINT_DEPENDENT;
	workspace->mapping_udp = plan->mapping_udp;
	/* The defaults; an unanswered SYN lives as long as the others, so that no measurement outlasts it. */
	workspace->timers = (struct policy_timers){7440, 240, 300, 300, 30, 60};
	if (index == 0)
		workspace->limits = plan->first_limits;
	snprintf(vpc->id, sizeof(vpc->id), "main");
	vpc->workspace_index = index;
	vpc->vni = gateway_vni(index);
	vpc->cidr_first = index;
	vpc->cidr_count = 1;
	vpc->flags = plan->workers_per_workspace != 0 ? POLICY_VPC_WORKERS_LISTED : 0;
	*cidr = (struct policy_cidr){ADDRESS(10, 0, 0, 0), 8};
	for (uint32_t i = 0; i < plan->egress_per_workspace; i++)
		ips[workspace->egress_first + i] = (struct policy_egress_ip){
			.address = gateway_egress_address(workspace->egress_first + i), .workspace_index = index};
	for (uint32_t i = 0; i < plan->workers_per_workspace; i++)
		workers[index * plan->workers_per_workspace + i] =
			(struct policy_worker){.vpc_index = index, .address = gateway_worker_address(i)};
}

struct policy_snapshot *gateway_snapshot(const struct gateway_plan *plan, uint64_t generation)
{
	const struct layout layout = layout_of(plan);
	struct policy_snapshot *block = calloc(1, layout.size_bytes);
	struct policy_vtep_prefix *vtep;

	if (block == NULL)
		return NULL;
	header_fill(block, plan, &layout, generation);
	for (uint32_t i = 0; i < plan->workspace_count; i++)
		workspace_fill(block, plan, &layout, i);
	vtep = table(block, &layout, POLICY_VTEP_PREFIXES);
	*vtep = (struct policy_vtep_prefix){ADDRESS(10, 100, 0, 0), 24};
	return block;
}
