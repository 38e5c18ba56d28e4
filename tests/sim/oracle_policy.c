/* SPDX-License-Identifier: Apache-2.0 */
/* Which objects are the same as before, and what policy and adjacency say. */
#include "tests/sim/oracle_state.h"

bool within(uint32_t address, uint32_t prefix, uint32_t length_bits)
{
	return length_bits == 0 || (address ^ prefix) >> (32 - length_bits) == 0;
}

/* The same object as in the policy before keeps its serial; every other one is new. */
#define INHERIT(kind, type, table, same)                                                                               \
	for (uint32_t i = 0; i < COUNT(oracle, table); i++) {                                                          \
		const struct type *now = &RECORDS(oracle, type, table)[i];                                             \
		oracle->kind[i] = ++oracle->serials;                                                                   \
		for (uint32_t j = 0; j < COUNT(before, table); j++) {                                                  \
			const struct type *then = &RECORDS(before, type, table)[j];                                    \
			if (now->incarnation == then->incarnation && (same))                                           \
				oracle->kind[i] = before->kind[j];                                                     \
		}                                                                                                      \
	}

void oracle_policy(struct oracle *oracle, const struct policy_snapshot *snapshot)
{
	static struct oracle old;
	const struct oracle *before = &old;
	EACH_ENTRY (oracle, entry)
		listed_since(oracle, entry); /* who ends with his worker must be known before that goes */
	if (snapshot == NULL) {
		oracle->has_policy = false; /* the objects are remembered: the next policy may name them again */
		return;
	}
	old.has_policy = oracle->serials != 0;
	if (old.has_policy)
		memcpy(old.policy_bytes, oracle->policy_bytes, oracle->policy.size_bytes);
	memcpy(old.workspaces, oracle->workspaces, sizeof(old.workspaces));
	memcpy(old.vpcs, oracle->vpcs, sizeof(old.vpcs));
	memcpy(old.egress_ips, oracle->egress_ips, sizeof(old.egress_ips));
	memcpy(old.workers, oracle->workers, sizeof(old.workers));
	memcpy(old.allowances, oracle->allowances, sizeof(old.allowances));
	oracle->has_policy = true;
	oracle->changed_ns = oracle->now_ns;
	memcpy(oracle->policy_bytes, snapshot, snapshot->size_bytes);
	INHERIT(workspaces, policy_workspace, POLICY_WORKSPACES, strcmp(now->id, then->id) == 0)
	INHERIT(vpcs, policy_vpc, POLICY_VPCS,
		now->vni == then->vni && strcmp(now->id, then->id) == 0 &&
			oracle->workspaces[now->workspace_index] == before->workspaces[then->workspace_index])
	INHERIT(egress_ips, policy_egress_ip, POLICY_EGRESS_IPS,
		now->address == then->address && now->port_first == then->port_first &&
			now->port_last == then->port_last &&
			oracle->workspaces[now->workspace_index] == before->workspaces[then->workspace_index])
	INHERIT(workers, policy_worker, POLICY_WORKERS,
		now->address == then->address && oracle->vpcs[now->vpc_index] == before->vpcs[then->vpc_index])
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++) {
		oracle->allowances[i] =
			(struct allowance){oracle->workspaces[i], {SECOND, SECOND}, SECOND, SECOND, SECOND};
		for (uint32_t j = 0; j < COUNT(before, POLICY_WORKSPACES); j++)
			if (before->workspaces[j] == oracle->workspaces[i])
				oracle->allowances[i] = before->allowances[j];
	}
	oracle->home_count = 0;
}

void oracle_adjacency(struct oracle *oracle, const struct adjacency_snapshot *snapshot)
{
	oracle->has_adjacency = snapshot != NULL;
	if (snapshot != NULL)
		memcpy(oracle->adjacency_bytes, snapshot, snapshot->size_bytes);
}

const struct policy_vpc *vpc_of(const struct oracle *oracle, uint32_t vni)
{
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_VPCS); i++)
		if (RECORDS(oracle, policy_vpc, POLICY_VPCS)[i].vni == vni)
			return &RECORDS(oracle, policy_vpc, POLICY_VPCS)[i];
	return NULL;
}

/* The egress IP of that address; of a shared one, the record that has the port. NULL: nobody's. */
const struct policy_egress_ip *egress_of(const struct oracle *oracle, uint32_t address, uint32_t port)
{
	const struct policy_egress_ip *ips = RECORDS(oracle, policy_egress_ip, POLICY_EGRESS_IPS);
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_EGRESS_IPS); i++)
		if (ips[i].address == address && (port == ANY_PORT || ips[i].port_first == 0 ||
							 (port >= ips[i].port_first && port <= ips[i].port_last)))
			return &ips[i];
	return NULL;
}

