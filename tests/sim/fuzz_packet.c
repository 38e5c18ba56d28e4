/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a frame, at either port. Byte 0 says how: bit 0 from outside; bit 1 mend the checksums, so that what is
 * behind them is reached; bit 2 an outbound packet opens a session first; bit 3 … and the frame is made to be for it;
 * bit 4 the plain world, without a tunnel; bit 5 the frame comes twice. Checked: memory (ASan, UBSan), own traps, P1
 * and P2 by the policy, the conservation law, and that nothing is left when time has passed.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/fragment.h"
#include "dataplane/nat/session.h"
#include "tests/sim/tenants.h"

enum { OUTSIDE = 1, MEND = 2, OPEN = 4, AIM = 8, PLAIN = 16, TWICE = 32 };

/* Upkeep comes by in time; here its sweep begins with the one that matters. */
static void datagram_ends(struct world *world, uint32_t index)
{
	world->now_ns += 20 * WORLD_SECOND;
	world->shard->fragments.sweep_at = index;
	nat_upkeep(world->shard, &world->view, world->now_ns);
}

static void run(struct world *world, unsigned in_port, const uint8_t *bytes, uint32_t length_bytes, bool plain)
{
	const struct wire_port port = {in_port == PORT_INSIDE, !plain, 4789, 0, 7001};
	const struct wire in = wire_read(&port, bytes, length_bytes);
	/* In memory of exactly that size, so that a read behind its end is seen. */
	uint8_t *exact = malloc(WORLD_HEADROOM + length_bytes);
	tenants_require(exact != NULL, "no memory");
	memcpy(exact + WORLD_HEADROOM, bytes, length_bytes);
	struct packet packet = {
		.data = exact + WORLD_HEADROOM,
		.length_bytes = (uint16_t)length_bytes,
		.headroom_bytes = WORLD_HEADROOM,
		.in_port = (uint8_t)in_port,
	};
	nat_process(world->shard, &world->view, (struct packet *const[]){&packet}, 1, world->now_ns);
	if (packet.verdict == PACKET_FORWARD) {
		nat_count_tx(world->shard, packet.out_port, 1, packet.length_bytes);
		tenants_isolated(world, &packet, &in);
	}
	/* A held one comes back here at the latest: its memory is ours. */
	for (struct packet *more; (more = nat_take(world->shard)) != NULL;) {
		if (more->verdict == PACKET_FORWARD)
			nat_count_tx(world->shard, more->out_port, 1, more->length_bytes);
		if (more != &packet)
			world_frame_free(world, more->owner);
	}
	if (packet.verdict == PACKET_HELD) {
		datagram_ends(world, packet.datagram);
		nat_take(world->shard);
	}
	tenants_require(packet.verdict != PACKET_HELD, "a held packet does not come back");
	free(exact);
}

/* Opens a session of acme's; returns its outside port. */
static uint16_t session_open(struct world *world, bool plain, uint8_t protocol)
{
	const bool icmp = protocol == WIRE_ICMP;
	const struct tenants_packet of = {protocol, 0, TENANTS_WORKER, TENANTS_REMOTE, icmp ? 5000 : TENANTS_PORT,
		icmp ? 0 : TENANTS_REMOTE_PORT};
	uint8_t bytes[256];
	const uint32_t length_bytes = tenants_frame(plain, PORT_INSIDE, &of, bytes);
	struct world_frame *frame = world_frame_new(world, PORT_INSIDE, bytes, length_bytes);
	world_process(world, (struct world_frame *const[]){frame}, 1);
	tenants_require(frame->packet.verdict == PACKET_FORWARD, "an ordinary packet was not forwarded");
	const uint16_t port = wire_get16(frame->packet.data + WIRE_ETHERNET + (icmp ? 24 : 20));
	world_frame_free(world, frame);
	return port;
}

