#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two shards, on two lcores: what one receives and the other owns is handed over, and all that holds for one holds.

The kernel picks a queue by the flow, so that about half of the replies arrive at the shard that does not own them; with
a single queue to a port, one shard receives what comes from inside, the other what comes from outside.
"""

import os

import harness  # first: it sets the path
import isolation as isolation_story
import metrics as metrics_story
import postern
import system
import traffic
from harness import expect

FLOWS = 40
CPUS = sorted(os.sched_getaffinity(0))
LCORES = ("--lcores", f"0@{CPUS[0]},1@{CPUS[0]},2@{CPUS[-1]}")


def spread(scene):
    """Flows of four workers, so that both shards own some; each answer to whom it is for."""
    before = handed_over(scene)
    echo = traffic.UdpEcho(scene.lab.inet)
    try:
        for number in range(FLOWS):
            for worker in scene.lab.workers.values():
                saw = traffic.udp_who(worker, echo, f"{worker.name}-{number}")
                expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")
                expect(
                    any(payload.decode() == f"{worker.name}-{number}" for _, payload in echo.heard[-1:]),
                    f"the echo server heard {echo.heard[-1:]}",
                )
    finally:
        echo.close()
    crossed = handed_over(scene) - before
    expect(crossed > FLOWS, f"only {crossed} of {8 * FLOWS} packets were handed over")


def handed_over(scene):
    return int(postern.metric_sum(scene.postern.metrics("gw"), "postern_packets_handed_over_total"))


def large_pings(scene):
    """Echo replies of three fragments: the later ones have no identifier, and go by their home."""
    for worker in scene.lab.workers.values():
        done = traffic.ping(worker, isolation_story.REMOTE[worker.workspace], 4, "-s", "4000", "-i", "0.01")
        expect(done.returncode == 0, f"{worker.name}: {done.stdout}")


def download(scene):
    for worker in (scene.acme, scene.globex):
        expect(traffic.Download(worker, scene.internet, rate="0").finish(), f"{worker.name}: wrong bytes")


def restart(scene):
    """P5 with two shards: a stream of each worker goes on at its port."""
    echo = traffic.UdpEcho(scene.lab.inet)
    streams = [traffic.NumberedStream(worker, echo, worker.name) for worker in scene.lab.workers.values()]
    try:
        for stream in streams:
            stream.progress(10)
        scene.postern.dataplane.kill()
        scene.postern.start_dataplane()
        scene.postern.wait_status("gw", 0)
        for stream in streams:
            stream.progress(20, 20)
            expect(len(stream.sources) == 1, f"{stream.tag} was seen as {stream.sources}")
    finally:
        for stream in streams:
            stream.stop()
        echo.close()
    text = scene.postern.dataplane.log_text()
    expect("of an earlier process go on" in text, f"the log says {text[-300:]}")


def guard_was_idle(scene):
    """A ring may well be full when the scheduler favours one shard: that is counted, and the books above have it."""
    for port in ("inside", "outside"):
        drops = scene.drops(port)
        wrong = {name: drops[name] for name in ("guard_egress", "guard_ingress") if name in drops}
        expect(not wrong, f"{port}: {wrong}")


def run(scene):
    point = scene.points.point
    for workspace in ("acme", "globex"):
        for number in (2, 3):
            scene.postern.configuration.add_worker(scene.lab.add_worker(workspace, number))
    scene.postern.write_configurations()
    scene.start()
    point("two shards are running", lambda: expect(shard_count(scene) == 2, f"{shard_count(scene)} are"))
    point("P2: answers that arrive at the wrong shard reach the worker that asked", spread, scene)
    point("P1: TCP with the same everything leaves by each workspace's own egress IP",
          isolation_story.same_everything, scene)
    point("P1, P2: UDP likewise", isolation_story.udp_same_everything, scene)
    point("P1, P2: ICMP echo likewise", isolation_story.ping_same_everything, scene)
    point("echo replies in fragments come together", large_pings, scene)
    point("a download arrives whole", download, scene)
    point("P2, P12: a scan from the internet reaches nobody, and every probe is counted", isolation_story.scan, scene)
    point("P12: the books balance over both shards", metrics_story.law, scene)
    point("P5: after a kill, sessions of both shards go on", restart, scene)
    point("P1, P2: the guard has stopped nothing", guard_was_idle, scene)


def shard_count(scene):
    return scene.postern.cli_json("gw", "status")["dataplane"]["shards"]


def one_queue_for_both_shards(scene):
    run(scene)


one_queue_for_both_shards.dataplane_options = (*postern.IDLE_SLEEP, *LCORES)

if __name__ == "__main__":
    harness.main(one_queue_for_both_shards)
