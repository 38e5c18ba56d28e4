#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The process postern-dataplane from outside: its socket, its shared memory, its ports, and real packets.

    usage: dataplane_test.py POSTERN_DATAPLANE CLIENT STEER_OBJECT FOREIGN_OBJECT [NAME...]

Runs in a network namespace of its own that has no name and goes with the process:

    the test's raw sockets                postern-dataplane
        inside1 ────────── veth ────────── inside0     VXLAN, 10.100.0.2 → 10.100.0.1
        outside1 ───────── veth ────────── outside0    192.0.2.1 ↔ 203.0.113.10
"""
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time

from lab import (DEADLINE_S, RPC_OK, Client, Dataplane, Lab, Paths, Skip, Wire, check, dropped, equal, ethernet, from_worker,
                 hugetlbfs, mac_bytes, parse_udp, run, settled, udp_ipv4, veth_add, vxlan, wait_for)

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x00020000
RPC_REFUSED, RPC_NO_PORT = 1, 2
HELLO, POLICY, ADJACENCY, ACK, NEIGHBOUR = 1, 2, 3, 4, 5

TESTS = []


def test(function):
    TESTS.append(function)
    return function


# ---- the tests ----


@test
def hello_says_who_and_what_is_in_force():
    with Lab() as lab:
        dataplane = lab.dataplane("--sessions", "4096")
        hello = Client(lab.run_dir).hello
        equal(hello["type"], HELLO, "type")
        equal(hello["fds"], 2, "descriptors")
        equal(hello["process_id"], dataplane.process.pid, "process")
        equal((hello["generation"], hello["adjacency_generation"]), (0, 0), "generations")
        equal(hello["shard_count"], 1, "shards")
        client = Client(lab.run_dir)
        sessions = client("sessions")
        equal((sessions["sessions_max"], sessions["active"]), (4096, 0), "sessions")
        equal(client("counters")["process_id"], dataplane.process.pid, "process in the counters")


@test
def socket_is_for_owner_and_group_only():
    with Lab() as lab:
        lab.dataplane()
        equal(os.stat(f"{lab.run_dir}/dataplane.sock").st_mode & 0o777, 0o660, "mode of the socket")
        equal(os.stat(f"{lab.run_dir}/sessions").st_mode & 0o777, 0o640, "mode of the session file")


@test
def client_can_not_write_to_counters_or_sessions():
    with Lab() as lab:
        lab.dataplane()
        equal(Client(lab.run_dir)("writable"), {"counters": False, "sessions": False}, "writable")


@test
def heartbeat_beats_at_least_once_a_second():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        start, at = time.monotonic(), client("counters")["heartbeat_ns"]
        wait_for(lambda: client("counters")["heartbeat_ns"] != at, "the next beat")
        check(time.monotonic() - start < 1, "the heart beats too slowly")


@test
def service_manager_is_told_of_start_life_and_end():
    with Lab() as lab, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{lab.run_dir}/notify")
        manager.settimeout(DEADLINE_S)
        os.environ.update(NOTIFY_SOCKET=f"{lab.run_dir}/notify", WATCHDOG_USEC="30000000")
        try:
            dataplane = lab.dataplane()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        equal(manager.recv(100), b"READY=1", "the first word")
        equal(manager.recv(100), b"WATCHDOG=1", "the next")
        dataplane.process.send_signal(signal.SIGSTOP)
        manager.settimeout(2.5)
        try:
            while manager.recv(100) == b"WATCHDOG=1":
                manager.settimeout(2.5)
            raise AssertionError("something else is told while it hangs")
        except TimeoutError:
            pass  # a process that hangs says nothing
        dataplane.process.send_signal(signal.SIGCONT)
        equal(dataplane.terminate(), 0, "exit code")
        said = manager.recv(100)
        while said != b"STOPPING=1":
            said = manager.recv(100)


@test
def policy_is_acknowledged_with_its_generation():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        ack = client.policy(41)
        equal((ack["type"], ack["status"], ack["generation"], ack["acked_type"]), (ACK, RPC_OK, 41, POLICY), "ACK")
        ack = client.adjacency(7)
        equal((ack["type"], ack["status"], ack["generation"], ack["acked_type"]), (ACK, RPC_OK, 7, ADJACENCY), "ACK")
        counters = client("counters")
        equal((counters["policy_generation"], counters["adjacency_generation"]), (41, 7), "generations in the counters")
        equal(counters["devices"], ["net_af_xdp", "net_af_xdp"], "drivers")
        equal(counters["names"], ["acme", "globex"], "workspaces")
        hello = Client(lab.run_dir).hello
        equal((hello["generation"], hello["adjacency_generation"]), (41, 7), "generations in the HELLO")


@test
def newest_client_replaces_the_old_one():
    with Lab() as lab:
        lab.dataplane()
        old, new = Client(lab.run_dir), Client(lab.run_dir)
        equal(old("receive"), {"closed": True}, "the old client")
        equal(new.policy(1)["status"], RPC_OK, "the new client's policy")


@test
def refused_policy_keeps_the_old_one():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        equal(client.policy(1)["status"], RPC_OK, "the good one")
        for generation, flaw in enumerate(("magic", "truncated", "vni", "offset", "generation", "unsealed"), 2):
            ack = client.policy(generation, flaw=flaw)
            equal((ack["status"], ack["generation"]), (RPC_REFUSED, generation), f"the one with a bad {flaw}")
            check(ack["text"] != "", f"a bad {flaw} is refused without a word")
        counters = client("counters")
        equal((counters["policy_generation"], counters["policy_refusals"]), (1, 6), "in force, refused")
        equal(client.policy(9)["status"], RPC_OK, "the next good one")


@test
def what_is_no_message_ends_the_connection_only():
    with Lab() as lab:
        dataplane = lab.dataplane()
        for kind in ("short", "empty", "long", "magic", "version", "type", "hello", "no_fd", "two_fds", "many_fds"):
            equal(Client(lab.run_dir)("garbage", kind), {"closed": True}, kind)
        before = len(os.listdir(f"/proc/{dataplane.process.pid}/fd"))
        for _ in range(20):
            Client(lab.run_dir)("garbage", "many_fds")
        client = Client(lab.run_dir)
        equal(client("garbage", "pipe")["status"], RPC_REFUSED, "a pipe in a snapshot's place")
        wait_for(lambda: len(os.listdir(f"/proc/{dataplane.process.pid}/fd")) <= before + 1, "descriptors are closed")
        equal(client.policy(1)["status"], RPC_OK, "a policy afterwards")


@test
def missing_interface_is_named_and_tried_again():
    with Lab(interfaces=False) as lab:
        dataplane = lab.dataplane()
        client = Client(lab.run_dir)
        ack = client.policy(1)
        equal(ack["status"], RPC_NO_PORT, "status")
        equal(ack["text"], "interface inside0 does not exist: create it, or correct gateway.inside.interface", "text")
        equal(client("counters")["policy_generation"], 0, "in force")
        veth_add("inside")
        check("outside0 does not exist" in client.policy(2)["text"], "the other one is named")
        veth_add("outside")
        equal(client.policy(3)["status"], RPC_OK, "with both interfaces")
        equal(dataplane.process.poll(), None, "the process")


@test
def changed_ports_are_refused_and_the_old_policy_stays():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        equal(client.policy(1)["status"], RPC_OK, "the first")
        ack = client.policy(2, inside="outside0", outside="inside0")
        equal(ack["status"], RPC_NO_PORT, "status")
        check("restart postern-dataplane" in ack["text"], ack["text"])
        equal(client("counters")["policy_generation"], 1, "in force")


@test
def steering_program_of_the_build_is_found_by_itself():
    with Lab() as lab:
        lab.dataplane(steer=False)
        ack = Client(lab.run_dir).policy(1)
        equal(ack["status"], RPC_OK, f"policy ({ack['text']})")


@test
def missing_or_useless_steering_program_is_named():
    with Lab() as lab:
        lab.dataplane("--steer-object", "/nowhere/steer.bpf.o", steer=False)
        ack = Client(lab.run_dir).policy(1)
        equal(ack["status"], RPC_NO_PORT, "status")
        check("/nowhere/steer.bpf.o" in ack["text"], ack["text"])
    with Lab() as lab:
        dataplane = lab.dataplane("--steer-object", Paths.foreign_object, steer=False)
        client = Client(lab.run_dir)
        for generation in (1, 2, 3):
            equal(client.policy(generation)["status"], RPC_NO_PORT, "status")
        equal(dataplane.process.poll(), None, "the process")


@test
def foreign_xdp_program_is_left_alone():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        run("ip", "link", "set", "dev", "inside0", "xdp", "obj", Paths.foreign_object, "sec", "xdp")
        ack = client.policy(1)
        equal(ack["status"], RPC_NO_PORT, "status")
        check("that this dataplane has not put there" in ack["text"], ack["text"])
        run("ip", "link", "set", "dev", "inside0", "xdp", "off")
        equal(client.policy(2)["status"], RPC_OK, "when it is gone")


@test
def run_directory_of_another_user_or_writable_by_others_is_refused():
    with Lab(interfaces=False) as lab:
        for mode, owner, said in ((0o775, 0, "others may write"), (0o757, 0, "others may write"), (0o755, 1, "belongs to user 1")):
            os.chmod(lab.run_dir, mode)
            os.chown(lab.run_dir, owner, 0)
            dataplane = Dataplane(lab.run_dir, lab.directory)
            equal(dataplane.ended(), 1, "exit code")
            check(said in dataplane.log(), dataplane.log())
            check(not os.path.exists(f"{lab.run_dir}/sessions"), "sessions were made there")


@test
def second_instance_is_refused():
    with Lab() as lab, Lab(interfaces=False) as other:
        lab.dataplane()
        equal(Client(lab.run_dir).policy(1)["status"], RPC_OK, "policy")
        second = Dataplane(lab.run_dir, lab.directory)
        equal(second.ended(), 1, "exit code")
        check("another postern-dataplane runs in" in second.log(), second.log())
        equal(Client(lab.run_dir).hello["generation"], 1, "the first one's policy")
        other.dataplane()
        ack = Client(other.run_dir).policy(1)
        equal(ack["status"], RPC_NO_PORT, "the same interfaces from another run directory")
        check("in use by another postern-dataplane" in ack["text"], ack["text"])


@test
def restart_works_after_kill_and_after_termination():
    with Lab() as lab:
        for end in ("kill", "kill", "terminate", "terminate"):
            dataplane = lab.dataplane()
            client = Client(lab.run_dir)
            equal(client.hello["generation"], 0, "a fresh process has no policy")
            ack = client.policy(1)
            equal(ack["status"], RPC_OK, f"policy ({ack['text']})")
            if end == "kill":
                dataplane.kill()
                check(os.path.exists(f"{lab.run_dir}/dataplane.sock"), "a killed process leaves its socket")
            else:
                equal(dataplane.terminate(), 0, f"exit code ({dataplane.log()})")
                check(not os.path.exists(f"{lab.run_dir}/dataplane.sock"), "the socket is removed")
                link = subprocess.run(["ip", "link", "show", "inside0"], capture_output=True, text=True, check=True)
                check("xdp" not in link.stdout, "the program is detached")


@test
def deleted_interface_ends_the_process_with_a_sentence():
    with Lab() as lab:
        dataplane, _ = lab.forwarding()
        run("ip", "link", "del", "inside0")
        equal(dataplane.ended(), 1, "exit code")
        check("interface inside0 was deleted or replaced" in dataplane.log(), dataplane.log())
        veth_add("inside")
        lab.dataplane()
        equal(Client(lab.run_dir).policy(1)["status"], RPC_OK, "a new process on the new interface")


@test
def ports_that_were_down_forward_again():
    with Lab() as lab:
        _, client = lab.forwarding()
        inside, outside = Wire("inside1"), Wire("outside1")
        exchange(inside, outside, 7001, "203.0.113.10", b"before")
        for interface in ("inside0", "outside0"):
            run("ip", "link", "set", interface, "down")
            run("ip", "link", "set", interface, "up")
            exchange(inside, outside, 7001, "203.0.113.10", b"after " + interface.encode())
        settled(client, 6)


@test
def wrong_usage_exits_2():
    with Lab(interfaces=False) as lab:
        for options in (["--sessions", "1000"], ["--sessions", "many"], ["--idle-sleep-us", "-1"], ["--sessions"],
                        ["--no-such-option"], ["word"]):
            dataplane = Dataplane(lab.run_dir, lab.directory, *options)
            equal(dataplane.ended(), 2, f"exit code of {options}")
        result = subprocess.run([Paths.dataplane], capture_output=True, text=True, check=False)
        equal(result.returncode, 2, "exit code without --run-dir")
        for option in ("--help", "--version"):
            equal(subprocess.run([Paths.dataplane, option], capture_output=True, check=False).returncode, 0, option)


@test
def missing_privilege_is_one_sentence():
    with Lab(interfaces=False) as lab:
        result = subprocess.run(
            ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--", Paths.dataplane, "--run-dir",
             lab.run_dir], capture_output=True, text=True, check=False)
        equal(result.returncode, 1, "exit code")
        check("CAP_NET_ADMIN missing" in result.stderr and result.stderr.count("\n") == 1, result.stderr)


@test
def without_a_policy_the_interfaces_are_not_touched():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        equal(client.adjacency(1)["status"], RPC_OK, "adjacency")
        outside = Wire("outside1")
        Wire("inside1").send(from_worker(7001, b"too early"))
        equal(client.policy(1)["status"], RPC_OK, "policy")
        Wire("inside1").send(from_worker(7001, b"in time"))
        frame = outside.receive(b"in time")
        check(b"too early" not in frame, "sent before the policy, and through")


def exchange(inside, outside, vni, egress, payload):
    """A worker's packet out and its answer back, through the running dataplane."""
    inside.send(from_worker(vni, payload))
    frame = outside.receive(payload)
    equal(frame[:12], mac_bytes("outside1") + mac_bytes("outside0"), "MACs outside")
    source, destination, ports, data = parse_udp(frame[14:])
    equal((source, destination, ports[1], data), (egress, "192.0.2.1", 53, payload), "outside")
    check(ports[0] >= 1024, "egress port")
    answer = b"answer to " + payload
    outside.send(ethernet(mac_bytes("outside1"), mac_bytes("outside0"),
                          udp_ipv4("192.0.2.1", egress, 53, ports[0], answer)))
    frame = inside.receive(answer)
    equal(frame[:12], mac_bytes("inside1") + mac_bytes("inside0"), "MACs inside")
    source, destination, ports, data = parse_udp(frame[14:])
    equal((source, destination, ports[1]), ("10.100.0.1", "10.100.0.2", 4789), "tunnel")
    equal(struct.unpack("!II", data[:8]), (0x08000000, vni << 8), "VXLAN header")
    source, destination, ports, data = parse_udp(data[8 + 14:])
    equal((source, destination, ports, data), ("192.0.2.1", "10.0.0.5", (53, 5555), answer), "inside")


