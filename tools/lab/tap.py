# SPDX-License-Identifier: Apache-2.0
"""The Test Anything Protocol, both ways: writing the points of a test script, and judging the output of any."""

import collections
import re
import sys
import time
import traceback

POINT = re.compile(r"^(not )?ok\b\s*\d*\s*-?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")

Judgement = collections.namedtuple("Judgement", "passed failed skipped complaints")


def judge(output, exit_code, timed_out=False):
    """Counts the points. A test that says too little (crash, timeout, missing points, none) is one failure more."""
    passed, failed, skipped, planned, complaints = 0, 0, 0, 0, []
    for line in output.splitlines():
        plan, point = PLAN.match(line), POINT.match(line)
        if plan:
            planned += int(plan[1])
        elif line.startswith("Bail out!"):
            complaints.append(line)
        elif point and re.search(r"#\s*skip\b", line, re.IGNORECASE):
            skipped += 1
        elif point and point[1]:
            failed += 1
        elif point:
            passed += 1
    total = passed + failed + skipped
    if timed_out:
        complaints.append("timed out")
    elif exit_code != 0 and failed == 0:
        complaints.append(f"ended with status {exit_code} and no failed point")
    if total == 0:
        complaints.append("made no point")
    elif total != planned:
        complaints.append(f"planned {planned} points and made {total}")
    return Judgement(passed, failed + bool(complaints), skipped, complaints)


class Points:
    """A test script's points, printed as they are made."""

    def __init__(self):
        self.count = 0
        self.failures = 0
        self.on_failure = lambda: None

    def point(self, claim, holds, *arguments):
        """Runs `holds(*arguments)` and returns its value; the claim fails with any exception."""
        began = time.monotonic()
        try:
            value = holds(*arguments)
        except Exception as error:  # whatever went wrong, the claim has not been shown
            self.fail(claim, error)
            return None
        self.count += 1
        print(f"ok {self.count} - {claim}\n#   {time.monotonic() - began:.2f} s", flush=True)
        return value

    def fail(self, claim, error):
        self.count += 1
        self.failures += 1
        print(f"not ok {self.count} - {claim}")
        for line in str(error).splitlines() or [type(error).__name__]:
            print(f"#   {line}")
        print("# " + "\n# ".join("".join(traceback.format_exception(error)).splitlines()[-8:]))
        self.on_failure()
        sys.stdout.flush()

    def finish(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failures or self.count == 0 else 0


class Skip(Exception):
    """Raised by a test that can not be run here; the text says why."""


class Claims:
    """A test script made of functions: each is a point that bears its function's name."""

    def __init__(self):
        self.functions = []

    def test(self, function):
        """The decorator."""
        self.functions.append(function)
        return function

    def run(self):
        """The script's exit code."""
        print(f"1..{len(self.functions)}", flush=True)
        failures = 0
        for number, function in enumerate(self.functions, 1):
            try:
                function()
                print(f"ok {number} - {function.__name__}", flush=True)
            except Skip as reason:
                print(f"ok {number} - {function.__name__} # SKIP {reason}", flush=True)
            except Exception as error:  # whatever went wrong, the claim has not been shown
                failures += 1
                print(f"not ok {number} - {function.__name__}")
                for line in f"{type(error).__name__}: {error}".splitlines():
                    print(f"# {line}", flush=True)
        return 1 if failures or not self.functions else 0
