#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gateway and worker host on one machine, in one namespace, by the recipe of docs/operations.md, word for word."""

import os
import re

import harness  # first: it sets the path
import capture
import packet
import system
import topology
import traffic
from harness import expect

HEADING = "### Gateway and worker host on one machine"


class OneHostLab(topology.Lab):
    """The lab without a worker host: its workers are the gateway's."""

    def build(self):
        self.host = self.gw = topology.Namespace(self, "gw")
        self.router = topology.Namespace(self, "router")
        self.inet = topology.Namespace(self, "inet")
        self.build_internet()
        for line in recipe():
            self.gw.run(["sh", "-e", "-c", line])
        for workspace in topology.WORKSPACES:
            self.add_worker(workspace, 1)


def recipe():
    """The commands below the heading."""
    with open(os.path.join(harness.ROOT, "docs", "operations.md"), encoding="utf-8") as page:
        _, _, rest = page.read().partition(HEADING)
    block = re.search(r"\n```\n(.*?)\n```\n", rest, re.S)
    expect(block, f"docs/operations.md has no commands below {HEADING}")
    return block[1].splitlines()


def works(scene):
    for worker in (scene.acme, scene.globex):
        saw = system.wait_for(f"{worker.name} to reach the web", lambda w=worker: traffic.works(w), 10)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def through_the_port(scene):
    """What the internet sees came in by the inside port, in a tunnel: nothing took a short cut over lo."""
    tunnel = capture.Capture(scene.lab.gw, "under0", "udp port 4789")
    outside = capture.Capture(scene.lab.router, "gw0", "ip")
    works(scene)
    tunnel.stop()
    vnis = {parsed[0] for parsed in (packet.parse_vxlan(frame) for _, frame in tunnel.frames()) if parsed}
    expect(vnis == {7001, 7002}, f"on under0: {vnis}")
    owned = {address for workspace in topology.WORKSPACES for address in scene.egress(workspace)}
    foreign = traffic.foreign_sources(outside.stop(), owned | {topology.GATEWAY_OUTSIDE})
    expect(not foreign, f"left untranslated: {foreign[:3]}")


def probed(scene):
    """The gateway answers the worker host's probe, on the same machine."""
    rows = scene.postern.cli_json("gw", "gateway", "list")["gateways"]
    expect([row["up"] for row in rows] == [True], f"the gateway: {rows}")


def one_host(scene):
    """Without a daemon of the host's own: the gateway's is both."""
    gateway = scene.postern
    system.mount("bpf", os.path.join(gateway.dirs["gw"], "bpf"), "mode=0700")
    worker_host = gateway.configuration.host().partition("worker_host:")
    gateway.write("gw", gateway.configuration.gateway() + "".join(worker_host[1:]))
    gateway.start_dataplane()
    gateway.start_gateway_daemon()
    gateway.wait_status("gw", 0)
    scene.points.point("workers of both workspaces leave by their own IPs", works, scene)
    scene.points.point("P1: all of it by the tunnel and the inside port", through_the_port, scene)
    scene.points.point("the gateway is up for the worker host beside it", probed, scene)
    gateway.gateway_daemon.kill()
    scene.points.point("P4: it goes on without posternd", works, scene)
    gateway.start_gateway_daemon()
    gateway.wait_status("gw", 0)
    scene.points.point("and with a new one", works, scene)


one_host.lab = OneHostLab

if __name__ == "__main__":
    harness.main(one_host)
