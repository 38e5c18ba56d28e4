/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/nat/create.h"

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/limits.h"
#include "dataplane/nat/ports.h"
#include "dataplane/nat/session.h"
#include "dataplane/nat/stages.h"
#include "dataplane/nat/tally.h"

static enum drop_reason opens(const struct packet *packet, const struct table_workspace *workspace)
{
	if (packet->protocol == PROTOCOL_TCP)
		return packet->tcp_flags == TCP_SYN ? DROP_NONE : DROP_TCP_NOT_SYN;
	if (packet->protocol == PROTOCOL_ICMP)
		return packet->data[packet->l4_offset] == ICMP_ECHO_REQUEST ? DROP_NONE : DROP_NO_SESSION;
	if (packet->protocol != PROTOCOL_UDP && (workspace->flags & POLICY_WORKSPACE_ALLOW_OTHER) == 0)
		return DROP_DENIED_PROTOCOL;
	return DROP_NONE;
}

/*
 * Whoever the VPC lists; the address alone is no proof when the list says from which host it comes. A worker that is
 * listed has an identity also in a VPC that is open to others, so that its sessions end with it (P2).
 */
static enum drop_reason worker_of(const struct policy_tables *policy, const struct packet *packet, uint32_t *ret_slot)
{
	const uint32_t slot = policy_worker_slot(policy, packet->vni, packet->source);
	if (slot == SESSION_NO_WORKER && (packet->vpc->flags & POLICY_VPC_WORKERS_LISTED) != 0)
		return DROP_UNKNOWN_WORKER;
	if (slot != SESSION_NO_WORKER && policy->workers[slot].vtep != 0 && policy->workers[slot].vtep != packet->vtep)
		return DROP_WRONG_VTEP;
	*ret_slot = slot;
	return DROP_NONE;
}

/* To an egress IP of this gateway: within a workspace always (RFC 4787 REQ-9), to another one's by policy. */
static bool hairpin_allowed(const struct policy_tables *policy, const struct packet *packet)
{
	const struct table_egress *owner = policy_egress_owner(policy, packet->destination, packet->destination_port);
	if (owner == NULL)
		return false;
	return owner->workspace_slot == packet->workspace_slot || policy->hairpin == POLICY_HAIRPIN_ALLOW;
}

static enum drop_reason destination_acceptable(const struct batch *batch, const struct table_workspace *workspace,
	const struct packet *packet, bool *ret_hairpin)
{
	const struct policy_tables *policy = batch->policy;
	const bool hairpin = policy_egress(policy, packet->destination) != NULL;
	if (hairpin && !hairpin_allowed(policy, packet))
		return DROP_HAIRPIN_DENIED;
	if (packet->destination == 0 || packet->destination == policy->vtep_address)
		return DROP_DENIED_DESTINATION;
	for (unsigned port = 0; port < PORT_COUNT; port++)
		if (packet->destination == batch->adjacency->ports[port].address)
			return DROP_DENIED_DESTINATION;
	/* The underlay is nobody's business, whatever else of private addresses a workspace may reach. */
	if (policy_vtep_trusted(policy, packet->destination))
		return DROP_DENIED_DESTINATION;
	if ((workspace->flags & POLICY_WORKSPACE_ALLOW_PRIVATE) == 0 && policy_destination_special(packet->destination))
		return DROP_DENIED_DESTINATION;
	const uint16_t port = packet->protocol == PROTOCOL_ICMP ? 0 : packet->destination_port;
	if (!policy_allows(policy, workspace, packet->destination, packet->protocol, port))
		return DROP_DENIED_POLICY;
	*ret_hairpin = hairpin;
	return DROP_NONE;
}

/*
 * Limits of the worker, towards the remote, and of the one towards the other: the session's flags say which. Makes the
 * tallies; whoever does not go on to a session puts them back.
 */
static enum drop_reason within_tallies(struct nat_shard *shard, const struct table_workspace *workspace,
	const struct packet *packet, const struct session *prototype, struct tally *ret_tallies[TALLIES_OF_SESSION])
{
	const struct tally_keys keys = tally_keys_of(prototype);
	for (unsigned i = 0; i < keys.count; i++)
		ret_tallies[i] = tally_get(shard, keys.of[i]);
	for (unsigned i = 0; i < keys.count; i++)
		if (ret_tallies[i] == NULL)
			return DROP_LIMIT_SESSIONS;
	struct tally *worker = ret_tallies[TALLY_WORKER];
	const uint64_t to_remote =
		ret_tallies[TALLY_REMOTE]->sessions * (uint64_t)shard_sharers(shard, packet->workspace_slot);
	if (worker->sessions >= workspace->worker_sessions_max || to_remote >= workspace->sessions_per_remote_max ||
		(ret_tallies[TALLY_PAIR] != NULL &&
			ret_tallies[TALLY_PAIR]->sessions >= workspace->worker_sessions_per_remote_max))
		return DROP_LIMIT_SESSIONS;
	if (packet->protocol == PROTOCOL_TCP && worker->half_open >= workspace->worker_half_open_max)
		return DROP_LIMIT_HALF_OPEN;
	if (!limits_take(&worker->session_ns, workspace->rates.worker_new_session_ns, shard->now_ns))
		return DROP_LIMIT_SESSION_RATE;
	return DROP_NONE;
}

