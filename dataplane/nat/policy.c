/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/policy.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/nat/identity.h"
#include "dataplane/nat/nat.h"
#include "dataplane/nat/pairing.h"
#include "dataplane/nat/snapshot.h"

/* Hands out pieces of the block; policy_tables_size() walks the same requests
 * with base NULL. */
struct arena {
	uint8_t *base; /* NULL: only measure */
	size_t used_bytes;
};

static void *arena_take(struct arena *arena, size_t count, size_t size_bytes)
{
	arena->used_bytes = (arena->used_bytes + 63) & ~(size_t)63;
	void *piece = arena->base != NULL ? arena->base + arena->used_bytes : NULL;
	arena->used_bytes += count * size_bytes;
	return piece;
}

/* A power of two, at most half full, so that probing ends. */
static uint32_t hash_slot_count(uint32_t record_count)
{
	uint32_t count = 16;
	while (count < 2 * (record_count + 1))
		count *= 2;
	return count;
}

struct build {
	struct arena arena;
	const struct policy_snapshot *snapshot;
	struct policy_tables *tables;
	struct identity_slots slots;
	void *scratch, *pairing_scratch;
};

/* Blocks of shared addresses. */
static uint32_t block_count(const struct policy_snapshot *snapshot)
{
	const struct policy_egress_ip *ips = snapshot_table(snapshot, POLICY_EGRESS_IPS);
	uint32_t count = 0;
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_EGRESS_IPS); i++)
		if (ips[i].port_first != 0)
			count += (ips[i].port_last - ips[i].port_first + 1u) / POLICY_PORT_BLOCK;
	return count;
}

static void build_layout(struct build *build)
{
	const struct policy_snapshot *snapshot = build->snapshot;
	struct arena *arena = &build->arena;
	const uint32_t workspaces = snapshot_count(snapshot, POLICY_WORKSPACES);
	const uint32_t vpcs = snapshot_count(snapshot, POLICY_VPCS);
	const uint32_t egress_ips = snapshot_count(snapshot, POLICY_EGRESS_IPS);
	const uint32_t workers = snapshot_count(snapshot, POLICY_WORKERS);
	struct policy_tables measured;
	struct policy_tables *tables = arena_take(arena, 1, sizeof(*tables));
	build->tables = tables;
	if (tables == NULL)
		tables = &measured;
	/* Slots are stable over policies, so these span every slot there may be. */
	tables->workspaces = arena_take(arena, WORKSPACE_COUNT_MAX, sizeof(*tables->workspaces));
	tables->egress_slots = arena_take(arena, EGRESS_IP_COUNT_MAX, sizeof(*tables->egress_slots));
	tables->workers = arena_take(arena, WORKER_COUNT_MAX, sizeof(*tables->workers));
	tables->vpcs = arena_take(arena, hash_slot_count(vpcs), sizeof(*tables->vpcs));
	tables->egress_ips = arena_take(arena, hash_slot_count(egress_ips), sizeof(*tables->egress_ips));
	tables->worker_places = arena_take(arena, hash_slot_count(workers), sizeof(*tables->worker_places));
	tables->blocks = arena_take(arena, hash_slot_count(block_count(snapshot)), sizeof(*tables->blocks));
	tables->egress_lists = arena_take(arena, egress_ips, sizeof(*tables->egress_lists));
	tables->cidrs = arena_take(arena, snapshot_count(snapshot, POLICY_CIDRS), sizeof(*tables->cidrs));
	tables->rules = arena_take(arena, snapshot_count(snapshot, POLICY_RULES), sizeof(*tables->rules));
	build->slots.workspaces = arena_take(arena, workspaces, sizeof(uint32_t));
	build->slots.vpcs = arena_take(arena, vpcs, sizeof(uint32_t));
	build->slots.egress_ips = arena_take(arena, egress_ips, sizeof(uint32_t));
	build->slots.workers = arena_take(arena, workers, sizeof(uint32_t));
	build->scratch = arena_take(arena, identities_scratch_size(snapshot), 1);
	build->pairing_scratch = arena_take(arena, pairing_scratch_size(egress_ips), 1);
	tables->vpc_mask = hash_slot_count(vpcs) - 1;
	tables->egress_mask = hash_slot_count(egress_ips) - 1;
	tables->block_mask = hash_slot_count(block_count(snapshot)) - 1;
	tables->worker_mask = hash_slot_count(workers) - 1;
}

