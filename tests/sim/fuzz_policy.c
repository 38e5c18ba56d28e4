/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a policy snapshot: what the check accepts must build, and answer every question without a fault. Byte 0,
 * bit 0: the header's constants are put right, so that what is behind them is reached; bit 1: the policy is applied
 * twice.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/identity.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/policy.h"

static const uint32_t record_sizes[POLICY_TABLE_COUNT] = {
	[POLICY_WORKSPACES] = sizeof(struct policy_workspace),
	[POLICY_VPCS] = sizeof(struct policy_vpc),
	[POLICY_CIDRS] = sizeof(struct policy_cidr),
	[POLICY_EGRESS_IPS] = sizeof(struct policy_egress_ip),
	[POLICY_WORKERS] = sizeof(struct policy_worker),
	[POLICY_RULES] = sizeof(struct policy_rule),
	[POLICY_VTEP_PREFIXES] = sizeof(struct policy_vtep_prefix),
};

static void ask(const struct policy_tables *tables, const struct policy_snapshot *snapshot)
{
	const struct policy_vpc *vpcs =
		(const void *)((const uint8_t *)snapshot + snapshot->tables[POLICY_VPCS].offset_bytes);
	for (uint32_t i = 0; i < snapshot->tables[POLICY_VPCS].count; i++) {
		const struct table_vpc *vpc = policy_vpc(tables, vpcs[i].vni);
		if (vpc == NULL)
			abort();
		const struct table_workspace *workspace = &tables->workspaces[vpc->workspace_slot];
		policy_vpc_contains(tables, vpc, 0x0a000001);
		policy_worker_slot(tables, vpcs[i].vni, 0x0a000001);
		for (uint32_t e = 0; e < workspace->egress_count; e++)
			if (tables->egress_lists[workspace->egress_first + e].workspace_slot != vpc->workspace_slot)
				abort(); /* another workspace's egress IP: P1 */
		policy_allows(tables, workspace, 0x08080808, 6, 443);
	}
	policy_vtep_trusted(tables, 0x0a640002);
	policy_egress(tables, 0xcb00710a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct identities *identities;
	char text[NAT_TEXT_SIZE_BYTES];
	if (size < 1 + sizeof(struct policy_snapshot))
		return 0;
	if (identities == NULL)
		identities = calloc(1, identities_size());
	const size_t size_bytes = size - 1;
	struct policy_snapshot *snapshot = aligned_alloc(8, (size_bytes + 7) & ~(size_t)7);
	if (snapshot == NULL || identities == NULL)
		abort();
	memcpy(snapshot, data + 1, size_bytes);
	if (data[0] & 1) {
		snapshot->magic = POLICY_MAGIC;
		snapshot->version = POLICY_VERSION;
		snapshot->size_bytes = size_bytes;
		snapshot->generation |= 1;
		for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++)
			snapshot->tables[id].record_size_bytes = record_sizes[id];
	}
	identities->sequence = 0; /* as if it were new */
	for (unsigned times = data[0] & 2 ? 2 : 1; times > 0; times--) {
		if (!policy_snapshot_check(snapshot, size_bytes, text)) {
			if (memchr(text, '\0', sizeof(text)) == NULL)
				abort();
			break;
		}
		const size_t tables_bytes = (policy_tables_size(snapshot) + 63) & ~(size_t)63;
		void *memory = aligned_alloc(64, tables_bytes);
		if (memory == NULL)
			abort();
		memset(memory, 0, tables_bytes);
		const struct policy_tables *tables = policy_tables_build(memory, identities, snapshot, text);
		if (tables != NULL)
			ask(tables, snapshot);
		free(memory);
	}
	free(snapshot);
	return 0;
}
