/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves, and what is said about what does not. */
#include "tests/sim/oracle_state.h"

static uint32_t mss_max(const struct oracle *oracle)
{
	uint32_t inside = oracle->adjacency.ports[PORT_INSIDE].mtu_bytes;
	const uint32_t outside = oracle->adjacency.ports[PORT_OUTSIDE].mtu_bytes;
	if (oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN)
		inside -= WIRE_TUNNEL - WIRE_ETHERNET;
	return (inside < outside ? inside : outside) - 40;
}

static void clamp_mss(uint8_t *tcp, uint32_t most)
{
	const uint8_t *end = tcp + tcp[12] / 16 * 4u;
	for (uint8_t *option = tcp + 20; option + 1 < end && option[0] != 0;) {
		if (option[0] == 1) {
			option++;
			continue;
		}
		if (option[1] < 2 || option + option[1] > end)
			return;
		if (option[0] == 2 && option[1] == 4) {
			if (wire_get16(option + 2) > most)
				wire_put16(option + 2, most);
			return;
		}
		option += option[1];
	}
}

/*
 * Puts another address and port into the packet at `ip`, of which so many bytes are there. Whoever finds a checksum
 * right before finds it right after; a wrong one stays as wrong as it was.
 */
void readdress(const struct oracle *oracle, uint8_t *ip, uint32_t ip_bytes, bool source, uint32_t address,
	uint16_t port, bool clamp)
{
	uint8_t *l4 = ip + (ip[0] % 16) * 4u;
	const uint32_t l4_bytes = ip_bytes - (uint32_t)(l4 - ip);
	const bool icmp = ip[9] == WIRE_ICMP;
	if (!wire_has_ports(ip[9])) { /* by address alone */
		wire_put32(ip + (source ? 12 : 16), address);
		wire_seal_ip(ip);
		return;
	}
	const uint32_t before = wire_sum(l4, l4_bytes) + (icmp ? 0 : wire_sum(ip + 12, 8));
	wire_put32(ip + (source ? 12 : 16), address);
	wire_put16(l4 + (icmp ? 4 : source ? 0 : 2), port);
	if (clamp && ip[9] == WIRE_TCP && (l4[13] & WIRE_SYN))
		clamp_mss(l4, mss_max(oracle));
	const uint32_t after = wire_sum(l4, l4_bytes) + (icmp ? 0 : wire_sum(ip + 12, 8));
	wire_seal_ip(ip);
	uint8_t *field = l4 + wire_checksum_at(ip[9]);
	if (field + 2 > ip + ip_bytes || (ip[9] == WIRE_UDP && wire_get16(field) == 0))
		return; /* cut off; or none was made (RFC 768) */
	wire_mend(field, before % 65535, after % 65535);
	if (ip[9] == WIRE_UDP && wire_get16(field) == 0)
		wire_put16(field, 65535);
}

void take_packet(struct judgement *of)
{
	of->packet_bytes = of->wire.ip_bytes;
	memcpy(of->packet, of->wire.ip, of->packet_bytes);
	of->packet[8]--;
}

/* The frame that carries an output away; returns its length. `seen` tells the tunnel's source port, which is free. */
uint32_t frame_of(const struct oracle *oracle, const struct output *output, const uint8_t *seen, uint8_t *ret_frame)
{
	static const uint8_t gateway[6] = {0x02, 0x50, 0x4f, 0x53, 0x54, 0x01};
	static const uint8_t worker[6] = {0x02, 0x50, 0x4f, 0x53, 0x54, 0x02};
	const struct adjacency_port *port = &oracle->adjacency.ports[output->port];
	if (output->port == PORT_OUTSIDE || oracle->policy.encapsulation == POLICY_ENCAPSULATION_NONE)
		return wire_plain(ret_frame, output->hop->mac, port->mac, output->packet, output->packet_bytes);
	const struct wire_tunnel tunnel = {
		.to_mac = output->hop->mac,
		.from_mac = port->mac,
		.inner_to_mac = worker,
		.inner_from_mac = gateway,
		.from = oracle->policy.vtep_address != 0 ? oracle->policy.vtep_address : port->address,
		.to = output->vtep,
		.vni = output->vni,
		.source_port = wire_get16(seen + WIRE_ETHERNET + WIRE_IP) | 49152,
		.vxlan_port = oracle->policy.vxlan_udp_port,
		.ttl = 64,
	};
	return wire_wrap(ret_frame, &tunnel, output->packet, output->packet_bytes);
}