/* The record that a session was made with, if it is still there. */
const struct policy_egress_ip *egress_by_serial(const struct oracle *oracle, uint64_t serial)
{
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_EGRESS_IPS); i++)
		if (oracle->egress_ips[i] == serial)
			return &RECORDS(oracle, policy_egress_ip, POLICY_EGRESS_IPS)[i];
	return NULL;
}

bool vpc_contains(const struct oracle *oracle, const struct policy_vpc *vpc, uint32_t address)
{
	const struct policy_cidr *cidrs = RECORDS(oracle, policy_cidr, POLICY_CIDRS) + vpc->cidr_first;
	for (uint32_t i = 0; i < vpc->cidr_count; i++)
		if (within(address, cidrs[i].address, cidrs[i].prefix_length_bits))
			return true;
	return false;
}

/* Index of a listed worker, or -1. */
int worker_of(const struct oracle *oracle, const struct policy_vpc *vpc, uint32_t address)
{
	const struct policy_worker *workers = RECORDS(oracle, policy_worker, POLICY_WORKERS);
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKERS); i++)
		if (RECORDS(oracle, policy_vpc, POLICY_VPCS) + workers[i].vpc_index == vpc &&
			workers[i].address == address)
			return (int)i;
	return -1;
}

/* Where tunnels come from. */
static bool in_underlay(const struct oracle *oracle, uint32_t address)
{
	const struct policy_vtep_prefix *prefixes = RECORDS(oracle, policy_vtep_prefix, POLICY_VTEP_PREFIXES);
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_VTEP_PREFIXES); i++)
		if (within(address, prefixes[i].address, prefixes[i].prefix_length_bits))
			return true;
	return false;
}

bool vtep_trusted(const struct oracle *oracle, uint32_t vtep)
{
	return oracle->policy.encapsulation == POLICY_ENCAPSULATION_NONE || in_underlay(oracle, vtep);
}

bool independent(const struct policy_workspace *workspace, uint8_t protocol)
{
	const uint8_t mapping = protocol == WIRE_TCP	? workspace->mapping_tcp
				: protocol == WIRE_UDP	? workspace->mapping_udp
				: protocol == WIRE_ICMP ? POLICY_MAPPING_ENDPOINT_INDEPENDENT
							: POLICY_MAPPING_ENDPOINT_DEPENDENT;
	return mapping == POLICY_MAPPING_ENDPOINT_INDEPENDENT;
}

