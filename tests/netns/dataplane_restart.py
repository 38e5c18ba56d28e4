#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dataplane is killed under traffic: an outage in which nothing leaks, then recovery by itself."""

import harness  # first: it sets the path
import capture
import system
import topology
import traffic
from harness import expect

ROUNDS = 3


def outage(scene, streams, outside):
    scene.postern.dataplane.kill()
    for stream in streams:
        stream.answered_at_kill = len(stream.answered)
    scene.postern.wait_status("gw", 5)
    system.holds_for(lambda: True, 0.5)  # traffic meanwhile: what must not happen gets its chance
    outside.sync()
    sent = [stream.sent for stream in streams]
    expect(all(sent), "the streams did not send")


def recovery(scene, streams):
    scene.postern.start_dataplane()
    scene.postern.wait_status("gw", 0)
    for stream in streams:
        stream.progress(20, 20)
    for worker in (scene.acme, scene.globex):
        saw = system.wait_for(f"{worker.name} to reach the web", lambda worker=worker: traffic.works(worker), 10)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def no_leak(scene, outside):
    owned = {"acme": scene.egress("acme"), "globex": scene.egress("globex")}
    everyone = owned["acme"] + owned["globex"] + [topology.GATEWAY_OUTSIDE]
    packets = outside.stop()
    wrong = traffic.foreign_sources(packets, everyone)
    expect(not wrong, f"{len(wrong)} packets: {wrong[:3]}")
    expect(len(packets) > 100, f"only {len(packets)} packets were captured")


def dataplane_restart(scene):
    point = scene.points.point
    scene.start()
    echo = traffic.UdpEcho(scene.lab.inet)
    streams = [traffic.NumberedStream(worker, echo, worker.workspace) for worker in (scene.acme, scene.globex)]
    outside = capture.Capture(scene.lab.router, "gw0", "ip", snap_bytes=128)
    try:
        for number in range(1, ROUNDS + 1):
            point(
                f"P3: the dataplane is killed, and `postern status` says degraded (round {number})",
                outage,
                scene,
                streams,
                outside,
            )
            point(
                f"P3: traffic and new sessions recover once it is started again (round {number})",
                recovery,
                scene,
                streams,
            )
    finally:
        for stream in streams:
            stream.stop()
        echo.close()
    point("P1, P3: nothing has left untranslated before, during or after", no_leak, scene, outside)


if __name__ == "__main__":
    harness.main(dataplane_restart)