static struct output *output_add(struct judgement *of, uint64_t handle)
{
	if (of->output_count == OUTPUTS_MAX)
		abort();
	struct output *output = &of->outputs[of->output_count++];
	output->handle = handle;
	output->forwarded = output->held = false;
	output->reason = DROP_NONE;
	return output;
}

void dropped(struct judgement *of, uint64_t handle, enum drop_reason reason)
{
	output_add(of, handle)->reason = reason;
}

static void send(struct judgement *of, uint64_t handle, unsigned port, uint32_t vni, uint32_t vtep)
{
	struct output *output = output_add(of, handle);
	output->forwarded = true;
	output->port = port;
	output->vni = vni;
	output->vtep = vtep;
	output->hop = of->hop;
	output->packet_bytes = of->packet_bytes;
	memcpy(output->packet, of->packet, of->packet_bytes);
}

/* Sends the packet, in pieces where it does not fit. Packets with options are not cut, nor are pieces made that are
 * larger than a buffer. */
void leave(struct judgement *of, uint64_t handle, unsigned port, uint32_t vni, uint32_t vtep)
{
	if (of->packet_bytes <= of->mtu_bytes) {
		send(of, handle, port, vni, vtep);
		return;
	}
	static uint8_t whole[PACKET_MAX];
	const uint32_t payload_bytes = of->packet_bytes - WIRE_IP, piece_bytes = (of->mtu_bytes - WIRE_IP) / 8 * 8;
	const uint32_t field = wire_get16(of->packet + 6);
	if (of->packet[0] != 0x45 || of->mtu_bytes + WIRE_TUNNEL > 2048 || of->mtu_bytes < WIRE_IP + 8) {
		dropped(of, handle, DROP_TOO_BIG);
		return;
	}
	memcpy(whole, of->packet, of->packet_bytes);
	for (uint32_t at = 0; at < payload_bytes; at += piece_bytes) {
		const bool last = at + piece_bytes >= payload_bytes;
		const uint32_t bytes = last ? payload_bytes - at : piece_bytes;
		of->packet_bytes = WIRE_IP + bytes;
		memcpy(of->packet + WIRE_IP, whole + WIRE_IP + at, bytes);
		wire_put16(of->packet + 2, of->packet_bytes);
		wire_put16(of->packet + 6, (field + at / 8) | (last ? 0 : 0x2000));
		wire_seal_ip(of->packet);
		send(of, at == 0 ? handle : 0, port, vni, vtep);
	}
}

/* ---- answers ---- */

/* A RST out of nothing, with the next sequence number of the one in whose name it goes. */
void reset_packet(struct output *output, const struct entry *entry, bool to_remote)
{
	uint8_t *tcp = output->packet + WIRE_IP;
	output->packet_bytes = WIRE_IP + 20;
	wire_put16(tcp, to_remote ? entry->egress_port : entry->remote_port);
	wire_put16(tcp + 2, to_remote ? entry->remote_port : entry->inside_port);
	wire_put32(tcp + 4, to_remote ? entry->sent : entry->received);
	tcp[12] = 0x50;
	tcp[13] = WIRE_RST;
	wire_ip_header(output->packet, output->packet_bytes, WIRE_TCP,
		to_remote ? entry->egress_address : entry->remote, to_remote ? entry->remote : entry->inside);
	wire_seal_l4(output->packet);
}

