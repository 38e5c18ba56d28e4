# SPDX-License-Identifier: Apache-2.0
"""Postern's main job on real traffic, in network namespaces: a report and a live view. Run it by tools/quickstart."""

import argparse
import signal
import sys

import bgp
import checks
import postern
import relay
import services
import state
import system
import topology
import view


class Ended(BaseException):
    """SIGINT, SIGTERM or SIGHUP: clean up and go."""


def end(number, frame):
    raise Ended


def arguments():
    parser = argparse.ArgumentParser(prog="tools/quickstart")
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--bgp", action="store_true")
    return parser.parse_args()


def main():
    options = arguments()
    tell = view.Narrator()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    lab = None
    try:
        system.require_root()
        state.remove_leftovers(tell)
        lab = topology.Lab(tell=tell)
        lab.build()
        return use(lab, options, tell)
    except system.LabError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1
    except Ended:
        print()
        return 130
    finally:
        # A second Ctrl-C must not leave half of the lab behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if lab is not None:
            lab.close()
            tell(f"lab {lab.id} removed")


def use(lab, options, tell):
    internet = services.Internet(lab)
    tell(f"lab {lab.id} is laid out: two workspaces with the same CIDR, their workers with the same address 10.0.0.5")
    gateway = postern.Postern(lab, options.build_dir)
    daemons = None
    if options.bgp:
        gateway.configuration.gateway_lines = ["  announce: {}"]
        gateway.write_configurations()
        daemons = bgp.Bgp(lab)
    gateway.start()
    tell("postern-dataplane and both posternd are in force")
    if daemons is not None:
        system.wait_for("the router to learn the egress IPs by BGP", daemons.router_has, 30)
        system.wait_for("the gateway to learn its default route by BGP", daemons.established, 30)
        tell(f"BIRD: the router has by BGP {', '.join(sorted(daemons.router_has()))}")
    egress = {name: spec["egress"] for name, spec in gateway.configuration.workspaces.items()}
    report = checks.Checks(lab, internet, egress)
    held = report.run()
    tell("checks done")
    print_report(report, gateway)
    if options.once and not (options.keep and not held):
        return 0 if held else 1
    try:
        stay(lab, gateway)
    except Ended:
        print()
    return 0 if held else 1


def print_report(report, gateway):
    print("\nWhat the internet saw:\n")
    rows = [
        (row.workspace, row.worker, row.check, row.saw, row.expected, "ok" if row.ok else "NOT OK", row.detail)
        for row in report.rows
    ]
    print(view.table(("workspace", "worker", "check", "the internet saw", "expected", "ok", ""), rows))
    print("\nSessions of the gateway (postern sessions):\n")
    code, out, err = gateway.cli("gw", "sessions")
    print(out.rstrip() if code == 0 else f"`postern sessions` exits {code}: {err.strip()}")
    failed = sum(not row.ok for row in report.rows)
    print(f"\n{len(report.rows) - failed} of {len(report.rows)} checks held.", flush=True)


def stay(lab, gateway):
    metrics = relay.Relay(lab.gw, postern.METRICS_PORT)
    command = gateway.program("tools/postern")
    foot = [f"metrics    http://127.0.0.1:{metrics.port}/metrics"]
    for worker in lab.workers.values():
        foot.append(f"a worker   ip netns exec {worker.ns.name} curl http://{topology.INET_ADDRESS}/")
    foot += [
        f"a shell    ip netns exec {next(iter(lab.workers.values())).ns.name} bash",
        f"outside    ip netns exec {lab.router.name} tcpdump -ni gw0",
        f"gateway    {command} --run-dir {gateway.dirs['gw']} status|workspaces|sessions|drops|help",
        f"host       {command} --run-dir {gateway.dirs['host']} status|worker list|gateway list|monitor",
        f"settings   {gateway.files['gw']} (read again whenever it changes)",
        f"logs       {lab.log_dir}",
        "Ctrl-C     ends and removes everything",
    ]

    def render():
        _, out, err = gateway.cli("gw", "status")
        return "\n".join([f"Postern lab {lab.id}", "", (out + err).rstrip(), "", *foot])

    if not sys.stdout.isatty():
        print("\n".join(["", *foot, ""]), flush=True)
        foot.clear()
    try:
        view.live(render, 1.0)
    finally:
        metrics.close()


if __name__ == "__main__":
    sys.exit(main())
