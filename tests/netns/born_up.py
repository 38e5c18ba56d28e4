#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Interfaces that are created up, and send at once: nothing of it leaves, or reaches the host itself.

The host is the worst there is: it forwards, it has a route to the internet, nothing checks sources, and a service listens
on its own address. Each link is up as soon as netlink takes it, and its worker has been trying to send, past all queues, since
before it was there.
"""

import signal
import socket
import threading

import harness  # first: it sets the path
import capture
import packet
import system
import topology
import traffic
from harness import expect

PORT = 5353  # in the internet, and on the host itself
COUNT = 10
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
MAC, HOST_MAC = "02:00:00:00:20:01", "02:00:00:00:20:02"
BROADCAST = b"\xff" * 6


class Newborn:
    """A link whose ends are up as fast as netlink takes it, and whose worker sends from that instant: to the internet, to
    the host, and an ARP request for it. The worker's end stays in the host's namespace, since moving it takes time."""

    def __init__(self, scene, number, further=""):
        self.host, self.interface, self.peer = scene.lab.host, f"veth-b{number}", f"b{number}"
        self.socket = self.host.socket(socket.SOCK_RAW, family=socket.AF_PACKET)
        self.further = further  # of the link, when it is made
        self.socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        mac, mine = packet.mac_bytes(HOST_MAC), packet.mac_bytes(MAC)
        self.frames = [
            packet.ethernet(mac, mine, packet.udp("10.0.0.77", to, 4000, PORT, b"born up"))
            for to in (topology.INET_ADDRESS, topology.HOST_VTEP)
        ]
        request = bytes.fromhex("0001080006040001") + mine + packet.address_bytes("10.0.0.77")
        self.frames.append(
            packet.ethernet(BROADCAST, mine, request + bytes(6) + packet.address_bytes(topology.HOST_VTEP), 0x0806)
        )
        self.sent, self.stopped = 0, threading.Event()
        self.thread = threading.Thread(target=self.send, daemon=True)

    def send(self):
        while not self.stopped.is_set():
            try:
                for frame in self.frames:
                    self.socket.sendto(frame, (self.peer, 0))
                    self.sent += 1
            except OSError:
                pass  # it is not there yet

    def be_born(self, for_s):
        """How many frames it got for an answer."""
        self.thread.start()
        self.host.ip(
            f"link add {self.interface} address {HOST_MAC} up {self.further} type veth peer name {self.peer} address {MAC}",
            f"link set {self.peer} up",
        )
        system.wait_for(f"{self.peer} to have sent", lambda: self.sent > 30, 10, 0.001)
        with self.host.raw_socket(self.peer) as listener:
            listener.setblocking(False)
            self.stopped.wait(for_s)
            self.stopped.set()
            self.thread.join()
            answers = 0
            while True:
                try:
                    frame = listener.recv(2048)
                except BlockingIOError:
                    return answers
                answers += frame[6:12] != packet.mac_bytes(MAC) and frame[12:14] in (b"\x08\x00", b"\x08\x06")

    def die(self):
        self.socket.close()
        self.host.ip(f"link delete {self.interface}")


class Watch:
    """All places where something could show up."""

    def __init__(self, scene):
        self.uplink = capture.Capture(scene.lab.host, "uplink0", f"udp port {PORT}")
        self.service = scene.lab.host.socket(socket.SOCK_DGRAM, (topology.HOST_VTEP, PORT))
        self.service.setblocking(False)

    def seen(self):
        """(left by the uplink, reached the host's own service)"""
        reached = 0
        while True:
            try:
                self.service.recv(2048)
                reached += 1
            except BlockingIOError:
                break
        self.service.close()
        return len(self.uplink.stop()), reached


def born(scene, first, count, for_s):
    """(left, reached the host, answered by the host) of so many links, one after the other."""
    watch, answered = Watch(scene), 0
    for number in range(first, first + count):
        link = Newborn(scene, number)
        answered += link.be_born(for_s)
        link.die()
    return (*watch.seen(), answered)


def nothing_gets_in(scene, first, count, for_s):
    seen = born(scene, first, count, for_s)
    expect(seen == (0, 0, 0), f"(left, reached the host, were answered): {seen}")


def bridged(scene, number):
    """Frames on the other port of a bridge that the link is created in."""
    host = scene.lab.host
    host.ip(
        "link add bridge-b up type bridge",
        "link add port-b up master bridge-b type veth peer name port-bp",
        "link set port-bp up",
    )
    watch = capture.Capture(host, "port-bp", "arp")
    link = Newborn(scene, number, "master bridge-b")
    link.be_born(0.05)
    link.die()
    watch.stop()
    count = len(watch.frames())
    host.ip("link delete port-b", "link delete bridge-b")
    return count


def nothing_is_bridged(scene):
    count = bridged(scene, 400)
    expect(count == 0, f"{count} frames came out of the bridge")


def everything_gets_in(scene):
    expect(bridged(scene, 1) > 0, "nothing came out of the bridge, so the rest would prove nothing")
    seen = born(scene, 0, 1, 0.05)
    expect(all(seen), f"(left, reached the host, were answered): {seen}, so the rest would prove nothing")


def fence_packets(scene):
    return harness.postern.metric_sum(scene.postern.metrics("host"), "postern_worker_fence_packets_total")


def fence_stands(scene):
    return harness.postern.metric_sum(scene.postern.metrics("host"), "postern_worker_fence_up") == 1


def while_posternd_is_there(scene):
    before = fence_packets(scene)
    nothing_gets_in(scene, 100, COUNT, 0.01)
    system.wait_for("the fence to be read", lambda: scene.postern.cli("host", "status")[0] == 0, 10)
    system.holds_for(lambda: True, 1.1)
    print(f"# {COUNT} links: {fence_packets(scene) - before:g} frames came before the classifier was there")


def put_back(scene):
    scene.lab.host.run(["nft", "flush", "ruleset"])
    left = scene.lab.host.run(["nft", "list", "tables"]).stdout
    expect("postern-fence" not in left, f"still there: {left}")
    system.wait_for(
        "the fence to be put up again",
        lambda: scene.lab.host.run(["nft", "list", "tables"]).stdout.count("postern-fence") == 3,
        5,
    )
    scene.postern.host_daemon.signal(signal.SIGSTOP)
    try:
        nothing_gets_in(scene, 200, 1, 0.05)
    finally:
        scene.postern.host_daemon.signal(signal.SIGCONT)


def removed(scene):
    scene.postern.host_daemon.stop(20)
    with scene.lab.host.inside():
        code, out, err = scene.postern.cli("host", "worker", "detach", "--all")
    expect(code == 0, f"detach exits {code}: {out}{err}")
    left = scene.lab.host.run(["nft", "list", "tables"]).stdout
    expect("postern-fence" not in left, f"left: {left}")


def born_up(scene):
    point, host = scene.points.point, scene.lab.host
    host.set_sysctls({"net/ipv4/ip_forward": 1})
    host.ip(f"route add default via {topology.GATEWAY_VTEP}")
    scene.postern.configuration.worker_host_lines = ["  interfaces: 'veth-*'"]
    scene.postern.write_configurations()
    point("without Postern such a host lets everything through", everything_gets_in, scene)
    scene.start()
    point("the fence stands", lambda: expect(fence_stands(scene), "postern_worker_fence_up is not 1"))
    point(f"P3: {COUNT} interfaces are born up, and nothing gets in", while_posternd_is_there, scene)
    scene.postern.host_daemon.kill()
    point("P3: nor while posternd is dead", nothing_gets_in, scene, 300, 2, 0.05)
    point("P3: nor into a bridge, then", nothing_is_bridged, scene)
    scene.postern.start_host_daemon()
    scene.postern.wait_ready()
    point("workers get through the tunnel as before", lambda: expect(traffic.works(scene.acme), "acme does not"))
    point("what somebody flushes is put up again", put_back, scene)
    point("postern worker detach --all takes it away", removed, scene)


if __name__ == "__main__":
    harness.main(born_up)