static enum drop_reason within_limits(
	struct nat_shard *shard, const struct policy_tables *policy, const struct packet *packet)
{
	const struct table_workspace *workspace = &policy->workspaces[packet->workspace_slot];
	struct shard_workspace *state = shard_buckets(shard, policy, packet->workspace_slot);
	if (workspace->sessions_max != UINT32_MAX &&
		shard_sessions_of(shard, packet->workspace_slot) >= workspace->sessions_max)
		return DROP_LIMIT_SESSIONS;
	const uint64_t sharers = shard_sharers(shard, packet->workspace_slot);
	/* What is guaranteed to others and not taken up yet is not there to be borrowed. */
	const uint64_t free_sessions = shard->sessions_max - shard->counters->sessions_active;
	if (state->sessions >= state->guaranteed && free_sessions <= shard->guaranteed_unused)
		return free_sessions == 0 ? DROP_SESSIONS_EXHAUSTED : DROP_LIMIT_SESSIONS;
	if (packet->protocol == PROTOCOL_TCP && state->half_open * sharers >= workspace->half_open_max)
		return DROP_LIMIT_HALF_OPEN;
	if (!limits_take(&state->session_ns, workspace->rates.new_session_ns * sharers, shard->now_ns))
		return DROP_LIMIT_SESSION_RATE;
	return DROP_NONE;
}

/* May a new session join the mapping that this session leads? Its address must still be its own, and in service. */
static bool joinable(const struct nat_shard *shard, const struct packet *packet, const struct ports_request *request,
	const struct session *leader)
{
	const struct table_egress *egress =
		policy_egress_owner(request->policy, leader->egress_address, leader->egress_port);
	return policy_session_live(request->policy, leader, packet->vpc) && egress != NULL &&
	       egress->state == POLICY_EGRESS_ACTIVE && ports_shareable(shard, request, leader);
}

static struct ports_request request_of(
	const struct nat_shard *shard, const struct batch *batch, const struct packet *packet)
{
	const struct table_workspace *workspace = &batch->policy->workspaces[packet->workspace_slot];
	const enum policy_mapping mapping = policy_mapping_of(workspace, packet->protocol);
	const bool dependent = mapping == POLICY_MAPPING_ENDPOINT_DEPENDENT;
	const uint16_t remote_port = packet->protocol == PROTOCOL_ICMP ? 0 : packet->destination_port;
	return (struct ports_request){
		.policy = batch->policy,
		.workspace = workspace,
		.vpc = packet->vpc,
		.inside_address = packet->source,
		.vni = packet->vni,
		.protocol = packet->protocol,
		.remote_address = dependent ? packet->destination : 0,
		.remote_port = dependent ? remote_port : 0,
		.mixed = session_kinds_mixed(shard, packet->workspace_slot, mapping, packet->protocol),
		.towards_address = packet->destination,
		.towards_port = remote_port,
	};
}

static struct hash_key mapping_key(const struct packet *packet)
{
	return session_key_mapping(packet->source, packet->source_port, packet->vni, packet->protocol);
}

void create_foresee(struct nat_shard *shard, const struct batch *batch, struct create_hint hints[])
{
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct packet *packet = batch->live[i];
		struct create_hint *hint = &hints[i];
		hint->foreseen = false;
		if (LIKELY(packet->session_index != INDEX_NONE) || packet->kind != PACKET_KIND_SESSION ||
			packet->in_port != PORT_INSIDE)
			continue;
		const struct table_workspace *workspace = &batch->policy->workspaces[packet->workspace_slot];
		if (opens(packet, workspace) != DROP_NONE ||
			shard->workspaces[packet->workspace_slot].sessions >= workspace->sessions_max)
			continue;
		const struct ports_request request = request_of(shard, batch, packet);
		if (request.remote_address == 0) {
			hint->mapping_hash = hash_one(&shard->secret, mapping_key(packet));
			index_prefetch(&shard->inside, hint->mapping_hash);
		}
		hint->ports = ports_foresee(shard, &request);
		hint->foreseen = true;
	}
}

