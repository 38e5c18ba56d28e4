#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P8 and P12: whatever comes in on either side, the dataplane lives, and every single packet is accounted for."""

import random
import struct

import harness  # first: it sets the path
import packet
import system
import topology
import traffic
from harness import expect

SEED = 20260101
GARBAGE_COUNT = 6000
BATCH = 128  # sent in one go; well below what an AF_XDP ring holds, so that no loss is hidden in the kernel
WORKER = "10.0.0.5"
INNER_OFFSET = 14 + 20 + 8 + 8  # of the inner frame: behind Ethernet, IPv4, UDP and VXLAN
REMOTE = "192.0.2.30"  # a black hole: answers would come back, be answered in turn, and blur the counts


class Side:
    """One of the gateway's two ports, with the raw socket of whoever is at the other end."""

    def __init__(self, scene, port, peer, peer_interface, gateway_interface):
        self.scene = scene
        self.port = port
        self.raw = peer.raw_socket(peer_interface)
        self.macs = (scene.lab.gw.mac(gateway_interface), peer.mac(peer_interface))

    def send(self, frames):
        """Sends all; returns what became of them (Scene.fate) once every one is accounted for."""
        before = self.account()
        for first in range(0, len(frames), BATCH):
            for frame in frames[first : first + BATCH]:
                self.raw.send(frame)
            sent = min(first + BATCH, len(frames))
            system.wait_for(
                f"{sent} frames on {self.port} to be accounted for",
                lambda sent=sent: sum(self.since(before).values()) >= sent,
                10,
            )
        since = self.since(before)
        expect(sum(since.values()) == len(frames), f"sent {len(frames)}, accounted for {sum(since.values())}: {since}")
        self.scene.postern.dataplane.must_be_alive()
        return since

    def account(self):
        return self.scene.fate(self.port)

    def since(self, before):
        return harness.risen(before, self.account())

    def inner_frame(self, ip_packet, ethertype=packet.ETHERTYPE_IPV4):
        return packet.ethernet(b"\x02\x50\x4f\x53\x54\x01", b"\x02\0\0\0\0\x05", ip_packet, ethertype)

    def in_tunnel(self, frame, vni=7001, source=topology.HOST_VTEP, flags=0x08):
        return packet.vxlan_frame(self.macs, (source, topology.GATEWAY_VTEP), vni, frame, flags=flags)

    def tunnelled(self, ip_packet, **options):
        return self.in_tunnel(self.inner_frame(ip_packet), **options)

    def plain(self, ip_packet):
        return packet.ethernet(self.macs[0], self.macs[1], ip_packet)


def quiet(scene):
    """Permanent neighbours: so that no ARP of a kernel disturbs the counts."""
    lab = scene.lab
    links = [
        (lab.host, "uplink0", topology.GATEWAY_VTEP, lab.gw.mac("inside0")),
        (lab.gw, "inside0", topology.HOST_VTEP, lab.host.mac("uplink0")),
        (lab.gw, "outside0", topology.ROUTER_ADDRESS, lab.router.mac("gw0")),
        (lab.router, "gw0", topology.GATEWAY_OUTSIDE, lab.gw.mac("outside0")),
    ]
    for namespace, interface, address, mac in links:
        namespace.ip(f"neighbour replace {address} lladdr {mac.hex(':')} dev {interface} nud permanent")


def swallow(scene):
    """The black hole in the internet."""
    rules = f"table ip hole {{ chain in {{ type filter hook input priority 0; ip daddr {REMOTE} drop\n}}\n}}\n"
    scene.lab.inet.run(["nft", "-f", "-"], stdin=rules)
    scene.lab.inet.ip(f"address add {REMOTE}/24 dev eth0")


def settle(side):
    """Returns once nothing has moved for a while: connections of the start may still be closing."""

    def still():
        before = side.account()
        return system.holds_for(lambda: side.account() == before, 0.3)

    system.wait_for(f"silence on {side.port}", still, 10)


def udp_in(**options):
    return packet.udp(WORKER, REMOTE, 5000, 9, b"payload", **options)


