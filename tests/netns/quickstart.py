#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/quickstart itself: its report, its end by Ctrl-C, and what comes after kill -9 of it or of any part.

Started without the shell around it, which would build: the build is there already.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile

import harness  # first: it sets the path
import state
import system
import tap
from harness import expect

QUICKSTART = os.path.join(harness.ROOT, "tools", "lab", "quickstart.py")
DEADLINE_S = 60


class Run:
    """One quickstart, with what it prints."""

    def __init__(self, *options):
        handle, self.log_path = tempfile.mkstemp(suffix=".log", dir=harness.log_directory("quickstart"))
        os.close(handle)
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "INT",
                    "--",
                    sys.executable,
                    "-B",
                    QUICKSTART,
                    "--build-dir",
                    sys.argv[1],
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def id(self):
        match = re.search(r"lab (pq[0-9a-f]+) is laid out", self.text())
        return match and match[1]

    def wait_live(self):
        system.wait_for(
            "quickstart's live view", lambda: "Ctrl-C" in self.text() or self.popen.poll() is not None, DEADLINE_S
        )
        expect(self.popen.poll() is None, f"it has ended with {self.popen.returncode}:\n{self.text()}")

    def end(self, number):
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_S)


def traces(lab_id):
    left = [name for name in os.listdir("/run/netns") if name.startswith(f"{lab_id}-")]
    return left + system.mounts_below(os.path.join(state.BASE, lab_id))


def once():
    run = Run("--once")
    code = run.popen.wait(DEADLINE_S)
    text = run.text()
    expect(code == 0, f"exit code {code}:\n{text}")
    for needed in ("203.0.113.10", "203.0.113.20", "DNS query (UDP)", "ping (ICMP)", "64 MiB, SHA-256 (TCP)"):
        expect(needed in text, f"the report lacks {needed}:\n{text}")
    expect("NOT OK" not in text, text)
    expect(not traces(run.id()), f"left: {traces(run.id())}")


def interrupted():
    run = Run()
    run.wait_live()
    metrics = re.search(r"http://127\.0\.0\.1:\d+/metrics", run.text())[0]
    page = system.run(["curl", "-sS", "-m", "5", metrics]).stdout
    expect("postern_build_info" in page, f"{metrics} answers: {page[:200]}")
    code = run.end(signal.SIGINT)
    expect(code == 0, f"exit code {code}:\n{run.text()}")
    expect(not traces(run.id()), f"left: {traces(run.id())}")


def killed():
    """kill -9 leaves namespaces behind; the next run removes them, and no other lab's."""
    neighbour = Run()
    neighbour.wait_live()
    run = Run()
    run.wait_live()
    run.end(signal.SIGKILL)
    expect(traces(run.id()), "kill -9 left nothing, so this proves nothing")
    once()
    expect(not traces(run.id()), f"the next run did not remove: {traces(run.id())}")
    expect(traces(neighbour.id()) and neighbour.popen.poll() is None, "the next run has removed a lab that lived")
    expect(neighbour.end(signal.SIGINT) == 0, "the neighbour did not end well")


def part_killed(program):
    """kill -9 of one part in the live view: Ctrl-C still cleans up, and the next run works."""
    run = Run()
    run.wait_live()
    journal = state.read_journal(os.path.join(state.BASE, run.id(), "journal"))
    parts = [one for one in journal if one.get("program") == program]
    expect(parts, f"no {program} in the journal")
    os.kill(parts[0]["pid"], signal.SIGKILL)
    run.end(signal.SIGINT)
    expect(not traces(run.id()), f"left: {traces(run.id())}")


def main():
    points = tap.Points()
    system.require_root()
    points.point("quickstart --once exits 0, reports every check and leaves nothing", once)
    points.point("Ctrl-C in the live view exits 0 and leaves nothing; the printed metrics address answers", interrupted)
    points.point("after kill -9 the next run removes what was left, and only that", killed)
    for program in ("postern-dataplane", "posternd", "nginx"):
        points.point(f"Ctrl-C cleans up also after kill -9 of {program}", part_killed, program)
    points.point("and then it works again", once)
    sys.exit(points.finish())


if __name__ == "__main__":
    main()
