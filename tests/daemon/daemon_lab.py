# SPDX-License-Identifier: Apache-2.0
"""posternd with its command line, and where asked for the dataplane, in a network namespace of this process's own.

For scripts that are started with POSTERND POSTERN [POSTERN-DATAPLANE STEER-OBJECT], and print TAP by run_tests().
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CLONE_NEWNET = 0x40000000
PORT = 9464

GOOD = """\
version: 1
gateway:
  inside:  { interface: inside0, encapsulation: vxlan, trusted_vteps: [10.100.0.0/24] }
  outside: { interface: outside0 }
metrics: { listen: 127.0.0.1:%d }
workspaces:
  - id: acme
    vpcs:   [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]
    egress: { ips: [203.0.113.10, 203.0.113.11] }
  - id: globex
    vpcs:   [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ]
    egress: { ips: [203.0.113.20] }
""" % PORT
# Two errors: an unknown key, and a VNI that is taken.
BAD = GOOD.replace("version: 1", "version: 1\nshade: 3").replace("7002", "7001")
LARGER = GOOD + """\
  - id: initech
    vpcs:   [ { id: main, vni: 7003, cidrs: [10.0.0.0/16] } ]
    egress: { ips: [203.0.113.30] }
"""

POSTERND, POSTERN = sys.argv[1:3]
DATAPLANE, STEER_OBJECT = (sys.argv[3:5] + [None, None])[:2]


def wait_for(what, condition, deadline_s=10):
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.02)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


class Process:
    def __init__(self, log, *command):
        self.log = log
        with open(log, "ab") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=stream)
        self.pid = self.process.pid

    def running(self):
        return self.process.poll() is None

    def stop(self, signal_number=signal.SIGTERM):
        if self.running():
            self.process.send_signal(signal_number)
        return self.process.wait(timeout=10)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as stream:
            return stream.read()


class Lab:
    """A run directory, a configuration file, and the processes that use them."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="postern-test-", dir="/dev/shm")
        self.run_dir = self.directory + "/run"
        self.config = self.directory + "/postern.yaml"
        self.processes = []
        self.write(GOOD)

    def close(self):
        for process in self.processes:
            process.stop(signal.SIGKILL)
        if os.path.ismount(self.run_dir + "/bpf"):  # a worker host's posternd leaves it, so that its programs stay
            subprocess.run(["umount", self.run_dir + "/bpf"], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def write(self, text):
        """As editors do: a new file under the old name."""
        with open(self.config + ".new", "w", encoding="utf-8") as stream:
            stream.write(text)
        os.rename(self.config + ".new", self.config)

    def start(self, *command):
        process = Process("%s/log-%d" % (self.directory, len(self.processes)), *command)
        self.processes.append(process)
        return process

    def daemon(self, *prefix):
        """posternd, once it answers; `prefix` is a command that becomes it."""
        process = self.start(*prefix, POSTERND, "--run-dir", self.run_dir, "--config", self.config, "--log-level",
                             "debug")
        wait_for("posternd to answer", lambda: self.cli("status").returncode in (0, 5) or not process.running())
        assert process.running(), process.text()
        return process

    def dataplane(self):
        return self.start(DATAPLANE, "--run-dir", self.run_dir, "--steer-object", STEER_OBJECT, "--sessions", "1024",
                          "--idle-sleep-us", "50", "--file-prefix", "postern-test-%d" % os.getpid())

    def cli(self, *arguments):
        return run(POSTERN, "--run-dir", self.run_dir, *arguments)

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def metric(self, name):
        for line in get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def shared_ports(self):
        """{"acme": "203.0.113.200:1024-5119 active", ...}, without those who have none."""
        rows = json.loads(self.cli("workspaces", "--json").stdout)["workspaces"]
        return {row["id"]: "; ".join("%(address)s:%(port_first)d-%(port_last)d %(state)s" % ports
                                     for ports in row["shared_ports"]) for row in rows if row["shared_ports"]}

    def in_force(self):
        status = self.status()
        return status["state"] == "ok" and status


def get(path, method="GET"):
    request = urllib.request.Request("http://127.0.0.1:%d%s" % (PORT, path), method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def talk(request, timeout_s=10):
    """Sends raw bytes, returns all that comes back."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=timeout_s) as connection:
        connection.sendall(request)
        answer = b""
        while True:
            part = connection.recv(65536)
            if not part:
                return answer
            answer += part


def put_new(lab, text):
    """A file to apply."""
    path = lab.directory + "/new.yaml"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def build_ports():
    for name, address in (("inside0", "10.100.0.1/24"), ("outside0", "192.0.2.1/24")):
        for command in (("ip", "link", "add", name, "type", "veth", "peer", "name", name + "-peer"),
                        ("ip", "addr", "add", address, "dev", name),
                        ("ip", "link", "set", name + "-peer", "up"), ("ip", "link", "set", name, "up")):
            assert run(*command).returncode == 0, command


def remove_ports():
    run("ip", "link", "del", "inside0")
    run("ip", "link", "del", "outside0")


def try_one(number, test):
    lab = Lab()
    problem = None
    try:
        test(lab)
    except Exception as error:  # a test of any kind may fail; the others go on
        problem = error
    print("%s %d - %s" % ("ok" if problem is None else "not ok", number, test.__name__), flush=True)
    if problem is not None:
        print("# %s: %s" % (type(problem).__name__, str(problem)[:2000].replace("\n", "\n# ")))
        for process in lab.processes:
            print("# " + process.text()[-2000:].replace("\n", "\n# "), flush=True)
    lab.close()
    return problem is None


def run_tests(alone, with_dataplane):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        print("1..0 # SKIP a network namespace needs root")
        return 0
    run("ip", "link", "set", "lo", "up")
    tests = alone + (with_dataplane if DATAPLANE else [])
    print("1..%d" % len(tests), flush=True)
    good = True
    for number, test in enumerate(tests, 1):
        if test in with_dataplane:
            build_ports()
        good = try_one(number, test) and good
        if test in with_dataplane:
            remove_ports()
    return 0 if good else 1