def bad_inside(side):
    """(claim, frame, reason that must be counted)"""
    good = udp_in()
    broken_sum = good[:10] + bytes([good[10] ^ 0xFF]) + good[11:]
    vxlan_in_vxlan = packet.udp(
        WORKER, REMOTE, 5000, packet.VXLAN_PORT, packet.vxlan(7002, packet.ethernet(b"\2" * 6, b"\4" * 6, good))
    )
    syn_fin = packet.tcp(WORKER, REMOTE, 5000, 80, packet.SYN | packet.FIN)
    long_udp = packet.ipv4(WORKER, REMOTE, packet.UDP, struct.pack("!HHHH", 5000, 9, 900, 0) + b"short")
    return [
        ("an unknown VNI", side.tunnelled(good, vni=9999), "unknown_vni"),
        ("a VXLAN header without the I flag", side.tunnelled(good, flags=0), "bad_vxlan"),
        ("an inner VLAN tag", side.in_tunnel(side.inner_frame(b"\0\1\x08\0" + good, 0x8100)), "inner_vlan"),
        ("inner IPv6", side.in_tunnel(side.inner_frame(b"\x60" + bytes(60), 0x86DD)), "not_ipv4"),
        ("an inner checksum that is wrong", side.tunnelled(broken_sum), "bad_ip_checksum"),
        ("an inner header of IP version 5", side.tunnelled(b"\x55" + good[1:]), "bad_ip_header"),
        (
            "an inner total length beyond the frame",
            side.tunnelled(packet.ipv4(WORKER, REMOTE, packet.UDP, good[20:], total_length=900)),
            "truncated",
        ),
        (
            "a source outside of the VPC",
            side.tunnelled(packet.udp("10.1.0.5", REMOTE, 5000, 9, b"x")),
            "source_outside_vpc",
        ),
        ("VXLAN in VXLAN", side.tunnelled(vxlan_in_vxlan), "nested"),
        (
            "a sender that is not trusted",
            side.tunnelled(good, source="10.99.0.2"),
            "drop_untrusted_vtep",
        ),
        ("TCP that opens nothing", side.tunnelled(packet.tcp(WORKER, REMOTE, 5000, 80, packet.ACK)), "tcp_not_syn"),
        ("SYN and FIN at once", side.tunnelled(syn_fin), "tcp_bad_flags"),
        ("a UDP length beyond the packet", side.tunnelled(long_udp), "bad_l4"),
        ("a private destination", side.tunnelled(packet.udp(WORKER, "10.2.3.4", 5000, 9, b"x")), "denied_destination"),
    ]


def counted_as(side, frame, reason):
    fate = side.send([frame] * 3)
    expect(fate == {reason: 3}, f"3 sent, counted: {fate}")


def cut_everywhere(side, whole):
    """The frame cut at every length from an Ethernet header upwards, and the whole one."""
    return side.send([whole[:length] for length in range(14, len(whole) + 1)])


def inside_packets():
    return (
        udp_in(),
        packet.tcp(WORKER, REMOTE, 5000, 80, packet.SYN),
        packet.icmp_echo(WORKER, REMOTE, 5, 1, b"ping"),
    )


def inside_cut(side):
    for inner in inside_packets():
        fate = cut_everywhere(side, side.tunnelled(inner))
        expect(fate.get("forwarded") == 1, f"only the whole one is to be forwarded: {fate}")


def inside_cut_within(side):
    """The tunnel's headers are right; what is in it is cut."""
    for inner in inside_packets():
        frame = side.inner_frame(inner)
        fate = side.send([side.in_tunnel(frame[:length]) for length in range(len(frame) + 1)])
        expect(fate.get("forwarded") == 1, f"only the whole one is to be forwarded: {fate}")


def outside_cut(side):
    egress = topology.WORKSPACES["acme"]["egress"][0]
    quoted = packet.udp(egress, REMOTE, 5000, 9, b"payload")
    error = struct.pack("!BBHI", 3, 3, 0, 0) + quoted
    error = error[:2] + struct.pack("!H", packet.checksum(error)) + error[4:]
    for whole in (
        packet.udp(REMOTE, egress, 9, 5000, b"answer"),
        packet.tcp(REMOTE, egress, 80, 5000, packet.SYN | packet.ACK),
        packet.icmp_echo(REMOTE, egress, 5, 1, b"pong", kind=0),
        packet.ipv4(REMOTE, egress, packet.ICMP, error),
    ):
        fate = cut_everywhere(side, side.plain(whole))
        expect("forwarded" not in fate, f"none of these is to be let in: {fate}")