@test
def packets_are_translated_for_two_workspaces_with_one_address():
    with Lab() as lab:
        _, client = lab.forwarding()
        inside, outside = Wire("inside1"), Wire("outside1")
        exchange(inside, outside, 7001, "203.0.113.10", b"acme's own")
        exchange(inside, outside, 7002, "203.0.113.20", b"globex's own")
        counters = settled(client, 4)
        equal((counters["sessions_active"], client("sessions")["active"]), (2, 2), "sessions")
        equal(counters["guard_violations"], 0, "guard")


@test
def sessions_live_through_policy_swaps_and_a_client_that_dies():
    with Lab() as lab:
        _, client = lab.forwarding()
        inside, outside = Wire("inside1"), Wire("outside1")
        inside.send(from_worker(7001, b"first"))
        port = parse_udp(outside.receive(b"first")[14:])[2][0]
        for generation in range(2, 30):
            equal(client.policy(generation)["status"], RPC_OK, "policy")
            inside.send(from_worker(7001, b"under way %d." % generation))
            frame = outside.receive(b"under way %d." % generation)
            equal(parse_udp(frame[14:])[2][0], port, "the session's port")
        client.process.kill()
        inside.send(from_worker(7001, b"alone"))
        equal(parse_udp(outside.receive(b"alone")[14:])[2][0], port, "the session's port without a client")
        equal(settled(Client(lab.run_dir), 30)["sessions_created"], 1, "sessions created")


