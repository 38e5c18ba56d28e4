# SPDX-License-Identifier: Apache-2.0
"""A packet capture (tcpdump) on one interface of the lab, which knows when it has seen everything."""

import os
import re
import signal
import struct

import packet
import system
from system import LabError


class Capture:
    """Captures from construction until stop(). Reading while it runs is allowed: the file is flushed per packet."""

    def __init__(self, namespace, interface, expression="", snap_bytes=256):
        self.namespace = namespace
        lab = namespace.lab
        name = f"capture-{namespace.short_name}-{interface}-{len(lab.processes)}"
        self.path = os.path.join(lab.fs, name + ".pcap")
        argv = [
            "tcpdump",
            "-i",
            interface,
            "-p",
            "-n",
            "-U",
            "-s",
            str(snap_bytes),
            "-B",
            "32768",
            "-Z",
            "root",
            "--immediate-mode",
            "-w",
            self.path,
        ]
        self.process = lab.start(name, argv + ([expression] if expression else []), namespace)
        system.wait_for(
            f"tcpdump on {interface}",
            lambda: self.process.must_be_alive() and "listening on" in self.process.log_text(),
        )

    def statistics(self):
        """(written, received by the kernel's filter, dropped by the kernel), fresh from tcpdump."""
        before = self.process.log_text().count("dropped by kernel")
        self.process.signal(signal.SIGUSR1)
        system.wait_for("tcpdump's statistics", lambda: self.process.log_text().count("dropped by kernel") > before)
        return parse_statistics(self.process.log_text())

    def sync(self):
        """Returns when everything that the kernel had seen before the call is in the file."""
        _, received, _ = self.statistics()
        system.wait_for(
            "tcpdump to write what it has received", lambda: self.statistics()[0] >= received - self.statistics()[2]
        )

    def frames(self):
        """[(seconds, frame bytes)] of what is in the file now."""
        with open(self.path, "rb") as file:
            return list(parse_pcap(file.read()))

    def packets(self):
        """The IPv4 packets in the file now."""
        parsed = (packet.parse(frame) for _, frame in self.frames())
        return [one for one in parsed if one is not None]

    def stop(self):
        """Ends the capture and returns its packets. A capture that lost some proves nothing, so that is an error."""
        if self.process.alive():
            self.sync()
            self.process.signal(signal.SIGINT)
            self.process.popen.wait(10)
        dropped = parse_statistics(self.process.log_text())[2]
        if dropped:
            raise LabError(f"the capture on {self.path} lost {dropped} packets: raise its buffer (-B)")
        return self.packets()


def parse_statistics(text):
    last = {}
    for count, what in re.findall(r"(\d+) packets? (captured|received by filter|dropped by kernel)", text):
        last[what] = int(count)
    return last.get("captured", 0), last.get("received by filter", 0), last.get("dropped by kernel", 0)


def parse_pcap(data):
    if len(data) < 24:
        return
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    position = 24
    while position + 16 <= len(data):
        seconds, fraction, captured, _ = struct.unpack(order + "IIII", data[position : position + 16])
        if position + 16 + captured > len(data):
            return
        yield seconds + fraction / 1e6, data[position + 16 : position + 16 + captured]
        position += 16 + captured