def garbage(side, seeds, numbers, inner_offset):
    """Random bytes behind a valid Ethernet header, and valid frames with a few bytes changed (half of them only from
    `inner_offset` on, so that they get past the outer headers) or cut."""
    frames = []
    for _ in range(GARBAGE_COUNT):
        if numbers.random() < 0.2:
            frames.append(side.macs[0] + side.macs[1] + b"\x08\x00" + numbers.randbytes(numbers.randrange(0, 400)))
            continue
        frame = bytearray(numbers.choice(seeds))
        first = numbers.choice((14, inner_offset))
        for _ in range(numbers.randrange(1, 6)):
            frame[numbers.randrange(first, len(frame))] = numbers.randrange(256)
        frames.append(bytes(frame[: numbers.randrange(14, len(frame) + 1)]) if numbers.random() < 0.3 else bytes(frame))
    side.send(frames)


def inside_garbage(side):
    numbers = random.Random(SEED)
    inner = [
        udp_in(),
        packet.tcp(WORKER, REMOTE, 5000, 80, packet.SYN),
        packet.icmp_echo(WORKER, REMOTE, 5, 1, b"ping"),
        packet.udp(WORKER, REMOTE, 5000, 4789, packet.vxlan(7002, bytes(60))),
    ]
    garbage(side, [side.tunnelled(one, vni=vni) for one in inner for vni in (7001, 7002)], numbers, INNER_OFFSET)


def outside_garbage(side):
    numbers = random.Random(SEED + 1)
    seeds = []
    for egress in ("203.0.113.10", "203.0.113.20"):
        quoted = packet.udp(egress, REMOTE, 5000, 9, b"payload")
        seeds += [
            side.plain(one)
            for one in (
                packet.udp(REMOTE, egress, 9, 5000, b"answer"),
                packet.tcp(REMOTE, egress, 80, 5000, packet.SYN | packet.ACK),
                packet.icmp_echo(REMOTE, egress, 5, 1, b"pong", kind=0),
                packet.ipv4(REMOTE, egress, packet.ICMP, struct.pack("!BBHI", 11, 0, 0, 0) + quoted),
            )
        ]
    garbage(side, seeds, numbers, 34)


def still_works(scene, pid):
    expect(
        scene.postern.dataplane.alive() and scene.postern.dataplane.pid == pid, "the dataplane is not the same process"
    )
    for worker in (scene.acme, scene.globex):
        saw = traffic.tcp_who(worker)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")
    expect(scene.guard_violations() == 0, f"the isolation guard had to step in {scene.guard_violations()} times")


def inputs(scene):
    point, lab = scene.points.point, scene.lab
    quiet(scene)
    swallow(scene)
    scene.start()
    pid = scene.postern.dataplane.pid
    inside = Side(scene, "inside", lab.host, "uplink0", "inside0")
    outside = Side(scene, "outside", lab.router, "gw0", "outside0")
    settle(inside)
    for claim, frame, reason in bad_inside(inside):
        point(f"P8, P12: {claim} is dropped and counted as {reason}", counted_as, inside, frame, reason)
    point("P8, P12: VXLAN cut at every length; each frame is counted, only whole ones get on", inside_cut, inside)
    point("P8, P12: inner frames cut at every length; likewise", inside_cut_within, inside)
    point("P8, P12: packets from outside cut at every length; each is counted, none gets on", outside_cut, outside)
    point(f"P8, P12: {GARBAGE_COUNT} frames of garbage inside are all accounted for", inside_garbage, inside)
    settle(outside)
    point(f"P8, P12: {GARBAGE_COUNT} frames of garbage outside are all accounted for", outside_garbage, outside)
    point("P8: the dataplane is alive, works, and its isolation guard was never needed", still_works, scene, pid)


if __name__ == "__main__":
    harness.main(inputs)