def session_lives_through(lab, *ends, options=()):
    dataplane, client = lab.forwarding(*options)
    inside, outside = Wire("inside1"), Wire("outside1")
    inside.send(from_worker(7001, b"first"))
    port = parse_udp(outside.receive(b"first")[14:])[2][0]
    for generation, end in enumerate(ends, 2):
        if end == "kill":
            dataplane.kill()
        else:
            dataplane.terminate()
        inside, outside = Wire("inside1"), Wire("outside1")
        dataplane, client = lab.forwarding(*options, generation=generation)
        check("1 sessions of an earlier process go on" in dataplane.log(), dataplane.log())
        answer = b"answer %d." % generation
        outside.send(ethernet(mac_bytes("outside1"), mac_bytes("outside0"),
                              udp_ipv4("192.0.2.1", "203.0.113.10", 53, port, answer)))
        check(inside.receive(answer), "the answer to a question of before")
        inside.send(from_worker(7001, b"on %d." % generation))
        equal(parse_udp(outside.receive(b"on %d." % generation)[14:])[2][0], port, "the session's port")
    equal(client("sessions")["active"], 1, "sessions")


@test
def sessions_live_through_crashes_and_restarts_of_the_process():
    with Lab() as lab:
        session_lives_through(lab, "kill", "kill", "terminate", "kill")


