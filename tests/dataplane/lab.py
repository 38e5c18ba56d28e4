# SPDX-License-Identifier: Apache-2.0
"""
What the tests of the process postern-dataplane stand on: the processes, the interfaces, the packets. The programs' paths
are set by dataplane_test.py before the first use.
"""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

DEADLINE_S = 20
SIOCGIFHWADDR = 0x8927
IP_UDP = 17
RPC_OK = 0


HUGE_OVERCOMMIT = "/proc/sys/vm/nr_overcommit_hugepages"


class Skip(Exception):
    """What the test needs is not here."""


class Paths:
    dataplane = client = steer_object = foreign_object = None


# Of the test that runs; its lab ends them.
PROCESSES = []


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def wait_for(condition, what):
    end = time.monotonic() + DEADLINE_S
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"not within {DEADLINE_S} s: {what}")
        time.sleep(0.02)


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


# ---- the processes ----


class Dataplane:
    """One postern-dataplane in a run directory; `log()` is what it said."""

    def __init__(self, run_dir, log_dir, *options, steer=True):
        """`steer`: with the tests' own steering program, which sends everything to the dataplane."""
        self.run_dir = run_dir
        self.log_path = os.path.join(log_dir, f"log.{time.monotonic_ns()}")
        steering = ["--steer-object", Paths.steer_object] if steer else []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [Paths.dataplane, "--run-dir", run_dir, *steering, "--idle-sleep-us", "50", *options],
                stdout=log, stderr=log)
        PROCESSES.append(self.process)

    def log(self):
        with open(self.log_path, encoding="utf-8") as log:
            return log.read()

    def ready(self):
        wait_for(lambda: "ready on" in self.log() or self.process.poll() is not None, "the dataplane is ready")
        check(self.process.poll() is None, f"the dataplane ended: {self.log()}")
        return self

    def ended(self):
        return self.process.wait(DEADLINE_S)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)


