#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the worker host itself does for a workspace: rules, limits, gateways that fail, and telling about drops."""

import errno
import json
import os
import re
import socket
import subprocess

import harness  # first: it sets the path
import capture
import meddler
import packet
import postern
import system
import topology
import traffic
from harness import expect

# Addresses of the underlay that nobody has: a workspace that chose one of them must move.
ABSENT_GATEWAYS = [f"10.100.0.{last}" for last in range(11, 17)]
BROADCAST = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2


def rewrite(scene, change):
    """Puts a changed configuration of the worker host in force."""
    before = scene.last_reload("host")
    scene.postern.write("host", change(scene.postern.configuration.host()))
    system.wait_for("the reload", lambda: scene.last_reload("host") > before, 10)
    system.wait_for("what was reloaded to be in force", lambda: scene.postern.cli("host", "status")[0] == 0, 10)


def with_workspace_lines(text, workspace, *lines):
    return re.sub(
        rf"(  - id: {workspace}\n)", lambda match: match[1] + "".join(f"    {line}\n" for line in lines), text, count=1
    )


def connect_code(scene):
    with scene.acme.ns.socket() as client:
        client.settimeout(5)
        return client.connect_ex((topology.INET_ADDRESS_2, 80))


def denied_at_once(scene):
    """The connection is refused by an ICMP error of the worker host, and none of it is on the underlay."""
    rule = f"policy: {{ rules: [ {{ action: deny, to: {topology.INET_ADDRESS_2}/32 }} ] }}"
    rewrite(scene, lambda text: with_workspace_lines(text, "acme", rule))
    system.wait_for("the rule to be in force", lambda: connect_code(scene) == errno.EHOSTUNREACH, 10)
    before = scene.worker_drops()
    underlay = capture.Capture(scene.lab.host, "uplink0", "udp port 4789")
    code = connect_code(scene)
    expect(code == errno.EHOSTUNREACH, f"connect() ended with {errno.errorcode.get(code, code)}")
    expect(scene.worker_drops_since(before) == {"denied": 1}, f"counted: {scene.worker_drops_since(before)}")
    of_acme = harness.labelled(
        scene.postern.metrics("host"), "postern_classifier_workspace_drops_total", "reason", workspace="acme"
    )
    expect(of_acme.get("denied", 0) >= 2, f"counted for acme: {of_acme}")
    expect(traffic.works(scene.acme), "acme does not reach what is allowed")
    expect(traffic.works(scene.globex, topology.INET_ADDRESS_2), "globex is refused by acme's rule")
    underlay.stop()
    inner = [parsed[2] for parsed in (packet.parse_vxlan(frame) for _, frame in underlay.frames()) if parsed]
    refused = [one for one in inner if one.destination == topology.INET_ADDRESS_2 and one.destination_port == 80]
    # Globex, which may, has the same address: one connection's packets are there, and no second SYN.
    expect(sum(one.tcp_flags == packet.SYN for one in refused) == 1, f"on the underlay: {refused[:5]}")


