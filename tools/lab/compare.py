# SPDX-License-Identifier: Apache-2.0
"""What goes through the lab's gateway: Postern, dpdk-testpmd as a wire, Linux nftables. By tools/compare.

Each measurement has a fresh lab, since a dataplane that polls would take a core from the others. They take turns, so
that a slow minute of the machine hits all. Offloads are off on both links of the gateway (see topology.py), the
receiver of the packets drops them as early as it can, and the generator (blast.c) is the same for all.
"""

import argparse
import json
import os
import signal
import statistics
import sys

import nft
import packet
import postern
import services
import state
import system
import topology
import view
import wire

DIRECTIONS = {"upload": [], "download": ["-R"]}
FLOWS = 64
BLAST_PORT = 9
BLAST_OUTER_PORT = 50001
ECHO_PORT = 7
ASK_COUNT, ASK_INTERVAL_US = 3000, 500
# Far enough apart that a shard has gone to sleep before the next one comes (FORWARD_IDLE_NS in forward.h).
IDLE_ASK_COUNT, IDLE_ASK_INTERVAL_US = 1000, 5000
IDLE_SECONDS = 3
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
FIGURES = {
    "upload_bits_per_second": ("TCP up", 1e9, "Gbit/s"),
    "download_bits_per_second": ("TCP down", 1e9, "Gbit/s"),
    "packets_per_second": ("small packets up", 1e6, "Mpps"),
    "p50_us": ("echo at half load, p50", 1, "µs"),
    "p99_us": ("p99", 1, "µs"),
    "p99.9_us": ("p99.9", 1, "µs"),
}
IDLE_OPTIONS = {
    "poll": (),
    "sleep-20us": ("--idle-sleep-us", "20"),
    "sleep-50us": ("--idle-sleep-us", "50"),
    "sleep-200us": ("--idle-sleep-us", "200"),
    "sleep-1000us": ("--idle-sleep-us", "1000"),
}


class Ended(BaseException):
    """SIGINT, SIGTERM or SIGHUP."""


def end(number, frame):
    raise Ended


def start_postern(lab, options):
    return postern.Postern(lab, options.build_dir, dataplane_options=options.dataplane).start()


def start_testpmd(lab, options):
    return wire.Wire(lab, options.build_dir)


def start_nftables(lab, options):
    return nft.NftGateway(lab)


GATEWAYS = {"postern": start_postern, "testpmd": start_testpmd, "nftables": start_nftables}


class Bench:
    """One gateway in a lab of its own, and what is measured on it."""

    def __init__(self, lab, name, options):
        self.lab, self.options = lab, options
        self.blast = os.path.join(os.path.abspath(options.build_dir), "tools/postern-blast")
        services.Internet(lab, download_bytes=1024)
        self.gateway = GATEWAYS[name](lab, options)
        self.worker = lab.workers["acme-w1"]
        self.server = lab.start("iperf3-server", ["iperf3", "--server", "--bind", topology.INET_ADDRESS], lab.inet)
        lab.start("echo", [self.blast, "echo", topology.INET_ADDRESS, str(ECHO_PORT)], lab.inet)
        system.wait_for("the iperf3 server", lambda: self.server.must_be_alive() and self.reaches(5201), 20)

    def reaches(self, port):
        with self.worker.ns.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((topology.INET_ADDRESS, port)) == 0

    def tcp(self, direction):
        seconds = self.options.seconds
        client = ["iperf3", "--client", topology.INET_ADDRESS, "--json", "--time", str(seconds), "--omit", "1"]
        done = self.worker.ns.run(client + DIRECTIONS[direction], timeout_s=seconds + 30)
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]

    def frames(self):
        """A file with a frame of each flow: 64 bytes inside, in the tunnel."""
        lines = []
        outer_macs = self.lab.gw.mac("inside0"), self.lab.host.mac("uplink0")
        if isinstance(self.gateway, wire.Wire):
            outer_macs = self.lab.router.mac("gw0"), outer_macs[1]
        for flow in range(FLOWS):
            inner = packet.udp(self.worker.address, topology.INET_ADDRESS_2, 20000 + flow, BLAST_PORT, b"x" * 18)
            # To all: the kernel's VXLAN device takes a frame only if its MAC is the device's own, or broadcast.
            frame = packet.ethernet(self.inner_mac(), b"\2\0\0\0\0\5", inner)
            lines.append(
                packet.vxlan_frame(
                    outer_macs,
                    (topology.HOST_VTEP, topology.GATEWAY_VTEP),
                    topology.WORKSPACES["acme"]["vni"],
                    frame,
                    source_port=BLAST_OUTER_PORT,
                ).hex()
            )
        path = os.path.join(self.lab.fs, "frames")
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def inner_mac(self):
        device = f"vx{topology.WORKSPACES['acme']['vni']}"
        return self.lab.gw.mac(device) if isinstance(self.gateway, nft.NftGateway) else b"\2\0\0\0\0\1"

    def received(self):
        done = self.lab.router.run(["cat", "/sys/class/net/gw0/statistics/rx_packets"])
        return int(done.stdout)

    def sink(self):
        self.lab.router.run(
            ["nft", "-f", "-"],
            stdin="table netdev blast { chain sink { type filter hook ingress device gw0 priority 0; "
            f"udp dport {BLAST_PORT} drop; udp sport {BLAST_OUTER_PORT} drop; }}; }}\n",
        )

    def generator(self, path, rate, seconds):
        return ["taskset", "-c", str(min(os.sched_getaffinity(0)))] + [
            self.blast, "send", "uplink0", path, f"{rate:.0f}", str(seconds)]  # fmt: skip

    def packets(self, path):
        """(packets per second that came through, that were offered)."""
        before = self.received()
        done = self.lab.host.run(self.generator(path, 0, self.options.seconds), timeout_s=60)
        sent = json.loads(done.stdout)
        return (self.received() - before) / sent["seconds"], sent["sent"] / sent["seconds"]

    def latency(self, path, rate, count=ASK_COUNT, interval_us=ASK_INTERVAL_US):
        load = self.lab.start("load", self.generator(path, rate, 60), self.lab.host) if rate else None
        ask = [self.blast, "ask", topology.INET_ADDRESS, str(ECHO_PORT), str(count), str(interval_us)]
        done = self.worker.ns.run(ask, timeout_s=120)
        if load:
            load.kill()
        return json.loads(done.stdout)

    def all(self):
        result = {f"{direction}_bits_per_second": self.tcp(direction) for direction in DIRECTIONS}
        path = self.frames()
        self.sink()
        result["packets_per_second"], result["offered_per_second"] = self.packets(path)
        result.update(self.latency(path, result["packets_per_second"] / 2))
        return result

    def idle(self):
        """CPU of the dataplane without traffic, and the echo of a quiet worker."""
        pid = self.gateway.dataplane.popen.pid
        before = cpu_seconds(pid)
        system.holds_for(lambda: True, IDLE_SECONDS)
        cpu = (cpu_seconds(pid) - before) / IDLE_SECONDS
        return {"cpu_percent": 100 * cpu, **self.latency(None, 0, IDLE_ASK_COUNT, IDLE_ASK_INTERVAL_US)}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def measure(name, options, what):
    with topology.Lab() as lab:
        return getattr(Bench(lab, name, options), what)()


