/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The isolation guard. It trusts no session, no index and no stage before it:
 * only the bytes that are about to leave, the tunnel that they came from or go
 * to, and the policy. If it ever fires, a promise would have been broken (P1,
 * P2).
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/stages.h"

/* The port in the bytes that stands for the egress address's owner; where the packet has none, what its session says.
 */
static uint16_t port_leaving(const struct packet *packet)
{
	const uint8_t *l4 = packet->data + packet->l4_offset;
	if (packet->kind != PACKET_KIND_SESSION)
		return packet->egress_port;
	if (packet->protocol == PROTOCOL_ICMP)
		return load_be16(l4 + ICMP_ID_OFFSET);
	return packet->protocol == PROTOCOL_TCP || packet->protocol == PROTOCOL_UDP ? load_be16(l4) : 0;
}

/* The same for what came in: the port that it was sent to. */
static uint16_t port_arrived(const struct packet *packet)
{
	return packet->kind == PACKET_KIND_SESSION ? packet->destination_port : packet->egress_port;
}

/* P1: the source that leaves is an egress IP of the workspace that the packet's
 * tunnel belongs to. */
static bool outbound_allowed(
	const struct policy_tables *policy, const struct packet *packet, const struct table_vpc *vpc)
{
	const struct table_egress *egress = policy_egress_owner(
		policy, load_be32(packet->data + packet->ip_offset + IPV4_SOURCE_OFFSET), port_leaving(packet));
	return egress != NULL && vpc != NULL && egress->workspace_slot == vpc->workspace_slot;
}

/*
 * P2: the address that it arrived for belongs to the workspace whose tunnel it
 * goes into, and the target is an address of that VPC, listed where workers are
 * listed.
 */
static bool inbound_allowed(
	const struct policy_tables *policy, const struct packet *packet, const struct table_vpc *vpc)
{
	const struct table_egress *egress = policy_egress_owner(policy, packet->destination, port_arrived(packet));
	if (egress == NULL || vpc == NULL || egress->workspace_slot != vpc->workspace_slot)
		return false;
	const uint32_t target = load_be32(packet->data + packet->ip_offset + IPV4_DESTINATION_OFFSET);
	if (!policy_vpc_contains(policy, vpc, target))
		return false;
	return (vpc->flags & POLICY_VPC_WORKERS_LISTED) == 0 ||
	       policy_worker_slot(policy, packet->vni, target) != SESSION_NO_WORKER;
}

static bool passes(const struct policy_tables *policy, const struct packet *packet, const struct table_vpc *vpc)
{
	return packet->in_port == PORT_INSIDE ? outbound_allowed(policy, packet, vpc)
					      : inbound_allowed(policy, packet, vpc);
}

bool guard_passes(const struct policy_tables *policy, const struct packet *packet)
{
	return passes(policy, packet, policy_vpc(policy, packet->vni));
}

void guard_batch(struct nat_shard *shard, struct batch *batch)
{
	const struct table_vpc *vpc = NULL; /* of the packet before, which mostly is this one's too */
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		if (vpc == NULL || vpc->vni != packet->vni)
			vpc = policy_vpc(batch->policy, packet->vni);
		if (LIKELY(passes(batch->policy, packet, vpc)))
			continue;
		shard->counters->guard_violations++;
		shard_drop(shard, packet, packet->in_port == PORT_INSIDE ? DROP_GUARD_EGRESS : DROP_GUARD_INGRESS);
	}
	batch_compact(shard, batch);
}
