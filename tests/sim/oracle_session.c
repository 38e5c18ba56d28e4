/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: whose they are, how long they live, which port they get, what packets do to them. */
#include "tests/sim/oracle_state.h"

/* ---- time and allowances ---- */

static void refill(int64_t *credit_ns, int64_t passed_ns)
{
	*credit_ns = passed_ns > SECOND - *credit_ns ? SECOND : *credit_ns + passed_ns;
}

void oracle_time(struct oracle *oracle, uint64_t now_ns)
{
	const int64_t passed_ns = (int64_t)now_ns - oracle->now_ns;
	if (passed_ns <= 0) /* time only goes forward */
		return;
	oracle->now_ns = (int64_t)now_ns;
	for (uint32_t i = 0; i < ORACLE_RECORDS_MAX; i++) {
		refill(&oracle->allowances[i].sessions.most, passed_ns);
		refill(&oracle->allowances[i].sessions.least, passed_ns);
		refill(&oracle->allowances[i].packets, passed_ns);
		refill(&oracle->allowances[i].bytes, passed_ns);
		refill(&oracle->allowances[i].answers, passed_ns);
	}
	for (uint32_t i = 0; i < oracle->pace_count; i++) {
		refill(&oracle->paces[i].sessions.most, passed_ns);
		refill(&oracle->paces[i].sessions.least, passed_ns);
	}
}

bool spend(int64_t *credit_ns, int64_t cost_ns)
{
	if (cost_ns == 0)
		return true;
	if (*credit_ns <= 0)
		return false;
	*credit_ns -= cost_ns;
	return true;
}

struct allowance *allowance_of(struct oracle *oracle, const struct judgement *of)
{
	for (uint32_t i = 0; i < ORACLE_RECORDS_MAX; i++)
		if (oracle->allowances[i].workspace == of->workspace)
			return &oracle->allowances[i];
	abort();
}

static int64_t cost_ns(uint64_t per_second)
{
	return per_second == 0 ? 0 : (int64_t)(1000000000u / per_second);
}

/* A workspace may send so many packets and so many bytes a second. */
bool rates_held(struct oracle *oracle, const struct judgement *of)
{
	struct allowance *allowance = allowance_of(oracle, of);
	const struct policy_limits *limits = &of->of->limits;
	const uint64_t byte = limits->bytes_per_second == 0 ? 0 : 1024000000000u / limits->bytes_per_second;
	return spend(&allowance->packets, cost_ns(limits->packets_per_second)) &&
	       spend(&allowance->bytes, (int64_t)(byte * of->wire.ip_bytes / 1024));
}

/* ---- sessions ---- */

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
static const struct session *record_of(const struct oracle *oracle, struct entry *entry)
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

static int64_t timeout_ns(const struct oracle *oracle, const struct entry *entry)
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

static bool half_open(const struct entry *entry)
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

/* Ports are dealt to the shards in turns of 32, from 1024 up; of a shared address only the workspace's own. */
static bool port_given(const struct oracle *oracle, const struct policy_egress_ip *ip, uint32_t port)
{
	const struct oracle_config *shard = &oracle->config;
	if (port < 1024 || port < shard->port_first || port >= shard->port_first + shard->port_count)
		return false;
	if (ip->port_first != 0 && (port < ip->port_first || port > ip->port_last))
		return false;
	return port / 32 % shard->shard_count == shard->shard_index;
}

/* How many they are; turn by turn, of which all are given or none. */
uint32_t ports_given(const struct oracle *oracle, const struct policy_egress_ip *ip)
{
	const uint32_t slice_end = oracle->config.port_first + oracle->config.port_count;
	const uint32_t end = ip->port_first != 0 && ip->port_last + 1u < slice_end ? ip->port_last + 1u : slice_end;
	uint32_t port = ip->port_first > oracle->config.port_first ? ip->port_first : oracle->config.port_first;
	uint32_t count = 0;
	for (uint32_t next; port < end; port = next) {
		next = port / 32 * 32 + 32 < end ? port / 32 * 32 + 32 : end;
		count += port_given(oracle, ip, port) ? next - port : 0;
	}
	return count;
}

