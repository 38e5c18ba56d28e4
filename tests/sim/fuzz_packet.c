/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a frame, at either port. Byte 0 says how: bit 0 from outside; bit 1 mend the checksums, so that what is
 * behind them is reached; bit 2 an outbound packet opens a session first; bit 3 … and the frame is made to be for it;
 * bit 4 the plain world, without a tunnel; bit 5 the frame comes twice. Checked: memory (ASan, UBSan), own traps, P1
 * and P2 by the policy, the conservation law, and that nothing is left when time has passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/nat/session.h"
#include "tests/sim/wire.h"
#include "tests/sim/world.h"

enum { OUTSIDE = 1, MEND = 2, OPEN = 4, AIM = 8, PLAIN = 16, TWICE = 32 };
#define IP_ACME WORLD_IP(203, 0, 113, 10)
#define IP_GLOBEX WORLD_IP(203, 0, 113, 20)
#define REMOTE WORLD_IP(192, 0, 2, 10)
#define WORKER WORLD_IP(10, 0, 0, 5)

static void require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static struct world *world_make(bool plain)
{
	static const char *const names[] = {"acme", "globex"};
	struct world *world = world_new(1024, 0, 1, 1);
	struct world_draft *draft = &world->draft;
	draft->header.encapsulation = plain ? POLICY_ENCAPSULATION_NONE : POLICY_ENCAPSULATION_VXLAN;
	draft->header.plain_vni = plain ? 7001 : 0;
	for (unsigned i = 0; i < 2; i++) {
		draft->workspaces[i] = draft->workspaces[0];
		snprintf(draft->workspaces[i].id, ID_SIZE_BYTES, "%s", names[i]);
		draft->workspaces[i].flags = POLICY_WORKSPACE_TCP_RST_UNKNOWN;
		draft->workspaces[i].egress_first = i;
		draft->workspaces[i].egress_count = 1;
		draft->workspaces[i].mapping_tcp = (uint8_t)i;
		snprintf(draft->vpcs[i].id, ID_SIZE_BYTES, "main");
		draft->vpcs[i].vni = 7001 + i;
		draft->vpcs[i].workspace_index = i;
		draft->vpcs[i].cidr_count = 1;
		draft->egress_ips[i] =
			(struct policy_egress_ip){.address = i == 0 ? IP_ACME : IP_GLOBEX, .workspace_index = i};
	}
	draft->cidrs[0] = (struct policy_cidr){WORLD_IP(10, 0, 0, 0), 16};
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = draft->counts[POLICY_EGRESS_IPS] = 2;
	draft->counts[POLICY_CIDRS] = 1;
	world_policy(world);
	if (plain) {
		struct world_adjacency *adjacency = &world->adjacency;
		adjacency->routes[adjacency->header.routes.count++] =
			(struct adjacency_route){WORLD_IP(10, 0, 0, 0), 16, PORT_INSIDE, 0, 0};
	}
	world_adjacency(world);
	return world;
}

static void isolation(const struct packet *packet, const struct wire *in, bool plain)
{
	const uint8_t *ip = packet->data + WIRE_ETHERNET;
	if (packet->out_port == PORT_OUTSIDE) {
		const uint32_t source = wire_get32(ip + 12);
		require(source == (packet->in_port == PORT_OUTSIDE ? in->destination
					  : in->vni == 7001	   ? IP_ACME
								   : IP_GLOBEX),
			"P1: it left with an IP that is not its workspace's");
		return;
	}
	const uint32_t vni = plain ? 7001 : wire_get32(ip + WIRE_IP + 8 + 4) / 256;
	if (packet->in_port == PORT_OUTSIDE)
		require(in->destination == (vni == 7001 ? IP_ACME : IP_GLOBEX), "P2: it reached another workspace");
	else
		require(vni == in->vni, "P2: an answer reached another workspace");
}

static void run(struct world *world, unsigned in_port, const uint8_t *bytes, uint32_t length_bytes, bool plain)
{
	const struct wire_port port = {in_port == PORT_INSIDE, !plain, 4789, 0, 7001};
	const struct wire in = wire_read(&port, bytes, length_bytes);
	/* In memory of exactly that size, so that a read behind its end is seen. */
	uint8_t *exact = malloc(WORLD_HEADROOM + length_bytes);
	require(exact != NULL, "no memory");
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
		isolation(&packet, &in, plain);
	}
	/* A held one comes back here at the latest: its memory is ours. */
	for (struct packet *more; (more = nat_take(world->shard)) != NULL;) {
		if (more->verdict == PACKET_FORWARD)
			nat_count_tx(world->shard, more->out_port, 1, more->length_bytes);
		if (more != &packet)
			world_frame_free(world, more->owner);
	}
	while (packet.verdict == PACKET_HELD) {
		world->now_ns += 20 * WORLD_SECOND;
		nat_upkeep(world->shard, &world->view, world->now_ns);
		nat_take(world->shard);
	}
	free(exact);
}

/* Opens a session; returns its outside port. */
static uint16_t session_open(struct world *world, bool plain, uint8_t protocol)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	uint8_t ip[64] = {0}, bytes[256];
	wire_put16(ip + 20, protocol == WIRE_ICMP ? 0x0800 : 5000);
	wire_put16(ip + 22, protocol == WIRE_ICMP ? 0 : 443);
	wire_put16(ip + 24, protocol == WIRE_UDP ? 20 : 5000);
	ip[32] = 0x50;
	ip[33] = WIRE_SYN;
	wire_ip_header(ip, 40, protocol, WORKER, REMOTE);
	wire_seal_l4(ip);
	const struct wire_tunnel tunnel = {
		mac, mac, mac, mac, WORLD_IP(10, 100, 0, 2), WORLD_GATEWAY_INSIDE, 7001, 50000, 4789, 64};
	const uint32_t length_bytes = plain ? wire_plain(bytes, mac, mac, ip, 40) : wire_wrap(bytes, &tunnel, ip, 40);
	struct world_frame *frame = world_frame_new(world, PORT_INSIDE, bytes, length_bytes);
	world_process(world, (struct world_frame *const[]){frame}, 1);
	require(frame->packet.verdict == PACKET_FORWARD, "an ordinary packet was not forwarded");
	const uint16_t port = wire_get16(frame->packet.data + WIRE_ETHERNET + (protocol == WIRE_ICMP ? 24 : 20));
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
	wire_put32(ip + 12, REMOTE);
	wire_put32(ip + 16, IP_ACME);
	uint8_t *l4 = ip + header_bytes;
	if (ip[9] == WIRE_ICMP && (l4[0] == 3 || l4[0] == 11 || l4[0] == 12)) {
		uint8_t *quoted = l4 + 8;
		quoted[9] = protocol;
		wire_put32(quoted + 12, IP_ACME);
		wire_put32(quoted + 16, REMOTE);
		if (quoted[0] == 0x45) {
			wire_put16(quoted + (protocol == WIRE_ICMP ? 24 : 20), port);
			wire_put16(quoted + 22, protocol == WIRE_ICMP ? wire_get16(quoted + 22) : 443);
		}
		return;
	}
	ip[9] = protocol;
	wire_put16(l4, protocol == WIRE_ICMP ? wire_get16(l4) : 443);
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
		world = worlds[plain] = world_make(plain);
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
	for (unsigned calls = 0; world->shard->fragments.index.count > 0; calls++) {
		world->now_ns += 10000 * WORLD_SECOND;
		nat_upkeep(world->shard, &world->view, world->now_ns);
		require(calls < 256, "a datagram does not end");
	}
	const char *problem = world_law(world);
	require(problem == NULL, problem);
	return 0;
}
