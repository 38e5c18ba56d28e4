/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a block from the socket a whole, consistent snapshot? The sender is
 * trusted with the policy, not with our memory: every offset, count, index and
 * range is checked here, once, so that nothing behind needs to.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/nat/nat.h"
#include "dataplane/nat/snapshot.h"

static bool say(char *ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Always false, so that a check reads `return say(…)`. */
static bool say(char *ret_text, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(ret_text, NAT_TEXT_SIZE_BYTES, format, arguments);
	va_end(arguments);
	return false;
}

static bool table_check(const struct policy_table *table, const char *name, uint64_t size_bytes,
	uint32_t record_size_bytes, uint32_t count_max, char *ret_text)
{
	if (table->record_size_bytes != record_size_bytes)
		return say(ret_text, "table %s: record size %u, must be %u", name, table->record_size_bytes,
			record_size_bytes);
	if (table->count > count_max)
		return say(ret_text, "table %s: %u records, at most %u", name, table->count, count_max);
	if (table->offset_bytes % 8 != 0)
		return say(ret_text, "table %s: not aligned", name);
	const uint64_t length_bytes = (uint64_t)table->count * record_size_bytes;
	if (table->offset_bytes > size_bytes || length_bytes > size_bytes - table->offset_bytes)
		return say(ret_text, "table %s: reaches beyond the block", name);
	return true;
}

static bool range_check(uint32_t first, uint32_t count, uint32_t total)
{
	return first <= total && count <= total - first;
}

static bool string_check(const char *string, size_t size_bytes)
{
	return memchr(string, '\0', size_bytes) != NULL;
}

static bool id_check(const char *id)
{
	return id[0] != '\0' && string_check(id, ID_SIZE_BYTES);
}

static bool prefix_check(uint32_t address, uint32_t length_bits)
{
	return length_bits <= 32 && (length_bits == 32 || (address & (UINT32_MAX >> length_bits)) == 0);
}

static bool header_check(const struct policy_snapshot *snapshot, size_t size_bytes, char *ret_text)
{
	if (size_bytes < sizeof(*snapshot))
		return say(ret_text, "policy: %zu bytes are no snapshot", size_bytes);
	if (snapshot->magic != POLICY_MAGIC || snapshot->version != POLICY_VERSION)
		return say(ret_text, "policy: magic or version %u is not ours (%u)", snapshot->version, POLICY_VERSION);
	if (snapshot->size_bytes != size_bytes)
		return say(ret_text, "policy: says %llu bytes, has %zu", (unsigned long long)snapshot->size_bytes,
			size_bytes);
	if (snapshot->generation == 0)
		return say(ret_text, "policy: generation 0");
	if (snapshot->encapsulation > POLICY_ENCAPSULATION_NONE || snapshot->hairpin > POLICY_HAIRPIN_ALLOW)
		return say(ret_text, "policy: unknown encapsulation or hairpin mode");
	if (snapshot->vxlan_udp_port == 0)
		return say(ret_text, "policy: VXLAN port 0");
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		const struct policy_port *of = &snapshot->ports[port];
		if (!string_check(of->interface, sizeof(of->interface)) ||
			!string_check(of->device, sizeof(of->device)) || of->queue_count > SHARD_COUNT_MAX)
			return say(ret_text, "policy: port %u is malformed", port);
	}
	return true;
}

static bool tables_check(const struct policy_snapshot *snapshot, size_t size_bytes, char *ret_text)
{
	static const struct {
		const char *name;
		uint32_t record_size_bytes, count_max;
	} shapes[POLICY_TABLE_COUNT] = {
		[POLICY_WORKSPACES] = {"workspaces", sizeof(struct policy_workspace), WORKSPACE_COUNT_MAX},
		[POLICY_VPCS] = {"vpcs", sizeof(struct policy_vpc), VPC_COUNT_MAX},
		[POLICY_CIDRS] = {"cidrs", sizeof(struct policy_cidr), CIDR_COUNT_MAX},
		[POLICY_EGRESS_IPS] = {"egress_ips", sizeof(struct policy_egress_ip), EGRESS_IP_COUNT_MAX},
		[POLICY_WORKERS] = {"workers", sizeof(struct policy_worker), WORKER_COUNT_MAX},
		[POLICY_RULES] = {"rules", sizeof(struct policy_rule), RULE_COUNT_MAX},
		[POLICY_VTEP_PREFIXES] = {"vtep_prefixes", sizeof(struct policy_vtep_prefix), VTEP_PREFIX_COUNT_MAX},
	};
	for (unsigned id = 0; id < POLICY_TABLE_COUNT; id++)
		if (!table_check(&snapshot->tables[id], shapes[id].name, size_bytes, shapes[id].record_size_bytes,
			    shapes[id].count_max, ret_text))
			return false;
	return true;
}

