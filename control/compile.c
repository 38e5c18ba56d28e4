/* SPDX-License-Identifier: Apache-2.0 */
/* The model, compiled: everything in file order, so that the same file gives the same bytes. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "control/index.h"
#include "control/model.h"
#include "control/shared_pool.h"

enum { VXLAN_UDP_PORT = 4789, TABLE_ALIGNMENT_BYTES = 8 };

/* A VPC by its VNI, and its index in the block. */
struct vni_place {
	uint32_t vni, vpc_index;
	const struct model_vpc *vpc; /* NULL: a free place */
};

/* The registered workers that have a VPC here and are not listed by it already. */
struct selection {
	struct policy_worker *workers;
	size_t count;
};

/* The block under construction, and where the next record of each table goes. */
struct compiler {
	struct policy_snapshot *snapshot;
	const struct shared_pool_table *pool;
	struct policy_workspace *workspaces;
	struct policy_vpc *vpcs;
	struct policy_cidr *cidrs;
	struct policy_egress_ip *egress_ips;
	struct policy_worker *workers;
	struct policy_rule *rules;
	struct policy_vtep_prefix *vtep_prefixes;
	uint32_t next[POLICY_TABLE_COUNT];
};

static const uint32_t record_sizes_bytes[POLICY_TABLE_COUNT] = {
	[POLICY_WORKSPACES] = sizeof(struct policy_workspace),
	[POLICY_VPCS] = sizeof(struct policy_vpc),
	[POLICY_CIDRS] = sizeof(struct policy_cidr),
	[POLICY_EGRESS_IPS] = sizeof(struct policy_egress_ip),
	[POLICY_WORKERS] = sizeof(struct policy_worker),
	[POLICY_RULES] = sizeof(struct policy_rule),
	[POLICY_VTEP_PREFIXES] = sizeof(struct policy_vtep_prefix),
};

static const struct {
	const char *what;
	size_t max;
} table_limits[POLICY_TABLE_COUNT] = {
	[POLICY_WORKSPACES] = {"workspaces", WORKSPACE_COUNT_MAX},
	[POLICY_VPCS] = {"VPCs", VPC_COUNT_MAX},
	[POLICY_CIDRS] = {"CIDRs", CIDR_COUNT_MAX},
	[POLICY_EGRESS_IPS] = {"egress IPs", EGRESS_IP_COUNT_MAX},
	[POLICY_WORKERS] = {"listed workers", WORKER_COUNT_MAX},
	[POLICY_RULES] = {"rules", RULE_COUNT_MAX},
	[POLICY_VTEP_PREFIXES] = {"trusted VTEP prefixes", VTEP_PREFIX_COUNT_MAX},
};

/* Only what its own workspace may use: a range rests in nobody's hands. */
static bool range_is_compiled(const struct model_workspace *workspace, const struct shared_pool_range *range)
{
	return range->state == SHARED_POOL_DRAINING || (range->state == SHARED_POOL_ACTIVE && workspace->egress_shared);
}

static size_t count_ranges(const struct shared_pool_table *pool, const struct model_workspace *workspace)
{
	const struct shared_pool_range *first;
	size_t found = shared_pool_find(pool, workspace->id, &first), count = 0;

	for (size_t i = 0; i < found; i++)
		count += range_is_compiled(workspace, &first[i]);
	return count;
}

static void count_records(
	const struct model *model, const struct shared_pool_table *pool, size_t counts[POLICY_TABLE_COUNT])
{
	memset(counts, 0, POLICY_TABLE_COUNT * sizeof(counts[0]));
	counts[POLICY_WORKSPACES] = model->workspace_count;
	counts[POLICY_VTEP_PREFIXES] = model->gateway.trusted_vtep_count;
	for (size_t i = 0; i < model->workspace_count; i++) {
		const struct model_workspace *workspace = &model->workspaces[i];

		counts[POLICY_VPCS] += workspace->vpc_count;
		counts[POLICY_EGRESS_IPS] +=
			workspace->egress_ip_count + workspace->draining_ip_count + count_ranges(pool, workspace);
		counts[POLICY_RULES] += workspace->rule_count;
		for (size_t j = 0; j < workspace->vpc_count; j++) {
			counts[POLICY_CIDRS] += workspace->vpcs[j].cidr_count + workspace->vpcs[j].preferred_count;
			counts[POLICY_WORKERS] += workspace->vpcs[j].worker_count;
		}
	}
}

