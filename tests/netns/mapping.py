#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mappings by routes of the kernel, written by `ip route` and by BIRD: which egress IP a worker leaves by."""

import os

import harness  # first: it sets the path
import postern
import system
import topology
import traffic
from harness import expect

TABLE = 4242
ACME, GLOBEX = 17, 18  # numbers
NEW_IP = "203.0.113.7"

BIRD = """\
router id 198.51.100.2;
ipv4 table mapping;
protocol device { scan time 1; }
protocol static {
	ipv4 { table mapping; };
	route 10.0.0.6/32 via "lo" { krt_prefsrc = 203.0.113.10; krt_realm = 17; };
}
protocol kernel {
	kernel table 4242;
	scan time 1;
	ipv4 { table mapping; import none; export all; };
}
"""


def route(scene, *lines):
    scene.lab.gw.ip(*[f"route {line} table {TABLE}" for line in lines])


def mappings(scene):
    return scene.postern.cli_json("gw", "mappings")["mappings"]


def is_in_use(scene, prefix, egress_ip):
    return any(one["prefix"] == prefix and one["egress_ip"] == egress_ip and one["state"] == "in-use"
               for one in mappings(scene))


def in_force(scene, prefix, egress_ip):
    system.wait_for(f"{prefix} to be mapped to {egress_ip}", lambda: is_in_use(scene, prefix, egress_ip), 10)
    scene.postern.wait_status("gw", 0)


def leaves_by(worker, egress_ip, times=6):
    for _ in range(times):
        saw = system.wait_for(f"{worker.name} to reach the web", lambda: traffic.works(worker), 10)
        expect(saw == egress_ip, f"{worker.name} was seen as {saw}, not as {egress_ip}")


def a_prefix_prefers(scene):
    for egress_ip in ("203.0.113.10", "203.0.113.11", "203.0.113.10"):
        route(scene, f"replace 10.0.0.6/32 dev lo src {egress_ip} realm {ACME} proto 133")
        in_force(scene, "10.0.0.6/32", egress_ip)
        leaves_by(scene.second, egress_ip)


def a_new_ip_comes_with_its_route(scene):
    refused = scene.lab.gw.run(["ip", "route", "add", "10.0.0.5/32", "dev", "lo", "src", NEW_IP, "table", str(TABLE)], check=False)
    expect(refused.returncode != 0, "the kernel took an address that is nowhere local as src")
    route(scene, f"add local {NEW_IP} dev lo", f"add 10.0.0.5/32 dev lo src {NEW_IP} realm {ACME} proto 133")
    in_force(scene, "10.0.0.5/32", NEW_IP)
    leaves_by(scene.acme, NEW_IP)
    listed = scene.postern.cli_json("gw", "workspaces")["workspaces"]
    ips = next(one["egress_ips"] for one in listed if one["id"] == "acme")
    expect(NEW_IP in ips, f"`postern workspaces` lists {ips}")


def a_new_prefix_lets_its_workers_in(scene):
    """The gateway's file gives acme 10.0.0.0/29 only."""
    outsider = scene.lab.workers["acme-w5"]  # 10.0.0.9
    expect(traffic.works(outsider) is None, "a worker outside of the VPC got through")
    route(scene, f"add 10.0.0.8/29 dev lo src 203.0.113.11 realm {ACME}")
    in_force(scene, "10.0.0.8/29", "203.0.113.11")
    leaves_by(outsider, "203.0.113.11")
    route(scene, "delete 10.0.0.8/29")
    system.wait_for("the worker to be shut out again", lambda: traffic.works(outsider) is None, 10)


def the_files_win(scene):
    route(scene, f"add 10.0.0.4/32 dev lo src 203.0.113.20 realm {ACME}",
          f"add 10.0.0.3/32 dev lo src 203.0.113.10 realm 99")
    system.wait_for("both to be refused", lambda: len([one for one in mappings(scene) if one["reason"]]) == 2, 10)
    states = {one["prefix"]: (one["state"], one["reason"]) for one in mappings(scene) if one["reason"]}
    expect(states["10.0.0.4/32"][0] == "conflict" and "globex" in states["10.0.0.4/32"][1], f"mappings: {states}")
    expect(states["10.0.0.3/32"][0] == "invalid" and "99" in states["10.0.0.3/32"][1], f"mappings: {states}")
    samples = scene.postern.metrics("gw")
    counts = {state: postern.metric_sum(samples, "postern_mapping_routes", state=state) for state in ("conflict", "invalid")}
    expect(counts == {"conflict": 1, "invalid": 1}, f"metrics: {counts}")
    status = scene.postern.cli("gw", "status")[1]
    expect("mappings   2 in use, 1 in conflict, 1 invalid" in status and "10.0.0.4/32" in status, f"status: {status}")
    expect("is not used" in scene.postern.gateway_daemon.log_text(), "the log has no warning")
    leaves_by(scene.globex, "203.0.113.20")
    route(scene, "delete 10.0.0.4/32", "delete 10.0.0.3/32")
    system.wait_for("both to be gone", lambda: not [one for one in mappings(scene) if one["reason"]], 10)


def a_restart_changes_nothing(scene):
    echo = traffic.UdpEcho(scene.lab.inet)
    streams = [traffic.NumberedStream(worker, echo, worker.name) for worker in (scene.acme, scene.second)]
    for stream in streams:
        stream.progress()
    scene.postern.gateway_daemon.kill()
    scene.postern.start_gateway_daemon()
    scene.postern.wait_status("gw", 0)
    for stream in streams:
        stream.progress()
    lost = [stream.stop() for stream in streams]
    sources = [sorted(stream.sources) for stream in streams]
    echo.close()
    expect(not any(lost), f"lost: {lost}")
    expect([len(one) for one in sources] == [1, 1], f"mappings changed: {sources}")
    expect(sources[0][0].startswith(NEW_IP + ":"), f"{scene.acme.name} was seen as {sources[0]}")
    leaves_by(scene.acme, NEW_IP, 3)


