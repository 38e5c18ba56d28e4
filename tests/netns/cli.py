#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command-line contract: exit codes 0, 2, 3, 4, 5, tables for people, JSON for programs."""

import json
import os

import harness  # first: it sets the path
import services
import system
import topology
import traffic
from harness import expect

COMMANDS = ("status", "workspaces", "sessions", "drops")


def run(scene, *arguments):
    return system.run([scene.postern.program("tools/postern"), *arguments], check=False)


def unreachable(scene):
    empty = scene.lab.run_dir("nobody")
    for command in COMMANDS:
        for extra in ((), ("--json",)):
            done = run(scene, "--run-dir", empty, command, *extra)
            expect(
                done.returncode == 3,
                f"`{command}` exits {done.returncode} without a daemon: {done.stdout}{done.stderr}",
            )
            expect(done.stderr.strip(), f"`{command}` says nothing on stderr")


def usage(scene):
    directory = scene.postern.dirs["gw"]
    for wrong in (
        [],
        ["--run-dir", directory],
        ["--run-dir", directory, "dance"],
        ["--run-dir", directory, "status", "--colour"],
        ["--run-dir"],
        ["--run-dir", directory, "status", "extra"],
    ):
        done = run(scene, *wrong)
        expect(done.returncode == 2, f"`postern {' '.join(wrong)}` exits {done.returncode}: {done.stderr}")
        expect(done.stderr.strip(), f"`postern {' '.join(wrong)}` says nothing on stderr")
    done = run(scene, "--help")
    expect(done.returncode == 0 and "status" in done.stdout, "--help")
    for program in ("control/posternd", "dataplane/postern-dataplane"):
        done = system.run([scene.postern.program(program), "--no-such-option"], check=False)
        expect(done.returncode == 2, f"{program} exits {done.returncode} for a wrong option: {done.stderr}")
        done = system.run([scene.postern.program(program), "--help"], check=False)
        expect(done.returncode == 0 and "--run-dir" in done.stdout, f"{program} --help exits {done.returncode}")


def answers(scene, where):
    for command in COMMANDS:
        code, out, err = scene.postern.cli(where, command)
        expect(code == 0 and out.strip(), f"`{command}` exits {code}: {out}{err}")
        code, out, err = scene.postern.cli(where, command, "--json")
        expect(code == 0, f"`{command} --json` exits {code}: {err}")
        json.loads(out)


