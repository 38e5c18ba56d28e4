/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/tenants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tenants_require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

struct world *tenants_world(bool plain)
{
	static const char *const names[] = {"acme", "globex"};
	struct world *world = world_new(1024, 0, 1, 1);
	struct world_draft *draft = &world->draft;
	draft->header.encapsulation = plain ? POLICY_ENCAPSULATION_NONE : POLICY_ENCAPSULATION_VXLAN;
	draft->header.plain_vni = plain ? TENANTS_VNI : 0;
	for (unsigned i = 0; i < TENANTS; i++) {
		draft->workspaces[i] = draft->workspaces[0];
		snprintf(draft->workspaces[i].id, ID_SIZE_BYTES, "%s", names[i]);
		draft->workspaces[i].flags = POLICY_WORKSPACE_TCP_RST_UNKNOWN;
		draft->workspaces[i].egress_first = i;
		draft->workspaces[i].egress_count = 1;
		draft->workspaces[i].mapping_tcp = (uint8_t)i;
		snprintf(draft->vpcs[i].id, ID_SIZE_BYTES, "main");
		draft->vpcs[i].vni = TENANTS_VNI + i;
		draft->vpcs[i].workspace_index = i;
		draft->vpcs[i].cidr_count = 1;
		draft->egress_ips[i] = (struct policy_egress_ip){.address = tenants_ip(i), .workspace_index = i};
	}
	draft->cidrs[0] = (struct policy_cidr){WORLD_IP(10, 0, 0, 0), 16};
	draft->counts[POLICY_WORKSPACES] = draft->counts[POLICY_VPCS] = draft->counts[POLICY_EGRESS_IPS] = TENANTS;
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

uint32_t tenants_frame(bool plain, unsigned in_port, const struct tenants_packet *of, uint8_t *ret_bytes)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 9, 9};
	const bool inside = in_port == PORT_INSIDE;
	uint8_t ip[64] = {0};
	if (of->protocol == WIRE_ICMP) {
		wire_put16(ip + 20, inside ? 0x0800 : 0x0000);
		wire_put16(ip + 24, inside ? of->source_port : of->destination_port);
	} else {
		wire_put16(ip + 20, of->source_port);
		wire_put16(ip + 22, of->destination_port);
		wire_put16(ip + 24, of->protocol == WIRE_UDP ? 20 : 5000);
	}
	ip[32] = 0x50;
	ip[33] = WIRE_SYN;
	wire_ip_header(ip, 40, of->protocol, of->source, of->destination);
	if (wire_has_ports(of->protocol))
		wire_seal_l4(ip);
	if (!inside || plain)
		return wire_plain(ret_bytes, mac, mac, ip, 40);
	const struct wire_tunnel tunnel = {mac, mac, mac, mac, WORLD_IP(10, 100, 0, 2), WORLD_GATEWAY_INSIDE,
		TENANTS_VNI + of->tenant, 50000, 4789, 64};
	return wire_wrap(ret_bytes, &tunnel, ip, 40);
}

/* The egress IP of who has that VNI. */
static uint32_t ip_of(const struct world *world, uint32_t vni)
{
	tenants_require(vni - TENANTS_VNI < TENANTS, "it belongs to a VNI that is nobody's");
	return world->draft.egress_ips[vni - TENANTS_VNI].address;
}

void tenants_isolated(const struct world *world, const struct packet *packet, const struct wire *in)
{
	const bool plain = world->draft.header.encapsulation == POLICY_ENCAPSULATION_NONE;
	const bool from_inside = packet->in_port == PORT_INSIDE;
	const uint8_t *ip = packet->data + WIRE_ETHERNET;
	if (packet->out_port == PORT_OUTSIDE) {
		tenants_require(wire_get32(ip + 12) == (from_inside ? ip_of(world, in->vni) : in->destination),
			"P1: it left with an IP that is not its workspace's");
		return;
	}
	const uint32_t vni = plain ? TENANTS_VNI : wire_get32(ip + WIRE_IP + 8 + 4) / 256;
	if (from_inside && packet->drop_reason != DROP_NONE)
		tenants_require(vni == in->vni, "P2: an answer reached another workspace");
	else
		tenants_require(in->destination == ip_of(world, vni), "P2: it reached another workspace");
}
