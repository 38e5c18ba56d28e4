#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole posternd with its command line: its life, its sockets, its dataplane; in a network namespace of its own.

usage: test_daemon.py POSTERND POSTERN [POSTERN-DATAPLANE STEER-OBJECT]     (root; prints TAP)
"""
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

from daemon_lab import GOOD, PORT, POSTERN, POSTERND, get, run, run_tests, talk, wait_for


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
    assert "no live session" in lab.cli("who", "203.0.113.10:41234").stdout


def a_mistaken_name_is_told_from_an_idle_one(lab):
    lab.daemon()
    for command, code, text in ((("sessions", "--workspace", "acme"), 0, ""),
                                (("sessions", "--workspace", "acne"), 1, "there is no workspace acne"),
                                (("sessions", "--egress", "203.0.113.10:70000"), 2, "egress: must be"),
                                (("who", "203.0.113.10", "--remote", "192.0.2.1:x"), 2, "remote: must be"),
                                (("who", "203.0.113.20"), 0, ""),
                                (("who", "203.0.113.21"), 1, "no egress IP")):
        done = lab.cli(*command)
        assert done.returncode == code and text in done.stderr and (text or not done.stderr), (command, done)


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


def with_tenants(count):
    return GOOD + "".join(
        "  - { id: tenant-%d, vpcs: [ { id: main, vni: %d, cidrs: [10.0.0.0/16] } ], "
        "egress: { ips: [198.18.%d.%d] } }\n" % (number, 8000 + number, number // 200, number % 200 + 1)
        for number in range(count))


def ask_and_leave_the_answer(lab, path):
    """Only its beginning is taken."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    client.connect(lab.run_dir + "/posternd.sock")
    client.sendall(b"GET %s HTTP/1.1\r\n\r\n" % path)
    assert client.recv(9) == b"HTTP/1.1 "
    return client


def beyond_256_clients_that_do_not_take_their_answer_the_oldest_gives_way(lab):
    lab.write(with_tenants(400))
    lab.daemon()
    slow = [ask_and_leave_the_answer(lab, b"/v1/config") for _ in range(256)]
    start = time.monotonic()
    assert lab.cli("status").returncode == 5 and time.monotonic() - start < 4, "it waited for those that do not read"
    for client in slow:
        client.close()


def resident_mib(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as lines:
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))


def answers_that_nobody_takes_hold_no_more_than_64_mib(lab):
    lab.write(with_tenants(3000))
    # An address sanitizer keeps what is freed for a while, to find who uses it still: here not for long.
    daemon = lab.daemon("env", "ASAN_OPTIONS=%s:quarantine_size_mb=1" % os.environ.get("ASAN_OPTIONS", ""))
    size_mib = len(lab.cli("config", "show").stdout) / 1024 / 1024
    before_mib = resident_mib(daemon.pid)
    slow = [ask_and_leave_the_answer(lab, b"/v1/config?sources=1") for _ in range(int(160 / size_mib))]
    grown_mib = resident_mib(daemon.pid) - before_mib
    assert grown_mib < 64 + 32, "160 MiB were asked for, %d MiB more are held" % grown_mib
    # The last one gets all of its own, the first one has lost it.
    assert b"tenant-2999" in b"".join(iter(lambda: slow[-1].recv(1 << 20), b""))
    assert b"tenant-2999" not in b"".join(iter(lambda: slow[0].recv(1 << 20), b""))
    for client in slow:
        client.close()


def the_api_socket_is_for_owner_and_group(lab):
    lab.daemon()
    mode = os.stat(lab.run_dir + "/posternd.sock").st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660, oct(mode)
    assert stat.S_IMODE(os.stat(lab.run_dir + "/state").st_mode) == 0o700


