/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of the pipeline, in the order in which pipeline.c calls them. Each
 * takes the packets that are pending, and either leaves a packet pending for
 * the next stage or gives it its verdict. Thread: the shard's.
 */
#ifndef POSTERN_NAT_STAGES_H
#define POSTERN_NAT_STAGES_H

#include "dataplane/nat/shard.h"

/* recover.c: sessions of an earlier process, from their records alone; how many there are. */
uint32_t recover_sessions(struct nat_shard *shard, const struct identities *identities);

/* shard.c: after a policy swap, takes over the sessions that it guarantees to each workspace. */
void shard_guarantees(struct nat_shard *shard, const struct policy_tables *policy);

/* parse.c: lengths are checked here, once; later stages rely on the offsets. */
void parse_batch(struct nat_shard *shard, struct batch *batch);

/* owner.c: what another shard owns leaves the batch here, to be handed over. Only where shards share the traffic. */
void owner_batch(struct nat_shard *shard, struct batch *batch);

/* classify.c: whose packet is it, and may it go where it wants to? */
void classify_batch(struct nat_shard *shard, struct batch *batch);

/* find.c: session_index of each packet, by hash; two cache lines, prefetched
 * over the batch. */
void find_batch(struct nat_shard *shard, struct batch *batch);

/* translate.c: creates sessions, checks that the found ones are live, moves
 * their state; decides the next hop. */
void translate_batch(struct nat_shard *shard, struct batch *batch);

/*
 * The way on from a port, and whether the packet fits there; sets hop, and
 * PACKET_SPLIT where it must be fragmented. Inside: also the worker host (vtep)
 * that the session says.
 */
enum drop_reason translate_hop_outside(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, uint32_t destination);
enum drop_reason translate_hop_inside(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, const struct session *session);

/* refusal.c: keeps the destinations that are refused most, for the operator. */
void refusal_note(struct nat_shard *shard, const struct packet *packet, enum drop_reason reason);

/* reset.c: tells both ends, or the remote alone, that a TCP session is over. */
void reset_both(struct nat_shard *shard, const struct batch *batch, const struct session *session);
void reset_remote(struct nat_shard *shard, const struct batch *batch, const struct session *session);

/* tcp.c: the session's next state for this packet. */
void tcp_advance(struct nat_shard *shard, struct session *session, const struct packet *packet, bool outbound);

/* split.c: sends a packet that is too big in pieces; the first one in its own
 * buffer. */
void split_outside(struct nat_shard *shard, const struct batch *batch, struct packet *packet);
void split_inside(struct nat_shard *shard, const struct batch *batch, struct packet *packet);

/* icmp.c: translates an ICMP error and the packet inside it. DROP_NONE: bytes
 * are rewritten, the hop is set. */
enum drop_reason icmp_error_translate(struct nat_shard *shard, const struct batch *batch, struct packet *packet);

/* rewrite.c: the only place that writes a passing packet's addresses, ports,
 * TTL and checksums. */
void rewrite_batch(struct nat_shard *shard, struct batch *batch);

/* guard.c: independent of sessions, by the bytes that would leave and the
 * policy alone (P1, P2). */
void guard_batch(struct nat_shard *shard, struct batch *batch);
bool guard_passes(const struct policy_tables *policy, const struct packet *packet);

/* emit.c: link headers and encapsulation. Sets the verdict PACKET_FORWARD. */
void emit_batch(struct nat_shard *shard, struct batch *batch);
/* To the worker host `vtep`, in the tunnel `vni`; the IPv4 packet at ip_offset.
 */
void emit_inside(const struct batch *batch, struct packet *packet, uint32_t vni, uint32_t vtep);
void emit_outside(const struct batch *batch, struct packet *packet);

/* Where to, from a port towards an address. DROP_NONE: packet->hop_index is set. */
enum drop_reason route_look_up(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, unsigned port, uint32_t address);

static inline enum drop_reason route_find(
	struct nat_shard *shard, const struct batch *batch, struct packet *packet, unsigned port, uint32_t address)
{
	const struct route_recent *recent = &shard->routes_recent[port];
	if (LIKELY(address - recent->first < recent->length)) {
		packet->hop_index = recent->hop_index;
		return DROP_NONE;
	}
	return route_look_up(shard, batch, packet, port, address);
}

/* The largest IPv4 packet that may leave by the port towards packet->hop. */
uint32_t route_mtu_bytes(const struct batch *batch, const struct packet *packet, unsigned port);

/*
 * answer.c: drops the packet under `reason` and, where that is due and within
 * the limits, sends its bytes back as an ICMP error or a RST.
 */
void answer_drop(struct nat_shard *shard, const struct batch *batch, struct packet *packet, enum drop_reason reason,
	uint32_t mtu_bytes);

#endif
