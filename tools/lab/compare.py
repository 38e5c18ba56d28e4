# SPDX-License-Identifier: Apache-2.0
"""Throughput of one TCP flow through the lab's gateway: Postern, and Linux nftables in its place. By tools/compare.

Each measurement has a fresh lab, since postern-dataplane polls and would take a core from the other. The two take
turns, so that a slow minute of the machine hits both. Offloads are off on both links of the gateway (see topology.py).
"""

import argparse
import json
import os
import signal
import statistics
import sys

import nft
import postern
import services
import state
import system
import topology
import view

DIRECTIONS = {"upload": [], "download": ["-R"]}


class Ended(BaseException):
    """SIGINT, SIGTERM or SIGHUP."""


def end(number, frame):
    raise Ended


def start_postern(lab, build_dir):
    return postern.Postern(lab, build_dir, dataplane_options=()).start()


def start_nftables(lab, build_dir):
    return nft.NftGateway(lab)


GATEWAYS = {"postern": start_postern, "nftables": start_nftables}


def measure(name, options):
    """{direction: bit/s} of one gateway in a lab of its own."""
    with topology.Lab() as lab:
        services.Internet(lab, download_bytes=1024)
        GATEWAYS[name](lab, options.build_dir)
        worker = lab.workers["acme-w1"]
        server = lab.start("iperf3-server", ["iperf3", "--server", "--bind", topology.INET_ADDRESS], lab.inet)
        system.wait_for("the iperf3 server", lambda: server.must_be_alive() and reaches(worker, 5201))
        rates = {}
        for direction, flags in DIRECTIONS.items():
            done = worker.ns.run(
                [
                    "iperf3",
                    "--client",
                    topology.INET_ADDRESS,
                    "--json",
                    "--time",
                    str(options.seconds),
                    "--omit",
                    "1",
                    *flags,
                ],
                timeout_s=options.seconds + 30,
            )
            rates[direction] = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
        return rates


def reaches(worker, port):
    with worker.ns.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((topology.INET_ADDRESS, port)) == 0


def arguments():
    parser = argparse.ArgumentParser(prog="tools/compare")
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", choices=GATEWAYS)
    return parser.parse_args()


def summary(results):
    """Per direction: the median of each gateway, and Postern's share of nftables'."""
    report = {}
    for direction in DIRECTIONS:
        medians = {name: statistics.median(run[direction] for run in runs) for name, runs in results.items()}
        report[direction] = {f"{name}_median_bits_per_second": value for name, value in medians.items()}
        if len(medians) == 2:
            report[direction]["ratio"] = medians["postern"] / medians["nftables"]
        for name, runs in results.items():
            report[direction][f"{name}_runs_bits_per_second"] = [run[direction] for run in runs]
    return report


def print_summary(report):
    rows = []
    for direction, values in report.items():
        cells = [direction]
        for name in GATEWAYS:
            value, runs = values.get(f"{name}_median_bits_per_second"), values.get(f"{name}_runs_bits_per_second", [])
            cells.append(f"{value / 1e9:.2f} Gbit/s ({min(runs) / 1e9:.2f} to {max(runs) / 1e9:.2f})" if runs else "-")
        cells.append(f"{values['ratio']:.2f}" if "ratio" in values else "-")
        rows.append(cells)
    print(view.table(("one TCP flow", "Postern, median", "nftables SNAT, median", "Postern / nftables"), rows))


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    narrator = view.Narrator()
    tell = (lambda line: None) if options.json else narrator
    names = [options.only] if options.only else list(GATEWAYS)
    results = {name: [] for name in names}
    try:
        system.require_root()
        state.remove_leftovers(tell)
        for number in range(options.rounds):
            for name in names:
                rates = measure(name, options)
                results[name].append(rates)
                tell(
                    f"round {number + 1}, {name}: "
                    + ", ".join(f"{what} {rate / 1e9:.2f} Gbit/s" for what, rate in rates.items())
                )
    except system.LabError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    except Ended:
        return 130
    report = summary(results)
    report["machine"] = {
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        del report["machine"]
        print()
        print_summary(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
