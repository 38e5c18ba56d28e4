#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workers that come and go as fast as the host can make them, and leave their addresses to the other workspace.

Each worker sends before anybody has said whose it is, while it is admitted, and after it was taken away. Every datagram
says in its payload who sent it and when. Then two captures are judged: the worker host's uplink, where VNI and workspace
must agree, and the internet, where the source must be an egress IP of that workspace. Nothing that was sent too early or
too late may be in either.

usage: tests/netns/churn.py BUILD_DIR [--workers N] [--seed N]      N: 36 unless given; 1000 takes a few minutes
"""

import json
import os
import random
import signal
import time

import harness  # first: it sets the path
import capture
import packet
import system
import topology
import traffic
from harness import expect

SLOTS = 6  # addresses that are used in turn
PORT = 5353
WORKER_MAC = "02:00:00:00:10:%02x"
GATEWAY_MAC = "02:50:4f:53:54:01"
WORKERS, SEED = 36, 1


class Farm:
    """The workers' ends of all links, in one namespace: who sends is told by the link that it sends by."""

    def __init__(self, scene):
        self.scene = scene
        self.ns = topology.Namespace(scene.lab, "farm")

    def make(self, number, workspace, slot):
        return Mayfly(self, number, workspace, slot)

    def close(self):
        self.ns.delete()


class Mayfly:
    """One worker."""

    def __init__(self, farm, number, workspace, slot):
        self.farm, self.number, self.workspace, self.slot = farm, number, workspace, slot
        self.interface = f"veth-w{number}"
        self.peer = f"p{number}"
        self.address = f"10.0.0.{100 + slot}"
        self.mac = WORKER_MAC % slot
        host = farm.scene.lab.host
        host.ip(f"link add {self.interface} type veth peer name {self.peer} address {self.mac} netns {farm.ns.name}")
        host.ip(f"link set {self.interface} up")
        farm.ns.ip(f"link set {self.peer} up")
        self.socket = farm.ns.raw_socket(self.peer)

    def send(self, when):
        remote = REMOTE[self.workspace]
        payload = f"{self.workspace} {self.number} {when}".encode()
        frame = packet.ethernet(
            packet.mac_bytes(GATEWAY_MAC),
            packet.mac_bytes(self.mac),
            packet.udp(self.address, remote, 10000 + self.number % 50000, PORT, payload),
        )
        self.socket.send(frame)

    def spec(self):
        return {"interface": self.interface, "workspace": self.workspace, "vpc": "main", "ips": [self.address]}

    def alias(self, text):
        self.farm.scene.lab.host.ip(f"link set dev {self.interface} alias '{text}'")

    def state(self):
        code, json_ = self.farm.scene.api("host", "GET", f"/v1/workers/{self.interface}")
        return json_["state"] if code == 200 else None

    def wish(self):
        """By the API or by the link's alias, in turn."""
        if self.number % 2:
            return self.farm.scene.api("host", "POST", "/v1/workers", self.spec())[0] == 201
        self.wish_without_waiting()
        return False

    def wish_without_waiting(self):
        if self.number % 2:
            self.farm.scene.api("host", "POST", "/v1/workers?wait=0", self.spec())
        else:
            self.alias(f"postern:{self.workspace}/main/{self.address}")

    def wait_open(self):
        scene = self.farm.scene

        def is_open():
            state = self.state()
            if state is None and self.number % 2:  # the daemon died before it had written it down
                scene.api("host", "POST", "/v1/workers?wait=0", self.spec())
            return state == "open"

        system.wait_for(f"{self.interface} to be open", is_open, 30)

    def take_away(self):
        """Whatever takes it away: the API, the alias, or the link. True: the link is still there."""
        if self.number % 3 == 0:
            self.delete()
            return False
        if self.number % 2:
            system.wait_for(
                f"{self.interface} to be taken away",
                lambda: self.farm.scene.api("host", "DELETE", f"/v1/workers/{self.interface}")[0] in (200, 404),
                30,
            )
        else:
            self.alias("")
            system.wait_for(f"{self.interface} to be forgotten", lambda: self.state() in (None, "?"), 30)
        return True

    def delete(self):
        self.socket.close()
        self.farm.scene.lab.host.ip(f"link delete {self.interface}")
        if self.number % 2:  # or the API would wait for the interface to come back
            self.farm.scene.api("host", "DELETE", f"/v1/workers/{self.interface}")