size_t policy_tables_size(const struct policy_snapshot *snapshot)
{
	struct build build = {.snapshot = snapshot};
	build_layout(&build);
	return build.arena.used_bytes;
}

static uint32_t mask_of(uint32_t prefix_length_bits)
{
	return prefix_length_bits == 0 ? 0 : UINT32_MAX << (32 - prefix_length_bits);
}

/* Pass 1, before any identity moves: places in the hashes, by snapshot index;
 * duplicates are found here. */

static bool places_for_vpcs(struct build *build, char *ret_text)
{
	const struct policy_vpc *vpcs = snapshot_table(build->snapshot, POLICY_VPCS);
	struct policy_tables *tables = build->tables;
	for (uint32_t i = 0; i < snapshot_count(build->snapshot, POLICY_VPCS); i++) {
		if (policy_vpc(tables, vpcs[i].vni) != NULL) {
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "VNI %u is used twice", vpcs[i].vni);
			return false;
		}
		uint32_t at = hash_quick(vpcs[i].vni);
		while (tables->vpcs[at & tables->vpc_mask].vni != 0)
			at++;
		tables->vpcs[at & tables->vpc_mask] = (struct table_vpc){.vni = vpcs[i].vni, .snapshot_index = i};
	}
	return true;
}

static bool egress_twice(char *ret_text, uint32_t address)
{
	snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "egress IP %u.%u.%u.%u is used twice", address >> 24,
		address >> 16 & 255, address >> 8 & 255, address & 255);
	return false;
}

/* The ports of a shared address, block by block: no two records may have the same one. */
static bool places_for_blocks(struct policy_tables *tables, const struct policy_egress_ip *ip, uint32_t egress_index)
{
	for (uint32_t block = ip->port_first / POLICY_PORT_BLOCK; block <= ip->port_last / POLICY_PORT_BLOCK; block++) {
		uint32_t at = hash_quick((uint64_t)block << 32 | ip->address);
		for (; tables->blocks[at & tables->block_mask].address != 0; at++) {
			const struct table_block *place = &tables->blocks[at & tables->block_mask];
			if (place->address == ip->address && place->block == block)
				return false;
		}
		tables->blocks[at & tables->block_mask] = (struct table_block){ip->address, block, egress_index};
	}
	return true;
}

static bool places_for_egress_ips(struct build *build, char *ret_text)
{
	const struct policy_egress_ip *ips = snapshot_table(build->snapshot, POLICY_EGRESS_IPS);
	struct policy_tables *tables = build->tables;
	for (uint32_t i = 0; i < snapshot_count(build->snapshot, POLICY_EGRESS_IPS); i++) {
		const bool shared = ips[i].port_first != 0;
		const struct table_egress *before = policy_egress(tables, ips[i].address);
		if (before != NULL && (!shared || before->slot != TABLE_SHARED))
			return egress_twice(ret_text, ips[i].address);
		if (shared && !places_for_blocks(tables, &ips[i], i))
			return egress_twice(ret_text, ips[i].address);
		if (before != NULL)
			continue;
		uint32_t at = hash_quick(ips[i].address);
		while (tables->egress_ips[at & tables->egress_mask].address != 0)
			at++;
		/* Until fill_egress_ips(): `state` is the index in the snapshot. */
		tables->egress_ips[at & tables->egress_mask] = (struct table_egress){
			.address = ips[i].address,
			.slot = shared ? TABLE_SHARED : 0,
			.workspace_slot = shared ? TABLE_SHARED : 0,
			.state = i,
		};
	}
	return true;
}

static bool places_for_workers(struct build *build, char *ret_text)
{
	const struct policy_worker *workers = snapshot_table(build->snapshot, POLICY_WORKERS);
	const struct policy_vpc *vpcs = snapshot_table(build->snapshot, POLICY_VPCS);
	struct policy_tables *tables = build->tables;
	uint32_t vni_before = 0;
	for (uint32_t i = 0; i < snapshot_count(build->snapshot, POLICY_WORKERS); i++) {
		const uint32_t vni = vpcs[workers[i].vpc_index].vni;
		if (vni != vni_before)
			tables->vpcs[policy_vpc(tables, vni) - tables->vpcs].flags = TABLE_VPC_ANY_LISTED;
		vni_before = vni;
		if (policy_worker_slot(tables, vni, workers[i].address) != SESSION_NO_WORKER) {
			snprintf(ret_text, NAT_TEXT_SIZE_BYTES, "worker %u of VNI %u is listed twice", i, vni);
			return false;
		}
		uint32_t at = hash_quick((uint64_t)vni << 32 | workers[i].address);
		while (tables->worker_places[at & tables->worker_mask].vni != 0)
			at++;
		tables->worker_places[at & tables->worker_mask] =
			(struct table_worker_place){.vni = vni, .address = workers[i].address, .slot = i};
	}
	return true;
}

