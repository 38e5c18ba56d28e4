#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workers that are cgroups: processes in the worker host's own network namespace, told by the cgroup that they are in.

    host    uplink0 10.100.0.2/24, default route by 10.100.0.1
            cgroup postern-<lab>/  acme      10.0.0.50 in acme's VPC
                                   globex    10.0.0.50 in globex's VPC
                                   api       nobody's, until the API says whose
            other0                 an interface that is not worker_host.cgroups.interface
"""

import contextlib
import json
import os
import re
import subprocess
import sys

import harness  # first: it sets the path
import capture
import packet
import services
import state
import system
import topology
import traffic
from harness import expect

ADDRESS = "10.0.0.50"
ECHO_PORT = 7
ACTOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cgroup_actor.py")
LEFTOVER = re.compile(r"^postern-(pq[0-9a-f]{4})$")  # by the id of its lab (tools/lab/state.py)
DELIVERED = packet.mac_bytes("02:50:4f:53:54:01")  # an answer out of the tunnel, as it is handed to the uplink
REMOTES = {topology.INET_ADDRESS, topology.INET_ADDRESS_2}


class Cgroups:
    """The cgroups of this lab, in a mount of their own: `ip netns exec` hides the host's."""

    def __init__(self, lab):
        self.mount = os.path.join(lab.fs, "cgroup")
        system.mount("cgroup2", self.mount)
        self.path = os.path.join(self.mount, f"postern-{lab.id}")
        for name in os.listdir(self.mount):
            match = LEFTOVER.match(name)
            if match and not os.path.isdir(os.path.join(state.BASE, match[1])):
                remove(os.path.join(self.mount, name))

    def make(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path)
        return path

    def close(self):
        remove(self.path)


def remove(path):
    """The cgroup and all below it, as far as nobody is in them."""
    for directory, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


