/* SPDX-License-Identifier: Apache-2.0 */
/* Big-endian fields at any alignment, and the few header offsets the pipeline
 * needs. Any thread. */
#ifndef POSTERN_NAT_BYTES_H
#define POSTERN_NAT_BYTES_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_be16(const uint8_t *bytes)
{
	uint16_t value;
	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap16(value);
}

static inline uint32_t load_be32(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof(value));
	return __builtin_bswap32(value);
}

static inline void store_be16(uint8_t *bytes, uint16_t value)
{
	value = __builtin_bswap16(value);
	memcpy(bytes, &value, sizeof(value));
}

static inline void store_be32(uint8_t *bytes, uint32_t value)
{
	value = __builtin_bswap32(value);
	memcpy(bytes, &value, sizeof(value));
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "x86-64 and arm64 only");

enum {
	ETHERNET_HEADER_BYTES = 14,
	ETHERNET_TYPE_OFFSET = 12,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_QINQ = 0x88a8,

	IPV4_HEADER_BYTES = 20,
	IPV4_TOS_OFFSET = 1,
	IPV4_LENGTH_OFFSET = 2,
	IPV4_ID_OFFSET = 4,
	IPV4_FRAGMENT_OFFSET = 6,
	IPV4_TTL_OFFSET = 8,
	IPV4_PROTOCOL_OFFSET = 9,
	IPV4_CHECKSUM_OFFSET = 10,
	IPV4_SOURCE_OFFSET = 12,
	IPV4_DESTINATION_OFFSET = 16,
	IPV4_FLAG_DF = 0x4000,
	IPV4_FRAGMENT_MASK = 0x3fff, /* more-fragments and offset */
	IPV4_FRAGMENT_OFFSET_MASK = 0x1fff,
	IPV4_FLAG_MF = 0x2000,

	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17, /* what is none of these has no ports: translated by address alone, where allowed */

	UDP_HEADER_BYTES = 8,
	UDP_CHECKSUM_OFFSET = 6,
	TCP_HEADER_BYTES = 20,
	TCP_SEQUENCE_OFFSET = 4,
	TCP_ACK_OFFSET = 8,
	TCP_DATA_OFFSET = 12,
	TCP_FLAGS_OFFSET = 13,
	TCP_WINDOW_OFFSET = 14,
	TCP_CHECKSUM_OFFSET = 16,
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,

	ICMP_HEADER_BYTES = 8,
	ICMP_CODE_OFFSET = 1,
	ICMP_CHECKSUM_OFFSET = 2,
	ICMP_ID_OFFSET = 4,
	ICMP_MTU_OFFSET = 6,
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_FRAGMENTATION_NEEDED = 4, /* code */
	ICMP_HOST_UNREACHABLE = 1,     /* code */
	ICMP_ADMIN_PROHIBITED = 13,    /* code */
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,

	VXLAN_HEADER_BYTES = 8,
	VXLAN_FLAG_I = 0x08,
	VXLAN_UDP_PORT = 4789,
	/* Ethernet, IPv4, UDP and VXLAN in front of the inner Ethernet frame. */
	VXLAN_OUTER_BYTES = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES,
	/* What VXLAN takes from the underlay's IP MTU: the outer IP, UDP, VXLAN and
	   the inner Ethernet header. */
	VXLAN_OVERHEAD_BYTES = IPV4_HEADER_BYTES + UDP_HEADER_BYTES + VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES,
};

#endif
