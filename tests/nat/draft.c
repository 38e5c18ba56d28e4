/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/nat/fixture.h"

#include <stdio.h>
#include <stdlib.h>

void draft_default(struct policy_draft *draft)
{
	memset(draft, 0, sizeof(*draft));
	struct policy_snapshot *header = &draft->header;
	header->magic = POLICY_MAGIC;
	header->version = POLICY_VERSION;
	snprintf(header->ports[PORT_INSIDE].interface, INTERFACE_NAME_SIZE_BYTES, "inside0");
	snprintf(header->ports[PORT_OUTSIDE].interface, INTERFACE_NAME_SIZE_BYTES, "outside0");
	header->encapsulation = POLICY_ENCAPSULATION_VXLAN;
	header->vxlan_udp_port = 4789;
	static const char *const names[] = {"acme", "globex"};
	for (unsigned i = 0; i < 2; i++) {
		struct policy_workspace *workspace = &draft->workspaces[i];
		snprintf(workspace->id, ID_SIZE_BYTES, "%s", names[i]);
		workspace->flags = POLICY_WORKSPACE_TCP_RST_UNKNOWN;
		workspace->mapping_tcp = POLICY_MAPPING_ENDPOINT_DEPENDENT;
		workspace->mapping_udp = POLICY_MAPPING_ENDPOINT_INDEPENDENT;
		workspace->timers = (struct policy_timers){7440, 240, 30, 300, 30, 60};
		snprintf(draft->vpcs[i].id, ID_SIZE_BYTES, "main");
		draft->vpcs[i].workspace_index = i;
		draft->vpcs[i].vni = i == 0 ? VNI_ACME : VNI_GLOBEX;
		draft->vpcs[i].cidr_first = i;
		draft->vpcs[i].cidr_count = 1;
		draft->cidrs[i] = (struct policy_cidr){IP(10, 0, 0, 0), 16};
	}
	draft->workspaces[0].egress_count = 2;
	draft->workspaces[1].egress_first = 2;
	draft->workspaces[1].egress_count = 1;
	draft->egress_ips[0] = (struct policy_egress_ip){.address = ACME_IP_1, .workspace_index = 0};
	draft->egress_ips[1] = (struct policy_egress_ip){.address = ACME_IP_2, .workspace_index = 0};
	draft->egress_ips[2] = (struct policy_egress_ip){.address = GLOBEX_IP, .workspace_index = 1};
	draft->vteps[0] = (struct policy_vtep_prefix){IP(10, 100, 0, 0), 24};
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = draft->counts[POLICY_CIDRS] = 2;
	draft->counts[POLICY_EGRESS_IPS] = 3;
	draft->counts[POLICY_VTEP_PREFIXES] = 1;
}

struct policy_snapshot *draft_compile(const struct policy_draft *draft, uint64_t generation, size_t *ret_size_bytes)
{
	const struct {
		const void *records;
		uint32_t size_bytes;
	} tables[POLICY_TABLE_COUNT] = {
		[POLICY_WORKSPACES] = {draft->workspaces, sizeof(draft->workspaces[0])},
		[POLICY_VPCS] = {draft->vpcs, sizeof(draft->vpcs[0])},
		[POLICY_CIDRS] = {draft->cidrs, sizeof(draft->cidrs[0])},
		[POLICY_EGRESS_IPS] = {draft->egress_ips, sizeof(draft->egress_ips[0])},
		[POLICY_WORKERS] = {draft->workers, sizeof(draft->workers[0])},
		[POLICY_RULES] = {draft->rules, sizeof(draft->rules[0])},
		[POLICY_VTEP_PREFIXES] = {draft->vteps, sizeof(draft->vteps[0])},
	};
	size_t size_bytes = sizeof(struct policy_snapshot);
	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++)
		size_bytes += ((size_t)draft->counts[id] * tables[id].size_bytes + 7) & ~(size_t)7;
	struct policy_snapshot *block = calloc(1, size_bytes);
	assert_non_null(block);
	*block = draft->header;
	size_t at = sizeof(struct policy_snapshot);
	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++) {
		const size_t length_bytes = (size_t)draft->counts[id] * tables[id].size_bytes;
		block->tables[id] = (struct policy_table){at, draft->counts[id], tables[id].size_bytes};
		memcpy((uint8_t *)block + at, tables[id].records, length_bytes);
		at += (length_bytes + 7) & ~(size_t)7;
	}
	block->size_bytes = size_bytes;
	block->generation = generation;
	*ret_size_bytes = size_bytes;
	return block;
}

void fixture_narrow(struct fixture *fixture)
{
	struct policy_draft *draft = &fixture->draft;
	draft->workspaces[0].egress_count = 1;
	draft->workspaces[1].egress_first = 1;
	draft->egress_ips[1] = draft->egress_ips[2];
	draft->egress_ips[0].port_first = 1024;
	draft->egress_ips[0].port_last = 1535;
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
}

void fixture_share(struct fixture *fixture)
{
	struct policy_draft *draft = &fixture->draft;
	for (unsigned i = 0; i < 2; i++) {
		draft->workspaces[i].flags |= POLICY_WORKSPACE_SHARED_POOL;
		draft->workspaces[i].egress_first = i;
		draft->workspaces[i].egress_count = 1;
		draft->egress_ips[i] = (struct policy_egress_ip){
			.address = SHARED_IP,
			.workspace_index = i,
			.port_first = (uint16_t)(1024 + 1024 * i),
			.port_last = (uint16_t)(2047 + 1024 * i),
		};
	}
	draft->counts[POLICY_EGRESS_IPS] = 2;
	fixture_apply(fixture);
}

void draft_crowd(struct policy_draft *draft, unsigned count)
{
	for (unsigned i = draft->counts[POLICY_WORKSPACES]; i < count; i++) {
		const uint32_t ip = draft->counts[POLICY_EGRESS_IPS]++;
		draft->workspaces[i] = draft->workspaces[1];
		snprintf(draft->workspaces[i].id, ID_SIZE_BYTES, "tenant-%u", i);
		draft->workspaces[i].egress_first = ip;
		draft->egress_ips[ip] = (struct policy_egress_ip){.address = GLOBEX_IP + i, .workspace_index = i};
		draft->vpcs[i] = draft->vpcs[1];
		draft->vpcs[i].workspace_index = draft->vpcs[i].cidr_first = i;
		draft->vpcs[i].vni = VNI_ACME + i;
		draft->cidrs[i] = draft->cidrs[1];
	}
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = draft->counts[POLICY_CIDRS] = count;
}
