#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""P1 and P2: two workspaces with the same CIDR, whose workers have the same address, never meet.

In this file acme always talks to 192.0.2.10 and globex to 192.0.2.20: so the destination of a packet outside says whose
it is, and its source must be an egress IP of that workspace.
"""


import harness  # first: it sets the path
import capture
import packet
import services
import system
import topology
import traffic
from harness import expect

REMOTE = {"acme": topology.INET_ADDRESS, "globex": topology.INET_ADDRESS_2}
CHURN_ROUNDS = 5


def same_everything(scene):
    """Both workers use the same source port, towards the same remote address and port, at the same time."""
    for port in (40000, 40001, 40002):
        for worker in (scene.acme, scene.globex):
            saw = traffic.tcp_who(worker, source_port=port)
            expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")


def udp_same_everything(scene):
    echo = traffic.UdpEcho(scene.lab.inet)
    clients = {worker: services.udp_socket(worker.ns, (worker.address, 40000)) for worker in (scene.acme, scene.globex)}
    try:
        for _ in range(20):
            for worker, client in clients.items():
                client.sendto(worker.workspace.encode(), echo.address)
            for worker, client in clients.items():
                seen, payload = client.recv(2000).decode().split()
                expect(payload == worker.workspace, f"{worker.name} got an answer that was for {payload}")
                expect(seen.rpartition(":")[0] in scene.egress(worker.workspace), f"{worker.name} was seen as {seen}")
    finally:
        echo.close()
        for client in clients.values():
            client.close()


def ping_same_everything(scene):
    """The same ICMP identifier from both."""
    outside = capture.Capture(scene.lab.inet, "eth0", "icmp[icmptype] = icmp-echo")
    for worker in (scene.acme, scene.globex):
        done = traffic.ping(worker, REMOTE[worker.workspace], 3, "-e", "77")
        expect(done.returncode == 0, f"{worker.name}: {done.stdout}")
    judge_outside(scene, outside.stop())


def judge_outside(scene, packets):
    """Each packet towards a workspace's remote carries that workspace's egress IP; nothing else has left at all."""
    wrong = []
    seen = set()
    for one in packets:
        owner = next((name for name, remote in REMOTE.items() if remote == one.destination), None)
        if one.source in REMOTE.values() or one.source == topology.ROUTER_ADDRESS:
            continue
        seen.add(owner)
        if owner is None or one.source not in scene.egress(owner):
            wrong.append(f"{one.source} > {one.destination} protocol {one.protocol} (of {owner})")
    expect(not wrong, f"{len(wrong)} of {len(packets)} packets outside: {sorted(set(wrong))[:5]}")
    expect(seen == set(REMOTE), f"the capture has packets of {seen} only, so it proves nothing")


def churn(scene):
    """Workers come and go while the first ones talk without a pause."""
    outside = capture.Capture(scene.lab.router, "gw0", "ip", snap_bytes=128)
    inside = {worker: capture.Capture(worker.ns, "eth0", "ip", snap_bytes=160) for worker in (scene.acme, scene.globex)}
    echoes = {name: traffic.UdpEcho(scene.lab.inet, remote) for name, remote in REMOTE.items()}
    streams = {worker: traffic.NumberedStream(worker, echoes[worker.workspace], worker.workspace) for worker in inside}
    try:
        for _ in range(CHURN_ROUNDS):
            come_and_go(scene, echoes)
    finally:
        lost = {worker.name: worker_stream.stop() for worker, worker_stream in streams.items()}
        for echo in echoes.values():
            echo.close()
    scene.points.point(
        "P1: not one packet with a wrong or private source leaves while workers come and go",
        judge_outside,
        scene,
        outside.stop(),
    )
    scene.points.point(
        "P2: no worker receives a packet of the other workspace while workers come and go",
        judge_inside,
        {worker: one.stop() for worker, one in inside.items()},
    )
    scene.points.point(
        "P6: workers that stay lose no packet while others come and go",
        expect,
        not any(lost.values()),
        f"lost: { {name: len(numbers) for name, numbers in lost.items()} }",
    )


def come_and_go(scene, echoes):
    lab, gateway = scene.lab, scene.postern
    newcomers = [lab.add_worker(name, 2) for name in REMOTE]
    for worker in newcomers:
        # It sends before anyone knows it: nothing may leave.
        with services.udp_socket(worker.ns) as early:
            early.sendto(b"early", echoes[worker.workspace].address)
        gateway.configuration.add_worker(worker)
    gateway.write("host", gateway.configuration.host())
    for worker in newcomers:
        saw = system.wait_for(f"{worker.name} to be admitted", lambda worker=worker: attempt(worker, echoes), 15)
        expect(saw in scene.egress(worker.workspace), f"{worker.name} was seen as {saw}")
    for worker in newcomers:
        gateway.configuration.remove_worker(worker.name)
    gateway.write("host", gateway.configuration.host())
    for worker in newcomers:
        system.wait_for(f"{worker.name} to be shut out", lambda worker=worker: not attempt(worker, echoes), 15)
        lab.remove_worker(worker.name)


def attempt(worker, echoes):
    try:
        return traffic.udp_who(worker, echoes[worker.workspace], worker.workspace, 0.3)
    except OSError:
        return None


def judge_inside(captured):
    for worker, packets in captured.items():
        arrived = [one for one in packets if one.source != worker.address]
        other = [remote for name, remote in REMOTE.items() if name != worker.workspace]
        wrong = [one for one in arrived if one.source in other or one.destination != worker.address]
        expect(not wrong, f"{worker.name} received {len(wrong)} packets of another: {wrong[:2]}")
        expect(arrived, f"{worker.name} received nothing at all, so this proves nothing")


def frame_from(worker, ip_packet):
    """A frame from the worker to its default gateway."""
    return packet.ethernet(bytes.fromhex("02504f535401"), worker.ns.mac("eth0"), ip_packet)


def bad_sender(scene, reason, frames):
    """The acme worker sends frames that it must not send: each is dropped and counted once, and none gets anywhere."""
    count = len(frames)
    before = scene.worker_drops()
    outside = capture.Capture(scene.lab.router, "gw0", "ip")
    underlay = capture.Capture(scene.lab.gw, "inside0", "ip")
    raw = scene.acme.ns.raw_socket("eth0")
    with raw:
        for frame in frames:
            raw.send(frame)
    system.wait_for(
        f"{count} drops as {reason} (have {scene.worker_drops_since(before)})",
        lambda: scene.worker_drops_since(before).get(reason, 0) >= count,
        10,
    )
    since = scene.worker_drops_since(before)
    expect(since == {reason: count}, f"{count} frames sent, drops counted: {since}")
    left = outside.stop() + underlay.stop()
    expect(not left, f"{len(left)} packets got on: {left[:2]}")


def spoofed_frames(scene):
    worker = scene.acme
    sources = ["10.0.0.6", "10.0.0.4", "192.0.2.10", "203.0.113.20", "127.0.0.1", "0.0.0.0"]
    return [frame_from(worker, packet.udp(source, topology.INET_ADDRESS, 5000, 7, b"spoof")) for source in sources]


def metadata_frames(scene):
    worker = scene.acme
    return [
        frame_from(worker, packet.tcp(worker.address, "169.254.169.254", 5000, 80, packet.SYN)),
        frame_from(worker, packet.udp(worker.address, "169.254.169.254", 5000, 53, b"x")),
        frame_from(worker, packet.icmp_echo(worker.address, "169.254.169.254", 1, 1)),
    ]


def tunnel_frames(scene):
    """VXLAN made by a worker, with globex' VNI inside, to the gateway's VTEP: it must not come out as globex."""
    worker = scene.acme
    inner = packet.ethernet(
        b"\x02" * 6, b"\x04" * 6, packet.udp("10.0.0.5", topology.INET_ADDRESS_2, 5000, 7, b"stolen")
    )
    return [
        frame_from(
            worker,
            packet.udp(worker.address, topology.GATEWAY_VTEP, 50000, packet.VXLAN_PORT, packet.vxlan(7002, inner)),
        )
    ] * 3


def scan(scene):
    """From the internet to every egress IP: TCP, UDP and ICMP, to the kernel's favourite ports and some in between."""
    inside = [capture.Capture(worker.ns, "eth0", "ip") for worker in (scene.acme, scene.globex)]
    before = scene.drops("outside")
    raw = scene.lab.inet.raw_socket("eth0")
    router = scene.lab.router.mac("inet0")
    sent = 0
    with raw:
        for address in scene.egress("acme") + scene.egress("globex"):
            for port in (22, 80, 443, 1024, 4789, 40000, 40001, 65535):
                for probe in (
                    packet.tcp(topology.INET_ADDRESS, address, 44444, port, packet.SYN),
                    packet.udp(topology.INET_ADDRESS, address, 44444, port, b"scan"),
                    packet.icmp_echo(topology.INET_ADDRESS, address, port, 1),
                ):
                    raw.send(packet.ethernet(router, scene.lab.inet.mac("eth0"), probe))
                    sent += 1
    # ICMP echo requests from outside are of a kind that is never let in; all else finds no session.
    system.wait_for(f"{sent} drops", lambda: sum(scene.drops_since("outside", before).values()) >= sent, 10)
    since = scene.drops_since("outside", before)
    expect(sum(since.values()) == sent, f"sent {sent}, counted {since}")
    expect(set(since) <= {"no_session", "icmp_type", "tcp_not_syn"}, f"counted as {since}")
    reached = [one for each in inside for one in each.stop()]
    expect(not reached, f"{len(reached)} packets reached a worker: {reached[:2]}")