/* Pass 2, after identities_assign(): slots and contents. */

static uint32_t ticks_of(uint32_t seconds)
{
	const uint64_t ticks = ((uint64_t)seconds * 1000000000u) >> SESSION_TICK_SHIFT;
	return ticks < UINT32_MAX / 4 ? (uint32_t)ticks + 1 : UINT32_MAX / 4;
}

static uint32_t limit_of(uint32_t limit)
{
	return limit != 0 ? limit : UINT32_MAX;
}

static uint64_t cost_ns(uint32_t per_second)
{
	return per_second != 0 ? 1000000000u / per_second : 0;
}

static void fill_workspace(struct table_workspace *to, const struct policy_workspace *from, uint32_t born)
{
	const struct policy_timers *timers = &from->timers;
	const struct policy_limits *limits = &from->limits;
	*to = (struct table_workspace){
		.born = born,
		.flags = from->flags,
		.mapping_tcp = from->mapping_tcp,
		.mapping_udp = from->mapping_udp,
		.egress_first = from->egress_first,
		.egress_count = from->egress_count,
		.rule_first = from->rule_first,
		.rule_count = from->rule_count,
		.timeout_dns_ticks = ticks_of(timers->udp_dns_s),
		.timeout_transitory_ticks = ticks_of(timers->tcp_transitory_s),
		.sessions_max = limit_of(limits->sessions),
		.half_open_max = limit_of(limits->half_open),
		.sessions_per_remote_max = limit_of(limits->sessions_per_remote),
		.worker_sessions_max = limit_of(limits->worker_sessions),
		.worker_half_open_max = limit_of(limits->worker_half_open),
		.worker_sessions_per_remote_max = limit_of(limits->worker_sessions_per_remote),
		.guaranteed = limits->sessions_guaranteed,
		.fragments_guaranteed = limits->fragments_guaranteed,
		.fragments_held_max = limit_of(limits->fragments_held),
		.worker_fragments_held_max = limit_of(limits->worker_fragments_held),
		.tallied = (limits->sessions_per_remote | limits->worker_sessions | limits->worker_half_open |
				   limits->worker_new_sessions_per_second | limits->worker_sessions_per_remote) != 0,
		.rates =
			{
				.new_session_ns = limits->new_sessions_per_second != 0
							  ? 1000000000u / limits->new_sessions_per_second
							  : 0,
				.worker_new_session_ns = cost_ns(limits->worker_new_sessions_per_second),
				.packet_ns =
					limits->packets_per_second != 0 ? 1000000000u / limits->packets_per_second : 0,
				.byte_ns_1024 =
					limits->bytes_per_second != 0 ? 1024000000000u / limits->bytes_per_second : 0,
			},
	};
	uint32_t *ticks = to->timeout_ticks;
	ticks[SESSION_UDP] = ticks[SESSION_UDP_ANSWERED] = ticks[SESSION_OTHER] = ticks_of(timers->udp_s);
	ticks[SESSION_ICMP] = ticks_of(timers->icmp_s);
	ticks[SESSION_TCP_SYN_OUT] = ticks_of(timers->tcp_syn_s);
	ticks[SESSION_TCP_SYN_BOTH] = ticks_of(timers->tcp_transitory_s);
	/* Half-closed is still open one way: data may flow for as long as it likes
	 * (RFC 5382 REQ-2). */
	ticks[SESSION_TCP_ESTABLISHED] = ticks[SESSION_TCP_FIN_OUT] = ticks[SESSION_TCP_FIN_IN] =
		ticks_of(timers->tcp_established_s);
	ticks[SESSION_TCP_FIN_BOTH] = ticks_of(timers->tcp_transitory_s);
	ticks[SESSION_TCP_RESET] = 0;
}

