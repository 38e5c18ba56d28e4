/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as the oracle and the simulator read and write them: byte by byte, slowly, and without a line of the core's.
 * Lengths are checked in wire_read() alone; what it returns may be trusted.
 */
#ifndef POSTERN_TESTS_SIM_WIRE_H
#define POSTERN_TESTS_SIM_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/contract/drop_reasons.h"

enum {
	WIRE_ETHERNET = 14,
	WIRE_IP = 20,
	WIRE_TUNNEL = 14 + 20 + 8 + 8 + 14, /* in front of a tunnelled IPv4 packet */
	WIRE_FRAME_MAX = 9216,
	WIRE_ICMP = 1,
	WIRE_TCP = 6,
	WIRE_UDP = 17,
	WIRE_FIN = 1,
	WIRE_SYN = 2,
	WIRE_RST = 4,
	WIRE_PSH = 8,
	WIRE_ACK = 16,
};

/* How a port is to be read. */
struct wire_port {
	bool inside, tunnel;
	uint16_t vxlan_port;
	uint32_t vtep; /* the gateway's; 0: any */
	uint32_t plain_vni;
};

/* What a frame says, or why it says nothing. */
struct wire {
	enum drop_reason flaw;
	uint32_t vni, vtep;
	uint8_t *ip, *l4; /* in the frame; `l4` only when not a flaw */
	uint32_t ip_bytes, l4_bytes;
	uint32_t source, destination;
	uint16_t source_port, destination_port; /* ICMP echo: the identifier in the first, 0 in the second */
	uint8_t protocol, tcp_flags, ttl;
	bool df, icmp_error;
	bool fragment, later; /* part of a datagram; … and not its first */
};

struct wire wire_read(const struct wire_port *port, const uint8_t *frame, uint32_t length_bytes);

static inline bool wire_has_ports(uint8_t protocol)
{
	return protocol == WIRE_TCP || protocol == WIRE_UDP || protocol == WIRE_ICMP;
}

static inline uint16_t wire_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] * 256 + at[1]);
}

static inline uint32_t wire_get32(const uint8_t *at)
{
	return (uint32_t)wire_get16(at) * 65536 + wire_get16(at + 2);
}

static inline void wire_put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value / 256);
	at[1] = (uint8_t)value;
}

static inline void wire_put32(uint8_t *at, uint32_t value)
{
	wire_put16(at, value / 65536);
	wire_put16(at + 2, value % 65536);
}

/* Sum of the 16-bit words, modulo 65535: what the Internet checksum is about. */
uint32_t wire_sum(const uint8_t *bytes, uint32_t length_bytes);
/* The checksum in `field` after what it covers summed up to `before` and now sums up to `after`. */
void wire_mend(uint8_t *field, uint32_t before, uint32_t after);
/* Fills in right checksums: of an IPv4 header, of the transport behind it. */
void wire_seal_ip(uint8_t *ip);
void wire_seal_l4(uint8_t *ip);
/* Where the checksum of a transport header stands. */
uint32_t wire_checksum_at(uint8_t protocol);

struct wire_tunnel {
	const uint8_t *to_mac, *from_mac, *inner_to_mac, *inner_from_mac;
	uint32_t from, to, vni;
	uint16_t source_port, vxlan_port;
	uint8_t ttl;
};

/* Writes a whole frame around an IPv4 packet; returns its length. */
uint32_t wire_wrap(uint8_t *frame, const struct wire_tunnel *tunnel, const uint8_t *ip, uint32_t ip_bytes);
uint32_t wire_plain(
	uint8_t *frame, const uint8_t *to_mac, const uint8_t *from_mac, const uint8_t *ip, uint32_t ip_bytes);
/* An IPv4 header without options in front of what follows it. */
void wire_ip_header(uint8_t *ip, uint32_t ip_bytes, uint8_t protocol, uint32_t source, uint32_t destination);

#endif