REMOTE = {"acme": topology.INET_ADDRESS, "globex": topology.INET_ADDRESS_2}


def configure(scene):
    configuration = scene.postern.configuration
    configuration.worker_host_lines = [
        "  interfaces: 'veth-w*'",
        "  netlink_alias: true",
        f"  admission: {{ gateways: [ {{ vtep: {topology.GATEWAY_VTEP}, "
        f"api: 'unix:{scene.postern.dirs['gw']}/posternd.sock' }} ] }}",
    ]
    scene.postern.write_configurations()


def live(farm, number, workspace, slot):
    worker = farm.make(number, workspace, slot)
    worker.send("early")
    if not worker.wish():
        worker.wait_open()
    worker.send("open")
    return worker


def die(worker):
    there = worker.take_away()
    if there:
        worker.send("late")
        worker.delete()


def churn(scene, farm, disturb=lambda number: None):
    """Each address goes to the other workspace as soon as its worker is gone."""
    present = [None] * SLOTS
    for number in range(1, OPTIONS.workers + 1):
        slot = number % SLOTS
        if present[slot] is not None:
            die(present[slot])
        disturb(number)
        workspace = ("acme", "globex")[(number // SLOTS) % 2]
        present[slot] = live(farm, number, workspace, slot)
    for worker in present:
        if worker is not None:
            die(worker)


def tag(one):
    parts = one.payload.decode(errors="replace").split()
    return parts if one.destination_port == PORT and len(parts) == 3 else None


def judge(scene, uplink, internet, must_see):
    wrong, seen = [], set()
    uplink.stop()
    frames = uplink.frames()
    for _, frame in frames:
        unpacked = packet.parse_vxlan(frame)
        if unpacked is None or unpacked[2] is None or tag(unpacked[2]) is None:
            continue
        workspace, number, when = tag(unpacked[2])
        if unpacked[0] != scene.postern.configuration.workspaces[workspace]["vni"] or when != "open":
            wrong.append(f"uplink: VNI {unpacked[0]}: {workspace} {number} {when}")
    for one in internet.stop():
        if tag(one) is None or one.source in REMOTE.values():
            continue
        workspace, number, when = tag(one)
        if one.source not in scene.egress(workspace) or when != "open":
            wrong.append(f"internet: from {one.source}: {workspace} {number} {when}")
        seen.add(int(number))
    expect(not wrong, f"{len(wrong)} packets were wrong: {wrong[:5]}")
    expect(frames, "nothing was captured on the uplink, so this proves nothing")
    expect(len(seen) >= must_see, f"only {len(seen)} of {OPTIONS.workers} workers were seen outside, not {must_see}")


def captures(scene):
    return (
        capture.Capture(scene.lab.host, "uplink0", "udp port 4789", snap_bytes=160),
        capture.Capture(scene.lab.inet, "eth0", f"udp dst port {PORT}", snap_bytes=160),
    )


def ready_p99_ms(scene):
    """The upper bound of the bucket that has the 99th of a hundred."""
    samples = scene.postern.metrics("host")
    total = samples["postern_worker_ready_seconds_count", frozenset()]
    buckets = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in samples.items()
        if name == "postern_worker_ready_seconds_bucket"
    )
    return next(bound for bound, value in buckets if value >= 0.99 * total) * 1000, int(total)


def undisturbed(scene):
    configure(scene)
    scene.start()
    farm = Farm(scene)
    watch = captures(scene)
    began = time.monotonic()
    scene.points.point(f"{OPTIONS.workers} workers come, send at once and go", churn, scene, farm)
    took_s = time.monotonic() - began
    scene.points.point(
        "P1, P2, P3: none of their packets is under a wrong VNI or egress IP, too early or too late",
        lambda: judge(scene, *watch, OPTIONS.workers),
    )
    bound_ms, count = ready_p99_ms(scene)
    print(f"# {OPTIONS.workers} workers in {took_s:.1f} s; {count} became ready, 99% within {bound_ms:g} ms")
    scene.points.point("the gateway has forgotten them all", forgotten, scene)
    scene.points.point("each that came by the alias of its link has come and gone in the audit log", audited, scene)
    scene.points.point("an alias goes with its link: to another name, and away when the link is down", alias, scene, farm)
    unreachable(scene, farm)
    scene.points.point("postern worker adds, lists, shows and removes", commands, scene, farm)
    farm.close()
    scene.points.point("postern worker detach --all leaves the host clean", detach, scene)


def forgotten(scene):
    def count():
        return scene.api("gw", "GET", f"/v1/hosts/{topology.HOST_VTEP}/workers")[1]["count"]

    system.wait_for("only the file's workers to be registered", lambda: count() == 2, 10)


def audited(scene):
    with open(os.path.join(scene.postern.dirs["host"], "audit.log"), encoding="utf-8") as log:
        lines = [json.loads(line) for line in log]
    for number in range(2, OPTIONS.workers + 1, 2):
        mine = [(line["from"], line["to"]) for line in lines if line["what"] == f"link veth-w{number}"]
        came, went = mine if len(mine) == 2 else (None, None)
        expect(came and came[0] is None and went == (came[1], None), f"of veth-w{number}: {mine}")


def alias(scene, farm):
    """Its address is free at once. The kernel does not tell of an alias that changes while the link is down."""
    host, worker = scene.lab.host, farm.make(9200, "acme", 0)
    worker.wish()
    worker.wait_open()
    host.ip(f"link set {worker.interface} name veth-w9202")
    worker.interface = "veth-w9202"
    worker.wait_open()
    host.ip(f"link set {worker.interface} down")
    system.wait_for("it to be closed while it is down", lambda: worker.state() is None, 10)
    worker.workspace = "globex"
    worker.wish()
    host.ip(f"link set {worker.interface} up")
    worker.wait_open()
    workspace = scene.api("host", "GET", f"/v1/workers/{worker.interface}")[1]["workspace"]
    expect(workspace == "globex", f"it is open as a worker of {workspace}")
    worker.delete()
    heir = farm.make(9204, "globex", 0)
    heir.wish()
    heir.wait_open()
    heir.delete()


def unreachable(scene, farm):
    """The gateway's daemon is away: who is open stays open, nobody else opens."""
    watch = captures(scene)
    scene.postern.gateway_daemon.kill()
    count = max(4, OPTIONS.workers // 10)
    scene.points.point(f"{count} workers come, send and go while no gateway answers", come_to_nothing, farm, count)
    workers = [farm.make(9000 + i, "acme", i) for i in range(4)]
    scene.points.point("P3: without the gateway's word workers stay closed, and say why", stay_closed, scene, workers)
    scene.points.point("P4: who was open before stays open", still_works, scene)
    for worker in workers:
        worker.send("late")
    scene.points.point("P3: none of their packets has left", lambda: judge(scene, *watch, 0))
    scene.postern.start_gateway_daemon()
    scene.points.point("they open once the gateway is back", lambda: [worker.wait_open() for worker in workers])
    for worker in workers:
        die(worker)
    scene.points.point("the gateway knows of none that came and went meanwhile", forgotten, scene)


def come_to_nothing(farm, count):
    """Each address goes to the other workspace at once."""
    for number in range(8000, 8000 + count):
        worker = farm.make(number, ("acme", "globex")[number // SLOTS % 2], number % SLOTS)
        worker.send("early")
        worker.wish_without_waiting()
        worker.send("early")
        system.wait_for(f"{worker.interface} to wait", lambda w=worker: w.state() == "awaits-gateway", 10)
        die(worker)


def stay_closed(scene, workers):
    for worker in workers:
        worker.send("early")
        worker.wish_without_waiting()
    for worker in workers:
        system.wait_for(f"{worker.interface} to wait", lambda w=worker: w.state() == "awaits-gateway", 10)
        worker.send("early")
    reason = scene.api("host", "GET", f"/v1/workers/{workers[0].interface}")[1]["reason"]
    expect("gateway 10.100.0.1" in reason, f"the reason is: {reason}")
    code, out, _ = scene.postern.cli("host", "status")
    expect(code == 5 and "4 workers wait" in out, f"`postern status` exits {code} and says: {out}")
    expect(
        system.holds_for(lambda: all(worker.state() == "awaits-gateway" for worker in workers), 0.5),
        f"their states became {[worker.state() for worker in workers]}",
    )


def still_works(scene):
    expect(traffic.works(scene.acme), "acme does not reach the web")


def killed(scene):
    """posternd of the worker host is killed at random points, and started again."""
    configure(scene)
    scene.start()
    farm = Farm(scene)
    watch = captures(scene)
    chance = random.Random(OPTIONS.seed)

    def disturb(number):
        if chance.random() < 0.12:
            scene.postern.host_daemon.kill()
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.05)
            scene.postern.start_host_daemon()

    scene.points.point(
        f"{OPTIONS.workers} workers come and go while posternd is killed again and again (seed {OPTIONS.seed})",
        churn,
        scene,
        farm,
        disturb,
    )
    scene.points.point(
        "P1, P2, P3: nor is any packet wrong then", lambda: judge(scene, *watch, OPTIONS.workers // 2)
    )
    scene.points.point("the gateway has forgotten them all then, too", forgotten, scene)
    farm.close()


def commands(scene, farm):
    """What an operator types."""
    cli = scene.postern.cli
    worker = farm.make(9100, "acme", 5)
    spec = ("--interface", worker.interface, "--workspace", "acme", "--vpc", "main", "--ip", worker.address)
    code, out, err = cli("host", "worker", "add", *spec)
    expect(code == 0 and "open" in out, f"add exits {code}: {out}{err}")
    code, out, err = cli("host", "worker", "list")
    expect(code == 0 and worker.interface in out, f"list exits {code}: {out}{err}")
    shown = scene.postern.cli_json("host", "worker", "show", worker.interface)
    expect(shown["state"] == "open" and shown["source"] == "api", f"show says {shown}")
    code, out, err = cli("host", "worker", "remove", worker.interface)
    expect(code == 0, f"remove exits {code}: {out}{err}")
    code, out, err = cli("host", "worker", "show", worker.interface)
    expect(code == 1, f"show of a worker that is gone exits {code}: {out}{err}")
    code, out, err = cli("host", "worker", "add", *spec[:-1], "10.9.9.9")
    expect(code == 5 and "outside of VPC main" in out, f"add outside of the VPC exits {code}: {out}{err}")
    for taken in ("postern-vxlan", "uplink0", "lo"):
        code, out, err = cli("host", "worker", "add", "--interface", taken, *spec[2:])
        expect(code == 5 and "can be no worker's" in out, f"add on {taken} exits {code}: {out}{err}")
    still_works(scene)
    for taken in ("postern-vxlan", "uplink0", "lo"):
        cli("host", "worker", "remove", taken)
    code, out, err = cli("host", "worker", "detach", "--all")
    expect(code == 1 and "posternd is running" in err, f"detach beside posternd exits {code}: {out}{err}")
    cli("host", "worker", "remove", worker.interface)
    worker.delete()


def detach(scene):
    scene.postern.host_daemon.stop(20)
    with scene.lab.host.inside():
        code, out, err = scene.postern.cli("host", "worker", "detach", "--all")
    expect(code == 0, f"detach exits {code}: {out}{err}")
    left = scene.lab.host.run(["tc", "qdisc", "show"]).stdout + scene.lab.host.run(["ip", "link", "show"]).stdout
    expect("clsact" not in left and "postern-vxlan" not in left, f"left: {left}")


def openssl(*arguments):
    system.run(["openssl", *arguments])


class Authority:
    """Signs the certificates of both sides."""

    def __init__(self, directory):
        self.directory = directory
        key = ("-newkey", "ed25519", "-nodes", "-keyout", self.path("ca.key"))
        openssl("req", "-x509", *key, "-out", self.path("ca.pem"), "-subj", "/CN=lab", "-days", "2")

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, name, san):
        key = ("-newkey", "ed25519", "-nodes", "-keyout", self.path(name + ".key"))
        openssl("req", "-new", *key, "-out", self.path(name + ".csr"), "-subj", f"/CN={name}")
        with open(self.path(name + ".ext"), "w", encoding="ascii") as extensions:
            extensions.write(f"subjectAltName={san}\n")
        signer = ("-CA", self.path("ca.pem"), "-CAkey", self.path("ca.key"), "-CAcreateserial")
        files = ("-in", self.path(name + ".csr"), "-out", self.path(name + ".pem"), "-extfile", self.path(name + ".ext"))
        openssl("x509", "-req", *signer, *files, "-days", "2")


def https_host(scene, authority, certificate):
    scene.postern.configuration.worker_host_lines = [
        "  admission:",
        f"    gateways: [ {{ vtep: {topology.GATEWAY_VTEP}, api: 'https://{topology.GATEWAY_VTEP}:9465' }} ]",
        f"    ca: {authority.path('ca.pem')}",
        f"    certificate: {authority.path(certificate + '.pem')}",
        f"    key: {authority.path(certificate + '.key')}",
    ]
    scene.postern.write("host", scene.postern.configuration.host())


def https(scene):
    """The gateway is asked over HTTPS, with a certificate on each side."""
    authority = Authority(scene.lab.run_dir("pki"))
    authority.issue("gateway", f"IP:{topology.GATEWAY_VTEP}")
    authority.issue("host", "DNS:host.lab")
    authority.issue("stranger", "DNS:stranger.lab")
    api = [
        "api:",
        f"  listen: {topology.GATEWAY_VTEP}:9465",
        f"  certificate: {authority.path('gateway.pem')}",
        f"  key: {authority.path('gateway.key')}",
        f"  client_ca: {authority.path('ca.pem')}",
        f"  clients: [ {{ san: dns:host.lab, roles: ['host:{topology.HOST_VTEP}'] }} ]",
    ]
    scene.postern.write("gw", scene.postern.configuration.gateway() + "\n".join(api) + "\n")
    https_host(scene, authority, "host")
    scene.start()
    farm = Farm(scene)
    scene.points.point("a worker opens by the word of a gateway that is asked over HTTPS", opens, farm, 1)
    https_host(scene, authority, "stranger")
    scene.points.point("a certificate that the gateway does not know opens nobody", stays_closed, scene, farm, 3)
    scene.points.point("P4: who was open stays open then", still_works, scene)
    farm.close()


def opens(farm, number):
    worker = live(farm, number, "acme", number)
    expect(worker.state() == "open", f"its state is {worker.state()}")


def stays_closed(scene, farm, number):
    system.wait_for(
        "the new certificate to be refused",
        lambda: not scene.api("host", "GET", "/v1/workers")[1]["gateways"][0]["acknowledges"],
        15,
    )
    worker = farm.make(number, "globex", number)

    def reason():
        scene.api("host", "POST", "/v1/workers?wait=0", worker.spec())
        return scene.api("host", "GET", f"/v1/workers/{worker.interface}")[1].get("reason", "")

    system.wait_for("the gateway's refusal to be shown", lambda: "does not acknowledge" in reason(), 15)
    expect(worker.state() == "awaits-gateway", f"its state is {worker.state()}")


if __name__ == "__main__":
    OPTIONS = harness.options(__doc__, workers=WORKERS, seed=SEED)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    harness.main(undisturbed, killed, https)