static void fill_vpcs(struct build *build, const struct identities *identities)
{
	const struct policy_vpc *vpcs = snapshot_table(build->snapshot, POLICY_VPCS);
	struct policy_tables *tables = build->tables;
	for (uint32_t at = 0; at <= tables->vpc_mask; at++) {
		struct table_vpc *to = &tables->vpcs[at];
		if (to->vni == 0)
			continue;
		const uint32_t i = to->snapshot_index;
		const struct policy_vpc *from = &vpcs[i];
		to->born = identities->vpcs[build->slots.vpcs[i]].born;
		to->workspace_slot = (uint16_t)build->slots.workspaces[from->workspace_index];
		to->flags |= (uint16_t)(from->flags & ~(TABLE_VPC_PREFERS | TABLE_VPC_ANY_LISTED));
		for (uint32_t cidr = 0; cidr < from->cidr_count; cidr++)
			if (tables->cidrs[from->cidr_first + cidr].egress_preferred != 0)
				to->flags |= TABLE_VPC_PREFERS;
		to->cidr_address = tables->cidrs[from->cidr_first].address;
		to->cidr_mask = tables->cidrs[from->cidr_first].mask;
		to->cidr_first = from->cidr_first + 1;
		to->cidr_count = from->cidr_count - 1;
	}
}

static void fill_egress_ips(struct build *build)
{
	const struct policy_egress_ip *ips = snapshot_table(build->snapshot, POLICY_EGRESS_IPS);
	struct policy_tables *tables = build->tables;
	for (uint32_t i = 0; i < snapshot_count(build->snapshot, POLICY_EGRESS_IPS); i++)
		tables->egress_lists[i] = (struct table_egress){
			.address = ips[i].address,
			.slot = (uint16_t)build->slots.egress_ips[i],
			.workspace_slot = (uint16_t)build->slots.workspaces[ips[i].workspace_index],
			.port_first = ips[i].port_first,
			.port_last = ips[i].port_last,
			.state = ips[i].state,
		};
	for (uint32_t at = 0; at <= tables->egress_mask; at++) {
		struct table_egress *place = &tables->egress_ips[at];
		if (place->address != 0 && place->workspace_slot != TABLE_SHARED)
			*place = tables->egress_lists[place->state];
	}
}

static void guarantees_add(struct table_guarantees *guarantees, uint32_t guaranteed)
{
	if (guaranteed == POLICY_GUARANTEED_SHARE)
		guarantees->share_count++;
	else
		guarantees->sum += guaranteed;
}

static void fill_the_rest(struct build *build, const struct identities *identities)
{
	const struct policy_snapshot *snapshot = build->snapshot;
	struct policy_tables *tables = build->tables;
	const struct policy_worker *workers = snapshot_table(snapshot, POLICY_WORKERS);
	for (uint32_t at = 0; at <= tables->worker_mask; at++) {
		struct table_worker_place *place = &tables->worker_places[at];
		if (place->vni == 0)
			continue;
		const uint32_t i = place->slot;
		place->slot = build->slots.workers[i];
		tables->workers[place->slot].vtep = workers[i].vtep;
	}
	const struct policy_workspace *workspaces = snapshot_table(snapshot, POLICY_WORKSPACES);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_WORKSPACES); i++) {
		const uint32_t slot = build->slots.workspaces[i];
		fill_workspace(&tables->workspaces[slot], &workspaces[i], identities->workspaces[slot].born);
		const struct policy_limits *limits = &workspaces[i].limits;
		guarantees_add(&tables->session_guarantees, limits->sessions_guaranteed);
		guarantees_add(&tables->fragment_guarantees, limits->fragments_guaranteed);
		tables->any_guaranteed |= (limits->sessions_guaranteed | limits->fragments_guaranteed) != 0;
		tables->tallied_count += tables->workspaces[slot].tallied || limits->worker_fragments_held != 0;
	}
	const struct policy_rule *rules = snapshot_table(snapshot, POLICY_RULES);
	memcpy(tables->rules, rules, snapshot_count(snapshot, POLICY_RULES) * sizeof(*rules));
	const struct policy_vtep_prefix *vteps = snapshot_table(snapshot, POLICY_VTEP_PREFIXES);
	tables->vtep_count = snapshot_count(snapshot, POLICY_VTEP_PREFIXES);
	for (uint32_t i = 0; i < tables->vtep_count; i++)
		tables->vteps[i] = (struct table_cidr){vteps[i].address, mask_of(vteps[i].prefix_length_bits)};
}

