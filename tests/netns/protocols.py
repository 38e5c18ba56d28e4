#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TCP, UDP and ICMP as applications and kernels use them, through the gateway."""

import errno
import hashlib
import os
import socket
import struct
import threading

import harness  # first: it sets the path
import capture
import packet
import services
import system
import topology
import traffic
from harness import expect

CONNECTION_COUNT = 200
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE = 10, 2, 3
MSS_MAX_BYTES = topology.WORKER_MTU_BYTES - 40


def receive_all(connection):
    data = bytearray()
    while chunk := connection.recv(1 << 16):
        data += chunk
    return bytes(data)


def connect(worker, address):
    client = worker.ns.socket()
    client.settimeout(10)
    client.connect(address)
    return client


def curl(scene):
    for worker in (scene.acme, scene.globex):
        done = worker.ns.run(["curl", "-sS", "-m", "10", f"http://{topology.INET_ADDRESS}/"], check=False)
        expect(done.stdout.strip().rpartition(":")[0] in scene.egress(worker.workspace), f"{done.stdout}{done.stderr}")


def half_close(scene, closer):
    """One side has said FIN; the other goes on sending for a megabyte."""
    sink = services.Sink(scene.lab.inet, topology.INET_ADDRESS)
    content = os.urandom(1 << 20)
    with connect(scene.acme, sink.address) as client, sink.accept()[0] as server:
        first, second = (client, server) if closer == "worker" else (server, client)
        first.sendall(b"question")
        first.shutdown(socket.SHUT_WR)
        expect(receive_all(second) == b"question", "the question did not arrive")
        sender = threading.Thread(target=lambda: (second.sendall(content), second.shutdown(socket.SHUT_WR)))
        sender.start()
        answer = receive_all(first)
        sender.join()
        expect(answer == content, f"{len(answer)} of {len(content)} bytes arrived after the FIN")
    sink.close()


def parallel(scene):
    """200 connections of each workspace at once; each says who it is and is told whom the server saw."""
    sink = services.Sink(scene.lab.inet, topology.INET_ADDRESS)
    server = threading.Thread(target=serve_names, args=(sink, 2 * CONNECTION_COUNT))
    server.start()
    clients = [
        (worker, connect(worker, sink.address))
        for _ in range(CONNECTION_COUNT)
        for worker in (scene.acme, scene.globex)
    ]
    for number, (worker, client) in enumerate(clients):
        client.sendall(f"{worker.workspace}-{number}\n".encode())
    seen = set()
    for number, (worker, client) in enumerate(clients):
        name, address, port = receive_all(client).decode().split()
        expect(
            name == f"{worker.workspace}-{number}",
            f"connection {number} of {worker.workspace} got the answer for {name}",
        )
        expect(address in scene.egress(worker.workspace), f"{worker.workspace} was seen as {address}")
        seen.add((address, port))
        client.close()
    server.join()
    sink.close()
    expect(len(seen) == len(clients), f"{len(clients)} connections had {len(seen)} external endpoints")


def serve_names(sink, count):
    connections = [sink.accept() for _ in range(count)]
    for connection, (address, port) in connections:
        name = connection.makefile("r").readline().strip()
        connection.sendall(f"{name} {address} {port}".encode())
        connection.close()


def upload(scene):
    content = os.urandom(16 << 20)
    sink = services.Sink(scene.lab.inet, topology.INET_ADDRESS)
    with connect(scene.acme, sink.address) as client, sink.accept()[0] as server:
        sender = threading.Thread(target=lambda: (client.sendall(content), client.shutdown(socket.SHUT_WR)))
        sender.start()
        received = receive_all(server)
        sender.join()
    sink.close()
    expect(
        hashlib.sha256(received).digest() == hashlib.sha256(content).digest(),
        f"{len(received)} of {len(content)} bytes",
    )


def download(scene):
    expect(traffic.Download(scene.globex, scene.internet, rate="1G").finish(), "its SHA-256 differs")


def refused(scene):
    """A TCP RST and an ICMP port unreachable from the internet reach the worker's kernel."""
    with scene.acme.ns.socket() as client:
        client.settimeout(3)
        code = client.connect_ex((topology.INET_ADDRESS, 9))
        expect(code == errno.ECONNREFUSED, f"connect to a closed port: {errno.errorcode.get(code, code)}")
    with services.udp_socket(scene.acme.ns, timeout_s=3) as client:
        client.connect((topology.INET_ADDRESS, 9))
        client.send(b"anybody?")
        try:
            client.recv(100)
        except ConnectionRefusedError:
            return
        expect(False, "no error for a datagram to a closed port")