@test
def sessions_live_through_crashes_on_hugetlbfs_too():
    with Lab() as lab:
        lab.run_dir = os.path.join(lab.directory, "huge")
        os.mkdir(lab.run_dir, 0o700)
        with hugetlbfs(lab.run_dir, 16):
            session_lives_through(lab, "kill", "terminate", options=("--sessions", "4096"))
            equal(os.stat(f"{lab.run_dir}/sessions").st_size % (2 << 20), 0, "part of a page")


@test
def damaged_or_foreign_session_files_are_replaced_with_a_sentence():
    with Lab() as lab:
        path = f"{lab.run_dir}/sessions"
        for content in (b"", b"nonsense" * 1000):
            with open(path, "wb") as file:
                file.write(content)
            dataplane, _ = lab.forwarding()
            check("can not be kept" in dataplane.log(), dataplane.log())
            dataplane.kill()
        dataplane = lab.dataplane("--sessions", "2048")
        Client(lab.run_dir)
        check("another number of shards or sessions" in dataplane.log(), dataplane.log())


@test
def what_is_dropped_is_counted_by_reason():
    with Lab() as lab:
        _, client = lab.forwarding()
        inside, outside = Wire("inside1"), Wire("outside1")
        inside.send(from_worker(7009, b"of no VPC"))
        inside.send(vxlan(7001, udp_ipv4("10.0.0.5", "192.0.2.1", 1, 53, b"x"), vtep="10.200.0.2"))
        inside.send(vxlan(7001, udp_ipv4("10.9.0.5", "192.0.2.1", 1, 53, b"x")))
        inside.send(ethernet(mac_bytes("inside1"), mac_bytes("inside0"), b"\x45" + b"\0" * 10))
        outside.send(ethernet(mac_bytes("outside1"), mac_bytes("outside0"),
                              udp_ipv4("192.0.2.1", "203.0.113.10", 53, 4000, b"unasked")))
        counters = settled(client, 5)
        for port, reason in (("inside", "unknown_vni"), ("inside", "untrusted_vtep"), ("inside", "source_outside_vpc"),
                             ("inside", "truncated"), ("outside", "no_session")):
            equal(counters[port][reason], 1, f"{port} {reason} of {dropped(counters[port])}")
        equal((counters["inside"]["tx"], counters["outside"]["tx"]), (0, 0), "sent")


