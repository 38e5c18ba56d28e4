#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
postern-bench from outside: its scenarios, its JSON, its exit codes. Measures next to nothing: figures are not checked.

    usage: bench_test.py POSTERN_BENCH
"""
import json
import math
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lab"))

import tap  # noqa: E402 (the path is set above)

BENCH = sys.argv[1]
REQUIRED = {
    "name", "sessions", "cycles_per_packet", "mpps", "forward_cycles_per_packet", "rte_hash_cycles_per_packet",
    "ratio_to_forward", "ratio_rte_hash", "stages", "runs", "seed", "tsc_hz", "bytes_per_session",
}
STAGES = {"parse", "classify", "find", "translate", "rewrite", "guard", "emit"}
NAMES = [
    "out-1", "out-1k", "out-64k", "out-1m", "in-64k", "in-1m", "setup-64k", "setup-1024ws", "vxlan-64k", "tcp-64k",
    "imix-64k", "fill-50", "fill-90", "fill-99", "fill-99.9", "expiry-1m", "swap-10k", "synflood", "shards-2",
]
claims = tap.Claims()
test = claims.test


def bench(*arguments):
    return subprocess.run([BENCH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                          check=False)


def objects(*arguments):
    run = bench("--json", *arguments)
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr}"
    return [json.loads(line) for line in run.stdout.splitlines()]


@test
def help_is_printed_and_ends_with_0():
    run = bench("--help")
    assert run.returncode == 0 and run.stdout.startswith("usage: postern-bench"), run


@test
def list_names_every_scenario():
    run = bench("--list")
    assert run.returncode == 0, run
    listed = [line.split()[0] for line in run.stdout.splitlines()]
    missing = [name for name in NAMES if name not in listed]
    assert not missing, f"not listed: {missing}"
    assert len(set(listed)) == len(listed), "a name is listed twice"


@test
def wrong_usage_ends_with_2_and_one_sentence():
    for arguments in (["--scenario", "no-such"], ["--runs", "0"], ["--seconds", "x"], ["--packets", "0"], ["--nonsense"],
                      ["word"], ["--scenario"], ["--descriptors", "5"], ["--seconds", "1", "--packets", "1"]):
        run = bench(*arguments)
        assert run.returncode == 2, f"{arguments}: exit code {run.returncode}"
        assert run.stdout == "" and run.stderr.startswith("postern-bench: ") and run.stderr.count("\n") == 1, run


@test
def json_of_steady_scenarios_has_the_required_fields():
    for name in ("out-1", "in-1k", "vxlan-64k"):
        results = objects("--scenario", name, "--packets", "40000", "--runs", "1")
        assert len(results) == 1 and results[0]["name"] == name, results
        result = results[0]
        assert REQUIRED <= result.keys(), f"missing: {REQUIRED - result.keys()}"
        assert STAGES <= result["stages"].keys(), f"missing: {STAGES - result['stages'].keys()}"
        for field in ("cycles_per_packet", "mpps", "forward_cycles_per_packet", "rte_hash_cycles_per_packet"):
            # Source and sink are taken off, so that on a busy machine a run this short may come out below zero.
            assert isinstance(result[field], (int, float)) and math.isfinite(result[field]), f"{name}: {field}"
        for stage in STAGES:
            assert result["stages"][stage] >= 0, f"{name}: {stage} is {result['stages'][stage]}"
        assert result["runs"] == 1 and result["seed"] == 1 and result["tsc_hz"] > 1e8, result


@test
def json_of_session_setup_has_cost_and_rate():
    result, = objects("--scenario", "setup-64k", "--packets", "1", "--runs", "1")
    assert REQUIRED | {"cycles_per_session", "sessions_per_second"} <= result.keys(), result
    assert result["sessions"] == 65536 and result["cycles_per_session"] > 0, result


@test
def one_object_per_scenario_in_the_order_given():
    results = objects("--scenario", "out-1k", "--scenario", "out-1", "--packets", "1", "--runs", "1")
    assert [result["name"] for result in results] == ["out-1k", "out-1"], results


@test
def flood_of_one_workspace_loses_no_packet_of_the_others():
    result, = objects("--scenario", "synflood", "--packets", "50000", "--runs", "1")
    assert result["others_lost"] == 0 and result["flood_refused"] > 0, result


@test
def policies_are_swapped_under_load_without_a_loss():
    result, = objects("--scenario", "swap-10k", "--seconds", "1", "--runs", "2")
    assert result["sessions"] == 65536 and result["longest_batch_us"] > 0, result


sys.exit(claims.run())