def clamp_outbound(scene):
    """A SYN that promises more than the overlay carries is corrected on its way out."""
    outside = capture.Capture(scene.lab.inet, "eth0", "tcp[tcpflags] & tcp-syn != 0 and dst port 8081")
    worker = scene.acme
    options = struct.pack("!BBH", 2, 4, 1460)
    segment = struct.pack("!HHIIBBHHH", 42000, 8081, 1, 0, 6 << 4, packet.SYN, 65535, 0, 0) + options
    whole = packet.ipv4(
        worker.address,
        topology.INET_ADDRESS,
        packet.TCP,
        packet.with_pseudo(worker.address, topology.INET_ADDRESS, packet.TCP, segment, 16),
    )
    with worker.ns.raw_socket("eth0") as raw:
        raw.send(packet.ethernet(bytes.fromhex("02504f535401"), worker.ns.mac("eth0"), whole))
    system.wait_for("the SYN outside", outside.packets, 5)
    seen = outside.stop()[0]
    expect(seen.mss is not None and seen.mss <= MSS_MAX_BYTES, f"the SYN outside says MSS {seen.mss}")
    pseudo = (
        packet.address_bytes(seen.source)
        + packet.address_bytes(seen.destination)
        + struct.pack("!BBH", 0, 6, len(seen.transport))
    )
    expect(packet.checksum(pseudo + seen.transport) == 0, "its TCP checksum is wrong")


def clamp_inbound(scene):
    inside = capture.Capture(scene.acme.ns, "eth0", "tcp[tcpflags] & tcp-syn != 0 and src port 80")
    traffic.tcp_who(scene.acme)
    system.wait_for("the SYN-ACK", inside.packets, 5)
    seen = inside.stop()[0].mss
    expect(seen is not None and seen <= MSS_MAX_BYTES, f"the SYN-ACK inside says MSS {seen}")


def time_exceeded_by_gateway(scene):
    done = traffic.ping(scene.acme, topology.INET_ADDRESS, 2, "-t", "1")
    expect("Time to live exceeded" in done.stdout, done.stdout)


def time_exceeded_by_router(scene):
    """The router answers the egress IP; the gateway finds out whom it is for, and mends the quoted packet."""
    inside = capture.Capture(scene.acme.ns, "eth0", "icmp[icmptype] = icmp-timxceed")
    done = traffic.ping(scene.acme, topology.INET_ADDRESS, 2, "-t", "2")
    expect(f"From {topology.ROUTER_ADDRESS}" in done.stdout and "Time to live exceeded" in done.stdout, done.stdout)
    quoted = packet.parse_ip(inside.stop()[0].payload)
    expect(quoted.source == scene.acme.address, f"the quoted packet says source {quoted.source}")


def path_mtu(scene, narrow, restore, what):
    """Somebody on the way has a smaller MTU: the worker learns it by ICMP 3/4, and TCP gets through."""
    narrow()
    try:
        inside = capture.Capture(scene.acme.ns, "eth0", "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 4")
        with services.udp_socket(scene.acme.ns) as client:
            client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)

            def learned():
                client.sendto(b"x" * 1372, (topology.INET_ADDRESS, 7))
                return inside.packets()

            system.wait_for(f"ICMP fragmentation needed from {what}", learned, 15)
        told = inside.stop()[0]
        mtu = struct.unpack("!H", told.transport[6:8])[0]
        expect(1200 <= mtu <= 1300, f"the ICMP says MTU {mtu}")
        quoted = packet.parse_ip(told.payload)
        expect(
            quoted.source == scene.acme.address and quoted.destination == topology.INET_ADDRESS,
            f"it quotes {quoted[:2]}",
        )
        upload(scene)
    finally:
        restore()
        scene.acme.ns.ip("route flush cache")


def narrow_router(scene):
    set_mtu = scene.lab.router.ip
    path_mtu(
        scene, lambda: set_mtu("link set inet0 mtu 1300"), lambda: set_mtu("link set inet0 mtu 1500"), "the router"
    )


def narrow_gateway(scene):
    set_mtu = scene.lab.gw.ip
    path_mtu(
        scene,
        lambda: set_mtu("link set outside0 mtu 1300"),
        lambda: set_mtu("link set outside0 mtu 1500"),
        "the gateway",
    )


def too_big_for_overlay(scene):
    """An answer of 1500 bytes with DF does not fit into the tunnel: the sender outside is told 3/4."""
    told = capture.Capture(scene.lab.inet, "eth0", "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 4")
    with services.udp_socket(scene.lab.inet, (topology.INET_ADDRESS, 7100)) as server, services.udp_socket(
        scene.acme.ns
    ) as client:
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        client.sendto(b"send me much", (topology.INET_ADDRESS, 7100))
        _, sender = server.recvfrom(100)
        server.sendto(b"y" * 1472, sender)
        system.wait_for("ICMP fragmentation needed outside", told.packets, 5)
        mtu = struct.unpack("!H", told.stop()[0].transport[6:8])[0]
        expect(mtu == topology.WORKER_MTU_BYTES, f"it says MTU {mtu}")
        server.sendto(b"z" * (mtu - 28), sender)
        expect(len(client.recv(2000)) == mtu - 28, "a datagram of just that MTU does not arrive")


