#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the fuzzers with clang: the NAT core and the simulator, with ASan, UBSan and coverage.

usage: build_fuzz.py CLANG SOURCE_ROOT OUTPUT_DIRECTORY DEPFILE
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys

TARGETS = ("packet", "policy", "adjacency", "operations", "sessions")
# Judges and players, not what is judged: the sanitizers' build runs them in the simulator, and here they would take most
# of the time.
PLAIN = ("oracle.c", "oracle_policy.c", "oracle_session.c", "oracle_ports.c", "oracle_limits.c", "oracle_end.c",
         "oracle_fragment.c", "oracle_bytes.c", "model.c", "traffic.c", "wire.c", "sim.c", "world.c")
# What they compare are numbers of their own, not the fuzzer's bytes: to tell it of each would take a quarter of the time.
UNCOMPARED = ("policy.c", "identity.c", "pairing.c", "session.c", "tally.c", "upkeep.c", "recover.c")
PROGRAMS = ("simulator.c", "exhaustive.c", "image.c", "sabotage.c", "fuzz_corpus.c")
SANITIZE = ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=all",
            "-fsanitize-coverage-ignorelist=tests/sim/fuzz_coverage.ignore",
            "-fsanitize-ignorelist=tests/sim/fuzz_plain.ignore"]
CACHE = ["ccache"] if shutil.which("ccache") else []
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-fno-strict-aliasing", "-fno-omit-frame-pointer"]


def run(argv, cwd):
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        sys.stdout.write(done.stdout.decode(errors="replace"))
        raise SystemExit(f"build_fuzz: {' '.join(argv)} failed")


def sanitizers(name):
    if name in PLAIN:
        return []
    return SANITIZE + (["-fno-sanitize-coverage=trace-cmp"] if name in UNCOMPARED else [])


def main():
    clang, root, output, depfile = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]
    output = output.resolve()
    objects = output / "fuzz_objects"
    objects.mkdir(parents=True, exist_ok=True)
    # The small limits stand before the root: they take the place of the contract's.
    includes = ["-Itests/sim/small", "-I."]
    sources = sorted((root / "dataplane/nat").glob("*.c"))
    sources += [root / "dataplane/ipc/sessions_file.c"]
    sources += [path for path in sorted((root / "tests/sim").glob("*.c")) if path.name not in PROGRAMS]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda path: run([*CACHE, clang, *FLAGS, *sanitizers(path.name), *includes, "-c",
                                        str(path.relative_to(root)), "-o", str(objects / (path.stem + ".o"))], root),
                      sources))
        common = [str(objects / (path.stem + ".o")) for path in sources if not path.stem.startswith("fuzz_")]
        list(pool.map(lambda name: run([clang, "-fsanitize=fuzzer,address,undefined", *common,
                                        str(objects / f"fuzz_{name}.o"), "-o", str(output / f"fuzz_{name}")], root),
                      TARGETS))
    headers = [*(root / "dataplane").glob("*/*.h"), *(root / "tests/sim").glob("**/*.h")]
    inputs = [str(path) for path in [*sources, *headers, *(root / "tests/sim").glob("*.ignore")]]
    pathlib.Path(depfile).write_text(f"fuzz_{TARGETS[0]}: {' '.join(inputs)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