static bool workspaces_check(const struct policy_snapshot *snapshot, char *ret_text)
{
	const struct policy_workspace *workspaces = snapshot_table(snapshot, POLICY_WORKSPACES);
	const struct policy_egress_ip *ips = snapshot_table(snapshot, POLICY_EGRESS_IPS);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_WORKSPACES); i++) {
		const struct policy_workspace *of = &workspaces[i];
		if (!id_check(of->id))
			return say(ret_text, "workspace %u: malformed id", i);
		if (!range_check(of->egress_first, of->egress_count, snapshot_count(snapshot, POLICY_EGRESS_IPS)) ||
			!range_check(of->rule_first, of->rule_count, snapshot_count(snapshot, POLICY_RULES)))
			return say(ret_text, "workspace %s: range outside of its table", of->id);
		if (of->mapping_tcp > POLICY_MAPPING_ENDPOINT_INDEPENDENT ||
			of->mapping_udp > POLICY_MAPPING_ENDPOINT_INDEPENDENT)
			return say(ret_text, "workspace %s: unknown mapping", of->id);
		const struct policy_timers *timers = &of->timers;
		if (timers->tcp_established_s == 0 || timers->tcp_transitory_s == 0 || timers->tcp_syn_s == 0 ||
			timers->udp_s == 0 || timers->udp_dns_s == 0 || timers->icmp_s == 0)
			return say(ret_text, "workspace %s: a timer is 0", of->id);
		for (uint32_t e = 0; e < of->egress_count; e++)
			if (ips[of->egress_first + e].workspace_index != i)
				return say(ret_text, "workspace %s: an egress IP in its range is another's", of->id);
	}
	return true;
}

static bool vpcs_check(const struct policy_snapshot *snapshot, char *ret_text)
{
	const struct policy_vpc *vpcs = snapshot_table(snapshot, POLICY_VPCS);
	const struct policy_cidr *cidrs = snapshot_table(snapshot, POLICY_CIDRS);
	const struct policy_workspace *workspaces = snapshot_table(snapshot, POLICY_WORKSPACES);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_VPCS); i++) {
		const struct policy_vpc *of = &vpcs[i];
		if (!id_check(of->id))
			return say(ret_text, "VPC %u: malformed id", i);
		if (of->workspace_index >= snapshot_count(snapshot, POLICY_WORKSPACES))
			return say(ret_text, "VPC %s: no such workspace", of->id);
		if (of->vni == 0 || of->vni > 0xffffff)
			return say(ret_text, "VPC %s: VNI %u, must be 1..16777215", of->id, of->vni);
		if (of->cidr_count == 0 ||
			!range_check(of->cidr_first, of->cidr_count, snapshot_count(snapshot, POLICY_CIDRS)))
			return say(ret_text, "VPC %s: its CIDRs are outside of their table", of->id);
		const struct policy_workspace *owner = &workspaces[of->workspace_index];
		for (uint32_t cidr = of->cidr_first; cidr < of->cidr_first + of->cidr_count; cidr++)
			if (cidrs[cidr].egress_preferred != 0 &&
				cidrs[cidr].egress_preferred - 1 - owner->egress_first >= owner->egress_count)
				return say(ret_text, "VPC %s: it prefers an egress IP that is not its workspace's",
					of->id);
	}
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_CIDRS); i++)
		if (!prefix_check(cidrs[i].address, cidrs[i].prefix_length_bits))
			return say(ret_text, "CIDR %u: malformed", i);
	return true;
}

/* All ports, or whole blocks from 1024 up. */
static bool ports_check(const struct policy_egress_ip *ip)
{
	if (ip->port_first == 0)
		return ip->port_last == 0;
	return ip->port_first >= 1024 && ip->port_first % POLICY_PORT_BLOCK == 0 && ip->port_last > ip->port_first &&
	       (ip->port_last + 1u) % POLICY_PORT_BLOCK == 0;
}

