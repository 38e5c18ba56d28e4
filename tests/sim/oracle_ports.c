/* SPDX-License-Identifier: Apache-2.0 */
/* Egress addresses and ports: which are given, which are free, and whether the core chose one of those. */
#include "tests/sim/oracle_state.h"

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
enum drop_reason choose_port(struct oracle *oracle, struct judgement *of, struct entry *entry)
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
