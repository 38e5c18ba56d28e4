#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P6 and P9: a reload is whole or not at all, and costs the others no packet."""

import signal

import harness  # first: it sets the path
import system
import traffic
from harness import expect

NEW = {"vni": 7003, "cidrs": ["10.0.0.0/24"], "egress": ["203.0.113.30"]}
BAD = {
    "an unknown key": lambda text: text.replace("workspaces:", "colour: blue\nworkspaces:"),
    "a wrong type": lambda text: text.replace("vni: 7001", "vni: often"),
    "a duplicate VNI": lambda text: text.replace("vni: 7002", "vni: 7001"),
    "an egress IP of two workspaces": lambda text: text.replace("[203.0.113.20]", "[203.0.113.10]"),
    "a CIDR with host bits": lambda text: text.replace("10.0.0.0/24", "10.0.0.1/24", 1),
    "no YAML at all": lambda text: "{ [ : \0",
    "an empty file": lambda text: "",
}


def add_workspace(scene):
    lab, gateway = scene.lab, scene.postern
    worker = lab.add_worker("initech", 1)
    gateway.configuration.workspaces["initech"] = NEW
    gateway.configuration.add_worker(worker)
    gateway.write_configurations()
    saw = system.wait_for("the new workspace to work", lambda: traffic.works(worker), 15)
    expect(saw in NEW["egress"], f"it was seen as {saw}")


def remove_workspace(scene):
    lab, gateway = scene.lab, scene.postern
    worker = lab.workers["initech-w1"]
    gateway.configuration.remove_worker(worker.name)
    del gateway.configuration.workspaces["initech"]
    gateway.write_configurations()
    system.wait_for("the removed workspace to be shut out", lambda: not traffic.works(worker), 15)
    for where in ("gw", "host"):
        gateway.wait_status(where, 0)
    lab.remove_worker(worker.name)


def move_egress_ip(scene):
    """acme gives one of its egress IPs to globex: from then on it is globex' alone."""
    spaces = scene.postern.configuration.workspaces
    generation = scene.postern.generation()
    spaces["acme"]["egress"] = ["203.0.113.10"]
    spaces["globex"]["egress"] = ["203.0.113.20", "203.0.113.11"]
    scene.postern.write_configurations()
    system.wait_for("the new policy", lambda: scene.postern.generation() > generation, 15)
    for worker in (scene.acme, scene.globex):
        for _ in range(12):
            saw = traffic.tcp_who(worker)
            expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def bad_changes_nothing(scene, text):
    gateway = scene.postern
    generation = gateway.generation()
    failures = scene.reload_failures("gw")
    gateway.write("gw", text)
    said = gateway.wait_status("gw", 5)
    expect(gateway.files["gw"] in said + gateway.gateway_daemon.log_text(), f"status does not name the file: {said}")
    expect(f"{gateway.files['gw']}:" in gateway.gateway_daemon.log_text(), "the log does not name file and line")
    expect(scene.reload_failures("gw") > failures, "the metric of failed reloads did not rise")
    expect(
        gateway.generation() == generation, f"the policy's generation went from {generation} to {gateway.generation()}"
    )
    for worker in (scene.acme, scene.globex):
        saw = traffic.tcp_who(worker)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def good_recovers(scene):
    scene.postern.write_configurations()
    scene.postern.wait_status("gw", 0)


def check_refuses(scene, text):
    path = scene.postern.files["gw"] + ".bad"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = system.run(
        [scene.postern.program("control/posternd"), "--check", "--run-dir", scene.postern.dirs["gw"], "--config", path],
        check=False,
    )
    expect(done.returncode == 4, f"--check exits {done.returncode}: {done.stderr}")
    expect(f"{path}:" in done.stderr + done.stdout, f"--check does not say where: {done.stderr}{done.stdout}")


def daemon_restart_with_bad_file(scene):
    """The last good configuration is in force again, and the error is shown."""
    gateway = scene.postern
    gateway.write("gw", "version: 1\nnonsense: true\n")
    gateway.wait_status("gw", 5)
    gateway.gateway_daemon.kill()
    gateway.start_gateway_daemon()
    gateway.wait_status("gw", 5)
    saw = traffic.tcp_who(scene.acme)
    expect(saw in scene.egress("acme"), f"acme was seen as {saw}")


def sighup(scene):
    before = scene.last_reload("gw")
    scene.postern.gateway_daemon.signal(signal.SIGHUP)
    system.wait_for("a reload", lambda: scene.last_reload("gw") > before, 10)


def reload(scene):
    point = scene.points.point
    gateway = scene.start()
    echo = traffic.UdpEcho(scene.lab.inet)
    streams = [traffic.NumberedStream(worker, echo, worker.workspace) for worker in (scene.acme, scene.globex)]
    download = traffic.Download(scene.globex, scene.internet, rate="1M")
    for number in (1, 2):
        point(f"P6: a workspace is added under traffic, and works (round {number})", add_workspace, scene)
        point(f"P6: it is removed under traffic, and is shut out (round {number})", remove_workspace, scene)
    for what, spoil in BAD.items():
        text = spoil(gateway.configuration.gateway())
        point(
            f"P9: {what} changes nothing, and is reported in status, log and metric", bad_changes_nothing, scene, text
        )
        point(f"P9: after {what}, a good file is taken", good_recovers, scene)
        point(f"P9: posternd --check refuses {what} with exit code 4, saying where", check_refuses, scene, text)
    point("P9: posternd that starts with a bad file takes the last good one", daemon_restart_with_bad_file, scene)
    point("P9: … and recovers with a good one", good_recovers, scene)
    point("SIGHUP reads the configuration again", sighup, scene)
    lost = {stream.tag: len(stream.stop()) for stream in streams}
    echo.close()
    point("P6: all these reloads cost the other workspaces no packet", expect, not any(lost.values()), f"lost: {lost}")
    point("P6: … and no download", lambda: expect(download.finish(), "its SHA-256 differs"))
    point("P1: an egress IP that moves belongs to its new workspace alone", move_egress_ip, scene)


if __name__ == "__main__":
    harness.main(reload)