/* Says why a packet was dropped, in place of it: as many as a workspace has left. */
bool answer(struct oracle *oracle, struct judgement *of, enum drop_reason reason, bool outbound)
{
	const struct wire *wire = &of->wire;
	const bool tcp = wire->protocol == WIRE_TCP;
	bool reset = false;
	uint8_t type = 3, code = 0;
	if (wire->flaw != DROP_NONE || wire->icmp_error || wire->later || of->of == NULL)
		return false;
	if (reason == DROP_TTL_EXPIRED)
		type = 11;
	else if (reason == DROP_TOO_BIG && wire->df)
		code = 4;
	else if (!outbound)
		return false;
	else if (reason == DROP_DENIED_DESTINATION || reason == DROP_DENIED_POLICY || reason == DROP_HAIRPIN_DENIED)
		code = 13;
	else if (reason == DROP_NO_EGRESS_IP || reason == DROP_PORTS_EXHAUSTED || reason == DROP_SESSIONS_EXHAUSTED ||
		 reason == DROP_LIMIT_SESSIONS || reason == DROP_LIMIT_SESSION_RATE || reason == DROP_LIMIT_HALF_OPEN)
		reset = tcp, code = 1;
	else if (reason == DROP_TCP_NOT_SYN && (of->of->flags & POLICY_WORKSPACE_TCP_RST_UNKNOWN))
		reset = true;
	else
		return false;
	if (reset && (wire->tcp_flags & WIRE_RST))
		return false;
	if (!spend(&allowance_of(oracle, of)->answers, ANSWER_NS))
		return false;
	const bool tunnel = outbound && oracle->policy.encapsulation == POLICY_ENCAPSULATION_VXLAN;
	if (route(oracle, of, of->in_port, tunnel ? wire->vtep : wire->source) != DROP_NONE)
		return false;
	uint8_t *l4 = of->packet + WIRE_IP;
	memset(l4, 0, 20);
	if (reset) {
		const bool acknowledges = wire->tcp_flags & WIRE_ACK;
		const uint32_t data_bytes = wire->l4_bytes - wire->l4[12] / 16 * 4u;
		of->packet_bytes = WIRE_IP + 20;
		wire_put16(l4, wire->destination_port);
		wire_put16(l4 + 2, wire->source_port);
		if (acknowledges)
			wire_put32(l4 + 4, wire_get32(wire->l4 + 8));
		else
			wire_put32(l4 + 8, wire_get32(wire->l4 + 4) + data_bytes + ((wire->tcp_flags & WIRE_SYN) != 0) +
						   ((wire->tcp_flags & WIRE_FIN) != 0));
		l4[12] = 0x50;
		l4[13] = acknowledges ? WIRE_RST : WIRE_RST | WIRE_ACK;
		wire_ip_header(of->packet, of->packet_bytes, WIRE_TCP, wire->destination, wire->source);
	} else {
		/* Never larger than its cause, but for the eight bytes that must be quoted; at most 576. */
		const uint32_t least = (uint32_t)(wire->l4 - wire->ip) + 8;
		uint32_t quote_bytes = wire->ip_bytes < 28 ? 0 : wire->ip_bytes - 28;
		quote_bytes = quote_bytes < least ? least : quote_bytes > 548 ? 548 : quote_bytes;
		quote_bytes = quote_bytes < wire->ip_bytes ? quote_bytes : wire->ip_bytes;
		of->packet_bytes = WIRE_IP + 8 + quote_bytes;
		l4[0] = type;
		l4[1] = code;
		if (code == 4)
			wire_put16(l4 + 6, of->mtu_bytes);
		memcpy(l4 + 8, wire->ip, quote_bytes);
		wire_ip_header(of->packet, of->packet_bytes, WIRE_ICMP,
			outbound ? oracle->adjacency.ports[PORT_OUTSIDE].address : wire->destination, wire->source);
	}
	wire_seal_l4(of->packet);
	send(of, of->handle, of->in_port, wire->vni, wire->vtep);
	of->outputs[of->output_count - 1].reason = reason;
	return true;
}