@test
def unknown_neighbour_is_asked_for_and_used_when_known():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        equal(client.policy(1)["status"], RPC_OK, "policy")
        equal(client.adjacency(1, outside_peer="-")["status"], RPC_OK, "adjacency without the MAC")
        inside, outside = Wire("inside1"), Wire("outside1")
        inside.send(from_worker(7001, b"too early"))
        asked = client("receive")
        equal((asked["type"], asked["address"], asked["port"]), (NEIGHBOUR, 0xC6336401, 1), "what is asked for")
        equal(settled(client, 1)["inside"]["no_neighbour"], 1, "dropped")
        equal(client.adjacency(2)["status"], RPC_OK, "adjacency with the MAC")
        exchange(inside, outside, 7001, "203.0.113.10", b"in time")


@test
def large_burst_is_accounted_for_to_the_last_packet():
    with Lab() as lab:
        _, client = lab.forwarding()
        inside = Wire("inside1")
        for number in range(5000):
            inside.send(from_worker(7001, bytes(1400), source_port=1024 + number % 500))

        settled(client, 5000)


@test
def what_the_driver_loses_is_counted():
    """A process that does not run leaves its receive ring full."""
    count = 4000
    with Lab() as lab:
        dataplane, client = lab.forwarding()
        dataplane.process.send_signal(signal.SIGSTOP)
        inside = Wire("inside1")
        for number in range(count):
            inside.send(from_worker(7001, b"lost", source_port=1024 + number % 100))
        dataplane.process.send_signal(signal.SIGCONT)

        def seen():
            counters = client("counters")
            return counters["inside"]["rx"] + counters["missed"][0] == count and counters
        counters = wait_for(seen, f"{count} packets are received or missed ({client('counters')['missed']})")
        check(counters["missed"][0] > 0, f"missed {counters['missed']}")


