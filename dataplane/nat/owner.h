/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which shard a packet belongs to, where there are several and each has sessions of its own. Both directions of a flow
 * come to the same answer, from the packet alone:
 *
 *   from inside                    (VNI, inner source): all of a worker's sessions are on one shard
 *   from outside                   destination port, ICMP identifier: the ports are dealt to the shards (ports.c)
 *   ICMP errors                    as the packet that they carry, seen from the other end
 *   what has no ports (GRE, SCTP)  (remote, protocol), in both directions: there is no port that could tell
 *   fragments from outside         first (addresses, protocol, ID), their home: there the first one says by its port
 *                                  who owns them, and the others follow it (fragment.c)
 *
 * The answer depends on nothing that a new process would choose anew, since sessions outlive the process (P5). Whoever
 * picks addresses can only put his own packets onto one shard, as he could with a single worker.
 */
#ifndef POSTERN_NAT_OWNER_H
#define POSTERN_NAT_OWNER_H

#include "dataplane/nat/bytes.h"
#include "dataplane/nat/hash.h"
#include "dataplane/nat/shard.h"

enum { OWNER_TURNS = 65536 / PORT_TURN, OWNER_RECIPROCAL_SHIFT = 16 };

/* [0, shard_count) of a well-mixed number, without division. */
static inline uint32_t owner_scale(uint32_t shard_count, uint64_t mixed)
{
	return (uint32_t)(((mixed >> 32) * shard_count) >> 32);
}

static inline uint32_t owner_of_worker(uint32_t shard_count, uint32_t vni, uint32_t address)
{
	return owner_scale(shard_count, hash_mix((uint64_t)vni << 32 | address));
}

static inline uint32_t owner_of_remote(uint32_t shard_count, uint32_t remote, uint8_t protocol)
{
	return owner_scale(shard_count, hash_mix(1ull << 63 | (uint64_t)protocol << 32 | remote));
}

/* port / PORT_TURN modulo shard_count. The product is exact: turn < 2^11 and shard_count <= 2^4, so that the error of
 * the reciprocal, below turn / 2^16 < 1/32, never reaches the next multiple of 1 / shard_count. */
static inline uint32_t owner_of_port(uint32_t shard_count, uint16_t port)
{
	const uint32_t turn = port / PORT_TURN;
	const uint32_t reciprocal = (1u << OWNER_RECIPROCAL_SHIFT) / shard_count + 1;

	return turn - ((turn * reciprocal) >> OWNER_RECIPROCAL_SHIFT) * shard_count;
}

static inline bool owner_has_ports(uint8_t protocol)
{
	return protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == PROTOCOL_ICMP;
}

/* Of a packet that parse.c has seen. Of a fragment from outside: its home. */
uint32_t owner_of_packet(uint32_t shard_count, const struct packet *packet);

/* Of a fragment from outside, whose datagram's first one this is: who translates it. */
uint32_t owner_of_first_fragment(uint32_t shard_count, const struct packet *packet);

/* Of a session's record. */
uint32_t owner_of_session(uint32_t shard_count, const struct session *session);

/* Ends the packet here: the caller brings it to shard `shard_index` (PACKET_HAND_OVER). */
static inline void owner_hand_over(struct nat_shard *shard, struct packet *packet, uint32_t shard_index)
{
	packet->verdict = PACKET_HAND_OVER;
	packet->out_port = (uint8_t)shard_index;
	shard->ended++;
}

#endif
