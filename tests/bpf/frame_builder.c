/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bpf/frame_builder.h"

#include <assert.h>
#include <string.h>

enum { PROTOCOL_UDP = 17, IPV4_OPTION_NOP = 1 };

uint16_t frame_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

uint32_t frame_get32(const uint8_t *at)
{
	return (uint32_t)frame_get16(at) << 16 | frame_get16(at + 2);
}

void frame_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

void frame_put32(uint8_t *at, uint32_t value)
{
	frame_put16(at, (uint16_t)(value >> 16));
	frame_put16(at + 2, (uint16_t)value);
}

uint16_t frame_sum(const uint8_t *bytes, size_t length_bytes, uint32_t sum)
{
	for (size_t i = 0; i + 1 < length_bytes; i += 2)
		sum += frame_get16(bytes + i);
	if (length_bytes % 2)
		sum += (uint32_t)bytes[length_bytes - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t frame_pseudo_sum(const uint8_t *ip, size_t length_bytes)
{
	return frame_sum(ip + 12, 8, (uint32_t)(ip[9] + length_bytes));
}

uint16_t frame_transport_sum(const struct frame *frame)
{
	const uint8_t *ip = frame->bytes + ETHERNET_BYTES;
	size_t length_bytes = frame->length_bytes - ETHERNET_BYTES - IPV4_BYTES;

	return frame_sum(ip + IPV4_BYTES, length_bytes, frame_pseudo_sum(ip, length_bytes));
}

void frame_put_transport_sum(struct frame *frame, size_t checksum_offset)
{
	uint8_t *at = frame->bytes + ETHERNET_BYTES + IPV4_BYTES + checksum_offset;

	frame_put16(at, 0);
	frame_put16(at, (uint16_t)~frame_transport_sum(frame));
}

void frame_build_ipv4(struct frame *ret_frame, const struct frame_ipv4 *spec)
{
	static const uint8_t default_mac[6] = {0x02, 0, 0, 0, 0, 0xee};
	size_t header_bytes = IPV4_BYTES + spec->options_bytes;
	size_t transport_bytes = spec->protocol == PROTOCOL_UDP ? UDP_BYTES : 0;
	size_t total_bytes = header_bytes + transport_bytes + spec->payload_bytes;
	struct frame frame = {.length_bytes = ETHERNET_BYTES + total_bytes};
	uint8_t *ip = frame.bytes + ETHERNET_BYTES, *transport = ip + header_bytes;

	assert(frame.length_bytes <= FRAME_MAX_BYTES);
	memcpy(frame.bytes, spec->destination_mac ? spec->destination_mac : default_mac, 6);
	memcpy(frame.bytes + 6, spec->source_mac ? spec->source_mac : default_mac, 6);
	frame_put16(frame.bytes + 12, 0x0800);
	ip[0] = (uint8_t)(0x40 | header_bytes / 4);
	frame_put16(ip + 2, (uint16_t)total_bytes);
	frame_put16(ip + 6, spec->fragment);
	ip[8] = 64;
	ip[9] = spec->protocol;
	frame_put32(ip + 12, spec->source);
	frame_put32(ip + 16, spec->destination);
	memset(ip + IPV4_BYTES, IPV4_OPTION_NOP, spec->options_bytes);
	frame_put16(ip + 10, (uint16_t)~frame_sum(ip, header_bytes, 0));
	if (transport_bytes != 0) {
		frame_put16(transport, spec->source_port);
		frame_put16(transport + 2, spec->destination_port);
		frame_put16(transport + 4, (uint16_t)(UDP_BYTES + spec->payload_bytes));
	}
	for (size_t i = 0; i < spec->payload_bytes; i++)
		transport[transport_bytes + i] = (uint8_t)(i + 1);
	*ret_frame = frame;
}

struct frame frame_of_ipv4(const struct frame_ipv4 *spec)
{
	struct frame frame;

	frame_build_ipv4(&frame, spec);
	return frame;
}

void frame_build_arp(struct frame *ret_frame, const struct frame_arp *spec)
{
	struct frame frame = {.length_bytes = ETHERNET_BYTES + ARP_BYTES};
	uint8_t *arp = frame.bytes + ETHERNET_BYTES;

	memset(frame.bytes, 0xff, 6);
	memcpy(frame.bytes + 6, spec->source_mac, 6);
	frame_put16(frame.bytes + 12, 0x0806);
	frame_put16(arp, 1);
	frame_put16(arp + 2, 0x0800);
	arp[4] = 6;
	arp[5] = 4;
	frame_put16(arp + 6, spec->operation);
	memcpy(arp + 8, spec->sender_mac, 6);
	frame_put32(arp + 14, spec->sender);
	frame_put32(arp + 24, spec->target);
	*ret_frame = frame;
}

void frame_build_vxlan(struct frame *ret_frame, const struct frame_ipv4 *outer, uint32_t vni, const struct frame *inner)
{
	struct frame_ipv4 spec = *outer;
	uint8_t *vxlan;

	spec.protocol = PROTOCOL_UDP;
	spec.payload_bytes = (uint16_t)(VXLAN_BYTES + inner->length_bytes);
	frame_build_ipv4(ret_frame, &spec);
	vxlan = ret_frame->bytes + ETHERNET_BYTES + IPV4_BYTES + spec.options_bytes + UDP_BYTES;
	memset(vxlan, 0, VXLAN_BYTES);
	vxlan[0] = 0x08;
	frame_put32(vxlan + 4, vni << 8);
	memcpy(vxlan + VXLAN_BYTES, inner->bytes, inner->length_bytes);
}

void frame_tag_vlan(struct frame *frame, uint16_t vlan)
{
	assert(frame->length_bytes + 4 <= FRAME_MAX_BYTES);
	memmove(frame->bytes + 16, frame->bytes + 12, frame->length_bytes - 12);
	frame_put16(frame->bytes + 12, 0x8100);
	frame_put16(frame->bytes + 14, vlan);
	frame->length_bytes += 4;
}
