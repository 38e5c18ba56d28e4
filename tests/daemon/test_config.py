#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""posternd's configuration: files that change, are bad or gone, plan and apply; in a network namespace of its own.

usage: test_config.py POSTERND POSTERN [POSTERN-DATAPLANE STEER-OBJECT]     (root; prints TAP)
"""
import ctypes
import json
import os
import signal
import sys
import time

from daemon_lab import BAD, GOOD, LARGER, POSTERND, get, put_new, run, run_tests, wait_for


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
    path = put_new(lab, LARGER)
    done = lab.cli("plan", path)
    assert done.returncode == 0 and "initech" in done.stdout and "touches" not in done.stdout, done
    assert json.loads(lab.cli("plan", "--json", path).stdout)["changes"]
    assert "nothing would change" in lab.cli("plan", lab.config).stdout
    path = put_new(lab, LARGER.replace("203.0.113.11", "203.0.113.12").replace("id: globex", "id: hooli"))
    touched = json.loads(lab.cli("plan", "--json", path).stdout)["workspaces_touched"]
    unknown = {"sessions_active": None, "sessions_ending": None, "more": False}
    assert touched == [{"id": name, **unknown} for name in ("acme", "globex")], touched
    assert "touches workspace acme; no dataplane says" in lab.cli("plan", path).stdout
    assert len(json.loads(lab.cli("workspaces", "--json").stdout)["workspaces"]) == 2
    lab.write(BAD)
    assert lab.cli("plan", lab.config).returncode == 4


def check_and_plan_take_as_large_a_file_as_they_are_told_to(lab):
    lab.daemon()
    path = put_new(lab, LARGER + "# as large as that\n" * (5 * 2**20 // 19))
    for command in (("config", "check"), ("plan",)):
        done = lab.cli(*command, path)
        assert done.returncode == 4 and "4 MiB" in done.stderr, done
        assert lab.cli(*command, path, "--max-file-size", "16Mi").returncode == 0, command
        assert lab.cli(*command, path, "--max-file-size", "1Gi").returncode == 2, command


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


def a_file_of_another_name_is_what_counts_from_then_on(lab):
    """Nothing changes by that, so nothing is applied; but the file of the old name says nothing any more."""
    os.mkdir(lab.directory + "/conf.d")
    lab.write(GOOD.replace("version: 1", "version: 1\ninclude: [ conf.d/*.yaml ]"))
    with open(lab.directory + "/conf.d/before.yaml", "w", encoding="utf-8") as stream:
        stream.write(LARGER.replace(GOOD, "workspaces:\n"))
    daemon = lab.daemon()
    assert "initech" in ids_of(lab)
    os.rename(lab.directory + "/conf.d/before.yaml", lab.directory + "/conf.d/after.yaml")
    wait_for("the name to be noticed", lambda: "what is wanted already" in daemon.text())
    os.unlink(lab.directory + "/conf.d/after.yaml")
    wait_for("the workspace to go with its file", lambda: "initech" not in ids_of(lab))


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


# ---- with the real dataplane ----


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


def a_last_good_that_could_not_be_stored_is_stored_later(lab):
    """As when a full disk has room again: here a directory stands where the file goes."""
    last_good = lab.run_dir + "/state/last-good.yaml"
    os.makedirs(last_good, mode=0o700)
    os.chmod(os.path.dirname(last_good), 0o700)
    daemon = lab.daemon()
    lab.dataplane()
    wait_for("the failure", lambda: "last-good.yaml" in daemon.text(), 30)
    os.rmdir(last_good)
    wait_for("the file", lambda: os.path.isfile(last_good))


ALONE = [
    check_tells_every_error_and_exits_4, check_of_a_valid_file_is_one_line_and_exits_0,
    printed_configuration_is_a_configuration_again, without_any_valid_configuration_it_waits_for_one,
    a_bad_file_changes_nothing_and_is_told, plan_shows_what_would_change_and_changes_nothing,
    check_and_plan_take_as_large_a_file_as_they_are_told_to,
    a_changed_file_is_taken_and_its_plan_logged, an_applied_change_stays_when_confirmed_and_comes_back_when_not,
    a_trial_whose_time_ends_while_posternd_is_away_is_rolled_back_at_its_start, a_bad_file_is_not_applied,
    a_change_that_removes_most_workspaces_needs_force, the_configuration_replaced_by_anything_else_changes_nothing,
    a_full_disk_changes_nothing_but_is_told, included_files_are_watched_and_told_as_sources,
    a_file_of_another_name_is_what_counts_from_then_on,
    fragments_of_the_api_are_merged_and_survive_a_restart, damaged_state_files_do_not_stop_it,
]
WITH_DATAPLANE = [
    a_bad_file_at_start_falls_back_to_the_last_good, a_last_good_that_could_not_be_stored_is_stored_later,
]

if __name__ == "__main__":
    sys.exit(run_tests(ALONE, WITH_DATAPLANE))