/* The zeroed block with its tables laid out one after the other; NULL: no memory. */
static struct policy_snapshot *allocate_snapshot(const size_t counts[POLICY_TABLE_COUNT])
{
	struct policy_table tables[POLICY_TABLE_COUNT];
	size_t size_bytes =
		(sizeof(struct policy_snapshot) + TABLE_ALIGNMENT_BYTES - 1) & ~(TABLE_ALIGNMENT_BYTES - 1u);
	struct policy_snapshot *snapshot;

	for (unsigned i = 0; i < POLICY_TABLE_COUNT; i++) {
		tables[i] = (struct policy_table){.offset_bytes = size_bytes,
			.count = (uint32_t)counts[i],
			.record_size_bytes = record_sizes_bytes[i]};
		size_bytes += counts[i] * record_sizes_bytes[i];
		size_bytes = (size_bytes + TABLE_ALIGNMENT_BYTES - 1) & ~(TABLE_ALIGNMENT_BYTES - 1u);
	}
	snapshot = calloc(1, size_bytes);
	if (!snapshot)
		return NULL;
	snapshot->size_bytes = size_bytes;
	memcpy(snapshot->tables, tables, sizeof(tables));
	return snapshot;
}

static void *table_start(struct policy_snapshot *snapshot, enum policy_table_id table)
{
	return (char *)snapshot + snapshot->tables[table].offset_bytes;
}

static void compile_gateway(struct compiler *compiler, const struct model_gateway *gateway)
{
	struct policy_snapshot *snapshot = compiler->snapshot;

	for (unsigned i = 0; i < PORT_COUNT; i++) {
		memcpy(snapshot->ports[i].interface, gateway->ports[i].interface, sizeof(snapshot->ports[i].interface));
		memcpy(snapshot->ports[i].device, gateway->ports[i].device, sizeof(snapshot->ports[i].device));
		snapshot->ports[i].queue_count = gateway->ports[i].queues;
	}
	snapshot->encapsulation = gateway->encapsulation;
	snapshot->plain_vni = gateway->plain_vni;
	snapshot->vxlan_udp_port = VXLAN_UDP_PORT;
	snapshot->hairpin = (uint16_t)gateway->hairpin;
	for (size_t i = 0; i < gateway->trusted_vtep_count; i++)
		compiler->vtep_prefixes[compiler->next[POLICY_VTEP_PREFIXES]++] = (struct policy_vtep_prefix){
			.address = gateway->trusted_vteps[i].address,
			.prefix_length_bits = gateway->trusted_vteps[i].prefix_length_bits,
		};
}

/* Of the workspace's IPs, plus 1; 0: it has that one no more. */
static uint32_t find_egress(const struct compiler *compiler, uint32_t workspace_index, uint32_t address)
{
	const struct policy_workspace *workspace = &compiler->workspaces[workspace_index];

	for (uint32_t i = workspace->egress_first; i < workspace->egress_first + workspace->egress_count; i++) {
		if (compiler->egress_ips[i].address == address && compiler->egress_ips[i].port_first == 0)
			return i + 1;
	}
	return 0;
}