static void fill_born(struct policy_tables *tables, const struct identities *identities)
{
	for (uint32_t slot = 0; slot < EGRESS_IP_COUNT_MAX; slot++)
		tables->egress_slots[slot] = (struct table_egress_slot){
			identities->egress_ips[slot].born,
			identities->egress_ips[slot].number,
			identities->egress_ips[slot].owner_slot,
		};
	for (uint32_t slot = 0; slot < WORKER_COUNT_MAX; slot++)
		tables->workers[slot].born = identities->workers[slot].born;
}

struct policy_tables *policy_tables_build(void *memory, struct identities *identities,
	const struct policy_snapshot *snapshot, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	CHECK((uintptr_t)memory % 64 == 0);
	struct build build = {.arena = {.base = memory}, .snapshot = snapshot};
	build_layout(&build);
	struct policy_tables *tables = build.tables;
	if (!places_for_vpcs(&build, ret_text) || !places_for_egress_ips(&build, ret_text) ||
		!places_for_workers(&build, ret_text))
		return NULL;

	identities_assign(identities, snapshot, build.scratch, &build.slots);
	const struct policy_cidr *cidrs = snapshot_table(snapshot, POLICY_CIDRS);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_CIDRS); i++)
		tables->cidrs[i] = (struct table_vpc_cidr){
			cidrs[i].address, mask_of(cidrs[i].prefix_length_bits), cidrs[i].egress_preferred};
	fill_vpcs(&build, identities);
	fill_egress_ips(&build);
	fill_born(tables, identities);
	fill_the_rest(&build, identities);
	pairing_assign(identities, tables, snapshot, &build.slots, build.pairing_scratch);
	tables->sequence = identities->sequence;
	tables->encapsulation = snapshot->encapsulation;
	tables->plain_vni = snapshot->plain_vni;
	tables->vtep_address = snapshot->vtep_address;
	tables->vxlan_udp_port = snapshot->vxlan_udp_port;
	tables->hairpin = snapshot->hairpin;
	tables->generation = snapshot->generation;
	return tables;
}

uint32_t policy_egress_preferred(const struct policy_tables *policy, const struct table_vpc *vpc, uint32_t address)
{
	const struct table_vpc_cidr *first = &policy->cidrs[vpc->cidr_first - 1], *best = NULL;
	for (const struct table_vpc_cidr *cidr = first; cidr <= first + vpc->cidr_count; cidr++)
		if (cidr->egress_preferred != 0 && (address & cidr->mask) == cidr->address &&
			(best == NULL || cidr->mask > best->mask))
			best = cidr;
	return best != NULL ? best->egress_preferred - 1 : UINT32_MAX;
}

bool policy_destination_special(uint32_t address)
{
	/* RFC 6890 and its registry; documentation prefixes are left to the rules,
	 * they carry nobody's services. */
	static const struct table_cidr special[] = {
		{0x00000000, 0xff000000}, /* 0.0.0.0/8 "this network" */
		{0x0a000000, 0xff000000}, /* 10.0.0.0/8 private (RFC 1918) */
		{0x64400000, 0xffc00000}, /* 100.64.0.0/10 shared (RFC 6598) */
		{0x7f000000, 0xff000000}, /* 127.0.0.0/8 loopback */
		{0xa9fe0000, 0xffff0000}, /* 169.254.0.0/16 link-local, metadata services */
		{0xac100000, 0xfff00000}, /* 172.16.0.0/12 private */
		{0xc0000000, 0xffffff00}, /* 192.0.0.0/24 protocol assignments */
		{0xc0a80000, 0xffff0000}, /* 192.168.0.0/16 private */
		{0xc6120000, 0xfffe0000}, /* 198.18.0.0/15 benchmarking */
	};
	if (address >= 0xe0000000) /* multicast, reserved, broadcast */
		return true;
	for (unsigned i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if ((address & special[i].mask) == special[i].address)
			return true;
	return false;
}

bool policy_allows(const struct policy_tables *policy, const struct table_workspace *workspace, uint32_t destination,
	uint8_t protocol, uint16_t port)
{
	for (uint32_t i = 0; i < workspace->rule_count; i++) {
		const struct policy_rule *rule = &policy->rules[workspace->rule_first + i];
		if ((destination & mask_of(rule->prefix_length_bits)) != rule->address)
			continue;
		if (rule->protocol != 0 && rule->protocol != protocol)
			continue;
		if (port < rule->port_first || port > rule->port_last)
			continue;
		return rule->action == POLICY_RULE_ALLOW;
	}
	return (workspace->flags & POLICY_WORKSPACE_DEFAULT_DENY) == 0;
}