def strangers_answer(scene):
    """A UDP mapping is open; only the remote that was asked may answer it."""
    echo = traffic.UdpEcho(scene.lab.inet, port=7001)
    client = services.udp_socket(scene.acme.ns)
    try:
        client.sendto(b"open", echo.address)
        seen = client.recv(2000).decode().split()[0]
        address, port = seen.rpartition(":")[0], int(seen.rpartition(":")[2])
        inside = capture.Capture(scene.acme.ns, "eth0", "udp")
        with services.udp_socket(scene.lab.inet, (topology.INET_ADDRESS_2, 7001)) as other_address, services.udp_socket(
            scene.lab.inet, (topology.INET_ADDRESS, 7002)
        ) as other_port:
            for _ in range(5):
                other_address.sendto(b"stranger", (address, port))
                other_port.sendto(b"stranger", (address, port))
        echo.socket.sendto(b"friend x", (address, port))
        system.wait_for("the friend's packet", lambda: any(b"friend" in one.payload for one in inside.packets()), 5)
        strangers = [one for one in inside.stop() if b"stranger" in one.payload]
        expect(not strangers, f"{len(strangers)} strangers were let in")
    finally:
        client.close()
        echo.close()


def swapped_vnis(scene):
    """The VNIs change owners while the internet goes on answering old sessions. The workers are silent meanwhile."""
    lab, gateway = scene.lab, scene.postern
    mappings = {}
    senders = {}
    clients = []
    for worker in (scene.acme, scene.globex):
        echo = traffic.UdpEcho(lab.inet, REMOTE[worker.workspace], 7003)
        client = services.udp_socket(worker.ns, (worker.address, 41000))
        clients.append(client)
        client.sendto(b"open", echo.address)
        seen = client.recv(2000).decode().split()[0].rpartition(":")
        mappings[worker.workspace] = (seen[0], int(seen[2]))
        echo.stopped.set()
        echo.thread.join()
        senders[worker.workspace] = echo.socket
    spaces = gateway.configuration.workspaces
    spaces["acme"]["vni"], spaces["globex"]["vni"] = spaces["globex"]["vni"], spaces["acme"]["vni"]
    generation = gateway.generation()
    gateway.write_configurations()
    system.wait_for("the new policy in force", lambda: gateway.generation() > generation, 15)
    for where in ("gw", "host"):
        gateway.wait_status(where, 0)
    inside = {
        worker: capture.Capture(worker.ns, "eth0", "udp and dst port 41000") for worker in (scene.acme, scene.globex)
    }
    before = scene.drops("outside")
    for name, sender in senders.items():
        for _ in range(10):
            sender.sendto(f"old reply of {name}".encode(), mappings[name])
        sender.close()
    system.wait_for("20 drops", lambda: sum(scene.drops_since("outside", before).values()) >= 20, 10)
    for client in clients:
        client.close()
    arrived = [one for each in inside.values() for one in each.stop()]
    expect(not arrived, f"{len(arrived)} old replies arrived: {[one.payload for one in arrived[:3]]}")
    for worker in (scene.acme, scene.globex):
        saw = traffic.tcp_who(worker)
        expect(saw in scene.egress(worker.workspace), f"afterwards {worker.name} was seen as {saw}")


def isolation(scene):
    point = scene.points.point
    scene.start()
    point(
        "P1: TCP with the same inside address, port and remote leaves by each workspace's own egress IP",
        same_everything,
        scene,
    )
    point("P1, P2: UDP likewise, and each answer comes back to the worker that asked", udp_same_everything, scene)
    point("P1, P2: ICMP echo likewise, with the same identifier", ping_same_everything, scene)
    churn(scene)
    point(
        "P1, P12: spoofed sources are dropped and counted, each once",
        lambda: bad_sender(scene, "spoofed_source", spoofed_frames(scene)),
    )
    point(
        "P1, P12: the metadata service can not be reached, and tries are counted",
        lambda: bad_sender(scene, "metadata", metadata_frames(scene)),
    )
    point(
        "P1, P12: VXLAN made by a worker does not reach the underlay",
        lambda: bad_sender(scene, "underlay", tunnel_frames(scene)),
    )
    point("P2, P12: a scan from the internet reaches nobody, and every probe is counted", scan, scene)
    point("P2: only the remote that was asked may answer", strangers_answer, scene)
    point("P2: replies to old sessions reach nobody after VNIs have changed owners", swapped_vnis, scene)


if __name__ == "__main__":
    harness.main(isolation)
