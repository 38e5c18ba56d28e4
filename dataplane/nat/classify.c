/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside: (sender of the tunnel, VNI, inner source) → workspace. Identity comes
 * from the tag and the tunnel's sender, never from an address. Outside:
 * destination → the workspace that owns this egress IP.
 */
#include "dataplane/nat/bytes.h"
#include "dataplane/nat/fragment.h"
#include "dataplane/nat/limits.h"
#include "dataplane/nat/stages.h"

/* `last`: the VPC of the packet before, which mostly is this one's too. */
static enum drop_reason classify_inside(
	const struct policy_tables *policy, struct packet *packet, const struct table_vpc **last)
{
	if (policy->encapsulation == POLICY_ENCAPSULATION_VXLAN && !policy_vtep_trusted(policy, packet->vtep))
		return DROP_UNTRUSTED_VTEP;
	const struct table_vpc *vpc = *last;
	if (vpc == NULL || vpc->vni != packet->vni)
		vpc = policy_vpc(policy, packet->vni);
	if (UNLIKELY(vpc == NULL))
		return DROP_UNKNOWN_VNI;
	if (vpc != *last)
		__builtin_prefetch(&policy->workspaces[vpc->workspace_slot]);
	*last = vpc;
	packet->vpc = vpc;
	packet->workspace_slot = vpc->workspace_slot;
	if (!policy_vpc_contains(policy, vpc, packet->source))
		return DROP_SOURCE_OUTSIDE_VPC;
	return DROP_NONE;
}

/*
 * The egress port that a packet from outside speaks of: its destination port, or the source port of the packet that an
 * ICMP error carries. Only where addresses are shared; icmp.c checks the error before it believes it.
 */
static uint16_t egress_port_of(const struct packet *packet)
{
	if (packet->kind == PACKET_KIND_SESSION)
		return packet->destination_port;
	const uint8_t *icmp = packet->data + packet->l4_offset;
	const uint32_t icmp_bytes = packet->ip_length_bytes - (uint32_t)(packet->l4_offset - packet->ip_offset);
	if (icmp_bytes < ICMP_HEADER_BYTES + IPV4_HEADER_BYTES)
		return 0;
	const uint8_t *ip = icmp + ICMP_HEADER_BYTES;
	const uint32_t header_bytes = (uint32_t)(ip[0] & 15) * 4;
	if (header_bytes < IPV4_HEADER_BYTES || ICMP_HEADER_BYTES + header_bytes + 8 > icmp_bytes)
		return 0;
	return load_be16(ip + header_bytes + (ip[IPV4_PROTOCOL_OFFSET] == PROTOCOL_ICMP ? ICMP_ID_OFFSET : 0));
}

static enum drop_reason classify_outside(
	struct nat_shard *shard, const struct policy_tables *policy, struct packet *packet)
{
	const struct table_egress *egress = policy_egress(policy, packet->destination);
	if (egress == NULL)
		return DROP_NOT_OURS;
	packet->vpc = NULL;
	if (LIKELY(egress->workspace_slot != TABLE_SHARED)) {
		packet->workspace_slot = egress->workspace_slot;
		return DROP_NONE;
	}
	if (packet->kind == PACKET_KIND_FRAGMENT)
		return fragment_owner(shard, packet);
	egress = policy_egress_owner(policy, packet->destination, egress_port_of(packet));
	if (egress == NULL)
		return DROP_NO_SESSION;
	packet->workspace_slot = egress->workspace_slot;
	return DROP_NONE;
}

/* What a workspace may send per second, all its workers together. */
static bool within_rates(struct nat_shard *shard, const struct policy_tables *policy, const struct packet *packet)
{
	const struct policy_rates *rates = &policy->workspaces[packet->workspace_slot].rates;
	if (LIKELY((rates->packet_ns | rates->byte_ns_1024) == 0))
		return true;
	struct shard_workspace *state = shard_buckets(shard, policy, packet->workspace_slot);
	const uint64_t sharers = shard_sharers(shard, packet->workspace_slot);
	return limits_take(&state->packet_ns, rates->packet_ns * sharers, shard->now_ns) &&
	       limits_take(
		       &state->byte_ns, rates->byte_ns_1024 * packet->ip_length_bytes / 1024 * sharers, shard->now_ns);
}

void classify_batch(struct nat_shard *shard, struct batch *batch)
{
	const struct policy_tables *policy = batch->policy;
	const struct table_vpc *last = NULL;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct packet *packet = batch->live[i];
		const bool inside = packet->in_port == PORT_INSIDE;
		enum drop_reason reason =
			inside ? classify_inside(policy, packet, &last) : classify_outside(shard, policy, packet);
		if (UNLIKELY(reason != DROP_NONE)) {
			shard_drop(shard, packet, reason);
			continue;
		}
		if (!inside)
			continue;
		if (!within_rates(shard, policy, packet)) {
			shard_drop(shard, packet, DROP_LIMIT_PACKET_RATE);
			continue;
		}
		if (packet->data[packet->ip_offset + IPV4_TTL_OFFSET] <= 1) {
			answer_drop(shard, batch, packet, DROP_TTL_EXPIRED, 0);
			continue;
		}
		reason = translate_hop_outside(shard, batch, packet, packet->destination);
		if (reason == DROP_TOO_BIG)
			answer_drop(shard, batch, packet, reason, route_mtu_bytes(batch, packet, PORT_OUTSIDE));
		else if (reason != DROP_NONE)
			shard_drop(shard, packet, reason);
	}
	batch_compact(shard, batch);
}