@test
def large_frames_pass_where_the_buffers_are_made_for_them():
    with Lab() as lab:
        for interface in ("inside0", "inside1", "outside0", "outside1"):
            run("ip", "link", "set", interface, "mtu", "3300")
        dataplane, client = lab.forwarding("--frame-bytes", "3328", mtu=3250)
        exchange(Wire("inside1"), Wire("outside1"), 7001, "203.0.113.10", b"jumbo" * 600)
        settled(client, 2)
        equal(dataplane.terminate(), 0, "exit code")
        lab.dataplane("--frame-bytes", "3329")
        ack = Client(lab.run_dir).policy(1)
        equal(ack["status"], RPC_NO_PORT, "frames that no AF_XDP port can take")
        check("at most 3328 bytes" in ack["text"], ack["text"])


@test
def af_packet_devices_work_too():
    with Lab() as lab:
        lab.dataplane()
        client = Client(lab.run_dir)
        ack = client.policy(1, devices=("net_af_packet0,iface=inside0", "net_af_packet1,iface=nowhere0"))
        equal(ack["status"], RPC_NO_PORT, "a missing interface")
        check("nowhere0 does not exist" in ack["text"], ack["text"])
        ack = client.policy(2, devices=("net_af_packet0,iface=inside0", "net_af_packet1,iface=outside0"))
        equal(ack["status"], RPC_OK, f"policy ({ack['text']})")
        equal(client.adjacency(1)["status"], RPC_OK, "adjacency")
        equal(client("counters")["devices"], ["net_af_packet", "net_af_packet"], "drivers")
        exchange(Wire("inside1"), Wire("outside1"), 7001, "203.0.113.10", b"by af_packet")


@test
def tap_devices_work_too_by_policy_or_by_an_eal_option():
    with Lab() as lab:
        dataplane = lab.dataplane("--vdev", "net_tap0,iface=tap_in")
        client = Client(lab.run_dir)
        ack = client.policy(1, "tap_in", "tap_out", ("net_tap0", "net_tap1,iface=tap_out"))
        equal(ack["status"], RPC_OK, f"policy ({ack['text']})")
        equal(client.adjacency(1)["status"], RPC_OK, "adjacency")
        equal(client("counters")["devices"], ["net_tap", "net_tap"], "drivers")
        inside, outside = Wire("tap_in"), Wire("tap_out")
        inside.send(from_worker(7001, b"by tap"))
        source = parse_udp(outside.receive(b"by tap")[14:])[0]
        equal(source, "203.0.113.10", "source outside")
        equal(dataplane.terminate(), 0, "exit code")


@test
def nonsense_devices_are_refused():
    with Lab() as lab:
        dataplane = lab.dataplane()
        client = Client(lab.run_dir)
        for inside, device in (("in/side", "-"), ("-", "-"), ("inside0", "net_af_packet0"), ("inside0", ",iface=x"),
                               ("inside0", "net_no_such_driver0"), ("inside0", "0000:ff:1f.7"), ("inside0", "pci:zz"),
                               ("inside0", "net_af_packet0,iface=a/b"), ("inside0", "net_af_xdp0,iface=inside0,no=1")):
            ack = client.policy(1, inside=inside, devices=(device, "-"))
            equal(ack["status"], RPC_NO_PORT, f"{inside} {device}")
            check(ack["text"] != "", f"{inside} {device} is refused without a word")
        equal(dataplane.process.poll(), None, "the process")
        equal(client.policy(2)["status"], RPC_OK, "a good one afterwards")


# ---- TAP ----


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root for network namespaces")
        return 0
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        print(f"1..0 # SKIP no network namespace: {os.strerror(ctypes.get_errno())}")
        return 0
    run("mount", "--make-rprivate", "/")
    for scope in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        if os.path.exists(path):
            with open(path, "w", encoding="ascii") as file:
                file.write("1")
    os.environ.setdefault("LSAN_OPTIONS", f"suppressions={os.path.dirname(os.path.abspath(__file__))}/leaks.supp")
    chosen = [function for function in TESTS if not ONLY or function.__name__ in ONLY]
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    for number, function in enumerate(chosen, 1):
        try:
            function()
            print(f"ok {number} - {function.__name__}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {function.__name__} # SKIP {reason}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
            failed += 1
            print(f"not ok {number} - {function.__name__}", flush=True)
            for line in f"{type(error).__name__}: {error}".splitlines():
                print(f"# {line}", flush=True)
    return 1 if failed else 0


if len(sys.argv) < 5:
    sys.exit(__doc__)
Paths.dataplane, Paths.client, Paths.steer_object, Paths.foreign_object = map(os.path.abspath, sys.argv[1:5])
ONLY = set(sys.argv[5:])
sys.exit(main())
