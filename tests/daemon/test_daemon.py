#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole posternd with its command line, in a network namespace of this process's own.

usage: test_daemon.py POSTERND POSTERN [POSTERN-DATAPLANE STEER-OBJECT]     (root; prints TAP)
"""
import ctypes
import json
import os
import select
import shutil
import signal
import socket
import stat
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

# Two workspaces, the second on the shared pool; to be filled with the port and acme's egress.
SHARED = """\
version: 1
gateway:
  inside:  { interface: inside0, encapsulation: vxlan, trusted_vteps: [10.100.0.0/24] }
  outside: { interface: outside0 }
metrics: { listen: 127.0.0.1:%d }
shared_pool: { ips: [203.0.113.200], linger: 2s }
workspaces:
  - id: acme
    vpcs:   [ { id: main, vni: 7001, cidrs: [10.0.0.0/16] } ]
    egress: %s
  - id: globex
    vpcs:   [ { id: main, vni: 7002, cidrs: [10.0.0.0/16] } ]
    egress: shared
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

    def daemon(self):
        process = self.start(POSTERND, "--run-dir", self.run_dir, "--config", self.config, "--log-level", "debug")
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


# ---- without a dataplane ----


def check_tells_every_error_and_exits_4(lab):
    lab.write(BAD)
    done = run(POSTERND, "--config", lab.config, "--check")
    assert done.returncode == 4, done
    assert done.stderr.count(lab.config + ":") >= 2 and "shade" in done.stderr and "7001" in done.stderr, done.stderr
    assert lab.cli("config", "check", lab.config).returncode == 4
    assert run(POSTERND, "--config", lab.directory + "/absent.yaml", "--check").returncode == 4


def check_of_a_valid_file_is_one_line_and_exits_0(lab):
    done = run(POSTERND, "--config", lab.config, "--check")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1 and done.stderr == "", done
    assert lab.cli("config", "check", lab.config).returncode == 0


def printed_configuration_is_a_configuration_again(lab):
    printed = run(POSTERND, "--config", lab.config, "--print-config").stdout
    lab.write(printed)
    assert run(POSTERND, "--config", lab.config, "--print-config").stdout == printed


def wrong_usage_exits_2(lab):
    for command in ([POSTERND], [POSTERND, "--config", lab.config], [POSTERND, "--nonsense"],
                    [POSTERND, "--run-dir", lab.run_dir, "--config", lab.config, "--log-level", "loud"],
                    [POSTERN], [POSTERN, "nonsense"], [POSTERN, "status", "extra"], [POSTERN, "plan"],
                    [POSTERN, "status", "--watch", "0"], [POSTERN, "status", "--limit", "5"],
                    [POSTERN, "drops", "--force"], [POSTERN, "config", "show", "--json"]):
        assert run(*command).returncode == 2, command
    assert run(POSTERN, "drain", "--help").stdout.startswith("usage: postern drain IP"), "the command's own help"
    assert run(POSTERN, "help").returncode == 0 and run(POSTERND, "--help").returncode == 0
    assert run(POSTERND, "--version").returncode == 0 and run(POSTERN, "--version").returncode == 0


def the_absent_daemon_is_told_in_one_sentence_and_exits_3(lab):
    for command in ("status", "sessions", "workspaces", "drops", "reload"):
        done = lab.cli(command)
        assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and "start posternd" in done.stderr, done
    assert lab.cli("plan", lab.config).returncode == 3


def what_is_missing_is_named_and_status_exits_5(lab):
    lab.daemon()
    done = lab.cli("status")
    assert done.returncode == 5, done
    for text in ("DEGRADED", "dataplane.sock", "inside0: there is no such interface"):
        assert text in done.stdout, done.stdout
    status = lab.status()
    assert status["state"] == "degraded" and not status["ready"] and len(status["reasons"]) >= 3, status
    code, text = get("/readyz")
    assert code == 503 and "inside0" in text, text
    assert get("/healthz") == (200, "ok\n")


def every_command_answers_in_json(lab):
    lab.daemon()
    for command, key in (("workspaces", "workspaces"), ("sessions", "sessions"), ("drops", "dataplane")):
        assert key in json.loads(lab.cli(command, "--json").stdout), command
    assert {row["id"] for row in json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]} == {"acme", "globex"}
    assert lab.cli("sessions", "--limit", "0").returncode == 2
    assert lab.cli("sessions", "--egress", "203.0.113.10:70000").returncode == 2
    assert "no live session" in lab.cli("who", "203.0.113.10:41234").stdout