static bool rest_check(const struct policy_snapshot *snapshot, char *ret_text)
{
	const struct policy_egress_ip *ips = snapshot_table(snapshot, POLICY_EGRESS_IPS);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_EGRESS_IPS); i++)
		if (ips[i].workspace_index >= snapshot_count(snapshot, POLICY_WORKSPACES) || ips[i].address == 0 ||
			ips[i].state > POLICY_EGRESS_DRAINING || !ports_check(&ips[i]))
			return say(ret_text, "egress IP %u: malformed", i);
	const struct policy_worker *workers = snapshot_table(snapshot, POLICY_WORKERS);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_WORKERS); i++)
		if (workers[i].vpc_index >= snapshot_count(snapshot, POLICY_VPCS))
			return say(ret_text, "worker %u: no such VPC", i);
	const struct policy_rule *rules = snapshot_table(snapshot, POLICY_RULES);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_RULES); i++)
		if (!prefix_check(rules[i].address, rules[i].prefix_length_bits) ||
			rules[i].action > POLICY_RULE_ALLOW || rules[i].port_first > rules[i].port_last)
			return say(ret_text, "rule %u: malformed", i);
	const struct policy_vtep_prefix *vteps = snapshot_table(snapshot, POLICY_VTEP_PREFIXES);
	for (uint32_t i = 0; i < snapshot_count(snapshot, POLICY_VTEP_PREFIXES); i++)
		if (!prefix_check(vteps[i].address, vteps[i].prefix_length_bits))
			return say(ret_text, "VTEP prefix %u: malformed", i);
	return true;
}

bool policy_snapshot_check(const void *block, size_t size_bytes, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const struct policy_snapshot *snapshot = block;
	return header_check(snapshot, size_bytes, ret_text) && tables_check(snapshot, size_bytes, ret_text) &&
	       workspaces_check(snapshot, ret_text) && vpcs_check(snapshot, ret_text) && rest_check(snapshot, ret_text);
}

static bool next_hop_index_check(const struct adjacency_snapshot *snapshot, uint32_t index)
{
	if (index == ADJACENCY_UNREACHABLE)
		return true;
	return index & ADJACENCY_GROUP ? (index & ~ADJACENCY_GROUP) < snapshot->groups.count
				       : index < snapshot->next_hops.count;
}

bool adjacency_snapshot_check(const void *block, size_t size_bytes, char ret_text[NAT_TEXT_SIZE_BYTES])
{
	const struct adjacency_snapshot *snapshot = block;
	if (size_bytes < sizeof(*snapshot) || snapshot->magic != ADJACENCY_MAGIC ||
		snapshot->version != ADJACENCY_VERSION || snapshot->size_bytes != size_bytes ||
		snapshot->generation == 0)
		return say(ret_text, "adjacency: not a snapshot of version %u", ADJACENCY_VERSION);
	if (!table_check(&snapshot->next_hops, "next_hops", size_bytes, sizeof(struct adjacency_next_hop),
		    NEXT_HOP_COUNT_MAX, ret_text) ||
		!table_check(&snapshot->routes, "routes", size_bytes, sizeof(struct adjacency_route), ROUTE_COUNT_MAX,
			ret_text) ||
		!table_check(&snapshot->groups, "groups", size_bytes, sizeof(struct adjacency_group),
			NEXT_HOP_GROUP_COUNT_MAX, ret_text))
		return false;
	const struct adjacency_next_hop *hops =
		(const void *)((const uint8_t *)block + snapshot->next_hops.offset_bytes);
	for (uint32_t i = 0; i < snapshot->next_hops.count; i++)
		if (hops[i].port >= PORT_COUNT)
			return say(ret_text, "next hop %u: no such port", i);
	const struct adjacency_group *groups = (const void *)((const uint8_t *)block + snapshot->groups.offset_bytes);
	for (uint32_t i = 0; i < snapshot->groups.count; i++)
		for (uint32_t slot = 0; slot < ADJACENCY_GROUP_SLOTS; slot++)
			if (groups[i].next_hops[slot] >= snapshot->next_hops.count)
				return say(ret_text, "group %u: no such next hop", i);
	const struct adjacency_route *routes = (const void *)((const uint8_t *)block + snapshot->routes.offset_bytes);
	for (uint32_t i = 0; i < snapshot->routes.count; i++)
		if (!prefix_check(routes[i].address, routes[i].prefix_length_bits) || routes[i].port >= PORT_COUNT ||
			!next_hop_index_check(snapshot, routes[i].next_hop_index))
			return say(ret_text, "route %u: malformed", i);
	return true;
}
