# SPDX-License-Identifier: Apache-2.0
"""Postern in the lab: configurations, the three processes, the command line and the metrics."""

import copy
import http.client
import json
import os
import re
import time

import system
import topology
from system import LabError

METRICS_PORT = 9464
# The whole lab shares the machine's few cores with a dataplane that would otherwise poll on one of them all the time.
IDLE_SLEEP = ("--idle-sleep-us", "50")
# Matters to a build with AddressSanitizer only.
SUPPRESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp")
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Configuration:
    """What the two files say: who the workspaces are, and which workers the host has."""

    def __init__(self, lab):
        self.queues = lab.queues
        self.workspaces = copy.deepcopy(topology.WORKSPACES)
        self.worker_host_lines = []  # further keys of worker_host
        self.gateway_lines = []  # more of the section `gateway`
        self.workers = {
            worker.name: (worker.interface, worker.workspace, worker.address) for worker in lab.workers.values()
        }

    def add_worker(self, worker):
        self.workers[worker.name] = (worker.interface, worker.workspace, worker.address)

    def remove_worker(self, name):
        del self.workers[name]

    def head(self):
        lines = ["version: 1", f"metrics: {{ listen: 127.0.0.1:{METRICS_PORT} }}", "workspaces:"]
        for name, spec in self.workspaces.items():
            lines += self.workspace(name, spec)
        return lines

    @staticmethod
    def workspace(name, spec):
        return [
            f"  - id: {name}",
            f"    vpcs: [ {{ id: main, vni: {spec['vni']}, cidrs: [{', '.join(spec['cidrs'])}] }} ]",
            f"    egress: {{ ips: [{', '.join(spec['egress'])}] }}",
            *([f"    number: {spec['number']}"] if "number" in spec else []),
        ]

    def gateway(self):
        return (
            "\n".join(
                self.head()
                + [
                    "gateway:",
                    "  inside: { interface: inside0, encapsulation: vxlan, trusted_vteps: [10.100.0.0/24], "
                    f"queues: {self.queues} }}",
                    f"  outside: {{ interface: outside0, queues: {self.queues} }}",
                ]
                + self.gateway_lines
            )
            + "\n"
        )

    def host(self):
        lines = self.head() + [
            "worker_host:",
            f"  vtep: {topology.HOST_VTEP}",
            f"  gateways: [{topology.GATEWAY_VTEP}]",
            *self.worker_host_lines,
            "  workers:" if self.workers else "  workers: []",
        ]
        for interface, workspace, address in self.workers.values():
            lines.append(f"    - {{ interface: {interface}, workspace: {workspace}, vpc: main, ips: [{address}] }}")
        return "\n".join(lines) + "\n"


class Postern:
    """The gateway's two processes and the worker host's one, each started and killed on its own."""

    name = "Postern"

    def __init__(self, lab, build_dir, dataplane_options=IDLE_SLEEP):
        self.lab = lab
        self.build_dir = os.path.abspath(build_dir)
        self.dataplane_options = dataplane_options
        self.configuration = Configuration(lab)
        self.dirs = {"gw": lab.run_dir("gw"), "host": lab.run_dir("host")}
        self.files = {where: os.path.join(lab.run_dir(f"etc-{where}"), "postern.yaml") for where in self.dirs}
        self.dataplane = self.gateway_daemon = self.host_daemon = None
        # `ip netns exec` gives each program its own /sys and mount namespace, where a bpffs would vanish with the
        # program that mounted it, and its pinned objects with it. On a real host posternd mounts it; here we do.
        system.mount("bpf", os.path.join(self.dirs["host"], "bpf"), "mode=0700")
        self.write_configurations()

    def program(self, path):
        full = os.path.join(self.build_dir, path)
        if not os.access(full, os.X_OK):
            raise LabError(f"{full} is not there: build it first (ninja -C {self.build_dir})")
        return full

    def write_configurations(self):
        self.write("gw", self.configuration.gateway())
        self.write("host", self.configuration.host())

    def write(self, where, text):
        """Replaces a configuration file at once, as configuration management does."""
        temporary = self.files[where] + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, self.files[where])

    def start_dataplane(self):
        argv = [self.program("dataplane/postern-dataplane"), "--run-dir", self.dirs["gw"], *self.dataplane_options]
        environment = {**os.environ, "LSAN_OPTIONS": f"suppressions={SUPPRESSIONS}:print_suppressions=0"}
        self.dataplane = self.lab.start("dataplane", argv, self.lab.gw, environment)
        return self.dataplane

    def start_gateway_daemon(self):
        self.gateway_daemon = self.start_daemon("gw", self.lab.gw)
        return self.gateway_daemon

    def start_host_daemon(self):
        self.host_daemon = self.start_daemon("host", self.lab.host)
        return self.host_daemon

    def start_daemon(self, where, namespace):
        return self.lab.start(
            f"posternd-{where}",
            [self.program("control/posternd"), "--run-dir", self.dirs[where], "--config", self.files[where]],
            namespace,
        )

    def start(self):
        self.start_dataplane()
        self.start_gateway_daemon()
        self.start_host_daemon()
        self.wait_ready()
        return self

    def wait_ready(self, deadline_s=30):
        for process in (self.dataplane, self.gateway_daemon, self.host_daemon):
            process.must_be_alive()
        for where in ("gw", "host"):
            self.wait_status(where, 0, deadline_s)

    def wait_status(self, where, exit_code, deadline_s=20):
        """Until `postern status` ends with that code; the error tells what it said last."""
        end = time.monotonic() + deadline_s
        while True:
            code, out, err = self.cli(where, "status")
            if code == exit_code:
                return out
            if time.monotonic() > end:
                raise LabError(
                    f"`postern status` ({where}) exits {code}, not {exit_code}, after {deadline_s:g} s:\n{out}{err}"
                )
            time.sleep(0.05)

    def cli(self, where, *arguments):
        """(exit code, stdout, stderr) of the operator's command."""
        done = system.run([self.program("tools/postern"), "--run-dir", self.dirs[where], *arguments], check=False)
        return done.returncode, done.stdout, done.stderr

    def cli_json(self, where, *arguments):
        code, out, err = self.cli(where, *arguments, "--json")
        try:
            return json.loads(out)
        except ValueError:
            raise LabError(
                f"`postern {' '.join(arguments)} --json` exits {code} and prints no JSON: {out!r} {err!r}"
            ) from None

    def http(self, where, path):
        """(status, text) of the daemon's HTTP server, asked from inside its own namespace."""
        with self.namespace(where).socket() as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", METRICS_PORT))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".encode())
            response = http.client.HTTPResponse(client)
            response.begin()
            return response.status, response.read().decode()

    def namespace(self, where):
        return {"gw": self.lab.gw, "host": self.lab.host}[where]

    def metrics(self, where):
        """{(name, frozenset of label pairs): value}"""
        status, text = self.http(where, "/metrics")
        if status != 200:
            raise LabError(f"/metrics answers {status}")
        samples = {}
        for line in text.splitlines():
            match = SAMPLE.match(line)
            if match:
                samples[match[1], frozenset(LABEL.findall(match[2] or ""))] = float(match[3])
        return samples

    def generation(self):
        """Of the policy that the dataplane has acknowledged."""
        return int(metric_sum(self.metrics("gw"), "postern_policy_generation", state="acknowledged"))


def metric_sum(samples, name, **labels):
    """The sum of all samples of `name` that carry these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, pairs), value in samples.items() if sample == name and wanted <= pairs)