class Actor:
    """A process in a cgroup."""

    def __init__(self, scene, path):
        argv = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", scene.lab.host.name]
        self.process = subprocess.Popen(
            [*argv, sys.executable, "-B", ACTOR, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, name, *arguments):
        """The answer; an error raises nothing here: {"value": …} or {"error": "EPERM"}."""
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def value(self, name, *arguments):
        answer = self.ask(name, *arguments)
        expect("value" in answer, f"{name}{arguments}: {answer}")
        return answer["value"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def configure(scene, *workspace_lines):
    """The worker host's file, with what this test adds."""
    text = scene.postern.configuration.host()
    if workspace_lines:
        text = text.replace("  - id: acme\n", "  - id: acme\n" + "".join(f"    {line}\n" for line in workspace_lines))
    return text


def rewrite(scene, text):
    before = scene.last_reload("host")
    scene.postern.write("host", text)
    system.wait_for("the reload", lambda: scene.last_reload("host") > before, 10)
    system.wait_for("what was reloaded to be in force", lambda: scene.postern.cli("host", "status")[0] == 0, 10)


def wait_open(scene, path, deadline_s=15):
    def is_open():
        code, out, _ = scene.postern.cli("host", "worker", "show", path, "--json")
        return code == 0 and json.loads(out)["state"] == "open"

    system.wait_for(f"{path} to be open", is_open, deadline_s)


def both_get_through(scene):
    """Two processes, one address, one host: TCP and UDP, each as its own workspace."""
    for name, actor in scene.actors.items():
        seen = actor.value("web", topology.INET_ADDRESS).split(":")[0]
        expect(seen in scene.egress(name), f"{name}'s web request came from {seen}")
        seen = actor.value("udp", topology.INET_ADDRESS, ECHO_PORT, f"{name} udp").split(":")[0]
        expect(seen in scene.egress(name), f"{name}'s datagram came from {seen}")


def large_transfer(scene):
    size = actor_download(scene, "acme")
    expect(size > harness.SMALL_DOWNLOAD_BYTES, f"{size} bytes came")


def actor_download(scene, name):
    return scene.actors[name].value("download", topology.INET_ADDRESS, scene.download_path)


def large_datagram(scene):
    """Too big for the tunnel: the kernel is told, and then sends it in fragments that fit."""
    actor = scene.actors["acme"]
    before = scene.worker_drops()
    actor.ask("udp", topology.INET_ADDRESS_2, 9, "x" * 1460)
    expect(scene.worker_drops_since(before).get("too_big", 0) > 0, f"{scene.worker_drops_since(before)}")
    outside = capture.Capture(scene.lab.host, "uplink0", "udp port 4789")
    actor.ask("udp", topology.INET_ADDRESS_2, 9, "y" * 1460)
    outside.stop()
    inner = [parsed[2] for parsed in (packet.parse_vxlan(frame) for _, frame in outside.frames()) if parsed]
    expect(len(inner) >= 2 and all(one.total_length <= 1450 for one in inner), f"{inner}")


def nobody_without_a_worker(scene):
    """A cgroup that is nobody's: not a packet leaves, and it is counted."""
    before = scene.worker_drops()
    seen = capture.Capture(scene.lab.host, "uplink0")
    actor = Actor(scene, scene.cgroups.make("stranger"))
    try:
        expect("error" in actor.ask("udp", topology.INET_ADDRESS, ECHO_PORT, "stranger udp"), "UDP went through")
        expect("error" in actor.ask("web", topology.INET_ADDRESS), "TCP went through")
    finally:
        actor.close()
    to_remotes = [one for one in seen.stop() if one.destination in REMOTES]
    expect(to_remotes == [], f"on the uplink: {to_remotes[:3]}")
    expect(b"stranger" not in b"".join(frame for _, frame in seen.frames()), "its payload is on the uplink")
    expect(scene.worker_drops_since(before).get("unknown_cgroup", 0) > 0, f"{scene.worker_drops_since(before)}")


def other_ways_out(scene):
    """Raw sockets, packet sockets on the uplink, another interface, what it wrapped itself: it leaves as nobody else."""
    actor, macs = scene.actors["acme"], (scene.lab.gw.mac("inside0"), scene.lab.host.mac("uplink0"))
    foreign = packet.udp("10.0.0.77", topology.INET_ADDRESS, 4000, ECHO_PORT, b"forged address")
    own = packet.udp(topology.HOST_VTEP, topology.INET_ADDRESS, 4000, ECHO_PORT, b"forged acme")
    inner = packet.ethernet(*macs, packet.udp(ADDRESS, topology.INET_ADDRESS, 4001, ECHO_PORT, b"forged globex"))
    ends = (topology.HOST_VTEP, topology.GATEWAY_VTEP)
    wrapped = packet.udp(*ends, 50000, packet.VXLAN_PORT, packet.vxlan(7002, inner), sum_it=False)
    before = scene.worker_drops()
    uplink = capture.Capture(scene.lab.host, "uplink0")
    aside = capture.Capture(scene.lab.host, "other0")
    outside = capture.Capture(scene.lab.router, "gw0")
    actor.value("raw", foreign.hex())
    actor.ask("raw", wrapped.hex())
    actor.ask("to_device", "other0", "192.168.7.2", 9)
    actor.value("raw", own.hex())  # nothing but its own address: goes where acme's goes
    for whole in (foreign, wrapped):
        actor.ask("frame", "uplink0", packet.ethernet(*macs, whole).hex())

    def sources():
        return {one.source for one in outside.packets() if b"forged" in one.payload and one.destination in REMOTES}

    expected = {"spoofed_source": 2, "underlay": 2, "cgroup_interface": 1}

    def dropped():
        drops = scene.worker_drops_since(before)
        return all(drops.get(reason, 0) >= count for reason, count in expected.items())

    system.wait_for(f"the drops {expected}", dropped)
    system.wait_for("what is acme's own to leave", sources)
    uplink.stop()
    aside.stop()
    outside.stop()
    frames = [frame for _, frame in uplink.frames()]
    expect(not any(b"forged address" in frame for frame in frames), "a foreign source is on the uplink")
    expect(not any(b"forged globex" in frame for frame in frames), "what acme wrapped is on the uplink")
    expect(not any(b"elsewhere" in frame for _, frame in aside.frames()), "it left by another interface")
    expect(sources() <= set(scene.egress("acme")), f"outside from {sources()}")


def loopback(scene):
    """A worker reaches itself; neither the other one nor the host's own services."""
    acme, globex = scene.actors["acme"], scene.actors["globex"]
    service = services.Sink(scene.lab.host, "127.0.0.1", 8081)
    try:
        acme.value("listen", 8080)
        acme.value("connect", 8080)
        with scene.lab.host.socket() as client:
            client.connect(("127.0.0.1", 8081))
        for actor, port in ((globex, 8080), (acme, 8081)):
            answer = actor.ask("connect", port)
            expect(answer == {"error": "ETIMEDOUT"}, f"port {port}: {answer}")
    finally:
        service.close()


def limited(scene):
    text = configure(scene, "limits: { worker: { packets_per_second: 1, packets_burst: 64 } }")
    rewrite(scene, text)

    def holds():
        scene.actors["acme"].value("flood", topology.INET_ADDRESS, 9, 100)
        return scene.worker_drops().get("packet_limit", 0) > 0

    system.wait_for("the limit to be in force", holds)
    before = scene.worker_drops()
    refused = {name: actor.value("flood", topology.INET_ADDRESS, 9, 500) for name, actor in scene.actors.items()}
    expect(refused == {"acme": 0, "globex": 0}, f"{refused}")
    dropped = scene.worker_drops_since(before).get("packet_limit", 0)
    expect(480 <= dropped <= 500, f"{dropped} of 500 packets of acme's were over the limit, globex has none")
    rewrite(scene, configure(scene))


def shown(scene):
    code, out, err = scene.postern.cli("host", "worker", "show", scene.paths["acme"])
    expect(code == 0 and f"cgroup             {scene.paths['acme']}\n" in out, out + err)
    expect("packets sent" in out and "dropped packet_limit" in out, out)
    code, out, _ = scene.postern.cli("host", "worker", "list")
    expect(scene.paths["globex"] in out, out)


def by_api(scene):
    """Added, used, taken away while it sends; then the same address is the other workspace's."""
    path = scene.cgroups.make("api")
    where = ("--vpc", "main", "--ip", "10.0.0.60")
    code, out, err = scene.postern.cli("host", "worker", "add", "--cgroup", path, "--workspace", "acme", *where)
    expect(code == 0, f"{code} {out} {err}")
    actor = Actor(scene, path)
    try:
        actor.value("keep", "flow", topology.INET_ADDRESS, ECHO_PORT)
        seen = actor.value("exchange", "flow", "as acme").split(":")[0]
        expect(seen in scene.egress("acme"), f"came from {seen}")
        code, out, err = scene.postern.cli("host", "worker", "remove", path)
        expect(code == 0, out + err)
        answer = actor.ask("exchange", "flow", "taken away")
        expect(answer.get("error") == "EPERM", f"after the removal: {answer}")
        code, out, err = scene.postern.cli("host", "worker", "add", "--cgroup", path, "--workspace", "globex", *where)
        expect(code == 0, out + err)
        seen = actor.value("exchange", "flow", "as globex").split(":")[0]
        expect(seen in scene.egress("globex"), f"came from {seen}")
    finally:
        actor.close()


def bad_cgroup(scene):
    outside = os.path.dirname(scene.cgroups.path) + "/elsewhere"
    what = ("--workspace", "acme", "--vpc", "main", "--ip", "10.0.0.61")
    code, _, err = scene.postern.cli("host", "worker", "add", "--cgroup", outside, *what)
    expect(code == 2 and "is not below worker_host.cgroups.path" in err, f"{code} {err}")


def removed_and_made_anew(scene):
    """The same path, another cgroup: it opens as the same worker, and an old socket of nobody's stays shut."""
    path = scene.cgroups.make("again")
    what = ("--workspace", "acme", "--vpc", "main", "--ip", "10.0.0.62")
    expect(scene.postern.cli("host", "worker", "add", "--cgroup", path, *what)[0] == 0, "it was not added")
    os.rmdir(path)
    system.wait_for(
        "the end of the cgroup to be seen",
        lambda: scene.postern.cli_json("host", "worker", "show", path)["state"] == "no-interface",
    )
    rewrite(scene, configure(scene, "limits: { worker: { packets_per_second: 100000, packets_burst: 1000 } }"))
    said = scene.postern.cli("host", "status")[1]
    expect(f"{path}: the worker's cgroup does not exist (yet)" in said, f"the status says: {said}")
    rewrite(scene, configure(scene))
    os.mkdir(path)
    wait_open(scene, path)
    actor = Actor(scene, path)
    try:
        seen = actor.value("udp", topology.INET_ADDRESS, ECHO_PORT, "again").split(":")[0]
        expect(seen in scene.egress("acme"), f"came from {seen}")
    finally:
        actor.close()


def daemon_killed(scene):
    """Both go on without posternd, what is closed stays closed, and a restart cuts nothing."""
    for name, actor in scene.actors.items():
        actor.value("keep", "flow", topology.INET_ADDRESS, ECHO_PORT)
        actor.value("exchange", "flow", f"{name} before")
    scene.postern.host_daemon.kill()
    for name, actor in scene.actors.items():
        actor.value("exchange", "flow", f"{name} without")
    stranger = Actor(scene, os.path.join(scene.cgroups.path, "stranger"))
    try:
        expect("error" in stranger.ask("udp", topology.INET_ADDRESS, ECHO_PORT, "stranger"), "a stranger got through")
    finally:
        stranger.close()
    scene.postern.start_host_daemon()
    for name, actor in scene.actors.items():
        wait_open(scene, scene.paths[name])
        actor.value("exchange", "flow", f"{name} after")
    wait_open(scene, os.path.join(scene.cgroups.path, "api"))


def underlay_does_not_reach_it(scene):
    """A datagram of another host of the underlay, to a port that a worker listens on."""
    before = scene.worker_drops()
    port = scene.actors["acme"].value("bound", "listening")
    with services.udp_socket(scene.lab.gw) as there:
        there.sendto(b"from the underlay", (topology.HOST_VTEP, port))
    system.wait_for("the drop", lambda: scene.worker_drops_since(before).get("egress_foreign", 0) == 1)
    expect(scene.actors["acme"].ask("heard", "listening") == {"error": "ETIMEDOUT"}, "it was heard")


def host_is_not_disturbed(scene):
    """What is in no cgroup of ours sends as before."""
    with services.udp_socket(scene.lab.gw, (topology.GATEWAY_VTEP, 5000)) as there:
        with services.udp_socket(scene.lab.host) as here:
            here.sendto(b"the host", (topology.GATEWAY_VTEP, 5000))
            text, sender = there.recvfrom(100)
            expect(text == b"the host" and sender[0] == topology.HOST_VTEP, f"{text} from {sender}")
            there.sendto(b"the answer", sender)
            expect(here.recv(100) == b"the answer", "no answer")


def captures_agree(scene):
    """Of everything that was sent until now."""
    scene.uplink.stop()
    vnis = {name: spec["vni"] for name, spec in topology.WORKSPACES.items()}
    count = 0
    for _, frame in scene.uplink.frames():
        parsed = packet.parse_vxlan(frame)
        plain = packet.parse(frame)
        if parsed is None:
            if frame[6:12] == DELIVERED:
                continue
            wrong = plain is not None and (plain.destination in REMOTES or plain.source in REMOTES)
            expect(not wrong, f"not in the tunnel: {plain}")
            continue
        vni, _, inner = parsed
        count += 1
        expect(topology.HOST_VTEP not in (inner.source, inner.destination), f"with the host's address: {inner}")
        for name in vnis:
            if name.encode() in inner.payload:
                expect(vni == vnis[name], f"{inner} is in VNI {vni}")
    expect(count > 50, f"{count} packets were in the tunnel")
    owners = {address: name for name in vnis for address in scene.egress(name)}
    for one in scene.outside.stop():
        for name in vnis:
            if name.encode() in one.payload and one.destination in REMOTES:
                expect(owners.get(one.source) == name, f"outside: {one}")
    foreign = traffic.foreign_sources(scene.outside.packets(), owners)
    expect(foreign == [], f"outside: {foreign[:3]}")
    expect(scene.guard_violations() == 0, "the guard had to step in")


def another_host_detached(scene):
    """Of another namespace on this machine: it sees our cgroups, and they are none of its."""
    elsewhere = scene.lab.run_dir("elsewhere")
    tool = scene.postern.program("tools/postern")
    scene.lab.inet.run([tool, "--run-dir", elsewhere, "worker", "detach", "--all"])
    answer = scene.actors["globex"].ask("connect", 8080)
    expect(answer == {"error": "ETIMEDOUT"}, f"nothing is on the cgroup any more: {answer}")


def detached(scene):
    scene.postern.host_daemon.stop()
    code, out, err = scene.postern.cli("host", "worker", "detach", "--all")
    expect(code == 0, out + err)
    with open(os.path.join(scene.cgroups.path, "acme", "cgroup.procs"), encoding="ascii") as processes:
        expect(processes.read().strip() != "", "nobody is in the cgroup any more")
    answer = scene.actors["acme"].ask("exchange", "flow", "as the host")
    expect(answer.get("error") != "EPERM", f"something is still on the cgroup: {answer}")


def cgroups(scene):
    lab, point = scene.lab, scene.points.point
    scene.cgroups = Cgroups(lab)
    lab.host.ip(
        f"route add default via {topology.GATEWAY_VTEP} dev uplink0",
        "link add other0 type veth peer name other1",
        "link set other0 up",
        "link set other1 up",
        "address add 192.168.7.1/24 dev other0",
        "neighbour add 192.168.7.2 lladdr 02:00:00:00:07:02 dev other0",
    )
    scene.paths = {name: scene.cgroups.make(name) for name in topology.WORKSPACES}
    scene.postern.configuration.worker_host_lines.append(
        f"  cgroups: {{ path: '{scene.cgroups.path}', interface: uplink0 }}"
    )
    plain = scene.postern.configuration.host
    listed = "".join(
        f"    - {{ cgroup: '{path}', workspace: {name}, vpc: main, ips: [{ADDRESS}] }}\n"
        for name, path in scene.paths.items()
    )
    scene.postern.configuration.host = lambda: plain() + listed
    scene.postern.write_configurations()
    scene.actors = {}
    echoes = [traffic.UdpEcho(lab.inet, topology.INET_ADDRESS, ECHO_PORT)]
    scene.download_path = "/download/" + scene.internet.download_name
    try:
        scene.start()
        for name, path in scene.paths.items():
            wait_open(scene, path)
            scene.actors[name] = Actor(scene, path)
        scene.uplink = capture.Capture(lab.host, "uplink0", "ip")
        scene.outside = capture.Capture(lab.router, "gw0", "ip")
        point("two processes of one host leave as the two workspaces that their cgroups are", both_get_through, scene)
        point("a cgroup that is nobody's sends nothing", nobody_without_a_worker, scene)
        point("a datagram too big for the tunnel is told so, and then sent in pieces that fit", large_datagram, scene)
        point("loopback reaches the worker itself and nobody else", loopback, scene)
        point("a worker over its packet limit is held to it, another is not", limited, scene)
        point("`postern worker` shows the cgroup and what it sent", shown, scene)
        point("a worker comes and goes by the API, and its address is another's at once", by_api, scene)
        point("a cgroup elsewhere can not be a worker", bad_cgroup, scene)
        point("a cgroup that was removed and made anew opens again", removed_and_made_anew, scene)
        point("workers that are cgroups do not need posternd, and a restart cuts nothing", daemon_killed, scene)
        point("nothing of the underlay reaches a worker's socket", underlay_does_not_reach_it, scene)
        point("the host's own traffic is left alone", host_is_not_disturbed, scene)
        point("every packet on the uplink and outside was its own workspace's", captures_agree, scene)
        point("no socket gets anything out in another way", other_ways_out, scene)
        point("a download by TCP comes whole", large_transfer, scene)
        point("what another host of this machine takes off is not ours", another_host_detached, scene)
        point("`postern worker detach --all` leaves the cgroups alone", detached, scene)
    finally:
        for actor in scene.actors.values():
            actor.close()
        for echo in echoes:
            echo.close()
        scene.cgroups.close()


harness.main(cgroups)
