#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Instructions per packet against the stored baseline.

    usage: instructions_test.py POSTERN_BENCH INSTRUCTIONS BASELINE
"""
import json
import shutil
import subprocess
import sys

BENCH, INSTRUCTIONS, BASELINE = sys.argv[1:4]
# A stage of a handful of instructions may change by one.
SLACK = 1.5


def worse(name, what, now, before, tolerance_percent):
    if now <= before * (1 + tolerance_percent / 100) + SLACK:
        return []
    if not before:
        return [f"{name}: {what} takes {now:.1f} instructions, none before"]
    return [f"{name}: {what} takes {now:.1f} instructions per packet, {before:.1f} before (+{(now / before - 1) * 100:.1f} %)"]


def compare(now, before, tolerance_percent):
    name = before["name"]
    found = worse(name, "the NAT", now["nat"], before["nat"], tolerance_percent)
    found += [f"{name}: {stage} is not in the baseline" for stage in now["stages"] if stage not in before["stages"]]
    for stage, count in before["stages"].items():
        if stage in now["stages"]:
            found += worse(name, stage, now["stages"][stage], count, tolerance_percent)
        else:
            found.append(f"{name}: {stage} is in the baseline, and is not counted any more")
    return found


def main():
    if shutil.which("valgrind") is None:
        print("1..0 # SKIP valgrind is not installed (apt install valgrind): instructions can not be counted")
        return 0
    with open(BASELINE, encoding="utf-8") as file:
        baseline = json.load(file)
    scenarios = baseline["scenarios"]
    print(f"1..{len(scenarios)}", flush=True)
    failed = 0
    for number, before in enumerate(scenarios, 1):
        run = subprocess.run([sys.executable, INSTRUCTIONS, "--bench", BENCH, "--json", "--packets",
                              str(baseline["packets"]), "--scenario", before["name"]],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        title = f"{before['name']}_takes_no_more_instructions_than_stored"
        found = [run.stderr.strip()] if run.returncode != 0 else \
            compare(json.loads(run.stdout), before, baseline["tolerance_percent"])
        if found:
            failed += 1
            found.append("if that is meant: tools/bench/instructions --update tests/bench/instructions.json, and say why")
        print(("not ok " if found else "ok ") + f"{number} - {title}", flush=True)
        for line in found:
            print("# " + line, flush=True)
    return failed != 0


sys.exit(main())