def a_bad_file_keeps_them(scene):
    """The last good configuration does not hold mappings: they are the kernel's to keep."""
    with open(os.path.join(scene.postern.dirs["gw"], "state", "last-good.yaml"), encoding="utf-8") as file:
        expect(NEW_IP not in file.read(), "a mapping is in the last good configuration")
    scene.postern.write("gw", "version: 1\nnonsense: true\n")
    scene.postern.wait_status("gw", 5)
    scene.postern.gateway_daemon.kill()
    scene.postern.start_gateway_daemon()
    scene.postern.wait_status("gw", 5)
    leaves_by(scene.acme, NEW_IP, 3)
    write_gateway(scene)
    scene.postern.wait_status("gw", 0)


def a_link_takes_its_routes_along(scene):
    scene.lab.gw.ip("link add map0 type veth peer name map1", "link set map1 up", "link set map0 up")
    route(scene, f"replace 10.0.0.6/32 dev map0 src 203.0.113.11 realm {ACME}")
    in_force(scene, "10.0.0.6/32", "203.0.113.11")
    scene.lab.gw.ip("link delete map0")
    system.wait_for("the mapping to go with its link", lambda: not is_in_use(scene, "10.0.0.6/32", "203.0.113.11"), 10)


def a_flood_of_routes_ends_in_the_right_state(scene):
    """More notifications than the socket holds, routes that mean nothing; in the middle of them one that counts."""
    lines = [f"route add 10.{i // 250}.{i % 250}.0/24 dev lo table {TABLE}" for i in range(256, 3000)]
    middle = len(lines) // 2
    lines[middle:middle] = [f"route add 10.0.0.6/32 dev lo src 203.0.113.11 realm {ACME} table {TABLE}"]
    scene.lab.gw.ip(*lines)
    in_force(scene, "10.0.0.6/32", "203.0.113.11")
    leaves_by(scene.second, "203.0.113.11", 3)
    scene.lab.gw.run(["ip", "route", "flush", "table", str(TABLE), "proto", "boot"])
    system.wait_for("only the mapping that was there before", lambda: len(mappings(scene)) == 1, 20)


def bird_writes_them(scene):
    path = os.path.join(scene.lab.run_dir("bird-mapping"), "bird.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(BIRD)
    bird = scene.lab.start("bird-mapping", ["bird", "-f", "-c", path, "-s", f"{path}.ctl", "-P", f"{path}.pid"], scene.lab.gw)
    in_force(scene, "10.0.0.6/32", "203.0.113.10")
    leaves_by(scene.second, "203.0.113.10")
    bird.stop()
    system.wait_for("the mapping to go with BIRD", lambda: not is_in_use(scene, "10.0.0.6/32", "203.0.113.10"), 10)


def without_a_table_nothing_is_left(scene):
    scene.postern.configuration.gateway_lines = []
    write_gateway(scene)
    scene.postern.wait_status("gw", 0)
    system.wait_for("the local routes to go",
                    lambda: "local" not in scene.lab.gw.run(["ip", "route", "show", "table", str(TABLE), "proto", "133"]).stdout, 10)
    saw = system.wait_for("acme to work by its own IPs", lambda: traffic.works(scene.acme), 10)
    expect(saw in scene.egress("acme"), f"acme was seen as {saw}")


def write_gateway(scene):
    text = scene.postern.configuration.gateway()
    scene.postern.write("gw", text.replace("10.0.0.0/24", "10.0.0.0/29", 1))


def mapping(scene):
    point = scene.points.point
    configuration = scene.postern.configuration
    configuration.workspaces["acme"]["number"] = ACME
    configuration.workspaces["globex"]["number"] = GLOBEX
    configuration.gateway_lines = [f"  netlink: {{ mapping_table: {TABLE} }}"]
    for number in (2, 5):
        configuration.add_worker(scene.lab.add_worker("acme", number))
    scene.second = scene.lab.workers["acme-w2"]  # 10.0.0.6
    scene.postern.write_configurations()
    write_gateway(scene)
    scene.start()
    point("a prefix of a VPC leaves by the egress IP that its route names, and by another one when that changes",
          a_prefix_prefers, scene)
    point("P1: an egress IP that only a route names is the workspace's", a_new_ip_comes_with_its_route, scene)
    point("P3: a prefix that only a route names is let in with it, and shut out without it",
          a_new_prefix_lets_its_workers_in, scene)
    point("P1: routes that contradict the files or mean nothing are shown, counted, and not used", the_files_win, scene)
    point("P4: a kill of posternd changes no mapping and loses nothing", a_restart_changes_nothing, scene)
    point("P9: with a bad file and the last good configuration the routes still count", a_bad_file_keeps_them, scene)
    point("a route goes with its link, which the kernel does not tell", a_link_takes_its_routes_along, scene)
    point("a flood of routes ends in what the last of them say", a_flood_of_routes_ends_in_the_right_state, scene)
    point("BIRD writes mappings, and takes them back", bird_writes_them, scene)
    point("without a mapping table no route of ours is left in it", without_a_table_nothing_is_left, scene)
    point("P1, P2: the isolation guard never fired", expect, scene.guard_violations() == 0, "it did")


if __name__ == "__main__":
    harness.main(mapping)
