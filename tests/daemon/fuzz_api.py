#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a fuzzer of posternd a fixed number of times with a fixed seed, and prints TAP.

usage: fuzz_api.py TARGET RUNS CORPUS_DIRECTORY CLAIM
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile


def main():
    target, runs, seeds, claim = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    print("TAP version 13\n1..1", flush=True)
    with tempfile.TemporaryDirectory(prefix="postern-fuzz-") as work:
        shutil.copytree(seeds, work + "/corpus")
        result = subprocess.run([target, "-runs=%d" % runs, "-seed=1", "-max_len=4096", "-timeout=20", "corpus"],
                                cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500, check=False)
        lines = result.stdout.decode(errors="replace").splitlines()
        good = result.returncode == 0 and any("Done %d runs" % runs in line for line in lines)
        for line in lines[-1:] if good else lines[-60:]:
            print("#", line)
        for crash in pathlib.Path(work).glob("*-*"):
            if crash.is_file():
                print("# input:", crash.read_bytes()[:4096])
        print("%s 1 - %s" % ("ok" if good else "not ok", claim))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
