#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The shared pool's ports over reloads and restarts of posternd, in a network namespace of its own.

usage: test_shared_pool.py POSTERND POSTERN [POSTERN-DATAPLANE STEER-OBJECT]     (root; prints TAP)
"""
import signal
import sys

from daemon_lab import GOOD, run_tests, wait_for

# The second workspace is on the shared pool; to be filled with the egress of the first.
SHARED = GOOD.replace("workspaces:", "shared_pool: { ips: [203.0.113.200], linger: 2s }\nworkspaces:").replace(
    "{ ips: [203.0.113.10, 203.0.113.11] }", "%s").replace("{ ips: [203.0.113.20] }", "shared")


def workspaces_keep_their_shared_ports_over_reloads_and_restarts(lab):
    both = {"acme": "203.0.113.200:1024-5119 active", "globex": "203.0.113.200:5120-9215 active"}
    lab.write(SHARED % "shared")
    daemon = lab.daemon()
    assert lab.shared_ports() == both, lab.shared_ports()
    assert "203.0.113.200:5120-9215" in lab.cli("workspaces").stdout
    assert "shared pool: workspace globex gets 203.0.113.200 ports 5120-9215" in daemon.text()
    # By the order of the file alone, initech would come before them.
    head, tail = (SHARED % "shared").split("  - id: acme")
    initech = "  - { id: initech, vpcs: [ { id: main, vni: 7003, cidrs: [10.0.0.0/16] } ], egress: shared }\n"
    lab.write(head + initech + "  - id: acme" + tail)
    all_three = dict(both, initech="203.0.113.200:9216-13311 active")
    wait_for("initech's ports", lambda: lab.shared_ports() == all_three)
    for number in (signal.SIGTERM, signal.SIGKILL):
        lab.processes[-1].stop(number)
        lab.daemon()
        assert lab.shared_ports() == all_three, lab.shared_ports()


def a_lost_table_of_the_shared_pool_is_told_and_made_anew(lab):
    lab.write(SHARED % "shared")
    lab.daemon().stop()
    with open(lab.run_dir + "/state/shared-pool.json", "r+b") as stream:
        stream.truncate(50)
    daemon = lab.daemon()
    assert "shared-pool.json: can not be used" in daemon.text(), daemon.text()
    assert set(lab.shared_ports()) == {"acme", "globex"}, lab.shared_ports()
    daemon.stop()
    assert "can not be used" not in lab.daemon().text()


def a_full_shared_pool_is_an_error_and_changes_nothing(lab):
    lab.write(SHARED % "shared")
    lab.daemon()
    before = lab.shared_ports()
    lab.write((SHARED % "shared").replace("linger: 2s", "ports_per_workspace: 64512"))
    wait_for("the file to be refused", lambda: not lab.status()["config"]["valid"])
    assert "room for 1" in lab.cli("reload").stderr, lab.cli("reload")
    assert lab.shared_ports() == before


def who_leaves_the_shared_pool_drains_and_goes_without_a_reload(lab):
    lab.write(SHARED % "shared")
    daemon = lab.daemon()
    lab.write(SHARED % "{ ips: [203.0.113.10] }")
    wait_for("acme's ports to drain", lambda: lab.shared_ports()["acme"] == "203.0.113.200:1024-5119 draining")
    # Over a restart too.
    daemon.stop(signal.SIGKILL)
    daemon = lab.daemon()
    generation = lab.status()["policy"]["desired_generation"]
    wait_for("acme's ports to go", lambda: "acme" not in lab.shared_ports())
    assert lab.status()["policy"]["desired_generation"] == generation + 1
    assert "shared pool: workspace acme has left 203.0.113.200 ports 1024-5119" in daemon.text(), daemon.text()
    assert lab.shared_ports() == {"globex": "203.0.113.200:5120-9215 active"}


# ---- with the real dataplane ----


def the_dataplane_takes_shared_and_draining_ports(lab):
    lab.write(SHARED % "shared")
    lab.daemon()
    lab.dataplane()
    generation = wait_for("the policy to be in force", lab.in_force, 30)["policy"]["acknowledged_generation"]
    lab.write(SHARED % "{ ips: [203.0.113.10], draining: [203.0.113.11] }")
    wait_for("acme's ports to drain", lambda: lab.shared_ports()["acme"].endswith("draining"))
    for swap in (1, 2):
        wait_for("swap %d" % swap,
                 lambda: lab.status()["policy"]["acknowledged_generation"] >= generation + swap)
    wait_for("acme's ports to go", lambda: "acme" not in lab.shared_ports())
    assert wait_for("all to be well", lab.in_force)


ALONE = [
    workspaces_keep_their_shared_ports_over_reloads_and_restarts,
    a_lost_table_of_the_shared_pool_is_told_and_made_anew, a_full_shared_pool_is_an_error_and_changes_nothing,
    who_leaves_the_shared_pool_drains_and_goes_without_a_reload,
]
WITH_DATAPLANE = [
    the_dataplane_takes_shared_and_draining_ports,
]

if __name__ == "__main__":
    sys.exit(run_tests(ALONE, WITH_DATAPLANE))