def flood(worker, count):
    with worker.ns.socket(socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(b"flood", (topology.INET_ADDRESS, 9))


def limited(scene):
    """Once the burst is used up, of 1,000 packets at once next to none gets through; another workspace has no limit."""
    limits = "limits: { worker: { packets_per_second: 10, packets_burst: 64 } }"
    rewrite(scene, lambda text: with_workspace_lines(text, "acme", limits))

    def holds():
        before = scene.worker_drops()
        flood(scene.acme, 100)
        return scene.worker_drops_since(before).get("packet_limit", 0) > 0

    system.wait_for("the limit to be in force", holds)
    before = scene.worker_drops()
    for worker in (scene.acme, scene.globex):
        flood(worker, 1000)
    system.wait_for("the drops", lambda: scene.worker_drops_since(before).get("packet_limit", 0) >= 960)
    dropped = scene.worker_drops_since(before)["packet_limit"]
    expect(dropped <= 1000, f"{dropped} packets were over the limit, acme sent 1000")
    rewrite(scene, lambda text: text)
    system.wait_for("acme to be without a limit again", lambda: not holds())


def arp(operation, sender_mac, sender, target_mac, target):
    body = bytes.fromhex("0001080006040000")[:6] + operation.to_bytes(2, "big")
    return body + sender_mac + packet.address_bytes(sender) + target_mac + packet.address_bytes(target)


def arp_spoofing(scene):
    """A worker that claims the gateway's and others' addresses gets no packet of anybody, and moves nothing."""
    thief = scene.acme
    mac = thief.ns.mac("eth0")
    claims = [topology.WORKER_GATEWAY, topology.HOST_VTEP, topology.GATEWAY_VTEP, "10.0.0.6", "10.0.0.1"]
    frames = []
    for claim in claims:
        frames.append(packet.ethernet(BROADCAST, mac, arp(ARP_REPLY, mac, claim, BROADCAST, claim), 0x0806))
        frames.append(packet.ethernet(BROADCAST, mac, arp(ARP_REQUEST, mac, claim, bytes(6), claim), 0x0806))
        frames.append(packet.ethernet(BROADCAST, mac, arp(ARP_REQUEST, mac, claim, bytes(6), "10.0.0.5"), 0x0806))
    seen = capture.Capture(thief.ns, "eth0", "ip", 256)
    others = [
        capture.Capture(scene.globex.ns, "eth0", f"arp and ether src {mac.hex(':')}"),
        capture.Capture(scene.lab.host, "uplink0", f"arp and ether src {mac.hex(':')}"),
    ]
    before = scene.worker_drops()
    with thief.ns.raw_socket("eth0") as raw:
        for frame in frames:
            raw.send(frame)
    system.wait_for("the drops", lambda: sum(scene.worker_drops_since(before).values()) >= len(frames), 10)
    since = scene.worker_drops_since(before)
    # A request for 169.254.0.1 from an address not its own is a spoofed source, all else is no request for it.
    expect(set(since) <= {"arp", "spoofed_source"} and sum(since.values()) == len(frames), f"counted: {since}")
    for _ in range(5):
        expect(traffic.works(scene.globex), "globex does not get through any more")
    stolen = [one for one in seen.stop() if one.destination != thief.address and one.source != thief.address]
    expect(not stolen, f"the thief received {stolen[:2]}")
    for each in others:
        each.stop()
        expect(not each.frames(), f"{len(each.frames())} ARP frames of the thief got on")
    neighbours = scene.lab.host.run(["ip", "neigh", "show"]).stdout
    expect(mac.hex(":") not in neighbours, f"the host has learned the thief: {neighbours}")


def monitored(scene):
    """A spoofed packet shows up in `postern monitor`, with its workspace and the reason in words."""
    program = [scene.postern.program("tools/postern"), "--run-dir", scene.postern.dirs["host"], "monitor"]
    texts = {}
    for name, options in (("people", []), ("json", ["--json", "--workspace", "acme"])):
        watcher = subprocess.Popen(program + ["--limit", "1", *options], stdout=subprocess.PIPE, text=True)
        spoofed = packet.udp("10.0.0.99", topology.INET_ADDRESS, 5000, 7, b"spoof")
        frame = packet.ethernet(bytes.fromhex("02504f535401"), scene.acme.ns.mac("eth0"), spoofed)
        with scene.acme.ns.raw_socket("eth0") as raw:

            def shown():
                raw.send(frame)
                return watcher.poll() is not None

            system.wait_for("the monitor to show the packet", shown, 10, 0.1)
        texts[name] = watcher.communicate()[0]
        expect(watcher.returncode == 0, f"the monitor ends with {watcher.returncode}")
    line = texts["people"].splitlines()[0]
    expect(
        " acme acme-w1: 10.0.0.99:5000 > 192.0.2.10:7 udp" in line and "not the worker's own" in line, line
    )
    sample = json.loads(texts["json"].splitlines()[0])
    wanted = {"workspace": "acme", "reason": "spoofed_source", "source": "10.0.0.99", "vni": 7001}
    expect({key: sample[key] for key in wanted} == wanted, sample)


def no_monitor_elsewhere(scene):
    code, _, err = scene.postern.cli("gw", "monitor")
    expect(code == 1 and "worker host" in err, f"on a gateway: {code} {err}")
    code, _, err = scene.postern.cli("host", "monitor", "--limit", "none")
    expect(code == 2, f"a bad limit: {code} {err}")


def gateways_of(scene):
    return {row["address"]: row for row in scene.postern.cli_json("host", "gateway", "list")["gateways"]}


def failing_gateways(scene):
    """Six gateways that do not exist beside the one that does: whoever chose one of them moves by itself."""
    everything = f"gateways: [{', '.join([*ABSENT_GATEWAYS, topology.GATEWAY_VTEP])}]"
    rewrite(scene, lambda text: text.replace(f"gateways: [{topology.GATEWAY_VTEP}]", everything))
    system.wait_for(
        "the absent gateways to be found out",
        lambda: not any(row["up"] for address, row in gateways_of(scene).items() if address in ABSENT_GATEWAYS),
        30,
        0.2,
    )
    expect(gateways_of(scene)[topology.GATEWAY_VTEP]["up"], "the one that is there is down")
    up = harness.labelled(scene.postern.metrics("host"), "postern_worker_host_gateway_up", "gateway")
    expect(up == {topology.GATEWAY_VTEP: 1}, f"the metrics say that these are up: {up}")
    for worker in (scene.acme, scene.globex):
        expect(traffic.works(worker), f"{worker.name} does not get through")


def operator_takes_a_gateway_down(scene):
    """By command, and at once."""
    rewrite(scene, lambda text: text)
    before = scene.worker_drops()
    code, _, err = scene.postern.cli("host", "gateway", "down", topology.GATEWAY_VTEP)
    expect(code == 0, err)
    expect(not traffic.works(scene.acme), "traffic goes to a gateway that is down")
    expect(scene.worker_drops_since(before).get("no_gateway", 0) > 0, f"{scene.worker_drops_since(before)}")
    code, out, err = scene.postern.cli("host", "gateway", "list")
    expect("down by an operator" in out, out + err)
    code, out, err = scene.postern.cli("host", "status")
    expect(code == 5 and "nothing leaves" in out, f"status exits {code} with every gateway down: {out}{err}")
    code, _, err = scene.postern.cli("host", "gateway", "up", topology.GATEWAY_VTEP)
    expect(code == 0, err)
    expect(traffic.works(scene.acme), "traffic does not go on")
    code, _, err = scene.postern.cli("host", "gateway", "down", "10.9.9.9")
    expect(code == 1 and "is no gateway" in err, f"a stranger: {code} {err}")


DHCP_SCRIPT = """#!/bin/sh
# What `udhcpc` calls when it has learned something.
env >>"$DHCP_LOG"
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip link set "$interface" mtu "$mtu"
set -- $staticroutes
while [ $# -ge 2 ]; do
	if [ "$2" = 0.0.0.0 ]; then ip route add "$1" dev "$interface"; else ip route add "$1" via "$2" dev "$interface"; fi
	shift 2
done
"""


def by_dhcp(scene):
    """A DHCP client that knows nothing configures the worker; without dhcp: answer it gets no answer."""
    script, log = (os.path.join(scene.lab.fs, name) for name in ("dhcp.sh", "dhcp.log"))
    with open(script, "w", encoding="ascii") as file:
        file.write(DHCP_SCRIPT)
    os.chmod(script, 0o755)
    scene.acme.ns.ip("address flush dev eth0", "link set eth0 mtu 1500")
    client = ["env", f"DHCP_LOG={log}", "busybox", "udhcpc", "-i", "eth0", "-s", script, "-n", "-q", "-f", "-T", "1"]
    client += ["-O", "staticroutes", "-O", "mtu", "-t"]
    before = scene.worker_drops()
    expect(scene.acme.ns.run([*client, "1"], check=False).returncode != 0, "somebody answered")
    expect(scene.worker_drops_since(before).get("dhcp", 0) > 0, f"{scene.worker_drops_since(before)}")
    answering = "worker_host:\n  dhcp: answer\n  dns: [9.9.9.9]\n  dhcp_lease: 10m\n"
    rewrite(scene, lambda text: text.replace("worker_host:\n", answering))
    scene.acme.ns.run([*client, "5"])
    with open(log, encoding="ascii") as file:
        told = file.read()
    expect("lease=600\n" in told and "dns=9.9.9.9\n" in told and "router=169.254.0.1\n" in told, told)
    expect(traffic.works(scene.acme), "the worker does not get through with what DHCP told it")
    expect("mtu 1450 " in scene.acme.ns.run(["ip", "link", "show", "eth0"]).stdout, "the MTU is another")
    rewrite(scene, lambda text: text)


def by_somebody_else(scene):
    """Programs taken off, entries of a worker deleted, entries of nobody written: as before within a round (5 s)."""
    worker, address = scene.acme.interface, scene.acme.address
    somebody = meddler.Meddler(scene.lab.host, os.path.join(scene.postern.dirs["host"], "bpf"))
    with scene.lab.host.inside():
        ifindex = socket.if_nametoindex(worker)
    own, foreign = meddler.by_ifindex(ifindex), meddler.by_ifindex(4711)
    vni = scene.postern.configuration.workspaces["acme"]["vni"]
    entry = somebody.value("workers", own)
    expect(somebody.is_guarded(worker, ifindex) and entry, "nothing is there")
    somebody.take_off(worker, ifindex)
    somebody.delete("workers", own)
    somebody.put("workers", foreign, entry)
    somebody.put("deliveries", meddler.by_address(vni, "10.0.0.99"), foreign * 2)
    expect(not somebody.is_guarded(worker, ifindex), "the programs are still on the interface")
    system.wait_for("the programs to be back", lambda: somebody.is_guarded(worker, ifindex), 15)
    system.wait_for("the worker's entry to be back", lambda: somebody.value("workers", own), 15)
    system.wait_for(
        "what is nobody's to go",
        lambda: not somebody.value("workers", foreign)
        and not somebody.value("deliveries", meddler.by_address(vni, "10.0.0.99")),
        15,
    )
    expect(somebody.value("deliveries", meddler.by_address(vni, address)), "its address was taken, too")
    system.wait_for("acme to get through again", lambda: traffic.works(scene.acme), 10)
    expect(scene.postern.cli("host", "status")[0] == 0, "the status is not ok")


def ready_count(scene):
    return postern.metric_sum(scene.postern.metrics("host"), "postern_worker_ready_seconds_count")


def by_somebody_else_for_good(scene):
    """An ingress qdisc where the programs are to go, once those of TCX are off: the worker is closed until it has gone."""
    worker = scene.acme.interface
    somebody = meddler.Meddler(scene.lab.host, os.path.join(scene.postern.dirs["host"], "bpf"))
    with scene.lab.host.inside():
        ifindex = socket.if_nametoindex(worker)

    def state():
        answer = scene.api("host", "GET", f"/v1/workers/{worker}")[1]
        return answer["state"], answer.get("reason", "")

    rewrite(scene, lambda text: text.replace("worker_host:\n", "worker_host:\n  attach: clsact\n"))
    before = ready_count(scene)
    scene.lab.host.run(["tc", "qdisc", "add", "dev", worker, "ingress"])
    somebody.take_off(worker, ifindex)
    system.wait_for("the worker to be closed", lambda: state()[0] == "unclaimed", 15)
    expect(f"tc qdisc del dev {worker} ingress" in state()[1], f"the reason is: {state()[1]}")
    expect(not somebody.value("workers", meddler.by_ifindex(ifindex)), "the worker's entry is still there")
    scene.lab.host.run(["tc", "qdisc", "del", "dev", worker, "ingress"])
    system.wait_for("the worker to be open again", lambda: state()[0] == "open", 15)
    expect(ready_count(scene) == before, "that it is open again is counted as its coming")
    rewrite(scene, lambda text: text)
    expect(traffic.works(scene.acme), "acme does not get through")


def worker_host(scene):
    scene.start()
    point = scene.points.point
    point("a destination that the policy denies is refused on the worker host, with an ICMP error", denied_at_once, scene)
    point("a worker over its packet limit is held to it, another is not", limited, scene)
    point("a worker that spoofs ARP gets nothing, and nobody else notices", arp_spoofing, scene)
    point("a DHCP client is told all that it takes to get through", by_dhcp, scene)
    point("`postern monitor` shows a dropped packet with the reason in words", monitored, scene)
    point("`postern monitor` says where it does not work", no_monitor_elsewhere, scene)
    point("workspaces leave gateways that do not answer", failing_gateways, scene)
    point("an operator takes a gateway down and up by command", operator_takes_a_gateway_down, scene)
    point("what somebody takes off a worker, or writes into the classifier's maps, is put right", by_somebody_else, scene)
    point("P3: a worker whose programs can not be put back is closed for so long", by_somebody_else_for_good, scene)


harness.main(worker_host)
