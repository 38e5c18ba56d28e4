# SPDX-License-Identifier: Apache-2.0
"""Traffic that the tests send and count: echo servers in the internet, requests and streams from the workers."""

import contextlib
import hashlib
import re
import signal
import socket
import subprocess
import threading
import time

import services
import system
import topology
from system import LabError


class UdpEcho:
    """Answers every datagram with "address:port " of its sender (as seen here) and the same payload."""

    def __init__(self, namespace, address=topology.INET_ADDRESS, port=7):
        self.socket = services.udp_socket(namespace, (address, port), 0.2)
        self.address = (address, port)
        self.heard = []  # (source address, payload)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.stopped.is_set():
            with contextlib.suppress(TimeoutError):
                payload, sender = self.socket.recvfrom(65536)
                self.heard.append((sender[0], payload))
                self.socket.sendto(f"{sender[0]}:{sender[1]} ".encode() + payload, sender)

    def close(self):
        self.stopped.set()
        self.thread.join()
        self.socket.close()


class NumberedStream:
    """Sends numbered datagrams to a UdpEcho at a steady pace, and knows which answers never came."""

    def __init__(self, worker, echo, tag, interval_s=0.005):
        self.socket = services.udp_socket(worker.ns, timeout_s=0.2)
        self.echo = echo
        self.tag = tag
        self.interval_s = interval_s
        self.sent = 0
        self.answered = set()
        self.sources = set()  # what the echo server saw us as
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.stopped.wait(self.interval_s):
            with contextlib.suppress(OSError):
                self.socket.sendto(f"{self.tag} {self.sent}".encode(), self.echo.address)
            self.sent += 1

    def receive(self):
        while not (self.stopped.is_set() and self.settled()):
            with contextlib.suppress(TimeoutError, OSError):
                words = self.socket.recv(65536).decode().split()
                if len(words) == 3 and words[1] == self.tag:
                    self.sources.add(words[0])
                    self.answered.add(int(words[2]))

    def settled(self):
        return len(self.answered) >= self.sent or time.monotonic() > self.stopped_at + 2

    def progress(self, answers=20, deadline_s=10):
        """Returns once `answers` more answers have come."""
        goal = len(self.answered) + answers
        system.wait_for(f"{answers} more answers to {self.tag}", lambda: len(self.answered) >= goal, deadline_s)

    def halt(self):
        """Sends no more; what is still under way has two seconds from here on. So many streams end as fast as one."""
        if not self.stopped.is_set():
            self.stopped_at = time.monotonic()
            self.stopped.set()

    def stop(self):
        """Ends the stream; returns the numbers that got no answer."""
        self.halt()
        for thread in self.threads:
            thread.join()
        self.socket.close()
        return sorted(set(range(self.sent)) - self.answered)


class PingStream:
    """ping, 100 a second, until stopped."""

    def __init__(self, worker, address=topology.INET_ADDRESS):
        self.process = worker.ns.lab.start(f"ping-{worker.name}", ["ping", "-i", "0.01", "-W", "2", address], worker.ns)

    def stop(self):
        """(sent, lost). A number counts as lost when a later one was answered: the last may still be on its way."""
        self.process.signal(signal.SIGINT)
        self.process.popen.wait(10)
        text = self.process.log_text()
        answered = {int(number) for number in re.findall(r"bytes from .* icmp_seq=(\d+)", text)}
        sent = re.search(r"(\d+) packets transmitted", text)
        if not sent or not answered:
            raise LabError(f"ping says: {text[-300:]}")
        return int(sent[1]), max(answered) - len(answered)


class Download:
    """curl of the random file at a limited rate, so that it lasts; checked by its SHA-256."""

    def __init__(self, worker, internet, rate="4M"):
        self.expected = internet.download_sha256
        self.path = f"{worker.ns.lab.fs}/download-{worker.name}"
        self.process = worker.ns.lab.start(
            f"curl-{worker.name}",
            ["curl", "-sS", "-m", "60", "--limit-rate", rate, "-o", self.path, internet.download_url],
            worker.ns,
        )

    def running(self):
        return self.process.alive()

    def finish(self, deadline_s=60):
        """True when it has ended well and every byte is right."""
        try:
            code = self.process.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise LabError("the download does not end") from None
        if code != 0:
            raise LabError(f"curl ended with {code}: {self.process.log_text()[-200:]}")
        with open(self.path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == self.expected


def tcp_who(worker, address=topology.INET_ADDRESS, port=80, timeout_s=3.0, source_port=0):
    """The address that nginx saw, without the port. OSError when there is no answer."""
    with worker.ns.socket() as client:
        client.settimeout(timeout_s)
        if source_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", source_port))
        client.connect((address, port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    return answer.decode().rpartition("\r\n\r\n")[2].strip().rpartition(":")[0]


def udp_who(worker, echo, payload="who", timeout_s=2.0):
    """The address that the echo server saw, without the port. TimeoutError when there is no answer."""
    with services.udp_socket(worker.ns, timeout_s=timeout_s) as client:
        client.sendto(payload.encode(), echo.address)
        return client.recv(65536).decode().split()[0].rpartition(":")[0]


def ping(worker, address=topology.INET_ADDRESS, count=1, *options):
    return worker.ns.run(["ping", "-c", str(count), "-i", "0.2", "-W", "2", *options, address], check=False)


def works(worker, address=topology.INET_ADDRESS):
    """Whom the web saw; None when it does not answer. For wait_for()."""
    try:
        return tcp_who(worker, address, timeout_s=1.0)
    except OSError:
        return None


def foreign_sources(packets, owned):
    """The captured packets (as short texts) whose source is none of `owned`; the internet's own are left out."""
    remote = {topology.INET_ADDRESS, topology.INET_ADDRESS_2, topology.ROUTER_ADDRESS}
    return [
        f"{one.source} > {one.destination} protocol {one.protocol}"
        for one in packets
        if one.source not in remote and one.source not in owned
    ]