static void mend(uint8_t *bytes, uint32_t length_bytes, bool tunnel)
{
	if (tunnel) {
		if (length_bytes < WIRE_TUNNEL + 20)
			return;
		wire_put16(bytes + 12, 0x0800);
		bytes[14] = 0x45;
		wire_seal_ip(bytes + WIRE_ETHERNET);
		bytes += WIRE_TUNNEL - WIRE_ETHERNET;
		length_bytes -= WIRE_TUNNEL - WIRE_ETHERNET;
	}
	uint8_t *ip = bytes + WIRE_ETHERNET;
	if (length_bytes < WIRE_ETHERNET + 60u)
		return;
	wire_put16(bytes + 12, 0x0800);
	ip[0] = (uint8_t)(0x40 | (ip[0] % 16 < 5 ? 5 : ip[0] % 16));
	const uint32_t header_bytes = (ip[0] % 16) * 4u, ip_bytes = length_bytes - WIRE_ETHERNET;
	if (wire_get16(ip + 2) > ip_bytes || wire_get16(ip + 2) < header_bytes + 20u)
		wire_put16(ip + 2, ip_bytes);
	/* What an ICMP error quotes, too. */
	if (ip[9] == WIRE_ICMP && wire_get16(ip + 2) >= header_bytes + 8u + 60u)
		wire_seal_ip(ip + header_bytes + 8);
	wire_seal_ip(ip);
	if (wire_get16(ip + 2) >= header_bytes + 20u)
		wire_seal_l4(ip);
}

/* Makes an outside frame a reply to the session, or an error that quotes a packet of it. */
static void aim(uint8_t *bytes, uint32_t length_bytes, uint8_t protocol, uint16_t port)
{
	uint8_t *ip = bytes + WIRE_ETHERNET;
	const uint32_t header_bytes = (ip[0] % 16 < 5 ? 5 : ip[0] % 16) * 4u;
	if (length_bytes < WIRE_ETHERNET + header_bytes + 60u)
		return;
	wire_put32(ip + 12, TENANTS_REMOTE);
	wire_put32(ip + 16, tenants_ip(0));
	uint8_t *l4 = ip + header_bytes;
	if (ip[9] == WIRE_ICMP && (l4[0] == 3 || l4[0] == 11 || l4[0] == 12)) {
		uint8_t *quoted = l4 + 8;
		quoted[9] = protocol;
		wire_put32(quoted + 12, tenants_ip(0));
		wire_put32(quoted + 16, TENANTS_REMOTE);
		if (quoted[0] == 0x45) {
			wire_put16(quoted + (protocol == WIRE_ICMP ? 24 : 20), port);
			wire_put16(quoted + 22, protocol == WIRE_ICMP ? wire_get16(quoted + 22) : TENANTS_REMOTE_PORT);
		}
		return;
	}
	ip[9] = protocol;
	wire_put16(l4, protocol == WIRE_ICMP ? wire_get16(l4) : TENANTS_REMOTE_PORT);
	wire_put16(l4 + (protocol == WIRE_ICMP ? 4 : 2), port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *worlds[2];
	static const uint8_t protocols[] = {WIRE_UDP, WIRE_TCP, WIRE_ICMP, WIRE_UDP};
	if (size < 1 || size > 2000)
		return 0;
	const uint8_t how = data[0];
	const bool plain = how & PLAIN, outside = how & OUTSIDE;
	const uint8_t protocol = protocols[how >> 6];
	struct world *world = worlds[plain];
	if (world == NULL)
		world = worlds[plain] = tenants_world(plain);
	world->shard->random_state[0] = world->shard->random_state[1] = 1;
	uint8_t bytes[2048];
	const uint32_t length_bytes = (uint32_t)(size - 1);
	memcpy(bytes, data + 1, length_bytes);
	if (how & OPEN) {
		const uint16_t port = session_open(world, plain, protocol);
		if ((how & AIM) && outside)
			aim(bytes, length_bytes, protocol, port);
	}
	if (how & MEND)
		mend(bytes, length_bytes, !outside && !plain);
	for (unsigned copies = how & TWICE ? 2 : 1; copies > 0; copies--)
		run(world, outside ? PORT_OUTSIDE : PORT_INSIDE, bytes, length_bytes, plain);
	/* Everything ends: the next run finds the same world. Upkeep would do it, at the price of most of the time. */
	for (uint32_t i = 0; world->counts->sessions_active > 0 && i < world->shard->sessions_max; i++)
		if (world->sessions[i].state != SESSION_FREE)
			session_remove(world->shard, i);
	const struct fragments *fragments = &world->shard->fragments;
	for (uint32_t i = 0; fragments->index.count > 0 && i < DATAGRAMS_MAX; i++)
		if (fragments->deadlines[i] != UINT32_MAX)
			datagram_ends(world, i);
	tenants_require(fragments->index.count == 0, "a datagram does not end");
	const char *problem = world_law(world);
	tenants_require(problem == NULL, problem);
	return 0;
}
