#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The metrics are well formed, and say exactly what has happened."""

import harness  # first: it sets the path
import postern
import services
import system
import traffic
from harness import expect

DATAGRAM_COUNT = 100
PAYLOAD = b"x" * 100
IP_LENGTH_BYTES = 20 + 8 + len(PAYLOAD)


def promtool(scene, where):
    """promtool check metrics: no finding at all."""
    status, text = scene.postern.http(where, "/metrics")
    expect(status == 200, f"/metrics answers {status}")
    done = system.run(["promtool", "check", "metrics"], stdin=text, check=False)
    expect(
        done.returncode == 0 and not done.stderr.strip(),
        f"promtool exits {done.returncode}: {done.stdout}{done.stderr}",
    )


def snapshot(scene):
    gateway, host = scene.postern.metrics("gw"), scene.postern.metrics("host")
    values = {}
    for workspace in ("acme", "globex"):
        for name in ("transmit_packets", "transmit_bytes", "receive_packets", "receive_bytes"):
            values[f"{workspace} {name}"] = postern.metric_sum(
                gateway, f"postern_workspace_{name}_total", workspace=workspace
            )
            values[f"{workspace} host {name}"] = postern.metric_sum(
                host, f"postern_classifier_workspace_{name}_total", workspace=workspace
            )
        values[f"{workspace} sessions"] = postern.metric_sum(
            gateway, "postern_workspace_sessions_created_total", workspace=workspace
        )
    values["sessions"] = postern.metric_sum(gateway, "postern_sessions_created_total")
    return values


def exact_counts(scene):
    """acme sends 100 datagrams and gets 100 answers; globex is silent."""
    echo = traffic.UdpEcho(scene.lab.inet)
    before = snapshot(scene)
    answer_bytes = 0
    try:
        with services.udp_socket(scene.acme.ns) as client:
            for _ in range(DATAGRAM_COUNT):
                client.sendto(PAYLOAD, echo.address)
                answer_bytes += 28 + len(client.recv(2000))
    finally:
        echo.close()
    rise = harness.risen(before, snapshot(scene))
    for name in (
        "acme transmit_packets",
        "acme receive_packets",
        "acme host transmit_packets",
        "acme host receive_packets",
    ):
        expect(rise.get(name) == DATAGRAM_COUNT, f"{name} rose by {rise.get(name)} for {DATAGRAM_COUNT} datagrams")
    expect(
        rise.get("acme transmit_bytes") == DATAGRAM_COUNT * IP_LENGTH_BYTES,
        f"bytes out: {rise.get('acme transmit_bytes')}",
    )
    expect(
        rise.get("acme receive_bytes") == answer_bytes,
        f"bytes in: {rise.get('acme receive_bytes')}, not {answer_bytes}",
    )
    expect(
        rise.get("acme sessions") == 1 and rise.get("sessions") == 1, f"sessions rose by {rise.get('acme sessions')}"
    )
    silent = {name: count for name, count in rise.items() if name.startswith("globex")}
    expect(not silent, f"globex was silent, but: {silent}")


def law(scene):
    """rx = tx + drops + held + absorbed - generated, over both ports, once nothing moves any more."""

    def balance():
        samples = scene.postern.metrics("gw")

        def total(name):
            return postern.metric_sum(samples, name)

        received, sent = total("postern_port_receive_packets_total"), total("postern_port_transmit_packets_total")
        rest = total("postern_drops_total") + total("postern_packets_held") + total("postern_packets_absorbed_total")
        generated = total("postern_packets_generated_total")
        return (received == sent + rest - generated and received > 0) and (received, sent, rest, generated)

    system.wait_for("rx = tx + drops + held + absorbed - generated", balance, 5)


def probes(scene):
    for where in ("gw", "host"):
        for path in ("/healthz", "/readyz"):
            status, text = scene.postern.http(where, path)
            expect(status == 200, f"{path} ({where}) answers {status}: {text}")


def probes_without_dataplane(scene):
    scene.postern.dataplane.kill()
    system.wait_for("/readyz to say no", lambda: scene.postern.http("gw", "/readyz")[0] == 503, 15)
    status, text = scene.postern.http("gw", "/readyz")
    expect("dataplane" in text, f"/readyz does not say why: {text}")
    expect(scene.postern.http("gw", "/healthz")[0] == 200, "/healthz must go on saying yes")
    expect(
        postern.metric_sum(scene.postern.metrics("gw"), "postern_dataplane_up") == 0, "postern_dataplane_up is not 0"
    )
    promtool(scene, "gw")


def metrics(scene):
    point = scene.points.point
    scene.start()
    point("promtool finds nothing to say about the gateway's metrics", promtool, scene, "gw")
    point("promtool finds nothing to say about the worker host's metrics", promtool, scene, "host")
    point(
        "P12: packets, bytes and sessions per workspace are counted exactly, in dataplane and classifier",
        exact_counts,
        scene,
    )
    point("P12: rx = tx + drops + held + absorbed - generated", law, scene)
    point("/healthz and /readyz say yes on both hosts", probes, scene)
    point("promtool is still content after traffic", promtool, scene, "gw")
    point(
        "without the dataplane /readyz says why not, /healthz yes, and the metrics are well formed",
        probes_without_dataplane,
        scene,
    )


if __name__ == "__main__":
    harness.main(metrics)
