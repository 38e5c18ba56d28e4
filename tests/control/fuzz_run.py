#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a libFuzzer target a fixed number of times with a fixed seed, on copies of the golden files, and prints TAP.

usage: fuzz_run.py TARGET RUNS CORPUS_DIRECTORY...
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main():
    target, runs, directories = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2]), sys.argv[3:]
    print("TAP version 13\n1..1", flush=True)
    # libFuzzer writes what it finds into its first directory, and crash files into its working directory.
    with tempfile.TemporaryDirectory(prefix="postern-fuzz-") as work:
        corpus = pathlib.Path(work) / "corpus"
        corpus.mkdir()
        for directory in directories:
            for path in pathlib.Path(directory).glob("*.yaml"):
                shutil.copy(path, corpus / path.name)
        result = subprocess.run(
            [target, f"-runs={runs}", "-seed=1", "-max_len=4096", "-timeout=20", "-print_final_stats=1", str(corpus)],
            cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)
        lines = result.stdout.decode(errors="replace").splitlines()
        executed = next((line for line in lines if "number_of_executed_units" in line), "")
        good = result.returncode == 0 and executed and int(executed.split()[-1]) >= runs
        for line in lines[-1:] if good else lines[-60:]:
            print("#", line)
        for crash in () if good else pathlib.Path(work).glob("*-*"):
            if crash.is_file():
                print("# input:", crash.read_bytes()[:4096])
        print(f"{'ok' if good else 'not ok'} 1 - any_bytes_as_a_configuration_are_harmless # {executed.strip()}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
