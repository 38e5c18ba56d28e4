#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P4: the control daemons are killed and restarted under traffic, and neither a packet nor a session is lost."""

import harness  # first: it sets the path
import system
import topology
import traffic
from harness import expect

ROUNDS = 2


class Load:
    """A numbered UDP stream and a ping stream per workspace, and a download by acme."""

    def __init__(self, scene):
        self.echoes = [
            traffic.UdpEcho(scene.lab.inet, address) for address in (topology.INET_ADDRESS, topology.INET_ADDRESS_2)
        ]
        workers = (scene.acme, scene.globex)
        self.streams = [
            traffic.NumberedStream(worker, echo, worker.workspace) for worker, echo in zip(workers, self.echoes)
        ]
        self.pings = [traffic.PingStream(worker) for worker in workers]
        self.download = traffic.Download(scene.acme, scene.internet, rate="2M")
        for stream in self.streams:
            stream.progress()

    def progress(self):
        for stream in self.streams:
            stream.progress(60)

    def stop(self):
        """What was lost, as text; empty when nothing was."""
        lost = []
        for stream in self.streams:
            numbers = stream.stop()
            if numbers:
                lost.append(f"{stream.tag}: {len(numbers)} of {stream.sent} datagrams, from number {numbers[0]}")
            if len(stream.sources) != 1:
                lost.append(f"{stream.tag}: its mapping changed: {sorted(stream.sources)}")
        for ping in self.pings:
            sent, missing = ping.stop()
            if missing or sent < 50:
                lost.append(f"ping: {missing} of {sent}")
        for echo in self.echoes:
            echo.close()
        return "; ".join(lost)


def survives(scene, where, how):
    """One daemon goes (how: "kill" or "stop"), stays away for a while, and comes back; the streams go on."""
    gateway = scene.postern
    daemon = gateway.gateway_daemon if where == "gw" else gateway.host_daemon
    getattr(daemon, how)()
    code = gateway.cli(where, "status")[0]
    expect(code == 3, f"with posternd away, `postern status` exits {code}")
    scene.load.progress()
    if where == "gw":
        gateway.start_gateway_daemon()
    else:
        gateway.start_host_daemon()
    gateway.wait_status(where, 0)
    scene.load.progress()


def sessions_go_on(scene, before):
    after = scene.session_keys()
    gone = before - after
    expect(not gone, f"{len(gone)} of {len(before)} sessions are gone: {sorted(gone)[:3]}")
    expect(before, "there was no session to begin with")


def stability(scene):
    point = scene.points.point
    scene.start()
    scene.load = Load(scene)
    pid = scene.postern.dataplane.pid
    before = scene.session_keys(lambda session: session["protocol"] == "udp")
    for round_number in range(ROUNDS):
        for where, name in (("gw", "the gateway's posternd"), ("host", "the worker host's posternd")):
            for how, word in (("kill", "killed with SIGKILL"), ("stop", "stopped")):
                point(
                    f"P4: traffic goes on while {name} is {word} and restarted, round {round_number + 1}",
                    survives,
                    scene,
                    where,
                    how,
                )
    point("P4: every session is still there", sessions_go_on, scene, before)
    whole = point("P4: a download that ran through all of it arrives whole", scene.load.download.finish)
    if whole is False:
        scene.points.fail("P4: the download's SHA-256 is right", AssertionError("it differs"))
    lost = scene.load.stop()
    point("P4: not one datagram or ping was lost, and no mapping changed", expect, lost == "", lost)
    point(
        "P4: the dataplane is the same process",
        expect,
        scene.postern.dataplane.pid == pid and scene.postern.dataplane.alive(),
        "it is not",
    )
    point("P4: new sessions open afterwards", system.wait_for, "the web", lambda: traffic.works(scene.acme), 10)


if __name__ == "__main__":
    harness.main(stability)
