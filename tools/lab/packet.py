# SPDX-License-Identifier: Apache-2.0
"""Frames as bytes: builders for what the tests send, and a parser for what captures saw."""

import collections
import ipaddress
import struct

ETHERTYPE_IPV4 = 0x0800
ICMP, TCP, UDP = 1, 6, 17
VXLAN_PORT = 4789
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16

Packet = collections.namedtuple(
    "Packet",
    "source destination protocol ttl flags_fragment total_length source_port destination_port tcp_flags "
    "icmp_type icmp_code mss payload transport",
)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address_bytes(address):
    return ipaddress.IPv4Address(address).packed


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def ethernet(destination, source, payload, ethertype=ETHERTYPE_IPV4):
    return destination + source + struct.pack("!H", ethertype) + payload


def ipv4(source, destination, protocol, payload, ttl=64, df=False, identification=1, total_length=None):
    total = 20 + len(payload) if total_length is None else total_length
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45,
        0,
        total,
        identification,
        0x4000 if df else 0,
        ttl,
        protocol,
        0,
        address_bytes(source),
        address_bytes(destination),
    )
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def with_pseudo(source, destination, protocol, segment, offset):
    """Fills in the transport checksum at `offset` of `segment`."""
    pseudo = address_bytes(source) + address_bytes(destination) + struct.pack("!BBH", 0, protocol, len(segment))
    value = checksum(pseudo + segment) or 0xFFFF
    return segment[:offset] + struct.pack("!H", value) + segment[offset + 2 :]


def udp(source, destination, source_port, destination_port, payload=b"", sum_it=True, **ip_options):
    segment = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    if sum_it:
        segment = with_pseudo(source, destination, UDP, segment, 6)
    return ipv4(source, destination, UDP, segment, **ip_options)


def tcp(
    source, destination, source_port, destination_port, flags, sequence=1, acknowledge=0, payload=b"", **ip_options
):
    segment = (
        struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, acknowledge, 5 << 4, flags, 65535, 0, 0)
        + payload
    )
    return ipv4(source, destination, TCP, with_pseudo(source, destination, TCP, segment, 16), **ip_options)


def icmp_echo(source, destination, identifier, sequence, payload=b"", kind=8, **ip_options):
    message = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + payload
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    return ipv4(source, destination, ICMP, message, **ip_options)


def vxlan(vni, inner_frame, flags=0x08):
    """VXLAN header and inner frame: the payload of a UDP datagram to port 4789."""
    return struct.pack("!BBHI", flags, 0, 0, vni << 8) + inner_frame


def vxlan_frame(outer_macs, outer_addresses, vni, inner_frame, source_port=50000, flags=0x08):
    """A whole encapsulated frame. `outer_macs`: (destination, source); `outer_addresses`: (source, destination)."""
    source, destination = outer_addresses
    datagram = udp(source, destination, source_port, VXLAN_PORT, vxlan(vni, inner_frame, flags), sum_it=False)
    return ethernet(outer_macs[0], outer_macs[1], datagram)


def tcp_mss(segment):
    """The MSS option of a TCP header, None without one."""
    options = segment[20 : (segment[12] >> 4) * 4]
    position = 0
    while position < len(options) and options[position] != 0:
        if options[position] == 1:
            position += 1
            continue
        if position + 1 >= len(options) or options[position + 1] < 2:
            return None
        if options[position] == 2 and position + 4 <= len(options):
            return struct.unpack("!H", options[position + 2 : position + 4])[0]
        position += options[position + 1]
    return None


def parse(frame):
    """The frame's IPv4 packet; None when it carries none (or a captured piece too short to tell)."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    return parse_ip(frame[14:])


def parse_ip(data):
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    header_length = (data[0] & 15) * 4
    total_length, _, fragment = struct.unpack("!HHH", data[2:8])
    transport = data[header_length:total_length]
    source_port = destination_port = tcp_flags = icmp_type = icmp_code = mss = None
    payload = b""
    first = not fragment & 0x1FFF
    if first and data[9] == TCP and len(transport) >= 20:
        source_port, destination_port = struct.unpack("!HH", transport[:4])
        tcp_flags, mss, payload = transport[13], tcp_mss(transport), transport[(transport[12] >> 4) * 4 :]
    elif first and data[9] == UDP and len(transport) >= 8:
        source_port, destination_port = struct.unpack("!HH", transport[:4])
        payload = transport[8:]
    elif first and data[9] == ICMP and len(transport) >= 8:
        icmp_type, icmp_code, payload = transport[0], transport[1], transport[8:]
    return Packet(
        str(ipaddress.IPv4Address(data[12:16])),
        str(ipaddress.IPv4Address(data[16:20])),
        data[9],
        data[8],
        fragment,
        total_length,
        source_port,
        destination_port,
        tcp_flags,
        icmp_type,
        icmp_code,
        mss,
        payload,
        transport,
    )


def parse_vxlan(frame):
    """(VNI, outer packet, inner packet) of an encapsulated frame; None when it is none."""
    outer = parse(frame)
    if outer is None or outer.destination_port != VXLAN_PORT or len(outer.payload) < 22:
        return None
    return int.from_bytes(outer.payload[4:7], "big"), outer, parse(outer.payload[8:])