enum drop_reason destination_refused(const struct oracle *oracle, const struct judgement *of)
{
	static const struct policy_cidr special[] = {{0x00000000, 8}, {0x0a000000, 8}, {0x64400000, 10},
		{0x7f000000, 8}, {0xa9fe0000, 16}, {0xac100000, 12}, {0xc0000000, 24}, {0xc0a80000, 16},
		{0xc6120000, 15}, {0xe0000000, 3}};
	const uint32_t to = of->wire.destination;
	/* To an egress IP of this gateway: within a workspace always, to another's by policy. */
	if (egress_of(oracle, to, ANY_PORT) != NULL) {
		const bool icmp = of->wire.protocol == WIRE_ICMP;
		const struct policy_egress_ip *owner =
			egress_of(oracle, to, icmp ? of->wire.source_port : of->wire.destination_port);
		if (owner == NULL || (oracle->workspaces[owner->workspace_index] != of->workspace &&
					     oracle->policy.hairpin != POLICY_HAIRPIN_ALLOW))
			return DROP_HAIRPIN_DENIED;
	}
	if (to == 0 || to == oracle->adjacency.ports[PORT_INSIDE].address ||
		to == oracle->adjacency.ports[PORT_OUTSIDE].address || to == oracle->policy.vtep_address ||
		in_underlay(oracle, to))
		return DROP_DENIED_DESTINATION;
	for (uint32_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
		if ((of->of->flags & POLICY_WORKSPACE_ALLOW_PRIVATE) == 0 &&
			within(to, special[i].address, special[i].prefix_length_bits))
			return DROP_DENIED_DESTINATION;
	const struct policy_rule *rule = RECORDS(oracle, policy_rule, POLICY_RULES) + of->of->rule_first;
	for (uint32_t i = 0; i < of->of->rule_count; i++, rule++)
		if (within(to, rule->address, rule->prefix_length_bits) &&
			(rule->protocol == 0 || rule->protocol == of->wire.protocol) &&
			of->wire.destination_port >= rule->port_first && of->wire.destination_port <= rule->port_last)
			return rule->action == POLICY_RULE_ALLOW ? DROP_NONE : DROP_DENIED_POLICY;
	return of->of->flags & POLICY_WORKSPACE_DEFAULT_DENY ? DROP_DENIED_POLICY : DROP_NONE;
}

/*
 * A listed worker sends only from the host that the list says; who is not listed, from anywhere, unless the VPC is for
 * listed ones alone. A session that is older than the list is nobody's on it, until listed_since().
 */
enum drop_reason sender_refused(const struct oracle *oracle, const struct judgement *of)
{
	const int worker = worker_of(oracle, of->vpc, of->wire.source);
	if (of->entry != NULL && of->entry->worker == 0)
		return DROP_NONE;
	if (worker < 0)
		return of->vpc->flags & POLICY_VPC_WORKERS_LISTED ? DROP_UNKNOWN_WORKER : DROP_NONE;
	const uint32_t vtep = RECORDS(oracle, policy_worker, POLICY_WORKERS)[worker].vtep;
	return vtep != 0 && vtep != of->wire.vtep ? DROP_WRONG_VTEP : DROP_NONE;
}

/* ---- the way onward ---- */

/* Of a group of next hops: by addresses, protocol, and the ports where every packet of the flow has them. */
static uint32_t slot_of(const struct wire *wire)
{
	uint64_t flow = (uint64_t)(wire->source ^ wire->protocol) * 0x100000000u + wire->destination;
	if (!wire->fragment && !wire->icmp_error) {
		const uint16_t to_port = wire->protocol == WIRE_ICMP ? wire->source_port : wire->destination_port;
		flow ^= wire->source_port * 65536u + to_port;
	}
	for (unsigned round = 0; round < 2; round++)
		flow = (flow ^ flow / 0x100000000u) * 0xd6e8feb86659fd93u;
	return (uint32_t)((flow ^ flow / 0x100000000u) % ADJACENCY_GROUP_SLOTS);
}

enum drop_reason route(const struct oracle *oracle, struct judgement *of, unsigned port, uint32_t to)
{
	if (!oracle->has_adjacency)
		return DROP_NO_ROUTE;
	const struct adjacency_snapshot *adjacency = &oracle->adjacency;
	const struct adjacency_route *routes = (const void *)(oracle->adjacency_bytes + adjacency->routes.offset_bytes);
	const struct adjacency_route *best = NULL;
	for (uint32_t i = 0; i < adjacency->routes.count; i++)
		if (routes[i].port == port && within(to, routes[i].address, routes[i].prefix_length_bits) &&
			(best == NULL || routes[i].prefix_length_bits > best->prefix_length_bits))
			best = &routes[i];
	if (best == NULL || best->next_hop_index == ADJACENCY_UNREACHABLE)
		return DROP_NO_ROUTE;
	uint32_t index = best->next_hop_index;
	if (index >= ADJACENCY_GROUP) {
		const struct adjacency_group *groups =
			(const void *)(oracle->adjacency_bytes + adjacency->groups.offset_bytes);
		index = groups[index - ADJACENCY_GROUP].next_hops[slot_of(&of->wire)];
	}
	const struct adjacency_next_hop *hop =
		(const struct adjacency_next_hop *)(oracle->adjacency_bytes + adjacency->next_hops.offset_bytes) +
		index;
	if (hop->port != port)
		return DROP_NO_ROUTE;
	if (!hop->resolved)
		return DROP_NO_NEIGHBOUR;
	if (!adjacency->ports[port].up)
		return DROP_LINK_DOWN;
	of->hop = hop;
	return DROP_NONE;
}

bool fits(const struct oracle *oracle, struct judgement *of, unsigned port)
{
	of->mtu_bytes = oracle->adjacency.ports[port].mtu_bytes;
	if (of->hop->mtu_bytes != 0 && of->hop->mtu_bytes < of->mtu_bytes)
		of->mtu_bytes = of->hop->mtu_bytes;
	if (port == PORT_INSIDE && oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN)
		of->mtu_bytes -= WIRE_TUNNEL - WIRE_ETHERNET;
	return of->wire.ip_bytes <= of->mtu_bytes || !of->wire.df; /* else it leaves in pieces */
}