/* The plain ones first: the dataplane looks at the first one before all others. */
static void compile_cidrs(
	struct compiler *compiler, const struct model_vpc *vpc, struct policy_vpc *record, uint32_t workspace_index)
{
	record->cidr_first = compiler->next[POLICY_CIDRS];
	record->cidr_count = (uint32_t)(vpc->cidr_count + vpc->preferred_count);
	for (size_t i = 0; i < vpc->cidr_count; i++)
		compiler->cidrs[compiler->next[POLICY_CIDRS]++] = (struct policy_cidr){
			.address = vpc->cidrs[i].address,
			.prefix_length_bits = vpc->cidrs[i].prefix_length_bits,
		};
	for (size_t i = 0; i < vpc->preferred_count; i++)
		compiler->cidrs[compiler->next[POLICY_CIDRS]++] = (struct policy_cidr){
			.address = vpc->preferred[i].address,
			.prefix_length_bits = vpc->preferred[i].prefix_length_bits,
			.egress_preferred = find_egress(compiler, workspace_index, vpc->preferred[i].egress_ip),
		};
}

static void compile_vpc(struct compiler *compiler, const struct model_vpc *vpc, uint32_t workspace_index)
{
	uint32_t vpc_index = compiler->next[POLICY_VPCS]++;
	struct policy_vpc *record = &compiler->vpcs[vpc_index];

	memcpy(record->id, vpc->id, sizeof(record->id));
	record->workspace_index = workspace_index;
	record->vni = vpc->vni;
	record->flags = vpc->workers_listed ? POLICY_VPC_WORKERS_LISTED : 0;
	compile_cidrs(compiler, vpc, record, workspace_index);
	for (size_t i = 0; i < vpc->worker_count; i++)
		compiler->workers[compiler->next[POLICY_WORKERS]++] = (struct policy_worker){
			.vpc_index = vpc_index,
			.address = vpc->workers[i].address,
			.vtep = vpc->workers[i].vtep,
		};
}

static void compile_ips(struct compiler *compiler, const uint32_t *ips, size_t count, uint32_t workspace_index,
	enum policy_egress_state state)
{
	for (size_t i = 0; i < count; i++)
		compiler->egress_ips[compiler->next[POLICY_EGRESS_IPS]++] = (struct policy_egress_ip){
			.address = ips[i],
			.workspace_index = workspace_index,
			.state = state,
		};
}

static void compile_ranges(struct compiler *compiler, const struct model_workspace *workspace, uint32_t workspace_index)
{
	const struct shared_pool_range *first;
	size_t found = shared_pool_find(compiler->pool, workspace->id, &first);

	for (size_t i = 0; i < found; i++) {
		uint16_t port_last = (uint16_t)(first[i].port_first + first[i].port_count - 1);

		if (!range_is_compiled(workspace, &first[i]))
			continue;
		compiler->egress_ips[compiler->next[POLICY_EGRESS_IPS]++] = (struct policy_egress_ip){
			.address = first[i].address,
			.workspace_index = workspace_index,
			.state = first[i].state == SHARED_POOL_ACTIVE ? POLICY_EGRESS_ACTIVE : POLICY_EGRESS_DRAINING,
			.port_first = first[i].port_first,
			.port_last = port_last,
		};
	}
}

static void compile_workspace(struct compiler *compiler, const struct model_workspace *workspace)
{
	uint32_t workspace_index = compiler->next[POLICY_WORKSPACES]++;
	struct policy_workspace *record = &compiler->workspaces[workspace_index];

	memcpy(record->id, workspace->id, sizeof(record->id));
	record->number = workspace->number;
	record->flags = workspace->flags | (workspace->egress_shared ? POLICY_WORKSPACE_SHARED_POOL : 0);
	record->egress_first = compiler->next[POLICY_EGRESS_IPS];
	record->rule_first = compiler->next[POLICY_RULES];
	record->rule_count = (uint32_t)workspace->rule_count;
	record->mapping_tcp = workspace->mapping_tcp;
	record->mapping_udp = workspace->mapping_udp;
	record->timers = workspace->timers;
	record->limits = workspace->limits;
	if (record->limits.sessions_guaranteed == 0)
		record->limits.sessions_guaranteed = POLICY_GUARANTEED_SHARE;
	if (record->limits.fragments_guaranteed == 0)
		record->limits.fragments_guaranteed = POLICY_GUARANTEED_SHARE;
	compile_ips(compiler, workspace->egress_ips, workspace->egress_ip_count, workspace_index, POLICY_EGRESS_ACTIVE);
	compile_ips(compiler, workspace->draining_ips, workspace->draining_ip_count, workspace_index,
		POLICY_EGRESS_DRAINING);
	compile_ranges(compiler, workspace, workspace_index);
	record->egress_count = compiler->next[POLICY_EGRESS_IPS] - record->egress_first;
	for (size_t i = 0; i < workspace->rule_count; i++)
		compiler->rules[compiler->next[POLICY_RULES]++] = workspace->rules[i];
	for (size_t i = 0; i < workspace->vpc_count; i++)
		compile_vpc(compiler, &workspace->vpcs[i], workspace_index);
}

