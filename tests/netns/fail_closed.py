#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P3: in every order of starting and crashing, nothing leaves untranslated, and nothing before all is in force."""

import itertools
import os

import harness  # first: it sets the path
import capture
import system
import topology
import traffic
from harness import expect

PARTS = ("dataplane", "gateway daemon", "host daemon")
REMOTE = {"acme": topology.INET_ADDRESS, "globex": topology.INET_ADDRESS_2}
WATCH_S = 0.7


def start(gateway, part):
    """Starts one part, and returns when it is up as far as it can be on its own."""
    if part == "dataplane":
        gateway.start_dataplane()
        socket_path = os.path.join(gateway.dirs["gw"], "dataplane.sock")
        system.wait_for(
            "the dataplane's socket", lambda: gateway.dataplane.must_be_alive() and os.path.exists(socket_path)
        )
        return
    where = "gw" if part == "gateway daemon" else "host"
    process = gateway.start_gateway_daemon() if where == "gw" else gateway.start_host_daemon()
    system.wait_for(f"{part} to answer", lambda: process.must_be_alive() and gateway.cli(where, "status")[0] != 3)


def crash(gateway, part):
    {"dataplane": gateway.dataplane, "gateway daemon": gateway.gateway_daemon, "host daemon": gateway.host_daemon}[
        part
    ].kill()


def from_workers(packets):
    """What has left the gateway for anybody: all but the answers, and what its kernel says in its own name."""
    own = {topology.GATEWAY_OUTSIDE, topology.ROUTER_ADDRESS, *REMOTE.values()}
    return [one for one in packets if one.source not in own]


def nothing_leaves(outside, missing):
    system.holds_for(lambda: not from_workers(outside.packets()), WATCH_S)
    outside.sync()
    left = from_workers(outside.packets())
    expect(not left, f"without {' and '.join(missing)}, {len(left)} packets left, the first: {left[:1]}")


def only_own_addresses(scene, outside, must_have_seen=True):
    packets = from_workers(outside.stop())
    for one in packets:
        owner = next((name for name, remote in REMOTE.items() if remote == one.destination), None)
        expect(owner and one.source in scene.egress(owner), f"left: {one.source} > {one.destination} (of {owner})")
    expect(packets or not must_have_seen, "nothing was captured, so this proves nothing")


def all_work(scene, streams):
    for stream in streams:
        stream.progress(20, 20)
    for worker in (scene.acme, scene.globex):
        remote = REMOTE[worker.workspace]
        saw = system.wait_for(f"{worker.name} to reach {remote}", lambda w=worker, r=remote: traffic.works(w, r), 10)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def story(order):
    def run(scene):
        point, gateway = scene.points.point, scene.postern
        outside = capture.Capture(scene.lab.router, "gw0", "ip", snap_bytes=128)
        echoes = [traffic.UdpEcho(scene.lab.inet, REMOTE[name]) for name in REMOTE]
        streams = [
            traffic.NumberedStream(worker, echo, worker.workspace)
            for worker, echo in zip((scene.acme, scene.globex), echoes)
        ]
        try:
            for position, part in enumerate(order):
                start(gateway, part)
                missing = order[position + 1 :]
                if missing:
                    point(
                        f"P3: nothing leaves with only {' and '.join(order[:position + 1])} started",
                        nothing_leaves,
                        outside,
                        missing,
                    )
            point(f"P3: traffic flows once all are in force, started as {', '.join(order)}", all_work, scene, streams)
            for part in order:
                crash(gateway, part)
                if part == "dataplane":
                    outage = capture.Capture(scene.lab.router, "gw0", "ip", snap_bytes=128)
                    point("P3: nothing leaves after the dataplane has crashed", nothing_leaves, outage, ["dataplane"])
        finally:
            for stream in streams:
                stream.stop()
            for echo in echoes:
                echo.close()
        point(
            f"P1, P3: nothing has left untranslated, started and killed as {', '.join(order)}",
            only_own_addresses,
            scene,
            outside,
        )

    run.__name__ = "_".join(part.replace(" ", "_") for part in order)
    return run


def waits_for_the_router(scene):
    said = system.wait_for(
        "status to tell that the router is silent",
        lambda: (lambda code, out, err: code == 5 and "has not told its MAC" in out and out)(
            *scene.postern.cli("gw", "status")
        ),
    )
    expect(topology.ROUTER_ADDRESS in said, f"status does not name it: {said}")


def first_packet_passes(scene):
    """The one datagram, which nobody sends again, arrives; so does its answer."""
    echo = traffic.UdpEcho(scene.lab.inet)
    try:
        # What it knows of its neighbours was learned without ARP.
        scene.lab.router.ip("link set gw0 arp on", "neigh flush dev gw0 nud all")
        scene.postern.wait_ready()
        try:
            saw = traffic.udp_who(scene.acme, echo, timeout_s=10)
        except TimeoutError:
            saw = None
    finally:
        echo.close()
    drops = [scene.drops(port) for port in ("inside", "outside")]
    expect(saw in scene.egress("acme"), f"{saw}; the internet heard {echo.heard}; drops {drops}, {scene.worker_drops()}")
    expect(not any("no_neighbour" in of_port for of_port in drops), f"drops: {drops}")


def cold_start(scene):
    """Well means that packets can leave: not before the router's MAC is known and in force."""
    scene.lab.router.ip("link set gw0 arp off")
    for part in PARTS:
        start(scene.postern, part)
    scene.points.point("P3: status is not ok before the default route's next hop is resolved", waits_for_the_router, scene)
    scene.points.point("P12: once status is ok, the first packet passes", first_packet_passes, scene)


if __name__ == "__main__":
    harness.main(cold_start, *(story(order) for order in itertools.permutations(PARTS)))
