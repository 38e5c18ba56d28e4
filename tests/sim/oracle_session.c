/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: whose they are, how long they live, what packets do to them. */
#include "tests/sim/oracle_state.h"

uint32_t oracle_session_count(const struct oracle *oracle)
{
	return oracle->entry_count;
}

/* What a search compares first. */
static uint64_t remote_of(uint8_t protocol, uint32_t remote, uint16_t remote_port)
{
	return (uint64_t)remote << 32 | (uint64_t)remote_port << 16 | protocol;
}

/* The next session with a remote, from *at on; NULL: no more. */
static struct entry *entry_with(struct oracle *oracle, uint64_t remote, uint32_t *at)
{
	while (*at < oracle->entry_count)
		if (oracle->remotes[(*at)++] == remote)
			return &oracle->entries[*at - 1];
	return NULL;
}

static struct entry *entry_add(struct oracle *oracle, const struct entry *entry)
{
	const uint32_t at = oracle->entry_count++;
	oracle->entries[at] = *entry;
	oracle->remotes[at] = remote_of(entry->protocol, entry->remote, entry->remote_port);
	return &oracle->entries[at];
}

/* The last one takes its place. */
void entry_remove(struct oracle *oracle, struct entry *entry)
{
	const uint32_t last = --oracle->entry_count;
	oracle->remotes[entry - oracle->entries] = oracle->remotes[last];
	*entry = oracle->entries[last];
}

/* A session lives as long as the very VPC, egress IP and worker it was made for, while its address is the VPC's and the
 * worker host it last came from is trusted. */
bool alive(const struct oracle *oracle, const struct entry *entry)
{
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	if (vpc == NULL || oracle->vpcs[vpc - RECORDS(oracle, policy_vpc, POLICY_VPCS)] != entry->vpc)
		return false;
	if (egress_by_serial(oracle, entry->egress) == NULL)
		return false;
	if (!vpc_contains(oracle, vpc, entry->inside) || !vtep_trusted(oracle, entry->vtep))
		return false;
	if (entry->worker == 0)
		return (vpc->flags & POLICY_VPC_WORKERS_LISTED) == 0;
	const int worker = worker_of(oracle, vpc, entry->inside);
	return worker >= 0 && oracle->workers[worker] == entry->worker;
}

/* What the core has written of a session: the only way to see a choice that no packet shows. */
const struct session *record_of(const struct oracle *oracle, struct entry *entry)
{
	for (uint32_t i = 0; i < oracle->config.sessions_max; i++, entry->record++) {
		if (entry->record >= oracle->config.sessions_max)
			entry->record = 0;
		const struct session *record = &oracle->config.records[entry->record];
		if (record->state != SESSION_FREE && record->inside_address == entry->inside &&
			record->inside_port == entry->inside_port && record->remote_address == entry->remote &&
			record->remote_port == entry->remote_port &&
			record->vni_protocol == (entry->vni << 8 | entry->protocol))
			return record;
	}
	return NULL;
}

/*
 * A session of a VPC that did not list its worker then, and does now, with the host that the session comes from: soon it
 * is that worker's. When, the core decides.
 */
struct entry *listed_since(const struct oracle *oracle, struct entry *entry)
{
	if (entry == NULL || entry->worker != 0)
		return entry;
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	const int worker = vpc != NULL && alive(oracle, entry) ? worker_of(oracle, vpc, entry->inside) : -1;
	if (worker < 0)
		return entry;
	const uint32_t vtep = RECORDS(oracle, policy_worker, POLICY_WORKERS)[worker].vtep;
	const struct session *record = record_of(oracle, entry);
	if ((vtep == 0 || vtep == entry->vtep) && record != NULL && record->worker_slot != SESSION_NO_WORKER)
		entry->worker = oracle->workers[worker];
	return entry;
}

int64_t timeout_ns(const struct oracle *oracle, const struct entry *entry)
{
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	const struct policy_timers *timers =
		&RECORDS(oracle, policy_workspace, POLICY_WORKSPACES)[vpc->workspace_index].timers;
	const uint32_t by_state[SESSION_STATE_COUNT] = {
		[SESSION_UDP] = timers->udp_s,
		[SESSION_UDP_ANSWERED] = entry->remote_port == 53 ? timers->udp_dns_s : timers->udp_s,
		[SESSION_ICMP] = timers->icmp_s,
		[SESSION_OTHER] = timers->udp_s,
		[SESSION_TCP_SYN_OUT] = timers->tcp_syn_s,
		[SESSION_TCP_SYN_BOTH] = timers->tcp_transitory_s,
		[SESSION_TCP_ESTABLISHED] = timers->tcp_established_s,
		[SESSION_TCP_FIN_OUT] = timers->tcp_established_s,
		[SESSION_TCP_FIN_IN] = timers->tcp_established_s,
		[SESSION_TCP_FIN_BOTH] = timers->tcp_transitory_s,
		[SESSION_TCP_RESET] = 0,
	};
	const uint32_t seconds = by_state[entry->state];
	/* A RST that does not fit shortens the time, and never lengthens it. */
	return SECOND *
	       (entry->doubtful && seconds > timers->tcp_transitory_s ? timers->tcp_transitory_s : (int64_t)seconds);
}