static enum drop_reason insert(struct nat_shard *shard, const struct batch *batch, struct packet *packet,
	const struct create_hint *hint, struct session *prototype)
{
	const struct table_workspace *workspace = &batch->policy->workspaces[packet->workspace_slot];
	const struct ports_request request = request_of(shard, batch, packet);
	struct session_entry entry = {
		.ring = SESSION_RING_NONE, .leader = INDEX_NONE, .inside_hash = hint->inside_hash};
	if (policy_mapping_of(workspace, packet->protocol) == POLICY_MAPPING_ENDPOINT_INDEPENDENT) {
		const struct hash_key key = mapping_key(packet);
		entry.ring = SESSION_RING_NEW;
		entry.mapping_hash = hint->foreseen ? hint->mapping_hash : hash_one(&shard->secret, key);
		entry.leader = session_find_mapping(shard, key, entry.mapping_hash);
	}
	if (entry.leader != INDEX_NONE)
		entry.ring = joinable(shard, packet, &request, &shard->sessions[entry.leader]) ? SESSION_RING_JOIN
											       : SESSION_RING_SUPERSEDE;
	if (entry.ring == SESSION_RING_JOIN) {
		prototype->egress_address = shard->sessions[entry.leader].egress_address;
		prototype->egress_slot = shard->sessions[entry.leader].egress_slot;
		prototype->egress_port = shard->sessions[entry.leader].egress_port;
	} else {
		struct ports_choice choice;
		const enum ports_result result =
			ports_allocate(shard, &request, hint->foreseen ? &hint->ports : NULL, &choice);
		if (result != PORTS_OK)
			return result == PORTS_NO_EGRESS_IP ? DROP_NO_EGRESS_IP : DROP_PORTS_EXHAUSTED;
		prototype->egress_address = choice.egress_address;
		prototype->egress_slot = choice.egress_slot;
		prototype->egress_port = choice.port;
		entry.outside_hash = choice.hash;
	}
	packet->session_index = session_create(shard, prototype, &entry, batch->policy->sequence);
	return packet->session_index != INDEX_NONE ? DROP_NONE : DROP_SESSIONS_EXHAUSTED;
}

static uint8_t first_state(uint8_t protocol)
{
	switch (protocol) {
	case PROTOCOL_TCP:
		return SESSION_TCP_SYN_OUT;
	case PROTOCOL_UDP:
		return SESSION_UDP;
	case PROTOCOL_ICMP:
		return SESSION_ICMP;
	default:
		return SESSION_OTHER;
	}
}

static enum drop_reason create(struct nat_shard *shard, const struct batch *batch, struct packet *packet,
	const struct create_hint *hint, struct session *prototype)
{
	const struct table_workspace *workspace = &batch->policy->workspaces[packet->workspace_slot];
	bool hairpin = false;
	enum drop_reason reason = opens(packet, workspace);
	if (reason == DROP_NONE)
		reason = worker_of(batch->policy, packet, &prototype->worker_slot);
	if (reason == DROP_NONE)
		reason = destination_acceptable(batch, workspace, packet, &hairpin);
	if (reason == DROP_NONE)
		reason = within_limits(shard, batch->policy, packet);
	if (reason != DROP_NONE)
		return reason;
	if (hairpin)
		prototype->flags |= SESSION_HAIRPIN;
	if (LIKELY(!workspace->tallied))
		return insert(shard, batch, packet, hint, prototype);
	struct tally *tallies[TALLIES_OF_SESSION] = {NULL};
	prototype->flags |= SESSION_TALLIED;
	if (workspace->worker_sessions_per_remote_max != UINT32_MAX)
		prototype->flags |= SESSION_TALLIED_PAIR;
	reason = within_tallies(shard, workspace, packet, prototype, tallies);
	if (reason == DROP_NONE)
		reason = insert(shard, batch, packet, hint, prototype);
	for (unsigned i = 0; i < TALLIES_OF_SESSION; i++)
		if (tallies[i] != NULL)
			tally_put(shard, tallies[i]);
	return reason;
}

enum drop_reason create_session(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, const struct create_hint *hint)
{
	struct session prototype = {
		.inside_address = packet->source,
		.remote_address = packet->destination,
		.inside_port = packet->source_port,
		.remote_port = packet->protocol == PROTOCOL_ICMP ? 0 : packet->destination_port,
		.vni_protocol = packet->vni << 8 | packet->protocol,
		.state = first_state(packet->protocol),
		.vtep = packet->vtep,
		.workspace_slot = packet->workspace_slot,
	};
	const enum drop_reason reason = create(shard, batch, packet, hint, &prototype);
	if (reason != DROP_NONE && reason != DROP_TCP_NOT_SYN && reason != DROP_NO_SESSION) {
		shard->counters->workspaces[packet->workspace_slot].sessions_refused++;
		refusal_note(shard, packet, reason);
	}
	return reason;
}