/* By the last answer of ports_free(). */
static bool taken(const struct oracle *oracle, uint16_t port)
{
	return oracle->taken[port] == oracle->question;
}

/*
 * What is left of an address's former owner is in the way of the present one's sessions until it is removed, unless it was
 * made under the other mapping mode and the present owner has none of that: then nobody looks for it any more.
 */
static bool out_of_sight(struct oracle *oracle, const struct judgement *of, const struct entry *entry)
{
	const bool mapped = independent(of->of, of->wire.protocol);
	if ((entry->mapping != 0) == mapped || entry->workspace == of->workspace)
		return false;
	EACH_ENTRY (oracle, it)
		if (it->workspace == of->workspace && it->protocol == entry->protocol && (it->mapping != 0) != mapped)
			return false;
	return true;
}

/*
 * How many ports of an egress IP are free for this packet's remote; taken() says which are not. Endpoint-independent
 * mappings share theirs with nobody. What has no ports goes by address alone: one worker per remote, and none on a
 * shared address.
 */
static uint32_t ports_free(struct oracle *oracle, const struct judgement *of, const struct policy_egress_ip *ip)
{
	const bool mapped = independent(of->of, of->wire.protocol), has_ports = wire_has_ports(of->wire.protocol);
	uint32_t count = !has_ports	       ? ip->port_first == 0
			 : ip->port_first == 0 ? oracle->ports_given
					       : ports_given(oracle, ip);
	oracle->question++;
	EACH_ENTRY (oracle, entry) {
		const bool here = entry->egress_address == ip->address && entry->protocol == of->wire.protocol;
		const bool same_remote =
			entry->remote == of->wire.destination && entry->remote_port == of->wire.destination_port;
		/* What was made under the other mapping mode is in the way where it waits for the same remote. */
		if (!here || !(same_remote || (mapped && entry->mapping != 0)) || taken(oracle, entry->egress_port))
			continue;
		if (out_of_sight(oracle, of, entry))
			continue;
		oracle->taken[entry->egress_port] = oracle->question;
		count -= count > 0 && (!has_ports || port_given(oracle, ip, entry->egress_port));
	}
	return count;
}

static struct home *home_of(struct oracle *oracle, const struct wire *wire)
{
	for (uint32_t i = 0; i < oracle->home_count; i++)
		if (oracle->homes[i].vni == wire->vni && oracle->homes[i].inside == wire->source)
			return &oracle->homes[i];
	if (oracle->home_count == HOMES_MAX)
		return NULL;
	oracle->homes[oracle->home_count] = (struct home){wire->vni, wire->source, {false}};
	return &oracle->homes[oracle->home_count++];
}

/*
 * A new session's egress IP and port, as the core chose them: one of the workspace's own IPs in service, a free port of
 * the slice, and the worker's own IP as long as that has one. Refused only when nothing is free anywhere.
 */
static enum drop_reason choose(struct oracle *oracle, struct judgement *of, struct entry *entry)
{
	const struct policy_egress_ip *ips = RECORDS(oracle, policy_egress_ip, POLICY_EGRESS_IPS);
	struct home *home = home_of(oracle, &of->wire);
	const struct session *record = record_of(oracle, entry);
	bool active = false, free = false, own = false, home_left = false;
	entry->egress_address = record != NULL ? record->egress_address : 0;
	entry->egress_port = record != NULL ? record->egress_port : 0;
	for (uint32_t i = of->of->egress_first; i < of->of->egress_first + of->of->egress_count; i++) {
		if (ips[i].state != POLICY_EGRESS_ACTIVE)
			continue;
		active = true;
		const bool has_port = ports_free(oracle, of, &ips[i]) > 0;
		free = free || has_port;
		const bool here = ips[i].address == entry->egress_address &&
				  &ips[i] == egress_of(oracle, entry->egress_address, entry->egress_port);
		if (here) {
			own = true;
			entry->egress = oracle->egress_ips[i];
			if (taken(oracle, entry->egress_port) ||
				(wire_has_ports(entry->protocol) ? !port_given(oracle, &ips[i], entry->egress_port)
								 : entry->egress_port != 0))
				of->bad_choice = "the port chosen is not free for this remote";
		} else if (home != NULL && has_port && record != NULL) {
			home->not [i] = true;
		}
		home_left = home_left || home == NULL || !home->not [i];
	}
	if (!active || !free) {
		of->bad_choice = NULL; /* the record is that of a later packet of the batch, which found room */
		return active ? DROP_PORTS_EXHAUSTED : DROP_NO_EGRESS_IP;
	}
	if (!own)
		of->bad_choice = "it has no egress IP in service of its workspace";
	else if (!home_left)
		of->bad_choice = "the worker left its own egress IP although that had a free port";
	return DROP_NONE;
}