def plan_says_whom_it_would_hurt(scene):
    """While acme and globex have sessions: a file without acme touches acme alone, and says how many it has."""
    path = os.path.join(scene.lab.run_dir("plan"), "new.yaml")
    with open(scene.postern.files["gw"], encoding="utf-8") as file:
        old = file.read()
    expect(old.count("id: acme\n") == 1, f"the lab's file has another shape: {old}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(old.replace("id: acme\n", "id: acme2\n"))
    code, out, err = scene.postern.cli("gw", "plan", path, "--json")
    expect(code == 0, f"plan exits {code}: {err}")
    touched = {one["id"]: one for one in json.loads(out)["workspaces_touched"]}
    expect(set(touched) == {"acme"} and touched["acme"]["sessions_ending"] >= 1, f"touched: {touched}, by {out}")
    expect(json.loads(out)["all_workspaces"] is None, f"what is everybody's does not change: {out}")
    _, out, _ = scene.postern.cli("gw", "plan", path)
    expect("touches workspace acme, which has" in out and "would end" in out, f"the text: {out}")


def plan_tells_what_ends_from_what_goes_on(scene, egress):
    """acme loses an IP: first the one that its session does not use, then the one that it does. Then VTEPs are distrusted."""
    path = os.path.join(scene.lab.run_dir("plan"), "new.yaml")
    with open(scene.postern.files["gw"], encoding="utf-8") as file:
        old = file.read()
    ips = scene.postern.configuration.workspaces["acme"]["egress"]
    expect(egress in ips and len(ips) == 2, f"{egress} of {ips}")
    for gone in sorted(ips, key=lambda ip: ip == egress):
        configuration = scene.postern.configuration
        configuration.workspaces["acme"]["egress"] = [ip for ip in ips if ip != gone]
        with open(path, "w", encoding="utf-8") as file:
            file.write(configuration.gateway())
        configuration.workspaces["acme"]["egress"] = ips
        mine = sum(one["workspace"] == "acme" and one["egress_address"] == gone for one in scene.sessions())
        _, out, err = scene.postern.cli("gw", "plan", path, "--json")
        touched = {one["id"]: one["sessions_ending"] for one in json.loads(out)["workspaces_touched"]}
        expect(touched == {"acme": mine} and (mine > 0) == (gone == egress), f"without {gone}: {touched}, not {mine} {err}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(old.replace("10.100.0.0/24", "10.99.0.0/24"))
    _, out, err = scene.postern.cli("gw", "plan", path, "--json")
    expect(json.loads(out)["all_workspaces"]["sessions_ending"] >= 2, f"without the workers' VTEPs: {out} {err}")


def plan_keeps_its_word(scene, egress):
    """The same change for good: as many sessions end as the plan says, those on the IP that goes, and no others."""
    path = os.path.join(scene.lab.run_dir("plan"), "new.yaml")
    acme = scene.postern.configuration.workspaces["acme"]
    ips = acme["egress"]
    acme["egress"] = [ip for ip in ips if ip != egress]
    with open(path, "w", encoding="utf-8") as file:
        file.write(scene.postern.configuration.gateway())
    acme["egress"] = ips
    _, out, _ = scene.postern.cli("gw", "plan", path, "--json")
    told = sum(one["sessions_ending"] for one in json.loads(out)["workspaces_touched"])
    before, on_it = scene.session_keys(), scene.session_keys(lambda one: one["egress_address"] == egress)
    code, out, err = scene.postern.cli("gw", "apply", path)
    expect(code == 0, f"apply exits {code}: {out}{err}")
    system.wait_for("the sessions to end", lambda: not on_it & scene.session_keys())
    gone = before - scene.session_keys()
    expect(len(gone) == told > 0 and gone == on_it, f"{told} were to end, gone are {gone}, and on {egress} were {on_it}")
    scene.postern.write_configurations()
    expect(scene.postern.cli("gw", "reload")[0] == 0, "the file of before is refused")
    scene.postern.wait_status("gw", 0)


def sessions(scene):
    """A session of each protocol, with both sides of the translation."""
    echo = traffic.UdpEcho(scene.lab.inet)
    with services.udp_socket(scene.acme.ns, (scene.acme.address, 43210)) as client, scene.globex.ns.socket() as stream:
        client.sendto(b"x", echo.address)
        seen = client.recv(100).decode().split()[0]
        stream.settimeout(3)
        stream.connect((topology.INET_ADDRESS, 80))
        listed = scene.sessions()
        mine = [one for one in listed if one["inside_port"] == 43210 and one["protocol"] == "udp"]
        expect(len(mine) == 1, f"{len(mine)} sessions of the socket: {mine}")
        expect(
            mine[0]["workspace"] == "acme" and f"{mine[0]['egress_address']}:{mine[0]['egress_port']}" == seen,
            f"the echo server saw {seen}, the table says {mine[0]}",
        )
        theirs = [
            one
            for one in listed
            if one["workspace"] == "globex"
            and one["protocol"] == "tcp"
            and one["remote_port"] == 80
            and one["state"] == "established"
        ]
        expect(theirs, f"globex' connection is not listed: {listed}")
        plan_says_whom_it_would_hurt(scene)
        plan_tells_what_ends_from_what_goes_on(scene, mine[0]["egress_address"])
        _, out, _ = scene.postern.cli("gw", "sessions")
        expect(seen.rpartition(":")[0] in out and "acme" in out and "globex" in out, f"the table: {out}")
        plan_keeps_its_word(scene, mine[0]["egress_address"])
    echo.close()


def refused(scene):
    """What a worker may not reach is counted by destination, workspace and reason."""
    with services.udp_socket(scene.acme.ns) as client:
        for _ in range(5):
            try:
                client.sendto(b"x", ("192.168.77.7", 777))
            except OSError:
                pass  # the answer to the one before

    def listed(*arguments):
        code, out, err = scene.postern.cli("gw", "drops", "--refused", *arguments, "--json")
        expect(code == 0, f"exits {code}: {err}")
        return [one for one in json.loads(out)["refusals"] if one["address"] == "192.168.77.7"]

    system.wait_for("the refusals to be counted", lambda: listed() and listed()[0]["packets"] >= 5)
    one = listed("--workspace", "acme")[0]
    expect((one["port"], one["protocol"], one["reason"]) == (777, 17, "denied_destination"), f"told: {one}")
    expect(not listed("--workspace", "globex"), "told as globex' too")
    _, out, _ = scene.postern.cli("gw", "drops", "--refused")
    expect("192.168.77.7:777" in out and "acme" in out and "denied_destination" in out, f"the table: {out}")


def invalid(scene):
    path = os.path.join(scene.lab.run_dir("bad"), "bad.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("version: 1\nworkspaces:\n  - id: acme\n    vpcs: 7\n    nonsense: 1\n")
    done = system.run(
        [scene.postern.program("control/posternd"), "--check", "--run-dir", scene.postern.dirs["gw"], "--config", path],
        check=False,
    )
    text = done.stdout + done.stderr
    expect(done.returncode == 4, f"--check exits {done.returncode}")
    expect(f"{path}:4:" in text and f"{path}:5:" in text, f"not every error with file and line: {text}")
    good = system.run(
        [
            scene.postern.program("control/posternd"),
            "--check",
            "--run-dir",
            scene.postern.dirs["gw"],
            "--config",
            scene.postern.files["gw"],
        ],
        check=False,
    )
    expect(good.returncode == 0, f"--check of a good file exits {good.returncode}: {good.stderr}")


def degraded(scene):
    scene.postern.dataplane.kill()
    out = scene.postern.wait_status("gw", 5)
    expect("dataplane" in out, f"status does not say why: {out}")
    code, out, _ = scene.postern.cli("gw", "status", "--json")
    expect(code == 5, f"`status --json` exits {code}")
    json.loads(out)


def second_daemon(scene):
    """A second posternd on the same directory is refused with one sentence; the first goes on."""
    done = scene.lab.gw.run(
        [
            scene.postern.program("control/posternd"),
            "--run-dir",
            scene.postern.dirs["gw"],
            "--config",
            scene.postern.files["gw"],
        ],
        check=False,
    )
    expect(done.returncode == 1 and done.stderr.strip(), f"exits {done.returncode}: {done.stderr}")
    expect(scene.postern.cli("gw", "status")[0] == 0, "the first one is not well")


def cli(scene):
    point = scene.points.point
    point("exit code 3 and a sentence when there is no daemon", unreachable, scene)
    scene.start()
    point("exit code 2 and a sentence for wrong usage, 0 for --help", usage, scene)
    point("exit code 0, a table and valid JSON from every command at the gateway", answers, scene, "gw")
    point("exit code 0, a table and valid JSON from every command at the worker host", answers, scene, "host")
    point("sessions are listed with workspace, both sides of the translation and state", sessions, scene)
    point("the destinations refused most are listed with workspace and reason", refused, scene)
    point("P9: exit code 4 from --check, with every error's file and line", invalid, scene)
    point("a second posternd on the same directory is refused", second_daemon, scene)
    point("exit code 5 when degraded, and why", degraded, scene)


if __name__ == "__main__":
    harness.main(cli)