/* ---- registered workers ---- */

/* The place of that VNI, or the free one where it goes. `mask` + 1 places, a power of two, at most half of them taken. */
static struct vni_place *place_find(struct vni_place *places, size_t mask, uint32_t vni)
{
	size_t at = vni * 0x9e3779b9u >> 8;

	while (places[at & mask].vpc && places[at & mask].vni != vni)
		at++;
	return &places[at & mask];
}

/* malloc'ed, by hash. VPCs are numbered as compile_workspace() does. */
static struct vni_place *places_of(const struct model *model, size_t *ret_mask)
{
	size_t count = 0, size = 2;
	uint32_t index = 0;
	struct vni_place *places;

	for (size_t i = 0; i < model->workspace_count; i++)
		count += model->workspaces[i].vpc_count;
	while (size < 2 * count)
		size *= 2;
	places = calloc(size, sizeof(*places));
	if (!places)
		return NULL;
	for (size_t i = 0; i < model->workspace_count; i++) {
		for (size_t j = 0; j < model->workspaces[i].vpc_count; j++, index++) {
			const struct model_vpc *vpc = &model->workspaces[i].vpcs[j];

			*place_find(places, size - 1, vpc->vni) =
				(struct vni_place){.vni = vpc->vni, .vpc_index = index, .vpc = vpc};
		}
	}
	*ret_mask = size - 1;
	return places;
}

static bool vpc_contains(const struct model_vpc *vpc, uint32_t address)
{
	for (size_t i = 0; i < vpc->cidr_count; i++) {
		uint8_t length = vpc->cidrs[i].prefix_length_bits;
		uint32_t mask = length == 0 ? 0 : UINT32_MAX << (32 - length);

		if ((address & mask) == vpc->cidrs[i].address)
			return true;
	}
	return false;
}

/* VNI and address of every worker that the file lists. */
static bool listed_index(const struct model *model, struct hash_index *ret_listed)
{
	for (size_t i = 0; i < model->workspace_count; i++) {
		for (size_t j = 0; j < model->workspaces[i].vpc_count; j++) {
			const struct model_vpc *vpc = &model->workspaces[i].vpcs[j];

			for (size_t k = 0; k < vpc->worker_count; k++) {
				const uint32_t key[2] = {vpc->vni, vpc->workers[k].address};

				if (index_add(ret_listed, key, sizeof(key), 0, NULL) == INDEX_NO_MEMORY)
					return false;
			}
		}
	}
	return true;
}