def with_groups(lab, text):
    """posternd on a host whose /etc/group is this text."""
    groups = lab.directory + "/group"
    with open(groups, "w", encoding="utf-8") as stream:
        stream.write(text)
    return lab.daemon("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/group && exec "$@"', groups)


def the_api_socket_is_the_groups_where_there_is_one_and_else_that_is_said(lab):
    process = with_groups(lab, "root:x:0:\npostern:x:4242:\n")
    about = os.stat(lab.run_dir + "/posternd.sock")
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (0, 4242, 0o660), about
    assert "group postern" not in process.text()
    assert process.stop() == 0
    process = with_groups(lab, "root:x:0:\n")
    about = os.stat(lab.run_dir + "/posternd.sock")
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (0, 0, 0o660), about
    assert "there is no group postern" in process.text()


def threads_privileges(pid):
    """What each thread may do: {"CapEff": "000…", …, "NoNewPrivs": "1"}."""
    found = []
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, thread), encoding="utf-8") as lines:
            pairs = dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)
        found.append({key: pairs[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")})
    return found


def capabilities(*numbers):
    """Held, and nothing else: those of <linux/capability.h>."""
    held = "%016x" % sum(1 << number for number in numbers)
    return {"CapInh": "0" * 16, "CapPrm": held, "CapEff": held, "CapBnd": held, "CapAmb": "0" * 16, "NoNewPrivs": "1"}


NET_BIND_SERVICE, NET_ADMIN, NET_RAW, IPC_LOCK, SYS_ADMIN, PERFMON, BPF = 10, 12, 13, 14, 21, 38, 39


def what_root_may_is_given_up_but_for_five_capabilities(lab):
    daemon = lab.daemon()
    assert threads_privileges(daemon.pid) == [capabilities(NET_BIND_SERVICE, NET_ADMIN, SYS_ADMIN, PERFMON, BPF)]
    held = "CAP_NET_BIND_SERVICE CAP_NET_ADMIN CAP_SYS_ADMIN CAP_PERFMON CAP_BPF"
    assert lab.status()["privileges"] == {"uid": 0, "capabilities": held}, lab.status()["privileges"]
    assert "may        " + held in lab.cli("status").stdout
    assert "with the capabilities " + held in daemon.text()


def a_capability_that_is_missing_at_the_start_is_told(lab):
    process = lab.daemon("setpriv", "--bounding-set=-bpf,-setpcap")
    assert "started without CAP_BPF: " in process.text(), process.text()
    assert "CAP_BPF" not in lab.status()["privileges"]["capabilities"]


def a_file_that_only_root_could_read_is_refused_by_check_and_daemon_alike(lab):
    os.chown(lab.config, 4242, -1)
    os.chmod(lab.config, 0o600)
    done = run(POSTERND, "--config", lab.config, "--check")
    assert done.returncode == 4 and "Permission denied" in done.stderr and "mode and owner" in done.stderr, done
    lab.daemon()
    assert "Permission denied" in lab.cli("status").stdout
    lab.write(GOOD)
    wait_for("the readable one", lambda: lab.status()["config"]["valid"])


def a_second_daemon_in_the_same_run_directory_refuses(lab):
    lab.daemon()
    done = run(POSTERND, "--run-dir", lab.run_dir, "--config", lab.config)
    assert done.returncode == 1 and "another posternd" in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert lab.cli("status").returncode == 5


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


def no_thread_of_the_dataplane_may_more_than_it_needs(lab):
    dataplane = lab.dataplane()
    lab.daemon()
    wait_for("the policy", lab.in_force)
    threads = threads_privileges(dataplane.pid)
    assert len(threads) >= 2, threads
    wanted = capabilities(NET_ADMIN, NET_RAW, IPC_LOCK, PERFMON, BPF)
    assert all(thread == wanted for thread in threads), threads
    assert "with the capabilities CAP_NET_ADMIN CAP_NET_RAW" in dataplane.text()


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
    wrong_usage_exits_2, the_absent_daemon_is_told_in_one_sentence_and_exits_3,
    what_is_missing_is_named_and_status_exits_5, every_command_answers_in_json, a_mistaken_name_is_told_from_an_idle_one,
    metrics_pass_promtool,
    http_refuses_what_it_does_not_serve, a_client_that_trickles_is_ended_after_5_s,
    beyond_256_connections_the_oldest_idle_one_gives_way,
    beyond_256_clients_that_do_not_take_their_answer_the_oldest_gives_way,
    answers_that_nobody_takes_hold_no_more_than_64_mib, the_api_socket_is_for_owner_and_group,
    the_api_socket_is_the_groups_where_there_is_one_and_else_that_is_said,
    what_root_may_is_given_up_but_for_five_capabilities, a_capability_that_is_missing_at_the_start_is_told,
    a_file_that_only_root_could_read_is_refused_by_check_and_daemon_alike,
    a_second_daemon_in_the_same_run_directory_refuses, a_metrics_port_in_use_is_told_and_taken_when_it_is_free,
    termination_is_clean, after_a_kill_the_next_one_starts, the_service_manager_is_told,
    malformed_peers_do_not_harm_it,
]
WITH_DATAPLANE = [
    the_policy_comes_in_force_and_becomes_the_last_good, no_thread_of_the_dataplane_may_more_than_it_needs,
    a_restarted_daemon_goes_on_with_greater_generations,
    a_restarted_dataplane_gets_everything_again, a_dataplane_that_hangs_is_told,
]

if __name__ == "__main__":
    sys.exit(run_tests(ALONE, WITH_DATAPLANE))
