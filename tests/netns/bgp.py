#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Egress IPs are announced by BIRD on the gateway to BIRD on the router, eBGP and iBGP, and go when it can not serve."""

import time

import harness  # first: it sets the path
import bgp
import system
import topology
import traffic
from harness import expect

WITHDRAWN_S = 1.0
ALL = {"203.0.113.10", "203.0.113.11", "203.0.113.20"}


def announce(scene, options="{}", egress=None):
    if egress is not None:
        scene.postern.configuration.workspaces["globex"]["egress"] = egress
    scene.postern.configuration.gateway_lines = [f"  announce: {options}"]
    scene.postern.write_configurations()


def has_exactly(daemon, addresses):
    return daemon.router_has() == {address: topology.GATEWAY_OUTSIDE for address in addresses}


def announced(scene, daemon, addresses=ALL):
    system.wait_for(f"the router to have {sorted(addresses)}", lambda: has_exactly(daemon, addresses), 30)


def return_traffic_follows_bgp(scene, daemon):
    for worker in (scene.acme, scene.globex):
        saw = system.wait_for(f"{worker.name} to reach the web", lambda: traffic.works(worker), 10)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")
    route = scene.lab.gw.run(["ip", "route", "show", "default"]).stdout
    expect("proto bird" in route, f"the gateway's default route is {route!r}")


def withdrawn_within_a_second(daemon, deed):
    began = time.monotonic()
    deed()
    while daemon.router_has():
        expect(time.monotonic() - began < WITHDRAWN_S, f"after {WITHDRAWN_S} s the router has {daemon.router_has()}")
        time.sleep(0.01)


def kernel_routes(scene, table="main"):
    text = scene.lab.gw.run(["ip", "-N", "route", "show", "table", table, "proto", "133"], check=False).stdout
    return sorted(line.split()[1] for line in text.splitlines())


def meddling_is_put_right(scene, daemon):
    gw = scene.lab.gw
    gw.ip("route delete blackhole 203.0.113.10 metric 133", "route add blackhole 203.0.113.99 metric 133 proto 133")
    system.wait_for("the routes to be as before", lambda: kernel_routes(scene) == sorted(ALL), 5)
    gw.ip("route add blackhole 203.0.113.98 metric 133")
    expect(system.holds_for(lambda: "203.0.113.98" in gw.run(["ip", "route"]).stdout, 0.5), "a foreign route was taken")
    gw.ip("route delete blackhole 203.0.113.98 metric 133")
    announced(scene, daemon)


def an_ip_that_comes_and_goes_is_announced_and_withdrawn(scene, daemon):
    announce(scene, egress=["203.0.113.20", "203.0.113.21"])
    announced(scene, daemon, ALL | {"203.0.113.21"})
    announce(scene, egress=["203.0.113.20"])
    announced(scene, daemon)


def a_kill_of_posternd_changes_nothing(scene, daemon):
    def monitor():
        return scene.lab.router.run(["ip", "-ts", "route", "show", "proto", "bird"]).stdout

    before = monitor()
    watch = scene.lab.start("monitor", ["ip", "monitor", "route"], scene.lab.gw)
    time.sleep(0.2)
    scene.postern.gateway_daemon.kill()
    scene.postern.start_gateway_daemon()
    scene.postern.wait_status("gw", 0)
    expect(watch.alive(), f"ip monitor has ended: {watch.log_text()[-200:]}")
    watch.stop()
    moved = [line for line in watch.log_text().splitlines() if "203.0.113." in line]
    expect(not moved, f"the kernel's routes moved: {moved}")
    expect(monitor() == before, "the router's routes moved")


def draining_the_gateway(scene, daemon):
    withdrawn_within_a_second(daemon, lambda: announce(scene, "{ draining: true }"))
    state = scene.postern.cli_json("gw", "status")["announce"]
    expect(state["state"] == "withdrawn" and "draining" in state["reason"], f"status says {state}")
    announce(scene)
    announced(scene, daemon)


def another_table(scene, daemon):
    announce(scene, "{ table: 4711 }")
    system.wait_for("the routes in table 4711", lambda: kernel_routes(scene, "4711") == sorted(ALL), 5)
    expect(kernel_routes(scene) == [], f"the main table still has {kernel_routes(scene)}")
    announce(scene)
    announced(scene, daemon)
    expect(kernel_routes(scene, "4711") == [], f"table 4711 still has {kernel_routes(scene, '4711')}")


def back_again(scene, daemon, deed):
    deed()
    announced(scene, daemon)
    return_traffic_follows_bgp(scene, daemon)


def port_down(scene):
    """The inside one: BGP itself runs over the outside one, and would end with it."""
    scene.lab.gw.ip("link set inside0 down")


def port_up(scene):
    scene.lab.gw.ip("link set inside0 up")


def prepare(scene, internal):
    announce(scene)
    daemon = bgp.Bgp(scene.lab, internal)
    system.wait_for("BGP to be established", daemon.established, 20)
    expect(not daemon.router_has(), "routes are announced before anything serves")
    scene.start()
    return daemon


def external_bgp(scene):
    point = scene.points.point
    daemon = prepare(scene, internal=False)
    postern = scene.postern
    point("eBGP: every egress IP is a host route at the router", announced, scene, daemon)
    point("eBGP: return traffic and the default route come by BGP", return_traffic_follows_bgp, scene, daemon)
    point("eBGP: removed and foreign routes of the protocol are put right", meddling_is_put_right, scene, daemon)
    point("eBGP: an egress IP that comes and goes", an_ip_that_comes_and_goes_is_announced_and_withdrawn, scene, daemon)
    point("P4: a kill and restart of posternd moves no route", a_kill_of_posternd_changes_nothing, scene, daemon)
    point("a gateway that drains withdraws everything within 1 s", draining_the_gateway, scene, daemon)
    point("a change of the table leaves nothing behind", another_table, scene, daemon)
    point("a dead dataplane withdraws everything within 1 s", withdrawn_within_a_second, daemon, postern.dataplane.kill)
    point("... and its return brings it back", back_again, scene, daemon, postern.start_dataplane)
    point("a port that goes down withdraws within 1 s", withdrawn_within_a_second, daemon, lambda: port_down(scene))
    point("... and its return brings it back", back_again, scene, daemon, lambda: port_up(scene))
    point("a stopped dataplane withdraws within 1 s", withdrawn_within_a_second, daemon, lambda: postern.dataplane.stop())


def internal_bgp(scene):
    point = scene.points.point
    daemon = prepare(scene, internal=True)
    point("iBGP: every egress IP is a host route at the router", announced, scene, daemon)
    point("iBGP: return traffic and the default route come by BGP", return_traffic_follows_bgp, scene, daemon)
    point(
        "iBGP: a stopped dataplane withdraws within 1 s", withdrawn_within_a_second, daemon, scene.postern.dataplane.stop
    )


if __name__ == "__main__":
    harness.main(external_bgp, internal_bgp)