def arguments():
    parser = argparse.ArgumentParser(prog="tools/compare")
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=GATEWAYS)
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("dataplane", nargs="*", help="options of postern-dataplane, after --")
    return parser.parse_args()


def summary(results):
    """{figure: {gateway: median, gateway_runs: [...], "ratio_to_…": Postern's share}}"""
    report = {}
    for figure in sorted({figure for runs in results.values() for run in runs for figure in run}):
        values = {name: [run[figure] for run in runs] for name, runs in results.items() if runs}
        medians = {name: statistics.median(runs) for name, runs in values.items()}
        report[figure] = {**medians, **{f"{name}_runs": runs for name, runs in values.items()}}
        for other in ("testpmd", "nftables"):
            if "postern" in medians and medians.get(other):
                report[figure][f"ratio_to_{other}"] = medians["postern"] / medians[other]
    return report


def print_summary(report):
    rows = []
    for figure, (text, unit, unit_text) in FIGURES.items():
        cells = [text]
        for name in GATEWAYS:
            runs = report[figure].get(f"{name}_runs")
            value = report[figure].get(name)
            cells.append(f"{value / unit:.2f} ({min(runs) / unit:.2f} to {max(runs) / unit:.2f})" if runs else "-")
        cells += [f"{report[figure][key]:.2f}" if key in report[figure] else "-" for key in
                  ("ratio_to_testpmd", "ratio_to_nftables")]  # fmt: skip
        rows.append([*cells, unit_text])
    head = ("median (least to most)", *GATEWAYS, "/ testpmd", "/ nftables", "")
    print(view.table(head, rows))


def print_idle(report):
    figures = ("cpu_percent", "p50_us", "p99_us", "p99.9_us")
    rows = [[name, *(f"{report[figure][name]:.1f}" for figure in figures)] for name in report[figures[0]]
            if name in IDLE_OPTIONS]  # fmt: skip
    print(view.table(("idle", "CPU %", "echo p50 µs", "p99 µs", "p99.9 µs"), rows))


def run(options, tell):
    """{name: [figures of a round]}"""
    if options.idle:
        plan = {name: ("postern", "idle", values) for name, values in IDLE_OPTIONS.items()}
    else:
        names = [options.only] if options.only else list(GATEWAYS)
        plan = {name: (name, "all", options.dataplane) for name in names}
    results = {name: [] for name in plan}
    for number in range(options.rounds):
        for label, (name, what, options.dataplane) in plan.items():
            figures = measure(name, options, what)
            results[label].append(figures)
            tell(f"round {number + 1}, {label}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    return results


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    narrator = view.Narrator()
    load_before = os.getloadavg()
    tell = (lambda line: None) if options.json else narrator
    try:
        system.require_root()
        state.remove_leftovers(tell)
        report = summary(run(options, tell))
    except system.LabError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    except Ended:
        return 130
    machine = {
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "load_average_before": load_before[0],
        "load_average_after": os.getloadavg()[0],
    }
    if options.json:
        print(json.dumps({**report, "machine": machine}, indent=2))
        return 0
    print()
    (print_idle if options.idle else print_summary)(report)
    print(f"{machine['cores']} cores, load average {load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