/* Sessions that others are guaranteed and have not taken up: not there to be borrowed. */
static uint32_t promised(struct oracle *oracle)
{
	uint32_t sum = 0;
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++) {
		uint32_t guaranteed =
			RECORDS(oracle, policy_workspace, POLICY_WORKSPACES)[i].limits.sessions_guaranteed /
			oracle->config.shard_count;
		if (guaranteed == 0)
			continue;
		EACH_ENTRY (oracle, entry)
			guaranteed -= entry->workspace == oracle->workspaces[i] && guaranteed > 0;
		sum += guaranteed;
	}
	return sum;
}

static bool tallied(const struct policy_limits *limits)
{
	return limits->sessions_per_remote != 0 || limits->worker_sessions != 0 || limits->worker_half_open != 0 ||
	       limits->worker_new_sessions_per_second != 0 || limits->worker_sessions_per_remote != 0;
}

/*
 * `own` sessions of the worker count, and so many more of one that had its address in another workspace before: those
 * share their count with it only if its workspace has taken that one's place in the core's tables.
 */
static struct credit *pace_of(struct oracle *oracle, const struct wire *wire, uint32_t own, uint32_t remains)
{
	struct pace *pace = oracle->paces;
	while (pace < oracle->paces + oracle->pace_count && (pace->vni != wire->vni || pace->inside != wire->source))
		pace++;
	if (pace == oracle->paces + PACES_MAX)
		abort();
	if (own + remains == 0 || pace == oracle->paces + oracle->pace_count)
		*pace = (struct pace){wire->vni, wire->source, {SECOND, SECOND}};
	if (own == 0)
		pace->sessions.most = SECOND;
	if (pace == oracle->paces + oracle->pace_count)
		oracle->pace_count++;
	return &pace->sessions;
}

/* So many count, and so many more may still be counted though they are nobody's: then the core decides. */
bool reached(const struct judgement *of, uint32_t limit, uint32_t own, uint32_t remains, enum drop_reason reason)
{
	return limit != 0 && (own >= limit || (own + remains >= limit && of->seen->reason == reason));
}

/* `later`: a limit that comes after this one may have refused it under the same reason. */
static bool spend_a_session(struct credit *credit, int64_t cost_ns, bool refused, bool later)
{
	if (cost_ns == 0)
		return true;
	if (credit->most <= 0)
		return false;
	if (credit->least <= 0 && refused && later) {
		credit->least -= cost_ns; /* it was spent, or there was nothing to spend */
		return false;
	}
	if (credit->least <= 0 && refused) {
		credit->most = 0; /* so there was nothing; how much less, it does not say */
		return false;
	}
	if (credit->least <= 0)
		credit->least = 1;
	credit->most -= cost_ns;
	credit->least -= cost_ns;
	return true;
}