static bool select_registered(
	const struct model *model, const struct policy_registered *registered, struct selection *ret_selection)
{
	struct hash_index listed = {0};
	struct vni_place *places;
	size_t mask = 0;

	if (!registered || registered->count == 0)
		return true;
	places = places_of(model, &mask);
	ret_selection->workers = calloc(registered->count, sizeof(*ret_selection->workers));
	if (!places || !ret_selection->workers || !listed_index(model, &listed)) {
		free(places);
		index_clear(&listed);
		return false;
	}
	for (size_t i = 0; i < registered->count; i++) {
		const struct model_registered_worker *worker = &registered->workers[i];
		const uint32_t listed_key[2] = {worker->vni, worker->address};
		uint64_t ignored;
		const struct vni_place *place = place_find(places, mask, worker->vni);

		if (!place->vpc || !vpc_contains(place->vpc, worker->address) ||
			(listed.used_count != 0 && index_find(&listed, listed_key, sizeof(listed_key), &ignored)))
			continue;
		ret_selection->workers[ret_selection->count++] = (struct policy_worker){
			.incarnation = worker->incarnation,
			.vpc_index = place->vpc_index,
			.address = worker->address,
			.vtep = worker->vtep,
		};
	}
	free(places);
	index_clear(&listed);
	return true;
}

static void compile_selection(struct compiler *compiler, const struct selection *selection)
{
	if (selection->count != 0)
		memcpy(&compiler->workers[compiler->next[POLICY_WORKERS]], selection->workers,
			selection->count * sizeof(*selection->workers));
	compiler->next[POLICY_WORKERS] += (uint32_t)selection->count;
}

/* ---- all ---- */

static enum status check_counts(
	const struct model *model, const size_t counts[POLICY_TABLE_COUNT], struct problems *problems)
{
	for (unsigned i = 0; i < POLICY_TABLE_COUNT; i++) {
		if (counts[i] <= table_limits[i].max)
			continue;
		problems_add(problems, "%s: %zu %s: a gateway can hold at most %zu", model->file, counts[i],
			table_limits[i].what, table_limits[i].max);
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

enum status policy_compile(const struct model *model, const struct shared_pool_table *pool,
	const struct policy_registered *registered, uint64_t generation, void **ret_block, size_t *ret_size_bytes,
	struct problems *problems)
{
	size_t counts[POLICY_TABLE_COUNT];
	struct compiler compiler = {.pool = pool};
	struct selection selection = {0};
	enum status status;

	if (!model->gateway.present) {
		problems_add(problems, "%s: has no gateway section: there is no policy to compile", model->file);
		return STATUS_INVALID;
	}
	count_records(model, pool, counts);
	status = select_registered(model, registered, &selection) ? STATUS_OK : STATUS_NO_MEMORY;
	counts[POLICY_WORKERS] += selection.count;
	if (status == STATUS_OK)
		status = check_counts(model, counts, problems);
	if (status == STATUS_OK) {
		compiler.snapshot = allocate_snapshot(counts);
		status = compiler.snapshot ? STATUS_OK : STATUS_NO_MEMORY;
	}
	if (status != STATUS_OK) {
		free(selection.workers);
		return status;
	}
	compiler.snapshot->magic = POLICY_MAGIC;
	compiler.snapshot->version = POLICY_VERSION;
	compiler.snapshot->generation = generation;
	compiler.workspaces = table_start(compiler.snapshot, POLICY_WORKSPACES);
	compiler.vpcs = table_start(compiler.snapshot, POLICY_VPCS);
	compiler.cidrs = table_start(compiler.snapshot, POLICY_CIDRS);
	compiler.egress_ips = table_start(compiler.snapshot, POLICY_EGRESS_IPS);
	compiler.workers = table_start(compiler.snapshot, POLICY_WORKERS);
	compiler.rules = table_start(compiler.snapshot, POLICY_RULES);
	compiler.vtep_prefixes = table_start(compiler.snapshot, POLICY_VTEP_PREFIXES);
	compile_gateway(&compiler, &model->gateway);
	for (size_t i = 0; i < model->workspace_count; i++)
		compile_workspace(&compiler, &model->workspaces[i]);
	compile_selection(&compiler, &selection);
	free(selection.workers);
	for (unsigned i = 0; i < POLICY_TABLE_COUNT; i++)
		assert(compiler.next[i] == counts[i]);
	*ret_block = compiler.snapshot;
	*ret_size_bytes = compiler.snapshot->size_bytes;
	return STATUS_OK;
}
