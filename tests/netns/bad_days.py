#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Routes and neighbours that flap, a port that is deleted, a dataplane that dies in the middle of an apply.

usage: tests/netns/bad_days.py BUILD_DIR [--routes N] [--rounds N] [--seed S]
"""

import os
import random
import time

import harness  # first: it sets the path
import postern
import system
import topology
import traffic
from harness import expect

ROUTES = 6000
ROUNDS = 4  # of the dataplane's deaths
WORKSPACES = 200  # further ones, so that an apply takes a while
DIES_WITHIN_S = 0.15


def streams_begin(scene):
    scene.echo = traffic.UdpEcho(scene.lab.inet)
    workers = (scene.acme, scene.globex)
    scene.streams = [traffic.NumberedStream(worker, scene.echo, worker.workspace) for worker in workers]
    for stream in scene.streams:
        stream.progress()


def streams_end(scene, may_lose=False):
    for stream in scene.streams:
        stream.progress()
        stream.halt()
    lost = {stream.tag: len(numbers) for stream in scene.streams if (numbers := stream.stop())}
    moved = [stream.tag for stream in scene.streams if len(stream.sources) != 1]
    scene.echo.close()
    expect(may_lose or not lost, f"lost: {lost}")
    expect(not moved, f"mappings changed: {moved}")


def batch(scene, path):
    scene.lab.gw.run(["ip", "-force", "-batch", path], timeout_s=120)


def routes_flap(scene):
    """All of them come, change their next hop and go; a route that is changed in the middle of it counts at the end."""
    paths = {}
    for name, line in (("add", "via {router}"), ("replace", "via 198.51.100.77"), ("delete", "via 198.51.100.77")):
        paths[name] = os.path.join(scene.lab.fs, f"{name}.batch")
        with open(paths[name], "w", encoding="utf-8") as file:
            for i in range(OPTIONS.routes):
                route = f"20.{i >> 16}.{i >> 8 & 255}.{i & 255}/32"
                file.write(f"route {name} {route} {line.format(router=topology.ROUTER_ADDRESS)}\n")
    streams_begin(scene)
    resyncs, before = resync_count(scene), adjacency(scene)["routes"]
    began = time.monotonic()
    batch(scene, paths["add"])
    scene.lab.gw.ip(f"route add blackhole {topology.INET_ADDRESS_2}/32")
    batch(scene, paths["replace"])
    batch(scene, paths["delete"])
    flapped_s = time.monotonic() - began
    wait_for_second_address(scene, "the last word to be in force", False)
    scene.postern.wait_status("gw", 0, 30)
    settled_s = time.monotonic() - began - flapped_s
    print(f"# {3 * OPTIONS.routes} changes in {flapped_s:.1f} s, settled {settled_s:.1f} s later, "
          f"{resync_count(scene) - resyncs:.0f} resynchronisations", flush=True)
    scene.lab.gw.ip(f"route delete blackhole {topology.INET_ADDRESS_2}/32")
    wait_for_second_address(scene, "the address to be reached again", True)
    routes = adjacency(scene)
    expect(routes["routes"] == before and routes["routes_left_out"] == 0, f"the adjacency had {before}, has {routes}")
    streams_end(scene)


def adjacency(scene):
    return scene.postern.cli_json("gw", "status")["adjacency"]


def wait_for_second_address(scene, what, reached):
    system.wait_for(what, lambda: (traffic.works(scene.acme, topology.INET_ADDRESS_2) is not None) == reached, 30)


def resync_count(scene):
    return postern.metric_sum(scene.postern.metrics("gw"), "postern_netlink_resyncs_total")


def neighbours_flap(scene):
    """Each of them is a route of the adjacency while it is there."""
    streams_begin(scene)
    before = adjacency(scene)["routes"]
    path = os.path.join(scene.lab.fs, "neighbours.batch")
    with open(path, "w", encoding="utf-8") as file:
        for turn in range(40):
            for host in range(10, 240):
                what = f"198.51.100.{host} dev outside0"
                mac = f"02:00:00:{turn:02x}:00:{host:02x}"
                file.write(f"neighbour delete {what}\n" if turn % 2 else f"neighbour replace {what} lladdr {mac}\n")
    batch(scene, path)
    scene.lab.gw.ip("neighbour replace 198.51.100.9 lladdr 02:00:00:00:00:99 nud permanent dev outside0")
    system.wait_for("the neighbour that stays to be the only one", lambda: adjacency(scene)["routes"] == before + 1, 20)
    scene.lab.gw.ip("neighbour delete 198.51.100.9 dev outside0")
    system.wait_for("it to be gone", lambda: adjacency(scene)["routes"] == before, 20)
    scene.postern.wait_status("gw", 0)
    streams_end(scene)


def port_deleted_and_made_again(scene):
    streams_begin(scene)
    lab = scene.lab
    lab.gw.ip("link delete outside0")
    scene.postern.wait_status("gw", 5)
    system.wait_for("the dataplane to end", lambda: not scene.postern.dataplane.alive(), 20)
    said = scene.postern.dataplane.log_text()
    expect("outside0" in said, f"it does not say why: {said[-300:]}")
    lab.wire(lab.gw, "outside0", lab.router, "gw0", lab.queues)
    lab.offloads_off(lab.router, "gw0")
    outside, router = topology.GATEWAY_OUTSIDE, topology.ROUTER_ADDRESS
    lab.gw.ip(f"address add {outside}/24 dev outside0", f"route add default via {router}")
    lab.router.ip(f"address add {router}/24 dev gw0", f"route add 203.0.113.0/24 via {outside}")
    scene.postern.start_dataplane()
    scene.postern.wait_status("gw", 0, 30)
    streams_end(scene, may_lose=True)


def text_of(scene, mark):
    """The gateway's file with many further workspaces, and one whose egress IP tells which version it is."""
    configuration = scene.postern.configuration
    own = dict(configuration.workspaces)
    for number in range(WORKSPACES):
        configuration.workspaces[f"filler{number}"] = {
            "vni": 8000 + number, "cidrs": ["10.0.0.0/16"], "egress": [f"198.52.{number >> 8}.{number & 255}"]}
    configuration.workspaces["mark"] = {"vni": 7999, "cidrs": ["10.0.0.0/16"], "egress": [f"203.0.113.{100 + mark}"]}
    text = configuration.gateway()
    configuration.workspaces = own
    return text


