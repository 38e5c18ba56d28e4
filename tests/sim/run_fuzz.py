#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a libFuzzer target for a number of runs or of seconds, on fresh seeds or a kept corpus, and prints TAP; once a
minute, how far it is.

usage: run_fuzz.py CORPUS_PROGRAM KIND TARGET RUNS SECONDS CLAIM [KEPT_CORPUS]
"""
import collections
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

MAX_LEN = {"operations": 512}  # some 25 packets, and what happens between them; longer ones are the simulator's
# Edges that each target reaches at the least; seven tenths of what its fresh seeds reach by themselves. One whose bytes do
# not get to what it is for runs as fast and as green as ever: operations once reached 341, and sent no packet.
EDGES_MIN = {"packet": 500, "policy": 180, "adjacency": 36, "operations": 950, "sessions": 600}
PROGRESS_S = 60
KEPT_LINES = 400


def run(command, cwd, kind):
    """(exit code, the last lines)"""
    # What was freed is soon used again: memory that is always new costs more time than all else.
    environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=8"}
    lines = collections.deque(maxlen=KEPT_LINES)
    told = time.monotonic()
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            at = re.match(r"#(\d+)\t.*exec/s: (\d+)", line)
            if at and time.monotonic() >= told + PROGRESS_S:
                told = time.monotonic()
                print(f"# {kind}: {int(at[1]):,} executions so far, {int(at[2]):,}/s", flush=True)
    return process.returncode, list(lines)


def main():
    program, kind, target, runs, seconds, claim = sys.argv[1:7]
    seed = random.randrange(1, 1 << 31)
    print(f"TAP version 13\n1..1\n# seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="postern-fuzz-") as work:
        corpus = pathlib.Path(sys.argv[7] if len(sys.argv) > 7 else work) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        if not any(corpus.iterdir()):
            subprocess.run([program, kind, str(corpus)], check=True)
        seeds = len(list(corpus.iterdir()))
        command = [str(pathlib.Path(target).resolve()), f"-seed={seed}", f"-max_len={MAX_LEN.get(kind, 4096)}",
                   "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1", "-detect_leaks=0",
                   f"-max_total_time={seconds}",
                   # To weigh the inputs by how rare their features are costs operations a quarter of the time.
                   "-entropic=0", str(corpus.resolve())]
        # Leaks are looked for at the end, once, by the sanitizer itself.
        # Seeds are read first, and count: a bound on the runs is a bound on all of them.
        if int(runs) > 0:
            command.insert(1, f"-runs={runs}")
        code, lines = run(command, work, kind)
        executed = next((line.split()[-1] for line in lines if "number_of_executed_units" in line), "0")
        rate = next((line.split()[-1] for line in lines if "average_exec_per_sec" in line), "0")
        edges = next((int(at[1]) for line in reversed(lines) if (at := re.search(r"\bcov: (\d+)", line))), 0)
        far = edges >= EDGES_MIN.get(kind, 1)
        fine = code == 0 and far and int(executed) > seeds  # or it has done nothing but read them
        print(f"# {kind}: {executed} executions, {rate}/s, {len(list(corpus.iterdir()))} inputs in the corpus, {edges} edges")
        if not far:
            print(f"# {kind}: that is not what it is for: {EDGES_MIN.get(kind, 1)} edges at the least")
        for line in [] if fine else lines:
            print("#", line)
        for crash in [] if fine else pathlib.Path(work).glob("*-*"):
            if crash.is_file():
                print(f"# {crash.name}: {crash.read_bytes()[:4096].hex()}")
                if len(sys.argv) > 7:
                    (pathlib.Path(sys.argv[7]) / crash.name).write_bytes(crash.read_bytes())
        print(f"{'ok' if fine else 'not ok'} 1 - {claim}")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
