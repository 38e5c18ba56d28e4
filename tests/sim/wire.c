/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/wire.h"

#include <string.h>

uint32_t wire_sum(const uint8_t *bytes, uint32_t length_bytes)
{
	uint32_t high = 0, low = 0; /* of each word; no packet is so long that they overflow */
	for (uint32_t i = 0; i + 1 < length_bytes; i += 2) {
		high += bytes[i];
		low += bytes[i + 1];
	}
	if (length_bytes % 2 == 1)
		high += bytes[length_bytes - 1];
	return (uint32_t)((high * 256ull + low) % 65535);
}

void wire_mend(uint8_t *field, uint32_t before, uint32_t after)
{
	wire_put16(field, (wire_get16(field) + before + 65535 - after) % 65535);
}

void wire_seal_ip(uint8_t *ip)
{
	const uint32_t header_bytes = (ip[0] % 16) * 4u;
	wire_put16(ip + 10, 0);
	wire_put16(ip + 10, (65535 - wire_sum(ip, header_bytes)) % 65535);
}

uint32_t wire_checksum_at(uint8_t protocol)
{
	return protocol == WIRE_TCP ? 16 : protocol == WIRE_UDP ? 6 : 2;
}

void wire_seal_l4(uint8_t *ip)
{
	uint8_t *l4 = ip + (ip[0] % 16) * 4u;
	const uint32_t l4_bytes = wire_get16(ip + 2) - (uint32_t)(l4 - ip);
	uint8_t *field = l4 + wire_checksum_at(ip[9]);
	wire_put16(field, 0);
	uint32_t sum = wire_sum(l4, l4_bytes);
	if (ip[9] != WIRE_ICMP)
		sum += wire_sum(ip + 12, 8) + ip[9] + l4_bytes;
	wire_put16(field, (65535 - sum % 65535) % 65535);
	if (ip[9] == WIRE_UDP && wire_get16(field) == 0)
		wire_put16(field, 65535);
}

/* The checks of an IPv4 header, inner or outer, that ends at `end` at the latest. */
static enum drop_reason read_header(struct wire *wire, uint8_t *ip, const uint8_t *end)
{
	if (end < ip + WIRE_IP)
		return DROP_TRUNCATED;
	const uint32_t header_bytes = (ip[0] % 16) * 4u;
	wire->ip = ip;
	wire->ip_bytes = wire_get16(ip + 2);
	if (ip[0] / 16 != 4 || header_bytes < WIRE_IP || wire->ip_bytes < header_bytes)
		return DROP_BAD_IP_HEADER;
	if (ip + wire->ip_bytes > end)
		return DROP_TRUNCATED;
	if (wire_sum(ip, header_bytes) != 0)
		return DROP_BAD_IP_CHECKSUM;
	wire->l4 = ip + header_bytes;
	wire->l4_bytes = wire->ip_bytes - header_bytes;
	wire->protocol = ip[9];
	wire->ttl = ip[8];
	wire->df = ip[6] & 0x40;
	wire->fragment = wire_get16(ip + 6) % 0x4000 != 0;
	wire->later = wire_get16(ip + 6) % 0x2000 != 0;
	wire->source = wire_get32(ip + 12);
	wire->destination = wire_get32(ip + 16);
	return DROP_NONE;
}

/* Every option must end within the header; a source route is none we want. */
static bool options_fine(const uint8_t *at, const uint8_t *end)
{
	while (at < end && at[0] != 0) {
		if (at[0] == 1) {
			at++;
			continue;
		}
		if (at[0] == 131 || at[0] == 137 || at + 1 >= end || at[1] < 2 || at + at[1] > end)
			return false;
		at += at[1];
	}
	return true;
}

static enum drop_reason read_l4(struct wire *wire, const struct wire_port *port)
{
	const uint8_t *l4 = wire->l4;
	const uint32_t bytes = wire->l4_bytes;
	/* A first fragment that ends within the transport header hides what it is. */
	const enum drop_reason short_header = wire->fragment ? DROP_FRAGMENT_TINY : DROP_BAD_L4;
	if (wire->protocol == WIRE_TCP) {
		if (bytes < 20)
			return short_header;
		if (l4[12] / 16 < 5)
			return DROP_BAD_L4;
		if (l4[12] / 16 * 4u > bytes)
			return short_header;
		wire->tcp_flags = l4[13] & (WIRE_FIN | WIRE_SYN | WIRE_RST | WIRE_ACK);
		if (wire->tcp_flags == 0 || ((wire->tcp_flags & WIRE_SYN) && (wire->tcp_flags & (WIRE_FIN | WIRE_RST))))
			return DROP_TCP_BAD_FLAGS;
	} else if (wire->protocol == WIRE_UDP) {
		if (bytes < 8)
			return short_header;
		if (wire_get16(l4 + 4) < 8 || (wire_get16(l4 + 4) > bytes && !wire->fragment))
			return DROP_BAD_L4;
		const uint16_t to = wire_get16(l4 + 2);
		if (port->inside && (to == 4789 || (port->tunnel && to == port->vxlan_port)))
			return DROP_NESTED;
	} else if (wire->protocol == WIRE_ICMP) {
		if (bytes < 8)
			return short_header;
		wire->icmp_error = l4[0] == 3 || l4[0] == 11 || l4[0] == 12;
		if (wire->icmp_error && wire->fragment)
			return DROP_FRAGMENT; /* nobody could verify its checksum */
		if (!wire->icmp_error && l4[0] != 0 && l4[0] != 8)
			return DROP_ICMP_TYPE;
		wire->source_port = wire_get16(l4 + 4);
		return DROP_NONE;
	} else {
		return DROP_NONE; /* no ports: by address alone, if at all */
	}
	wire->source_port = wire_get16(l4);
	wire->destination_port = wire_get16(l4 + 2);
	return DROP_NONE;
}