bool half_open(const struct entry *entry)
{
	return entry->state == SESSION_TCP_SYN_OUT || entry->state == SESSION_TCP_SYN_BOTH;
}

struct entry *find_inside(struct oracle *oracle, uint32_t vni, uint8_t protocol, uint32_t inside, uint16_t inside_port,
	uint32_t remote, uint16_t remote_port)
{
	uint32_t at = 0;
	for (struct entry *entry; (entry = entry_with(oracle, remote_of(protocol, remote, remote_port), &at)) != NULL;)
		if (entry->vni == vni && entry->inside == inside && entry->inside_port == inside_port)
			return entry;
	return NULL;
}

/*
 * Filtering is address- and port-dependent: a reply belongs to the session with that remote, or to none. Where a change
 * of the mapping mode has left two, the one of the mode in force has it.
 */
struct entry *find_outside(struct oracle *oracle, uint8_t protocol, uint32_t egress, uint16_t egress_port,
	uint32_t remote, uint16_t remote_port)
{
	const struct policy_egress_ip *ip = egress_of(oracle, egress, egress_port);
	const struct policy_workspace *owner =
		ip == NULL ? NULL : RECORDS(oracle, policy_workspace, POLICY_WORKSPACES) + ip->workspace_index;
	struct entry *other = NULL;
	uint32_t at = 0;
	for (struct entry *entry; (entry = entry_with(oracle, remote_of(protocol, remote, remote_port), &at)) != NULL;)
		if (entry->egress_address == egress && entry->egress_port == egress_port) {
			if (owner != NULL && independent(owner, protocol) == (entry->mapping != 0))
				return entry;
			other = entry;
		}
	return other;
}

/* A session of the mapping that an inside address and port has now. */
static struct entry *mapping_of(struct oracle *oracle, const struct entry *entry)
{
	EACH_ENTRY (oracle, other)
		if (other->mapping != 0 && !other->superseded && other->vni == entry->vni &&
			other->inside == entry->inside && other->inside_port == entry->inside_port &&
			other->protocol == entry->protocol)
			return other;
	return NULL;
}

/*
 * The session that speaks for the mapping. Where some of the mapping's live and some do not, because their hosts are not
 * trusted any more, it is the one that leads in the core, and only what became of the new session tells which that is.
 */
static struct entry *leader_of(struct oracle *oracle, struct entry *entry)
{
	struct entry *first = mapping_of(oracle, entry);
	if (first == NULL)
		return NULL;
	EACH_ENTRY (oracle, other) {
		if (other->mapping != first->mapping || alive(oracle, other) == alive(oracle, first))
			continue;
		const struct session *record = record_of(oracle, entry);
		const bool joined = record != NULL && record->egress_address == first->egress_address &&
				    record->egress_port == first->egress_port;
		return alive(oracle, first) == joined ? first : other;
	}
	return first;
}

enum drop_reason create(struct oracle *oracle, struct judgement *of)
{
	const struct wire *wire = &of->wire;
	if (wire->protocol == WIRE_TCP && wire->tcp_flags != WIRE_SYN)
		return DROP_TCP_NOT_SYN;
	if (wire->protocol == WIRE_ICMP && wire->l4[0] != 8)
		return DROP_NO_SESSION;
	if (!wire_has_ports(wire->protocol) && (of->of->flags & POLICY_WORKSPACE_ALLOW_OTHER) == 0)
		return DROP_DENIED_PROTOCOL;
	enum drop_reason reason = sender_refused(oracle, of);
	if (reason == DROP_NONE)
		reason = destination_refused(oracle, of);
	if (reason == DROP_NONE)
		reason = limits_refuse(oracle, of);
	if (reason != DROP_NONE)
		return reason;
	const int worker = worker_of(oracle, of->vpc, wire->source);
	struct entry entry = {
		.serial = ++oracle->serials,
		.workspace = of->workspace,
		.vpc = oracle->vpcs[of->vpc - RECORDS(oracle, policy_vpc, POLICY_VPCS)],
		.worker = worker >= 0 ? oracle->workers[worker] : 0,
		.vni = wire->vni,
		.inside = wire->source,
		.remote = wire->destination,
		.inside_port = wire->source_port,
		.remote_port = wire->destination_port,
		.protocol = wire->protocol,
		.state = wire->protocol == WIRE_TCP    ? SESSION_TCP_SYN_OUT
			 : wire->protocol == WIRE_UDP  ? SESSION_UDP
			 : wire->protocol == WIRE_ICMP ? SESSION_ICMP
						       : SESSION_OTHER,
		.vtep = wire->vtep,
		.hairpin = egress_of(oracle, wire->destination, ANY_PORT) != NULL,
		.tallied = tallied(&of->of->limits),
		.tallied_pair = of->of->limits.worker_sessions_per_remote != 0,
	};
	struct entry *leader = independent(of->of, wire->protocol) ? leader_of(oracle, &entry) : NULL;
	/* Its mapping serves this remote, too: unless it drains, or the other mapping mode has left somebody there. */
	if (leader != NULL && alive(oracle, leader) &&
		egress_by_serial(oracle, leader->egress)->state == POLICY_EGRESS_ACTIVE &&
		find_outside(oracle, wire->protocol, leader->egress_address, leader->egress_port, wire->destination,
			wire->destination_port) == NULL) {
		entry.egress = leader->egress;
		entry.egress_address = leader->egress_address;
		entry.egress_port = leader->egress_port;
		entry.mapping = leader->mapping;
	} else {
		reason = choose_port(oracle, of, &entry);
		if (reason != DROP_NONE)
			return reason;
		if (independent(of->of, wire->protocol))
			entry.mapping = ++oracle->serials;
	}
	if (leader != NULL && entry.mapping != leader->mapping)
		EACH_ENTRY (oracle, other)
			if (other->mapping == leader->mapping)
				other->superseded = true;
	const struct entry *twin = find_outside(
		oracle, entry.protocol, entry.egress_address, entry.egress_port, entry.remote, entry.remote_port);
	if (twin != NULL && alive(oracle, twin))
		of->bad_choice = "another session has the same egress address, port and remote";
	of->entry = entry_add(oracle, &entry);
	return DROP_NONE;
}