static enum drop_reason limits_refuse(struct oracle *oracle, const struct judgement *of)
{
	const struct policy_limits *limits = &of->of->limits;
	const struct wire *wire = &of->wire;
	const bool tcp = wire->protocol == WIRE_TCP;
	struct {
		uint32_t all, half_open, of_worker, half_open_of_worker, to_remote, of_worker_to_remote;
	} own = {0}, remains = {0}, *count;
	const bool limited = limits->sessions != 0 || limits->half_open != 0 || tallied(limits);
	EACH_ENTRY (oracle, entry) {
		const bool same = entry->tallied && entry->vni == wire->vni && entry->inside == wire->source;
		count = entry->workspace == of->workspace ? &own : &remains;
		if (count == &remains && (!limited || alive(oracle, entry)))
			continue; /* of no matter; or another's, and his alone */
		count->all++;
		count->half_open += half_open(entry);
		count->of_worker += same;
		count->half_open_of_worker += same && half_open(entry);
		const bool there = entry->tallied && entry->remote == wire->destination &&
				   entry->remote_port == wire->destination_port && entry->protocol == wire->protocol;
		count->to_remote += there;
		count->of_worker_to_remote += there && same && entry->tallied_pair;
	}
	struct allowance *allowance = allowance_of(oracle, of);
	const int64_t new_ns = cost_ns(limits->new_sessions_per_second);
	if (limits->sessions != 0 && own.all >= limits->sessions)
		return DROP_LIMIT_SESSIONS;
	/* What counts though it is nobody's has refused it here; or a limit of the worker has later, at a price. */
	if (reached(of, limits->sessions, own.all, remains.all, DROP_LIMIT_SESSIONS)) {
		allowance->sessions.least -= new_ns;
		return DROP_LIMIT_SESSIONS;
	}
	const uint32_t free = oracle->config.sessions_max - oracle_session_count(oracle);
	if (own.all >= limits->sessions_guaranteed / oracle->config.shard_count && free <= promised(oracle))
		return free == 0 ? DROP_SESSIONS_EXHAUSTED : DROP_LIMIT_SESSIONS;
	if (tcp && limits->half_open != 0 && own.half_open >= limits->half_open)
		return DROP_LIMIT_HALF_OPEN;
	if (tcp && reached(of, limits->half_open, own.half_open, remains.half_open, DROP_LIMIT_HALF_OPEN)) {
		allowance->sessions.least -= new_ns;
		return DROP_LIMIT_HALF_OPEN;
	}
	const bool too_fast = of->seen->reason == DROP_LIMIT_SESSION_RATE;
	const int64_t worker_cost_ns = cost_ns(limits->worker_new_sessions_per_second);
	struct credit *pace = worker_cost_ns != 0 ? pace_of(oracle, wire, own.of_worker, remains.of_worker) : NULL;
	if (!spend_a_session(&allowance->sessions, new_ns, too_fast, pace != NULL && pace->least <= 0))
		return DROP_LIMIT_SESSION_RATE;
	if (reached(of, limits->worker_sessions, own.of_worker, remains.of_worker, DROP_LIMIT_SESSIONS) ||
		reached(of, limits->sessions_per_remote, own.to_remote, remains.to_remote, DROP_LIMIT_SESSIONS) ||
		reached(of, limits->worker_sessions_per_remote, own.of_worker_to_remote, remains.of_worker_to_remote,
			DROP_LIMIT_SESSIONS))
		return DROP_LIMIT_SESSIONS;
	if (tcp && reached(of, limits->worker_half_open, own.half_open_of_worker, remains.half_open_of_worker,
			   DROP_LIMIT_HALF_OPEN))
		return DROP_LIMIT_HALF_OPEN;
	if (pace != NULL && !spend_a_session(pace, worker_cost_ns, too_fast, false))
		return DROP_LIMIT_SESSION_RATE;
	return DROP_NONE;
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
		reason = choose(oracle, of, &entry);
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

static void reset_expected(struct oracle *oracle, const struct entry *entry, bool to_remote)
{
	const struct policy_vpc *vpc = vpc_of(oracle, entry->vni);
	const uint32_t vtep = vpc != NULL ? vtep_of(oracle, entry) : 0;
	struct judgement of = {.workspace = entry->workspace};
	if (!to_remote && vpc != NULL && !vtep_trusted(oracle, vtep))
		return;
	struct allowance *allowance = allowance_of(oracle, &of);
	oracle->resets_scarce = oracle->resets_scarce || allowance->answers <= 64ll * ANSWER_NS;
	if (!spend(&allowance->answers, ANSWER_NS) || oracle->reset_count == RESETS_MAX)
		return;
	const bool tunnel = oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	const unsigned port = to_remote ? PORT_OUTSIDE : PORT_INSIDE;
	if (vpc == NULL || oracle->workspaces[vpc->workspace_index] != entry->workspace)
		return;
	of.wire = to_remote ? (struct wire){.source = entry->inside,
				      .destination = entry->remote,
				      .source_port = entry->inside_port,
				      .destination_port = entry->remote_port,
				      .protocol = WIRE_TCP}
			    : (struct wire){.source = entry->remote,
				      .destination = entry->egress_address,
				      .source_port = entry->remote_port,
				      .destination_port = entry->egress_port,
				      .protocol = WIRE_TCP};
	if (route(oracle, &of, port, to_remote ? entry->remote : tunnel ? vtep : entry->inside) != DROP_NONE)
		return;
	struct output *output = &oracle->resets[oracle->reset_count++];
	*output = (struct output){.forwarded = true, .port = port, .vni = entry->vni, .vtep = vtep, .hop = of.hop};
	reset_packet(output, entry, to_remote);
}

/* Who is told that an open TCP session is over: both ends when it was idle, the remote when its worker has gone. */
static void farewell(struct oracle *oracle, const struct entry *entry, bool gone)
{
	const struct policy_egress_ip *egress = egress_by_serial(oracle, entry->egress);
	if (entry->protocol != WIRE_TCP || half_open(entry) || entry->state == SESSION_TCP_RESET ||
		entry->state == SESSION_TCP_FIN_BOTH || egress == NULL)
		return;
	const uint32_t flags = RECORDS(oracle, policy_workspace, POLICY_WORKSPACES)[egress->workspace_index].flags;
	if (gone && (flags & POLICY_WORKSPACE_RESET_GONE))
		reset_expected(oracle, entry, true);
	if (!gone && (flags & POLICY_WORKSPACE_RESET_IDLE)) {
		reset_expected(oracle, entry, true);
		reset_expected(oracle, entry, false);
	}
}

const char *oracle_ended(struct oracle *oracle, const struct session *record)
{
	struct entry *entry = find_inside(oracle, record->vni_protocol >> 8, (uint8_t)record->vni_protocol,
		record->inside_address, record->inside_port, record->remote_address, record->remote_port);
	if (entry == NULL)
		return "a session ended that should not have been there";
	if (!oracle->has_policy)
		return "a session ended while no policy was in force to judge it by";
	const bool gone = !alive(oracle, entry);
	if (!gone && entry->last_ns + timeout_ns(oracle, entry) > oracle->now_ns + TICK_NS)
		return "a session ended before its time";
	farewell(oracle, entry, gone);
	entry_remove(oracle, entry);
	return NULL;
}

const char *oracle_made(struct oracle *oracle, const struct oracle_seen *seen)
{
	for (uint32_t i = 0; i < oracle->reset_count; i++) {
		if (!same(oracle, &oracle->resets[i], seen))
			continue;
		oracle->resets[i] = oracle->resets[--oracle->reset_count];
		return NULL;
	}
	return oracle->resets_scarce ? NULL : "upkeep made a packet that nobody should get";
}

const char *oracle_upkeep_over(struct oracle *oracle)
{
	const bool missing = oracle->reset_count > 0 && !oracle->resets_scarce;
	oracle->reset_count = 0;
	oracle->resets_scarce = false;
	return missing ? "a session ended, and an end of it that should be told was not" : NULL;
}

const char *oracle_session_overdue(struct oracle *oracle)
{
	if (!oracle->has_policy || oracle->now_ns < oracle->changed_ns + SECOND)
		return NULL;
	EACH_ENTRY (oracle, entry) {
		const bool lives = alive(oracle, entry);
		if (lives && entry->last_ns + timeout_ns(oracle, entry) + SECOND >= oracle->now_ns)
			continue;
		snprintf(oracle->complaint, sizeof(oracle->complaint),
			"a session (protocol %u, %s, %s%s, idle for %.3f s) is still there over a second after its end",
			entry->protocol, session_state_text(entry->state), lives ? "alive" : "dead",
			entry->doubtful ? ", doubtful" : "", (double)(oracle->now_ns - entry->last_ns) / SECOND);
		return oracle->complaint;
	}
	return NULL;
}

bool oracle_answers_scarce(const struct oracle *oracle)
{
	for (uint32_t i = 0; i < COUNT(oracle, POLICY_WORKSPACES); i++)
		if (oracle->allowances[i].answers <= 64 * (int64_t)ANSWER_NS)
			return true;
	return false;
}
