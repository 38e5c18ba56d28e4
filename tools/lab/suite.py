# SPDX-License-Identifier: Apache-2.0
"""Every test of the project, counted point by point. Run it by tools/test."""

import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import state
import system
import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETNS_TIMEOUT_S = 300
MESON_TIMEOUT_S = 1500
BUILD_TIMEOUT_S = 1200
TAIL_LINES = 60
# Those that bring the most unfriendly input; the others would only be slower.
SANITIZED_SCRIPTS = ("cli.py", "inputs.py", "isolation.py", "protocols.py", "reload.py")
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:abort_on_error=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
}


class Ended(BaseException):
    """SIGINT, SIGTERM or SIGHUP."""


def end(number, frame):
    raise Ended


def spawn(argv, environment):
    """In a session of its own, which ends with the thread that has begun it: also when this runner is killed outright."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", "--", *argv],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )


class Builds:
    """Builds one after the other on what the tests leave of the processors: many of these wait most of the time."""

    def __init__(self):
        self.wanted = []  # (name, argv, environment)
        self.done = {}  # by name: (output, good, seconds)
        self.child = None
        self.stopped = self.waited_for = False
        self.thread = None

    def start(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for name, argv, environment in self.wanted:
            began = time.monotonic()
            self.child = spawn(["nice", "-n", "19", *argv], environment)
            self.weigh()
            output, _ = self.child.communicate()
            self.done[name] = (output, self.child.returncode == 0, time.monotonic() - began)
            if self.stopped:
                return

    def weigh(self):
        """Where the kernel shares by session, `nice` says nothing to other sessions: the session has to be told."""
        try:
            with open(f"/proc/{self.child.pid}/autogroup", "w", encoding="ascii") as autogroup:
                autogroup.write("0" if self.waited_for else "19")
        except OSError:
            pass  # it does not, or the build is over

    def wait(self, name, timeout_s):
        """(output, good, seconds); after that time it is ended, and those behind it are not begun."""
        end = time.monotonic() + timeout_s
        self.waited_for = True
        if self.child is not None:
            self.weigh()
        while name not in self.done and self.thread.is_alive() and time.monotonic() < end:
            self.thread.join(0.2)
        if name not in self.done:
            self.stop()
        return self.done.get(name, ("it was not built in time", False, timeout_s))

    def stop(self):
        self.stopped = True
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)


class Suite:
    def __init__(self, build_dir, name_filter):
        self.build_dir = build_dir
        self.filter = name_filter
        self.log_dir = os.path.join(build_dir, "test-logs")
        shutil.rmtree(self.log_dir, ignore_errors=True)
        os.makedirs(self.log_dir)
        self.passed = self.failed = self.skipped = 0
        self.child = None
        self.builds = Builds()

    def wanted(self, name):
        return self.filter is None or self.filter in name

    def execute(self, argv, timeout_s, environment=None):
        """(output, exit code, timed out). After a timeout it may clean up first."""
        self.child = spawn(argv, environment)
        try:
            output, _ = self.child.communicate(timeout=timeout_s)
            return output, self.child.returncode, False
        except subprocess.TimeoutExpired:
            return self.end_child() or "", self.child.returncode, True
        finally:
            self.end_child()
            self.child = None

    def end_child(self):
        if self.child.poll() is not None:
            return None
        os.killpg(self.child.pid, signal.SIGTERM)
        try:
            return self.child.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            return self.child.communicate()[0]

    def record(self, name, judgement, output, seconds):
        self.passed += judgement.passed
        self.failed += judgement.failed
        self.skipped += judgement.skipped
        log_path = os.path.join(self.log_dir, name.replace("/", "_").replace(" ", "_") + ".log")
        with open(log_path, "w", encoding="utf-8") as log:
            log.write(output)
        verdict = "ok    " if judgement.failed == 0 else "FAILED"
        skipped = f", {judgement.skipped} skipped" if judgement.skipped else ""
        print(
            f"{verdict} {judgement.passed:4} passed, {judgement.failed} failed{skipped}  {seconds:6.1f} s  {name}",
            flush=True,
        )
        if judgement.failed:
            for complaint in judgement.complaints:
                print(f"       {complaint}")
            points = [line for line in output.splitlines() if line.startswith("not ok")]
            for line in points + ["..."] + output.splitlines()[-TAIL_LINES:]:
                print(f"       | {line}")
            print(f"       the whole log: {log_path}", flush=True)

    def build(self, name, directory, environment, *options):
        """Builds; that is one point. False when it failed."""
        began = time.monotonic()
        output, code, timed_out = self.execute(
            [os.path.join(ROOT, "tools/lab/build"), "--tests", directory, *options], BUILD_TIMEOUT_S, environment
        )
        return self.record_build(name, output, code == 0 and not timed_out, time.monotonic() - began)

    def record_build(self, name, output, good, seconds):
        self.record(f"build {name}", tap.Judgement(int(good), int(not good), 0, []), output, seconds)
        return good

    def build_beside(self, name, directory, environment, *options):
        """To be built beside the tests, once builds.start() is called."""
        self.builds.wanted.append(
            (name, [os.path.join(ROOT, "tools/lab/build"), "--tests", directory, *options], environment)
        )

    def built_beside(self, name):
        """Waits; that is one point. False when it failed."""
        return self.record_build(name, *self.builds.wait(name, BUILD_TIMEOUT_S))

    def meson(self, name, directory, environment=None):
        """All of meson's tests in one build directory."""
        listing, _, _ = self.execute(["meson", "introspect", "--tests", directory], 60)
        tests = [test["name"] for test in json.loads(listing) if self.wanted(f"{name} {test['name']}")]
        if not tests:
            return
        journal = os.path.join(directory, "meson-logs", "testlog.json")
        if os.path.exists(journal):
            os.unlink(journal)
        output, _, timed_out = self.execute(
            ["meson", "test", "-C", directory, "--no-rebuild", *(tests if self.filter else [])],
            MESON_TIMEOUT_S,
            environment,
        )
        seen = 0
        if os.path.exists(journal):
            with open(journal, encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    seen += self.record_meson(name, json.loads(line))
        if timed_out or seen < len(tests):
            complaint = f"meson ran {seen} of {len(tests)} tests" + (", then timed out" if timed_out else "")
            self.record(f"{name} meson", tap.Judgement(0, 1, 0, [complaint]), output, 0)

    def record_meson(self, name, result):
        output = result.get("stdout", "")
        judgement = tap.judge(output, result["returncode"], result["result"] == "TIMEOUT")
        self.record(f"{name} {result['name']}", judgement, output + result.get("stderr", ""), result["duration"])
        return 1

    def netns(self, name, build_dir, only=None, environment=None):
        """The end-to-end scripts (`only` these), one by one: each wants the machine for itself."""
        for path in sorted(glob.glob(os.path.join(ROOT, "tests/netns/*.py"))):
            script = os.path.basename(path)
            if not os.access(path, os.X_OK) or (only and script not in only) or not self.wanted(f"{name} {script}"):
                continue
            began = time.monotonic()
            log_dir = os.path.join(self.log_dir, f"{name}-{script[:-3]}")
            output, code, timed_out = self.execute(
                [sys.executable, "-B", path, build_dir],
                NETNS_TIMEOUT_S,
                {"POSTERN_TEST_LOGS": log_dir, **(environment or {})},
            )
            self.record(f"{name} {script}", tap.judge(output, code, timed_out), output, time.monotonic() - began)


def arguments():
    parser = argparse.ArgumentParser(prog="tools/test")
    parser.add_argument("--build-dir", required=True)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--filter")
    return parser.parse_args()


def run(suite, options):
    gcc, clang, sanitized = (options.build_dir + suffix for suffix in ("", "-clang", "-asan"))
    if not suite.build("gcc", gcc, {"CC": "gcc"}, "-Dwerror=true"):
        return
    if not options.fast:
        # Of clang only its warnings are wanted, and its fuzzers have been built.
        suite.build_beside(
            "clang", clang, {"CC": "clang"}, "-Dwerror=true", "-Dfuzzers=disabled", "-Doptimization=0", "-Ddebug=false"
        )
        suite.build_beside(
            "sanitizers",
            sanitized,
            {"CC": "gcc"},
            "-Db_sanitize=address,undefined",
            "-Dbuildtype=debugoptimized",
            "-Doptimization=1",  # built a third faster
            "-Dwerror=true",
            "-Dfuzzers=disabled",
        )
        suite.builds.start()
    suite.meson("unit", gcc)
    suite.netns("netns", gcc)
    if options.fast:
        return
    suite.built_beside("clang")
    if suite.built_beside("sanitizers"):
        suite.meson("sanitizers", sanitized, SANITIZERS)
        suite.netns("sanitizers", sanitized, SANITIZED_SCRIPTS, SANITIZERS)


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    began = time.monotonic()
    suite = Suite(os.path.abspath(options.build_dir), options.filter)
    options.build_dir = suite.build_dir
    try:
        system.require_root()
        state.remove_leftovers(print)
        run(suite, options)
    except Ended:
        state.remove_leftovers(print)
        print("\ntests interrupted", file=sys.stderr)
        return 130
    except system.LabError as error:
        print(f"tools/test: {error}", file=sys.stderr)
        suite.failed += 1
    finally:
        suite.builds.stop()
    sys.stderr.flush()
    if suite.skipped:
        print(f"{suite.skipped} points skipped")
    print(f"logs: {suite.log_dir}; {time.monotonic() - began:.0f} s")
    print(f"{suite.passed} passed, {suite.failed} failed", flush=True)
    return 0 if suite.failed == 0 and suite.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