def mark_in_force(scene, mark):
    listed = scene.postern.cli_json("gw", "workspaces")["workspaces"]
    return any(f"203.0.113.{100 + mark}" in one["egress_ips"] for one in listed)


def dataplane_dies_in_the_middle_of_an_apply(scene):
    chance = random.Random(OPTIONS.seed)
    streams_begin(scene)
    for number in range(OPTIONS.rounds):
        generation = scene.postern.generation()
        scene.postern.write("gw", text_of(scene, number))
        time.sleep(chance.uniform(0, DIES_WITHIN_S))
        scene.postern.dataplane.kill()
        scene.postern.start_dataplane()
        scene.postern.wait_status("gw", 0, 30)
        expect(mark_in_force(scene, number), f"round {number}: the newest file is not in force")
        expect(scene.postern.generation() > generation, f"round {number}: the generation is {generation} still")
        for stream in scene.streams:
            stream.progress(5)
    streams_end(scene, may_lose=True)


def bad_days(scene):
    point = scene.points.point
    scene.start()
    point("P4: routes that flap cost no packet, and the last word counts", routes_flap, scene)
    point("P4: neighbours that flap cost no packet", neighbours_flap, scene)
    point("P5: a port that is deleted and made again ends no session", port_deleted_and_made_again, scene)
    point("P5, P6: a dataplane that dies in the middle of an apply comes back with the newest policy and all sessions",
          dataplane_dies_in_the_middle_of_an_apply, scene)
    point("P1, P2: in all of that the guard never fired", expect, scene.guard_violations() == 0, "it did")


if __name__ == "__main__":
    OPTIONS = harness.options(__doc__, routes=ROUTES, rounds=ROUNDS, seed=random.randrange(1 << 31))
    harness.main(bad_days)