static enum drop_reason read_packet(struct wire *wire, const struct wire_port *port, uint8_t *ip, const uint8_t *end)
{
	const enum drop_reason flaw = read_header(wire, ip, end);
	if (flaw != DROP_NONE)
		return flaw;
	if (!options_fine(ip + WIRE_IP, wire->l4))
		return DROP_IP_OPTIONS;
	const uint8_t first = (uint8_t)(wire->source >> 24);
	if (first == 0 || first == 127 || first >= 224)
		return DROP_BAD_SOURCE;
	return wire->later ? DROP_NONE : read_l4(wire, port);
}

static enum drop_reason read_tunnel(struct wire *wire, const struct wire_port *port, uint8_t *frame, const uint8_t *end)
{
	const enum drop_reason flaw = read_header(wire, frame + WIRE_ETHERNET, end);
	if (flaw != DROP_NONE)
		return flaw;
	if (wire->protocol != WIRE_UDP || wire->fragment)
		return DROP_NOT_VXLAN;
	if (wire->l4_bytes < 8)
		return DROP_TRUNCATED;
	uint8_t *udp = wire->l4;
	const uint32_t udp_bytes = wire_get16(udp + 4);
	if (wire_get16(udp + 2) != port->vxlan_port || (port->vtep != 0 && wire->destination != port->vtep))
		return DROP_NOT_VXLAN;
	if (udp_bytes > wire->l4_bytes)
		return DROP_TRUNCATED;
	if (udp_bytes < 8 + 8 + WIRE_ETHERNET || (udp[8] & 8) == 0)
		return DROP_BAD_VXLAN;
	wire->vtep = wire->source;
	wire->vni = wire_get32(udp + 12) / 256;
	const uint16_t type = wire_get16(udp + 8 + 8 + 12);
	if (type == 0x8100 || type == 0x88a8)
		return DROP_INNER_VLAN;
	if (type != 0x0800)
		return DROP_NOT_IPV4;
	return read_packet(wire, port, udp + 8 + 8 + WIRE_ETHERNET, udp + udp_bytes);
}

struct wire wire_read(const struct wire_port *port, const uint8_t *bytes, uint32_t length_bytes)
{
	uint8_t *frame = (uint8_t *)bytes;
	struct wire wire = {.vni = port->plain_vni};
	if (length_bytes > WIRE_FRAME_MAX)
		wire.flaw = DROP_OVERSIZED;
	else if (length_bytes < WIRE_ETHERNET + WIRE_IP)
		wire.flaw = DROP_TRUNCATED;
	else if (wire_get16(frame + 12) != 0x0800)
		wire.flaw = DROP_NOT_IPV4;
	else if (port->inside && port->tunnel)
		wire.flaw = read_tunnel(&wire, port, frame, frame + length_bytes);
	else
		wire.flaw = read_packet(&wire, port, frame + WIRE_ETHERNET, frame + length_bytes);
	return wire;
}

void wire_ip_header(uint8_t *ip, uint32_t ip_bytes, uint8_t protocol, uint32_t source, uint32_t destination)
{
	memset(ip, 0, WIRE_IP);
	ip[0] = 0x45;
	wire_put16(ip + 2, ip_bytes);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = protocol;
	wire_put32(ip + 12, source);
	wire_put32(ip + 16, destination);
	wire_seal_ip(ip);
}

uint32_t wire_plain(
	uint8_t *frame, const uint8_t *to_mac, const uint8_t *from_mac, const uint8_t *ip, uint32_t ip_bytes)
{
	memcpy(frame, to_mac, 6);
	memcpy(frame + 6, from_mac, 6);
	wire_put16(frame + 12, 0x0800);
	memmove(frame + WIRE_ETHERNET, ip, ip_bytes);
	return WIRE_ETHERNET + ip_bytes;
}

uint32_t wire_wrap(uint8_t *frame, const struct wire_tunnel *of, const uint8_t *ip, uint32_t ip_bytes)
{
	uint8_t *outer = frame + WIRE_ETHERNET, *udp = outer + WIRE_IP, *vxlan = udp + 8;
	const uint32_t udp_bytes = 8 + 8 + WIRE_ETHERNET + ip_bytes;
	wire_plain(vxlan + 8, of->inner_to_mac, of->inner_from_mac, ip, ip_bytes);
	memcpy(frame, of->to_mac, 6);
	memcpy(frame + 6, of->from_mac, 6);
	wire_put16(frame + 12, 0x0800);
	wire_ip_header(outer, WIRE_IP + udp_bytes, WIRE_UDP, of->from, of->to);
	outer[8] = of->ttl;
	wire_seal_ip(outer);
	wire_put16(udp, of->source_port);
	wire_put16(udp + 2, of->vxlan_port);
	wire_put16(udp + 4, udp_bytes);
	wire_put16(udp + 6, 0);
	wire_put32(vxlan, 0x08000000);
	wire_put32(vxlan + 4, of->vni * 256);
	return WIRE_TUNNEL + ip_bytes;
}
