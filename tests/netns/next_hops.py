#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two routers outside: flows are spread over both next hops, stay on theirs, and only those of one that fails move.

The second router has an address and a MAC of its own on the first one's link (macvlan), and a link of its own to the
internet, where it is seen whose packets it carries.
"""

import contextlib
import socket
import time

import harness  # first: it sets the path
import system
import topology
import traffic
from harness import expect

SECOND = "198.51.100.3"
FLOWS = 40
# The kernel's neighbour discovery, so that it notices within a second what takes it many by default.
IMPATIENT = {
    "base_reachable_time_ms": 500, "delay_first_probe_time": 1, "interval_probe_time_ms": 500, "retrans_time_ms": 100,
    "mcast_solicit": 2, "ucast_solicit": 2, "gc_stale_time": 1,
}


class SecondRouter:
    """Knows from which egress ports datagrams have come by it."""

    def __init__(self, scene):
        lab = scene.lab
        self.ns = topology.Namespace(lab, "router2")
        lab.wire(self.ns, "inet1", lab.inet, "eth1")
        lab.router.ip("link add r2 link gw0 type macvlan mode bridge", f"link set r2 netns {self.ns.name}")
        self.ns.ip(f"address add {SECOND}/24 dev r2", "link set r2 up", "address add 192.0.3.1/24 dev inet1",
                   "route add 192.0.2.0/24 via 192.0.3.10")
        self.ns.set_sysctls({"net/ipv4/ip_forward": 1})
        self.ns.run(["ethtool", "-K", "r2", "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"], check=False)
        lab.inet.ip("address add 192.0.3.10/24 dev eth1")
        self.socket = self.ns.raw_socket("inet1")
        self.socket.setblocking(False)

    def carried(self):
        """The egress ports that datagrams have come by since the last time. Who was answered has been seen here before."""
        ports = set()
        with contextlib.suppress(BlockingIOError):
            while frame := self.socket.recv(2048):
                if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP and frame[26:29] == b"\xcb\x00\x71":
                    ports.add(int.from_bytes(frame[34:36], "big"))
        return ports

    def link(self, state):
        self.ns.ip(f"link set r2 {state}")


class Flow:
    """A datagram and its answer, from one port of the worker."""

    def __init__(self, scene, echo):
        self.socket = scene.acme.ns.socket(socket.SOCK_DGRAM)
        self.socket.settimeout(1)
        self.echo = echo
        self.number = 0

    def asks(self):
        """The egress port that the echo server saw; None: no answer."""
        self.number += 1
        self.socket.sendto(f"{self.number}".encode(), self.echo.address)
        try:
            while True:
                seen, number = self.socket.recv(2048).decode().split()
                if int(number) == self.number:
                    return int(seen.rpartition(":")[2])
        except TimeoutError:
            return None


def groups(scene):
    return scene.postern.cli_json("gw", "status")["adjacency"]["next_hop_groups"]


def wait_groups(scene, count):
    system.wait_for(f"{count} groups of next hops", lambda: groups(scene) == count, 20)


def by_second(scene):
    """Which flows the second router carries; all of them must be answered."""
    scene.second.carried()
    ports = [flow.asks() for flow in scene.flows]
    expect(None not in ports, f"{ports.count(None)} of {len(ports)} flows got no answer")
    carried = scene.second.carried()
    return {number for number, port in enumerate(ports) if port in carried}


def default_route(scene, text):
    scene.lab.gw.ip(f"route replace default {text}")


def flows_are_spread(scene):
    default_route(scene, f"nexthop via {topology.ROUTER_ADDRESS} nexthop via {SECOND}")
    wait_groups(scene, 1)
    scene.before = by_second(scene)
    expect(FLOWS / 5 < len(scene.before) < FLOWS * 4 / 5, f"the second router carries {len(scene.before)} of {FLOWS}")


def flows_stay(scene):
    for _ in range(3):
        now = by_second(scene)
        expect(now == scene.before, f"{len(now ^ scene.before)} flows have moved")


def flows_stay_over_restarts(scene):
    scene.postern.gateway_daemon.kill()
    flows_stay(scene)
    scene.postern.start_gateway_daemon()
    scene.postern.wait_status("gw", 0)
    flows_stay(scene)


def streams_of_both(scene, echo):
    """Numbered streams, at least two by the first router and one by the second: (those, these)."""
    first, second = [], []
    while len(first) < 2 or not second:
        expect(len(first) + len(second) < 30, "all streams go by one router")
        stream = traffic.NumberedStream(scene.acme, echo, f"flow{len(first) + len(second)}", 0.01)
        stream.progress(2)
        scene.second.carried()
        stream.progress(5)
        port = int(next(iter(stream.sources)).rpartition(":")[2])
        (second if port in scene.second.carried() else first).append(stream)
    return first, second


def only_its_own_flows_move(scene):
    echo = traffic.UdpEcho(scene.lab.inet, topology.INET_ADDRESS_2)
    first, second = streams_of_both(scene, echo)
    scene.second.link("down")
    wait_groups(scene, 0)
    expect(by_second(scene) == set(), "the second router still carries flows")
    for stream in first + second:
        stream.progress(5)
    scene.second.link("up")
    wait_groups(scene, 1)
    flows_stay(scene)
    for stream in first + second:
        stream.halt()
    lost = [len(stream.stop()) for stream in first]
    for stream in second:
        stream.stop()
    echo.close()
    expect(not any(lost), f"lost by flows of the router that did not fail: {lost}")
    expect(all(len(stream.sources) == 1 for stream in first + second), "a mapping changed")


def next_hop_objects_with_weights(scene):
    scene.lab.gw.ip(f"nexthop add id 1 via {topology.ROUTER_ADDRESS} dev outside0", f"nexthop add id 2 via {SECOND} dev outside0",
                    "nexthop add id 10 group 1,1/2,4", "route replace default nhid 10")
    system.wait_for("four fifths of the flows to go by the second router", lambda: len(by_second(scene)) > FLOWS * 0.62, 10)
    scene.lab.gw.ip("nexthop replace id 10 group 1")
    wait_groups(scene, 0)
    expect(by_second(scene) == set(), "the second router still carries flows")
    scene.lab.gw.ip("nexthop replace id 10 group 1/2")
    wait_groups(scene, 1)
    expect(by_second(scene) == scene.before, "of equal weights the flows are not where they were")


def next_hops(scene):
    point = scene.points.point
    scene.lab.gw.set_sysctls({f"net/ipv4/neigh/outside0/{name}": value for name, value in IMPATIENT.items()})
    scene.second = SecondRouter(scene)
    scene.start()
    echo = traffic.UdpEcho(scene.lab.inet)
    scene.flows = [Flow(scene, echo) for _ in range(FLOWS)]
    point("flows are spread over both next hops of a multipath route", flows_are_spread, scene)
    point("every flow stays on its next hop", flows_stay, scene)
    point("P4: also while posternd is dead, and after it", flows_stay_over_restarts, scene)
    point("the flows of a router that fails move and come back with it, and the others lose nothing",
          only_its_own_flows_move, scene)
    point("next hop objects and their weights are followed", next_hop_objects_with_weights, scene)
    for flow in scene.flows:
        flow.socket.close()
    echo.close()
    scene.second.socket.close()


if __name__ == "__main__":
    harness.main(next_hops)