def metrics_pass_promtool(lab):
    lab.daemon()
    text = get("/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done
    for name in ("postern_build_info", "postern_dataplane_up", "process_open_fds", "postern_policy_generation"):
        assert name in text, name


def http_refuses_what_it_does_not_serve(lab):
    lab.daemon()
    for request, code in ((b"DELETE /metrics HTTP/1.1\r\n\r\n", 405), (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
                          (b"GET /nothing HTTP/1.1\r\n\r\n", 404), (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
                          (b"GET /v1/status HTTP/1.1\r\n\r\n", 404), (b"nonsense\r\n\r\n", 400),
                          (b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431), (b"x" * 20000, 431),
                          (b"GET /metrics HTTP/1.1\r\nContent-Length: 5000\r\n\r\n", 413),
                          (b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501)):
        answer = talk(request)
        assert answer.startswith(b"HTTP/1.1 %d " % code), (request[:60], answer[:100])
    head = talk(b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 3" in head and head.endswith(b"\r\n\r\n"), head


def a_client_that_trickles_is_ended_after_5_s(lab):
    lab.daemon()
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", PORT), timeout=10) as connection:
        connection.settimeout(0.2)
        answer = b""
        for byte in b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 100:
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(1000)
                break
            except socket.timeout:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ") and 4 < time.monotonic() - start < 8, answer


def beyond_256_connections_the_oldest_idle_one_gives_way(lab):
    """One place is kept free for the next client. Who gives way gets no answer; whose time is over gets a 408."""
    daemon = lab.daemon()
    idle = [socket.create_connection(("127.0.0.1", PORT), timeout=10) for _ in range(300)]

    def ended(first, end):
        return [number for number in range(first, end) if select.select([idle[number]], [], [], 0)[0]]

    for connection in idle[:45]:
        assert connection.recv(100) == b"", "the oldest have not given way"
    assert ended(45, 300) == [], ended(45, 300)
    # libevent closes them when all that waited are accepted.
    wait_for("the connections of the oldest to be closed", lambda: len(os.listdir("/proc/%d/fd" % daemon.pid)) < 300)
    assert get("/healthz")[0] == 200
    assert idle[45].recv(100) == b"" and ended(46, 300) == [], "a client had to wait for idle ones"
    assert lab.cli("status").returncode == 5
    for connection in idle:
        connection.close()
    wait_for("the connections to be closed", lambda: len(os.listdir("/proc/%d/fd" % daemon.pid)) < 60)


def the_api_socket_is_for_owner_and_group(lab):
    lab.daemon()
    mode = os.stat(lab.run_dir + "/posternd.sock").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660, oct(mode)
    assert stat.S_IMODE(os.stat(lab.run_dir + "/state").st_mode) == 0o700


def a_second_daemon_in_the_same_run_directory_refuses(lab):
    lab.daemon()
    done = run(POSTERND, "--run-dir", lab.run_dir, "--config", lab.config)
    assert done.returncode == 1 and "another posternd" in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert lab.cli("status").returncode == 5


def without_any_valid_configuration_it_waits_for_one(lab):
    lab.write(BAD)
    daemon = lab.daemon()
    status = lab.status()
    assert status["config"]["source"] == "none" and not status["config"]["valid"], status
    assert status["config"]["error_count"] == 2, status
    os.unlink(lab.config)
    lab.write(GOOD)
    wait_for("the file to be taken", lambda: lab.status()["config"]["valid"])
    assert daemon.running() and lab.status()["config"]["source"] == "file"


def a_bad_file_changes_nothing_and_is_told(lab):
    daemon = lab.daemon()
    generation = lab.status()["policy"]["desired_generation"]
    assert lab.metric("postern_config_valid") == 1
    lab.write(BAD)
    wait_for("the bad file to be noticed", lambda: lab.metric("postern_config_valid") == 0)
    assert lab.metric("postern_config_reload_failures_total") == 1
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("SIGHUP to be obeyed", lambda: lab.metric("postern_config_reload_failures_total") == 2)
    done = lab.cli("reload")
    assert done.returncode == 4 and "shade" in done.stderr and "nothing was changed" in done.stderr, done
    status = lab.status()
    assert status["policy"]["desired_generation"] == generation and status["config"]["error_count"] == 2, status
    assert "shade" in daemon.text() and "7001" in daemon.text()
    assert any("last good one stays in force" in reason for reason in status["reasons"]), status
    lab.write(GOOD)
    wait_for("the good file to be noticed", lambda: lab.metric("postern_config_valid") == 1)
    assert lab.status()["policy"]["desired_generation"] == generation


def plan_shows_what_would_change_and_changes_nothing(lab):
    lab.daemon()
    with open(lab.directory + "/new.yaml", "w", encoding="utf-8") as stream:
        stream.write(LARGER)
    done = lab.cli("plan", lab.directory + "/new.yaml")
    assert done.returncode == 0 and "initech" in done.stdout, done
    assert json.loads(lab.cli("plan", "--json", lab.directory + "/new.yaml").stdout)["changes"]
    assert "nothing would change" in lab.cli("plan", lab.config).stdout
    assert len(json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]) == 2
    lab.write(BAD)
    assert lab.cli("plan", lab.config).returncode == 4


def a_changed_file_is_taken_and_its_plan_logged(lab):
    daemon = lab.daemon()
    lab.write(LARGER)
    wait_for("the third workspace", lambda: len(json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]) == 3)
    assert "plan: + workspace initech" in daemon.text(), daemon.text()
    assert lab.cli("reload").returncode == 0


def included_files_are_watched_and_told_as_sources(lab):
    os.mkdir(lab.directory + "/conf.d")
    lab.write(GOOD.replace("version: 1", "version: 1\ninclude: [ conf.d/*.yaml ]"))
    lab.daemon()
    fragment = lab.directory + "/conf.d/initech.yaml"
    text = LARGER.replace(GOOD, "workspaces:\n")

    def put(content):
        with open(fragment + ".new", "w", encoding="utf-8") as stream:
            stream.write(content)
        os.rename(fragment + ".new", fragment)

    put(text)
    wait_for("the fragment to be taken", lambda: "id: initech" in lab.cli("config", "show").stdout)
    assert "# from %s:2\n  - id: initech" % fragment in lab.cli("config", "show").stdout
    rows = json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]
    assert [row["source"] for row in rows if row["id"] == "initech"] == [fragment + ":2"], rows
    put(text.replace("7003", "7001"))
    wait_for("the bad fragment to be told", lambda: any(fragment + ":3" in line for line in lab.status()["reasons"]))
    assert "id: initech" in lab.cli("config", "show").stdout
    os.unlink(fragment)
    wait_for("the fragment to go", lambda: "id: initech" not in lab.cli("config", "show").stdout)
    os.rename(lab.directory + "/conf.d", lab.directory + "/conf.d.old")
    wait_for("the missing directory to be told", lambda: any("conf.d" in line for line in lab.status()["reasons"]))
    os.mkdir(lab.directory + "/conf.d")
    put(text)
    wait_for("the new directory to be taken", lambda: "id: initech" in lab.cli("config", "show").stdout)


def fragments_of_the_api_are_merged_and_survive_a_restart(lab):
    first = lab.daemon()
    os.makedirs(lab.run_dir + "/state/api.d")
    fragment = lab.run_dir + "/state/api.d/initech.json"
    with open(fragment, "w", encoding="utf-8") as stream:
        json.dump({"workspaces": [{"id": "initech", "egress": {"ips": ["203.0.113.30"]},
                                   "vpcs": [{"id": "main", "vni": 7003, "cidrs": ["10.0.0.0/16"]}]}]}, stream)
    assert lab.cli("reload").returncode == 0
    assert "# from api (%s:1)\n  - id: initech" % fragment in lab.cli("config", "show").stdout
    first.stop(signal.SIGKILL)
    lab.daemon()
    assert "id: initech" in lab.cli("config", "show").stdout
    lab.write(LARGER)
    wait_for("the conflict to be told", lambda: any(fragment in line for line in lab.status()["reasons"]))


def ids_of(lab):
    return {row["id"] for row in json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"] if row["configured"]}


def put_new(lab, text):
    path = lab.directory + "/new.yaml"
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def files_beside(lab):
    return sorted(name for name in os.listdir(lab.directory) if name.startswith(".postern.yaml"))


def an_applied_change_stays_when_confirmed_and_comes_back_when_not(lab):
    daemon = lab.daemon()
    new = put_new(lab, LARGER)
    assert lab.cli("apply", new, "--confirm", "2s").returncode == 0
    assert "initech" in ids_of(lab)
    assert "on trial" in lab.cli("status").stdout
    assert lab.cli("apply", new).returncode == 1, "a second change while one waits"
    wait_for("the rollback", lambda: "initech" not in ids_of(lab))
    assert open(lab.config, encoding="utf-8").read() == GOOD and files_beside(lab) == [], files_beside(lab)
    assert lab.cli("apply", new, "--confirm", "2s").returncode == 0
    assert lab.cli("apply", "--confirmed").returncode == 0
    time.sleep(2.5)  # what must not happen gets its chance
    assert "initech" in ids_of(lab) and files_beside(lab) == [], files_beside(lab)
    assert lab.cli("apply", put_new(lab, GOOD), "--confirm", "1h").returncode == 0
    daemon.stop(signal.SIGKILL)
    lab.daemon()
    assert "initech" not in ids_of(lab), "a restart within the time keeps the trial"
    assert lab.cli("apply", "--rollback").returncode == 0
    assert "initech" in ids_of(lab)
    assert lab.cli("apply", "--confirmed").returncode == 1, "nothing waits"


def a_trial_whose_time_ends_while_posternd_is_away_is_rolled_back_at_its_start(lab):
    daemon = lab.daemon()
    assert lab.cli("apply", put_new(lab, LARGER), "--confirm", "1s").returncode == 0
    daemon.stop(signal.SIGKILL)
    time.sleep(2)
    lab.daemon()
    assert "initech" not in ids_of(lab)
    assert open(lab.config, encoding="utf-8").read() == GOOD


def a_bad_file_is_not_applied(lab):
    lab.daemon()
    done = lab.cli("apply", put_new(lab, BAD), "--confirm", "1h")
    assert done.returncode == 4 and "shade" in done.stderr and "7001" in done.stderr, done
    assert ".apply" not in done.stderr, "a file is named that the operator has never seen"
    assert lab.status()["config"]["valid"] and files_beside(lab) == [], files_beside(lab)


def a_change_that_removes_most_workspaces_needs_force(lab):
    head = GOOD[:GOOD.index("workspaces:")]
    lab.daemon()
    lab.write(head + "workspaces: []\n")
    wait_for("the refusal", lambda: any("2 of 2 workspaces" in line for line in lab.status()["reasons"]))
    assert ids_of(lab) == {"acme", "globex"}
    assert lab.cli("reload").returncode == 4
    assert lab.cli("apply", put_new(lab, head + "workspaces: []\n")).returncode == 1
    assert lab.cli("reload", "--force").returncode == 0
    assert ids_of(lab) == set()


def the_configuration_replaced_by_anything_else_changes_nothing(lab):
    lab.daemon()

    def put(make):
        os.unlink(lab.config)
        make(lab.config)
        wait_for("the file to be refused", lambda: not lab.status()["config"]["valid"])
        assert ids_of(lab) == {"acme", "globex"}
        if os.path.isdir(lab.config):
            os.rmdir(lab.config)
        else:
            os.unlink(lab.config)
        lab.write(GOOD)
        wait_for("the file to be good again", lambda: lab.status()["config"]["valid"])

    put(os.mkdir)
    put(os.mkfifo)
    put(lambda path: os.symlink(lab.directory + "/absent", path))
    put(lambda path: open(path, "w", encoding="utf-8").close())
    # A link to a good file is one.
    with open(lab.directory + "/elsewhere.yaml", "w", encoding="utf-8") as stream:
        stream.write(LARGER)
    os.unlink(lab.config)
    os.symlink(lab.directory + "/elsewhere.yaml", lab.config)
    wait_for("the link to be followed", lambda: "initech" in ids_of(lab))


def a_full_disk_changes_nothing_but_is_told(lab):
    """DIR on a tmpfs without room: what is desired is in force, and what could not be stored is counted."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.makedirs(lab.run_dir)
    assert libc.mount(b"none", lab.run_dir.encode(), b"tmpfs", 0, b"size=128k,mode=0755") == 0
    try:
        daemon = lab.daemon()
        filler = os.open(lab.run_dir + "/filler", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(filler, b"x" * 4096):
                pass
        except OSError:
            os.close(filler)
        before = lab.metric("postern_reconcile_errors_total")
        lab.write(LARGER)
        wait_for("the errors to be counted", lambda: lab.metric("postern_reconcile_errors_total") > before)
        assert "initech" in ids_of(lab) and daemon.running()
        assert lab.cli("drain", "203.0.113.10").returncode == 1
        assert json.loads(lab.cli("drain", "--list", "--json").stdout)["drains"] == []
        os.unlink(lab.run_dir + "/filler")
        assert lab.cli("drain", "203.0.113.10").returncode == 0
        daemon.stop()
    finally:
        libc.umount2(lab.run_dir.encode(), 2)


def a_metrics_port_in_use_is_told_and_taken_when_it_is_free(lab):
    with socket.socket() as occupant:
        occupant.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        occupant.bind(("127.0.0.1", PORT))
        occupant.listen()
        lab.daemon()
        assert any("metrics.listen" in reason for reason in lab.status()["reasons"]), lab.status()
    wait_for("the port to be taken", lambda: not any("metrics" in reason for reason in lab.status()["reasons"]))
    assert get("/healthz")[0] == 200


def termination_is_clean(lab):
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon = lab.daemon()
        assert daemon.stop(number) == 0, daemon.text()
        assert not os.path.exists(lab.run_dir + "/posternd.sock")


def after_a_kill_the_next_one_starts(lab):
    first = lab.daemon()
    generation = lab.status()["policy"]["desired_generation"]
    first.stop(signal.SIGKILL)
    lab.daemon()
    assert lab.status()["policy"]["desired_generation"] > generation


def damaged_state_files_do_not_stop_it(lab):
    lab.daemon().stop()
    for name in ("generation", "last-good.yaml", "workspace-indexes.json", "shared-pool.json"):
        with open(lab.run_dir + "/state/" + name, "wb") as stream:
            stream.write(bytes(range(256)))
    daemon = lab.daemon()
    assert lab.status()["config"]["source"] == "file"
    daemon.stop()
    lab.write(BAD)
    daemon = lab.daemon()
    assert lab.status()["config"]["source"] == "none" and daemon.running()


def workspaces_keep_their_shared_ports_over_reloads_and_restarts(lab):
    both = {"acme": "203.0.113.200:1024-5119 active", "globex": "203.0.113.200:5120-9215 active"}
    lab.write(SHARED % (PORT, "shared"))
    daemon = lab.daemon()
    assert lab.shared_ports() == both, lab.shared_ports()
    assert "203.0.113.200:5120-9215" in lab.cli("workspaces").stdout
    assert "shared pool: workspace globex gets 203.0.113.200 ports 5120-9215" in daemon.text()
    # By the order of the file alone, initech would come before them.
    head, tail = (SHARED % (PORT, "shared")).split("  - id: acme")
    initech = "  - { id: initech, vpcs: [ { id: main, vni: 7003, cidrs: [10.0.0.0/16] } ], egress: shared }\n"
    lab.write(head + initech + "  - id: acme" + tail)
    all_three = dict(both, initech="203.0.113.200:9216-13311 active")
    wait_for("initech's ports", lambda: lab.shared_ports() == all_three)
    for number in (signal.SIGTERM, signal.SIGKILL):
        lab.processes[-1].stop(number)
        lab.daemon()
        assert lab.shared_ports() == all_three, lab.shared_ports()


def a_lost_table_of_the_shared_pool_is_told_and_made_anew(lab):
    lab.write(SHARED % (PORT, "shared"))
    lab.daemon().stop()
    with open(lab.run_dir + "/state/shared-pool.json", "r+b") as stream:
        stream.truncate(50)
    daemon = lab.daemon()
    assert "shared-pool.json: can not be used" in daemon.text(), daemon.text()
    assert set(lab.shared_ports()) == {"acme", "globex"}, lab.shared_ports()
    daemon.stop()
    assert "can not be used" not in lab.daemon().text()


def a_full_shared_pool_is_an_error_and_changes_nothing(lab):
    lab.write(SHARED % (PORT, "shared"))
    lab.daemon()
    before = lab.shared_ports()
    lab.write((SHARED % (PORT, "shared")).replace("linger: 2s", "ports_per_workspace: 64512"))
    wait_for("the file to be refused", lambda: not lab.status()["config"]["valid"])
    assert "room for 1" in lab.cli("reload").stderr, lab.cli("reload")
    assert lab.shared_ports() == before


def who_leaves_the_shared_pool_drains_and_goes_without_a_reload(lab):
    lab.write(SHARED % (PORT, "shared"))
    daemon = lab.daemon()
    lab.write(SHARED % (PORT, "{ ips: [203.0.113.10] }"))
    wait_for("acme's ports to drain", lambda: lab.shared_ports()["acme"] == "203.0.113.200:1024-5119 draining")
    # Over a restart too.
    daemon.stop(signal.SIGKILL)
    daemon = lab.daemon()
    generation = lab.status()["policy"]["desired_generation"]
    wait_for("acme's ports to go", lambda: "acme" not in lab.shared_ports())
    assert lab.status()["policy"]["desired_generation"] == generation + 1
    assert "shared pool: workspace acme has left 203.0.113.200 ports 1024-5119" in daemon.text(), daemon.text()
    assert lab.shared_ports() == {"globex": "203.0.113.200:5120-9215 active"}


def the_service_manager_is_told(lab):
    path = lab.directory + "/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            daemon = lab.daemon()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        said = manager.recv(1000)
        while b"READY=1" not in said:
            said = manager.recv(1000)
        daemon.stop()
        while b"STOPPING=1" not in said:
            said = manager.recv(1000)


def malformed_peers_do_not_harm_it(lab):
    """A socket where the dataplane's would be, which says nonsense each time."""
    os.mkdir(lab.run_dir)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(lab.run_dir + "/dataplane.sock")
        listener.listen()
        listener.settimeout(10)
        daemon = lab.daemon()
        before = len(os.listdir("/proc/%d/fd" % daemon.pid))
        null = os.open("/dev/null", os.O_RDONLY)
        hello = b"CPRP" + (1).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(236)
        for message, fds in ((b"x", []), (b"x" * 248, []), (b"x" * 4000, [null] * 3), (hello, []), (hello, [null]),
                             (hello, [null, null]), (hello[:-1], [null, null]), (b"", [null])):
            peer, _ = listener.accept()
            socket.send_fds(peer, [message], fds)
            peer.settimeout(10)
            assert peer.recv(1000) == b"", "posternd kept the connection"
            peer.close()
        os.close(null)
        assert daemon.running() and lab.status()["dataplane"]["connected"] is False
        assert len(os.listdir("/proc/%d/fd" % daemon.pid)) <= before + 2


# ---- with the real dataplane ----


def build_ports():
    for name, address in (("inside0", "10.100.0.1/24"), ("outside0", "192.0.2.1/24")):
        for command in (("ip", "link", "add", name, "type", "veth", "peer", "name", name + "-peer"),
                        ("ip", "addr", "add", address, "dev", name),
                        ("ip", "link", "set", name + "-peer", "up"), ("ip", "link", "set", name, "up")):
            assert run(*command).returncode == 0, command


def remove_ports():
    run("ip", "link", "del", "inside0")
    run("ip", "link", "del", "outside0")


def the_policy_comes_in_force_and_becomes_the_last_good(lab):
    lab.daemon()
    lab.dataplane()
    status = wait_for("the policy to be in force", lab.in_force, 30)
    assert status["policy"]["acknowledged_generation"] == status["policy"]["desired_generation"] > 0, status
    assert lab.cli("status").returncode == 0 and get("/readyz")[0] == 200
    with open(lab.run_dir + "/state/last-good.yaml", encoding="utf-8") as stream:
        assert "acme" in stream.read()
    assert lab.metric("postern_dataplane_up") == 1
    assert [port["driver"] for port in status["ports"]] == ["net_af_xdp"] * 2, status["ports"]


def a_bad_file_at_start_falls_back_to_the_last_good(lab):
    daemon = lab.daemon()
    lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    lab.write(BAD)
    daemon.stop()
    lab.daemon()
    wait_for("the last good to be in force",
             lambda: lab.status()["policy"]["acknowledged_generation"] == lab.status()["policy"]["desired_generation"])
    status = lab.status()
    assert status["config"]["source"] == "last-good" and status["state"] == "degraded", status
    assert wait_for("traffic to be possible", lambda: get("/readyz")[0] == 200)
    assert len(json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]) == 2


def a_restarted_daemon_goes_on_with_greater_generations(lab):
    daemon = lab.daemon()
    dataplane = lab.dataplane()
    first = wait_for("the policy to be in force", lab.in_force, 30)["policy"]["acknowledged_generation"]
    daemon.stop(signal.SIGKILL)
    shutil.rmtree(lab.run_dir + "/state")
    lab.daemon()
    status = wait_for("the policy to be in force again", lab.in_force)
    assert status["policy"]["acknowledged_generation"] > first, "also when the number on disk was lost"
    assert status["dataplane"]["pid"] == dataplane.pid


def a_restarted_dataplane_gets_everything_again(lab):
    daemon = lab.daemon()
    dataplane = lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    dataplane.stop(signal.SIGKILL)
    wait_for("the loss to be told", lambda: lab.cli("status").returncode == 5)
    assert get("/readyz")[0] == 503 and lab.metric("postern_dataplane_up") == 0
    dataplane = lab.dataplane()
    status = wait_for("the policy to be in force again", lab.in_force, 30)
    assert status["dataplane"]["pid"] == dataplane.pid and daemon.running()


def the_dataplane_takes_shared_and_draining_ports(lab):
    lab.write(SHARED % (PORT, "shared"))
    lab.daemon()
    lab.dataplane()
    generation = wait_for("the policy to be in force", lab.in_force, 30)["policy"]["acknowledged_generation"]
    lab.write(SHARED % (PORT, "{ ips: [203.0.113.10], draining: [203.0.113.11] }"))
    wait_for("acme's ports to drain", lambda: lab.shared_ports()["acme"].endswith("draining"))
    for swap in (1, 2):
        wait_for("swap %d" % swap,
                 lambda: lab.status()["policy"]["acknowledged_generation"] >= generation + swap)
    wait_for("acme's ports to go", lambda: "acme" not in lab.shared_ports())
    assert wait_for("all to be well", lab.in_force)


def a_dataplane_that_hangs_is_told(lab):
    lab.daemon()
    dataplane = lab.dataplane()
    wait_for("the policy to be in force", lab.in_force, 30)
    dataplane.process.send_signal(signal.SIGSTOP)
    wait_for("the heartbeat to be missed",
             lambda: any("heartbeat" in reason for reason in lab.status()["reasons"]), 15)
    dataplane.process.send_signal(signal.SIGCONT)
    wait_for("the heartbeat to be back", lab.in_force)


ALONE = [
    check_tells_every_error_and_exits_4, check_of_a_valid_file_is_one_line_and_exits_0,
    printed_configuration_is_a_configuration_again, wrong_usage_exits_2,
    the_absent_daemon_is_told_in_one_sentence_and_exits_3, what_is_missing_is_named_and_status_exits_5,
    every_command_answers_in_json, metrics_pass_promtool, http_refuses_what_it_does_not_serve,
    a_client_that_trickles_is_ended_after_5_s, beyond_256_connections_the_oldest_idle_one_gives_way,
    the_api_socket_is_for_owner_and_group, a_second_daemon_in_the_same_run_directory_refuses,
    without_any_valid_configuration_it_waits_for_one, a_bad_file_changes_nothing_and_is_told,
    plan_shows_what_would_change_and_changes_nothing, a_changed_file_is_taken_and_its_plan_logged,
    an_applied_change_stays_when_confirmed_and_comes_back_when_not,
    a_trial_whose_time_ends_while_posternd_is_away_is_rolled_back_at_its_start, a_bad_file_is_not_applied,
    a_change_that_removes_most_workspaces_needs_force, the_configuration_replaced_by_anything_else_changes_nothing,
    a_full_disk_changes_nothing_but_is_told,
    included_files_are_watched_and_told_as_sources, fragments_of_the_api_are_merged_and_survive_a_restart,
    a_metrics_port_in_use_is_told_and_taken_when_it_is_free, termination_is_clean, after_a_kill_the_next_one_starts,
    damaged_state_files_do_not_stop_it, workspaces_keep_their_shared_ports_over_reloads_and_restarts,
    a_lost_table_of_the_shared_pool_is_told_and_made_anew, a_full_shared_pool_is_an_error_and_changes_nothing,
    who_leaves_the_shared_pool_drains_and_goes_without_a_reload, the_service_manager_is_told,
    malformed_peers_do_not_harm_it,
]
WITH_DATAPLANE = [
    the_policy_comes_in_force_and_becomes_the_last_good, a_bad_file_at_start_falls_back_to_the_last_good,
    a_restarted_daemon_goes_on_with_greater_generations, a_restarted_dataplane_gets_everything_again,
    the_dataplane_takes_shared_and_draining_ports, a_dataplane_that_hangs_is_told,
]


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


if __name__ == "__main__":
    sys.exit(run_tests(ALONE, WITH_DATAPLANE))