class Client:
    """Speaks the RPC in posternd's place (client.c)."""

    def __init__(self, run_dir):
        self.process = subprocess.Popen([Paths.client, run_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        PROCESSES.append(self.process)
        self.hello = self("connect")

    def __call__(self, *words):
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def policy(self, generation, inside="inside0", outside="outside0", devices=("-", "-"), flaw="-"):
        return self("policy", generation, inside, outside, *devices, flaw)

    def adjacency(self, generation, outside_peer=None, mtu=1500):
        return self("adjacency", generation, mac("inside0"), mac("inside1"), mac("outside0"),
                    outside_peer or mac("outside1"), mtu)


class Lab:
    """A fresh run directory and fresh interfaces for each test; everything is gone afterwards."""

    def __init__(self, interfaces=True):
        self.directory = self.run_dir = tempfile.mkdtemp(
            prefix="postern-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        if interfaces:
            for port in ("inside", "outside"):
                veth_add(port)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in PROCESSES:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
                process.stdout.close()
        PROCESSES.clear()
        for name in ("inside0", "outside0", "tap_in", "tap_out"):
            subprocess.run(["ip", "link", "del", name], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.directory)

    def dataplane(self, *options, **more):
        return Dataplane(self.run_dir, self.directory, *options, **more).ready()

    def forwarding(self, *options, generation=1, mtu=1500):
        """A dataplane with everything in force."""
        dataplane = self.dataplane(*options)
        client = Client(self.run_dir)
        ack = client.policy(generation)
        equal(ack["status"], RPC_OK, f"policy ({ack['text']})")
        equal(client.adjacency(1, mtu=mtu)["status"], RPC_OK, "adjacency")
        return dataplane, client


@contextlib.contextmanager
def hugetlbfs(directory, pages):
    """The directory is a hugetlbfs with room for so many pages of 2 MiB, free ones or such as the kernel makes for it."""
    with open(HUGE_OVERCOMMIT, encoding="ascii") as file:
        before = file.read()
    mounted = False
    try:
        with open(HUGE_OVERCOMMIT, "w", encoding="ascii") as file:
            file.write(str(int(before) + pages))
        run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M,mode=0700", "none", directory)
        mounted = True
        room = os.path.join(directory, "room")
        with open(room, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, pages << 21)
        os.unlink(room)
    except (OSError, subprocess.CalledProcessError) as error:
        hugetlbfs_end(directory, mounted, before)
        raise Skip(f"no hugetlbfs with {pages} free pages of 2 MiB: {error}") from error
    try:
        yield
    finally:
        hugetlbfs_end(directory, mounted, before)


def hugetlbfs_end(directory, mounted, overcommit):
    if mounted:
        run("umount", "-l", directory)
    with open(HUGE_OVERCOMMIT, "w", encoding="ascii") as file:
        file.write(overcommit)


def veth_add(port):
    run("ip", "link", "add", f"{port}0", "type", "veth", "peer", "name", f"{port}1")
    run("ip", "link", "set", f"{port}0", "mtu", "1600", "up")
    run("ip", "link", "set", f"{port}1", "mtu", "1600", "up")


# ---- packets ----


def mac_bytes(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return fcntl.ioctl(any_socket, SIOCGIFHWADDR, struct.pack("256s", interface.encode()))[18:24]


def mac(interface):
    return mac_bytes(interface).hex(":")


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source, destination, payload, protocol=IP_UDP, ttl=64):
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0x1234, 0x4000, ttl, protocol, 0)
    return head[:10] + struct.pack("!H", checksum(head + addresses)) + addresses + payload


def udp(source, destination, source_port, destination_port, payload):
    length = 8 + len(payload)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, IP_UDP, length)
    head = struct.pack("!HHH", source_port, destination_port, length)
    return head + struct.pack("!H", checksum(pseudo + head + b"\0\0" + payload) or 0xFFFF) + payload


def udp_ipv4(source, destination, source_port, destination_port, payload):
    return ipv4(source, destination, udp(source, destination, source_port, destination_port, payload))


def ethernet(source, destination, payload, ethertype=0x0800):
    return destination + source + struct.pack("!H", ethertype) + payload


def vxlan(vni, inner, vtep="10.100.0.2"):
    """From the worker host at the far end of inside1."""
    frame = ethernet(b"\2\0\0\0\0\1", b"\2\0\0\0\0\2", inner)
    payload = struct.pack("!II", 0x08000000, vni << 8) + frame
    outer = ipv4(vtep, "10.100.0.1", struct.pack("!HHHH", 54321, 4789, 8 + len(payload), 0) + payload)
    return ethernet(mac_bytes("inside1"), mac_bytes("inside0"), outer)


def from_worker(vni, payload, remote="192.0.2.1", source_port=5555):
    return vxlan(vni, udp_ipv4("10.0.0.5", remote, source_port, 53, payload))


class Wire:
    """The far end of a port."""

    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.socket.settimeout(0.2)

    def send(self, frame):
        self.socket.send(frame)

    def receive(self, wanted):
        """The next frame that holds the bytes; frames that we sent ourselves do not count."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            try:
                frame, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            if source[2] != socket.PACKET_OUTGOING and wanted in frame:
                return frame
        raise AssertionError(f"no frame with {wanted!r} within {DEADLINE_S} s")


def parse_udp(packet):
    """An IPv4 packet with UDP in it, its checksums verified → (source, destination, ports, payload)."""
    equal(packet[0], 0x45, "version and header length")
    packet = packet[:struct.unpack("!H", packet[2:4])[0]]
    equal(checksum(packet[:20]), 0, "IP header checksum")
    pseudo = packet[12:20] + struct.pack("!BBH", 0, IP_UDP, len(packet) - 20)
    if packet[26:28] != b"\0\0":
        equal(checksum(pseudo + packet[20:]), 0, "UDP checksum")
    ports = struct.unpack("!HH", packet[20:24])
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), ports, packet[28:]


def dropped(port):
    return {reason: count for reason, count in port.items() if count}


def unaccounted(counters):
    """rx + taken over - (tx + drops + held + handed over + absorbed - generated): the law says 0"""
    ports = [counters["inside"], counters["outside"]]
    received = sum(port["rx"] for port in ports)
    sent = sum(port["tx"] for port in ports)
    drops = sum(count for port in ports for key, count in port.items() if key not in ("rx", "tx"))
    kept = counters["held"] + counters["handed_over"] + counters["absorbed"] - counters["generated"] - counters["taken_over"]
    return received - sent - drops - kept


def settled(client, received):
    """The counters once that many packets have been received and the law holds: then no packet is under way."""
    last = {}

    def look():
        last["counters"] = client("counters")
        total = sum(last["counters"][port]["rx"] for port in ("inside", "outside"))
        return last["counters"] if total >= received and unaccounted(last["counters"]) == 0 else None
    try:
        return wait_for(look, f"{received} packets are accounted for")
    except AssertionError as error:
        ports = {port: dropped(last["counters"][port]) for port in ("inside", "outside")}
        raise AssertionError(f"{error}: {ports}") from error
