#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`postern drain`: no new sessions, the old ones live out over reload and restart, then release and quarantine."""

import harness  # first: it sets the path
import system
import traffic
from harness import expect


def drains(scene):
    return {entry["address"]: entry for entry in scene.postern.cli_json("gw", "drain", "--list")["drains"]}


def addresses(stream):
    return {source.split(":")[0] for source in stream.sources}


def drain(scene, address, *options, code=0):
    got, out, err = scene.postern.cli("gw", "drain", address, *options)
    expect(got == code, f"exit code {got}: {out}{err}")
    return out + err


def ips_of(scene, workspace):
    rows = scene.postern.cli_json("gw", "workspaces")["workspaces"]
    row = next(row for row in rows if row["id"] == workspace)
    return row["egress_ips"], row["egress_draining"]


def no_new_sessions(scene, stream, old, other):
    drain(scene, old)
    system.wait_for("the drain to be in force and counted", lambda: drains(scene)[old]["sessions"], 10)
    for _ in range(10):
        saw = traffic.tcp_who(scene.acme)
        expect(saw == other, f"a new session was seen as {saw}, not as {other}")
    stream.progress(50, 10)
    expect(addresses(stream) == {old}, f"the old session was seen as {stream.sources}")


def survives(scene, stream, old, deed):
    deed()
    system.wait_for("the drain to be counted", lambda: drains(scene)[old]["sessions"], 10)
    expect(ips_of(scene, "acme")[1] == [old], f"acme has {ips_of(scene, 'acme')}")
    stream.progress(50, 10)


def restart(scene):
    scene.postern.gateway_daemon.kill()
    scene.postern.start_gateway_daemon()
    scene.postern.wait_status("gw", 0)


def reload(scene):
    scene.postern.configuration.workspaces["globex"]["egress"].append("203.0.113.21")
    scene.postern.write_configurations()
    system.wait_for("the reload", lambda: "203.0.113.21" in ips_of(scene, "globex")[0], 10)


def cancelled(scene, old):
    drain(scene, old, "--cancel")
    system.wait_for("the address to be back", lambda: old in ips_of(scene, "acme")[0], 5)
    expect(not drains(scene), f"drains: {drains(scene)}")


def released_at_the_deadline(scene, stream, old):
    drain(scene, old, "--deadline", "3s")
    entry = system.wait_for("the release", lambda: drains(scene)[old]["state"] == "quarantine" and drains(scene)[old], 10)
    expect(entry["cut"] and entry["quarantine_seconds_left"] > 250, f"listed as {entry}")
    expect(old not in sum(ips_of(scene, "acme"), []), f"acme still has {ips_of(scene, 'acme')}")
    drain(scene, old, code=1)


def quarantined(scene, old):
    scene.postern.configuration.workspaces["acme"]["egress"].remove(old)
    scene.postern.configuration.workspaces["globex"]["egress"].append(old)
    scene.postern.write_configurations()
    system.wait_for("the move to be read", lambda: old in scene.postern.cli("gw", "status")[1], 10)
    expect(old not in sum(ips_of(scene, "globex"), []), f"globex has {ips_of(scene, 'globex')}")


def released_when_empty(scene, address):
    drain(scene, address)
    system.wait_for("the release", lambda: drains(scene)[address]["state"] == "quarantine", 10)
    expect(not drains(scene)[address]["cut"], "an address without sessions counts as cut")


def refused(scene, address):
    said = drain(scene, address, code=1)
    expect("no workspace's own egress IP" in said, f"it said {said!r}")


def refused_elsewhere(scene, address):
    """The worker host's file names the workspaces and their egress IPs, too."""
    code, out, err = scene.postern.cli("host", "drain", address)
    expect(code == 1 and "this host is no gateway" in err, f"exit code {code}: {out}{err}")
    listed = scene.postern.cli_json("host", "drain", "--list")["drains"]
    expect(not listed, f"drains: {listed}")


def drain_story(scene):
    point = scene.points.point
    scene.start()
    echo = traffic.UdpEcho(scene.lab.inet)
    stream = traffic.NumberedStream(scene.acme, echo, "acme")
    try:
        stream.progress(20, 10)
        old = addresses(stream).pop()
        other = next(ip for ip in scene.egress("acme") if ip != old)
        point("P11: new sessions take another IP, the old one goes on", no_new_sessions, scene, stream, old, other)
        point("a drain survives a reload", survives, scene, stream, old, lambda: reload(scene))
        point("a drain survives kill -9 of posternd", survives, scene, stream, old, lambda: restart(scene))
        point("a cancelled drain takes the IP back into use", cancelled, scene, old)
        point("at its deadline the IP is released, and told as cut", released_at_the_deadline, scene, stream, old)
        point("P2: no other workspace gets it during the quarantine", quarantined, scene, old)
        point("an IP without sessions is released by itself", released_when_empty, scene, "203.0.113.21")
        point("an address that is nobody's is refused", refused, scene, "203.0.113.99")
        point("a host that is no gateway refuses to drain", refused_elsewhere, scene, old)
    finally:
        stream.stop()
        echo.close()


if __name__ == "__main__":
    harness.main(drain_story)