def zero_udp_checksum(scene):
    """UDP may go without a checksum; it stays without."""
    outside = capture.Capture(scene.lab.inet, "eth0", "udp and dst port 7200")
    worker = scene.acme
    with worker.ns.raw_socket("eth0") as raw:
        raw.send(
            packet.ethernet(
                bytes.fromhex("02504f535401"),
                worker.ns.mac("eth0"),
                packet.udp(worker.address, topology.INET_ADDRESS, 7200, 7200, b"bare", sum_it=False),
            )
        )
    system.wait_for("the datagram outside", outside.packets, 5)
    expect(outside.stop()[0].transport[6:8] == b"\0\0", "it has got a checksum")


def dns(scene):
    done = scene.globex.ns.run(
        ["dig", "+short", "+tries=1", "+timeout=3", f"@{topology.INET_ADDRESS}", "protocols.lab.test"], check=False
    )
    expect(done.stdout.strip() == topology.INET_ADDRESS, done.stdout)
    asked = scene.internet.who_asked("protocols.lab.test")
    expect(asked.rpartition(":")[0] in scene.egress("globex"), f"dnsmasq was asked by {asked}")


def udp_mapping_is_endpoint_independent(scene):
    """RFC 4787 REQ-1: one socket is seen as one endpoint by every remote."""
    echoes = [
        traffic.UdpEcho(scene.lab.inet, address, port)
        for address in (topology.INET_ADDRESS, topology.INET_ADDRESS_2)
        for port in (7300, 7301)
    ]
    try:
        with services.udp_socket(scene.acme.ns) as client:
            seen = set()
            for echo in echoes:
                client.sendto(b"who", echo.address)
                seen.add(client.recv(100).split()[0])
        expect(len(seen) == 1, f"one socket was seen as {sorted(seen)}")
    finally:
        for echo in echoes:
            echo.close()


def denied(scene, destinations, reason):
    """Each destination is tried once by UDP; nothing leaves, and each is counted."""
    before = scene.drops("inside")
    outside = capture.Capture(scene.lab.router, "gw0", "udp")
    with services.udp_socket(scene.acme.ns) as client:
        for destination in destinations:
            client.sendto(b"let me in", (destination, 7))
    system.wait_for(
        f"{len(destinations)} drops as {reason} (counted: {scene.drops_since('inside', before)})",
        lambda: scene.drops_since("inside", before).get(reason, 0) >= len(destinations),
        5,
    )
    since = scene.drops_since("inside", before)
    expect(since == {reason: len(destinations)}, f"counted: {since}")
    expect(not outside.stop(), "something left")


def protocols(scene):
    point = scene.points.point
    scene.start()
    point("curl gets the page, and nginx sees the egress IP", curl, scene)
    point("a worker that has closed its half still receives a megabyte (RFC 5382 REQ-2)", half_close, scene, "worker")
    point(
        "a worker still sends a megabyte after the server has closed its half (RFC 5382 REQ-2)",
        half_close,
        scene,
        "server",
    )
    point("P1, P2: 200 parallel connections of each workspace keep apart", parallel, scene)
    point("an upload of 16 MiB arrives whole", upload, scene)
    point("a download of 16 MiB arrives whole", download, scene)
    point("RST and ICMP port unreachable reach the worker (RFC 5382 REQ-9)", refused, scene)
    point("the MSS of a SYN is clamped on its way out, with a right checksum", clamp_outbound, scene)
    point("the MSS of a SYN-ACK is clamped on its way in", clamp_inbound, scene)
    point("TTL 1 is answered by the gateway with ICMP time exceeded (RFC 5508 REQ-10)", time_exceeded_by_gateway, scene)
    point(
        "ICMP time exceeded of a router is translated back, with the packet it quotes (RFC 5508 REQ-4)",
        time_exceeded_by_router,
        scene,
    )
    point("ICMP fragmentation needed of a router is translated back, and TCP adapts", narrow_router, scene)
    point(
        "the gateway sends ICMP fragmentation needed when its outside MTU is smaller (RFC 4787 REQ-13)",
        narrow_gateway,
        scene,
    )
    point(
        "the gateway tells the internet when an answer with DF does not fit into the tunnel", too_big_for_overlay, scene
    )
    point("a UDP checksum of zero stays zero", zero_udp_checksum, scene)
    point("DNS over UDP", dns, scene)
    point("RFC 4787 REQ-1: a UDP socket is one endpoint to all remotes", udp_mapping_is_endpoint_independent, scene)
    point(
        "P12: private destinations are denied and counted",
        denied,
        scene,
        ["192.168.1.1", "172.16.0.1", "10.9.9.9", "100.64.0.1"],
        "denied_destination",
    )
    point(
        "P12: another workspace's egress IP is denied and counted",
        denied,
        scene,
        scene.egress("globex"),
        "hairpin_denied",
    )


if __name__ == "__main__":
    harness.main(protocols)