/* ---- what a packet does to its session ---- */

static void tcp_moves(const struct oracle *oracle, struct entry *entry, const struct wire *wire, bool outbound)
{
	const uint32_t sequence = wire_get32(wire->l4 + 4), acknowledged = wire_get32(wire->l4 + 8);
	const uint8_t flags = wire->tcp_flags, state = entry->state;
	if (flags & WIRE_RST) {
		const bool fits = outbound			 ? sequence == entry->sent
				  : state == SESSION_TCP_SYN_OUT ? (flags & WIRE_ACK) && acknowledged == entry->sent
								 : sequence == entry->received;
		/* The end is near either way: at once, or after the short time from the first doubtful RST on. */
		if (fits || !entry->doubtful)
			entry->last_ns = oracle->now_ns;
		if (fits)
			entry->state = SESSION_TCP_RESET;
		else
			entry->doubtful = true;
		return;
	}
	const bool open = state == SESSION_TCP_SYN_BOTH || state == SESSION_TCP_ESTABLISHED;
	if (flags & WIRE_SYN) {
		if (!outbound && state == SESSION_TCP_SYN_OUT)
			entry->state = SESSION_TCP_SYN_BOTH;
		if (outbound && (flags & WIRE_ACK) && state == SESSION_TCP_SYN_BOTH)
			entry->state = SESSION_TCP_ESTABLISHED;
		if (outbound && !(flags & WIRE_ACK) && (state == SESSION_TCP_FIN_BOTH || state == SESSION_TCP_RESET))
			entry->state = SESSION_TCP_SYN_OUT;
	} else if (flags & WIRE_FIN) {
		if (open)
			entry->state = outbound ? SESSION_TCP_FIN_OUT : SESSION_TCP_FIN_IN;
		if (state == (outbound ? SESSION_TCP_FIN_IN : SESSION_TCP_FIN_OUT))
			entry->state = SESSION_TCP_FIN_BOTH;
	} else if (outbound && state == SESSION_TCP_SYN_BOTH) {
		entry->state = SESSION_TCP_ESTABLISHED;
	}
	entry->doubtful = false;
	const uint32_t end = sequence + wire->l4_bytes - wire->l4[12] / 16 * 4u + ((flags & WIRE_SYN) != 0) +
			     ((flags & WIRE_FIN) != 0);
	uint32_t *next = outbound ? &entry->sent : &entry->received;
	if ((flags & WIRE_SYN) || end - *next - 1 < 0x7fffffff)
		*next = end;
}

void session_moves(const struct oracle *oracle, const struct judgement *of, bool outbound)
{
	struct entry *entry = of->entry;
	bool refreshes = outbound || (of->of->flags & POLICY_WORKSPACE_INBOUND_REFRESH);
	if (entry->protocol == WIRE_TCP) {
		tcp_moves(oracle, entry, &of->wire, outbound);
		refreshes = (of->wire.tcp_flags & WIRE_RST) == 0;
	} else if (!outbound && entry->state == SESSION_UDP) {
		entry->state = SESSION_UDP_ANSWERED;
		refreshes = refreshes || entry->remote_port == 53; /* the short time counts from the answer */
	}
	if (refreshes)
		entry->last_ns = oracle->now_ns;
}
