/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds Ethernet frames for the BPF tests: whole ones by default, each field open to be spoilt afterwards. Addresses
 * are in host order. Tests only; not thread-safe in the sense that a frame belongs to its caller.
 */
#ifndef POSTERN_TESTS_BPF_FRAME_BUILDER_H
#define POSTERN_TESTS_BPF_FRAME_BUILDER_H

#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_MAX_BYTES = 2048,
	ETHERNET_BYTES = 14,
	IPV4_BYTES = 20,
	ARP_BYTES = 28,
	UDP_BYTES = 8,
	VXLAN_BYTES = 8,
};

struct frame {
	uint8_t bytes[FRAME_MAX_BYTES];
	size_t length_bytes;
};

struct frame_ipv4 {
	const uint8_t *source_mac, *destination_mac;
	uint32_t source, destination;
	uint8_t protocol;
	uint8_t options_bytes;			/* of the header, a multiple of 4; filled with NOPs */
	uint16_t fragment;			/* flags and offset, as on the wire but in host order */
	uint16_t source_port, destination_port; /* UDP and TCP */
	uint16_t payload_bytes;			/* behind the UDP header; behind the IP header for the rest */
};

/* UDP gets a header with a right length; every other protocol `payload_bytes` of a counting pattern. */
void frame_build_ipv4(struct frame *ret_frame, const struct frame_ipv4 *spec);
struct frame frame_of_ipv4(const struct frame_ipv4 *spec);

struct frame_arp {
	const uint8_t *source_mac; /* of the frame */
	const uint8_t *sender_mac;
	uint32_t sender, target;
	uint16_t operation;
};

void frame_build_arp(struct frame *ret_frame, const struct frame_arp *spec);

/* VXLAN of `inner` between two VTEPs; the UDP checksum is zero. */
void frame_build_vxlan(
	struct frame *ret_frame, const struct frame_ipv4 *outer, uint32_t vni, const struct frame *inner);

/* Puts an 802.1Q tag behind the MACs. */
void frame_tag_vlan(struct frame *frame, uint16_t vlan);

/*
 * The Internet checksum's sum (RFC 1071), on top of `sum` and folded: 0xffff over what has a right one. Over what is behind
 * an IPv4 header without options it starts with that of the pseudo header.
 */
uint16_t frame_sum(const uint8_t *bytes, size_t length_bytes, uint32_t sum);
uint16_t frame_pseudo_sum(const uint8_t *ip, size_t length_bytes);
uint16_t frame_transport_sum(const struct frame *frame);
/* `checksum_offset`: in the transport header. */
void frame_put_transport_sum(struct frame *frame, size_t checksum_offset);

/* Big-endian access. */
uint16_t frame_get16(const uint8_t *at);
uint32_t frame_get32(const uint8_t *at);
void frame_put16(uint8_t *at, uint16_t value);
void frame_put32(uint8_t *at, uint32_t value);

#endif
