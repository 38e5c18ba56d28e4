# SPDX-License-Identifier: Apache-2.0
"""What the lab needs of the operating system: commands, processes that die with us, deadlines, namespaces' doors."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
UMOUNT_DETACH = 2


class LabError(Exception):
    """One sentence for the person at the terminal: what is wrong and what to do."""


def wait_for(what, condition, deadline_s=10.0, interval_s=0.02):
    """Polls `condition` until it is true (and returns its value); LabError naming `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"waited {deadline_s:g} s in vain for: {what}")
        time.sleep(interval_s)


def holds_for(condition, duration_s, interval_s=0.02):
    """True when `condition` stays true for the whole duration: for claims that something does NOT happen."""
    end = time.monotonic() + duration_s
    while time.monotonic() < end:
        if not condition():
            return False
        time.sleep(interval_s)
    return True


def percentile(values, part):
    """By nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else None


def run(argv, check=True, timeout_s=30, stdin=None):
    """Runs a command to its end. With `check`, a failure is a LabError with the command's own words."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, errors="replace")
    except FileNotFoundError:
        raise LabError(f"the program {argv[0]} is missing: run tools/install-deps") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"no end after {timeout_s} s: {' '.join(argv)}") from None
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip().replace("\n", " | ")
        raise LabError(f"exit code {done.returncode} of `{' '.join(argv)}`: {said}")
    return done


def start_time_ticks(pid):
    """When the process began, in clock ticks since boot: with the pid it names one process for ever. None: gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            return cmdline.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def process_state(pid):
    """The state letter of /proc/PID/stat, "" when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Process:
    """A long-running program of the lab. Dies with the lab (parent-death signal), in its own session, log in a file.

    Start it from the main thread: the kernel sends the parent-death signal when the *thread* that forked ends.
    """

    def __init__(self, label, argv, log_path, netns=None, environment=None):
        self.label = label
        self.argv = list(argv)
        self.log_path = log_path
        prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
        if netns:
            prefix += ["ip", "netns", "exec", netns]
        self.log = open(log_path, "ab")
        self.log_began = self.log.seek(0, os.SEEK_END)  # an earlier process may have written to the same file
        self.popen = subprocess.Popen(
            prefix + self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        self.pid = self.popen.pid
        self.start_time = start_time_ticks(self.pid)

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def kill(self):
        """As by `kill -9`; returns when the process is gone."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)
        self.log.close()

    def stop(self, deadline_s=5.0):
        """Asks politely, then kills. Returns the exit status (negative: the signal)."""
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
        self.log.close()
        return self.popen.returncode

    def log_text(self):
        """What this very process has said so far."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_began)
            return log.read().decode(errors="replace")

    def cpu_ms(self):
        """Processor time of its first thread so far: what a measurement on a busy machine is worth."""
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as schedstat:
            return int(schedstat.read().split()[0]) / 1e6

    def must_be_alive(self):
        if not self.alive():
            tail = "\n".join(self.log_text().splitlines()[-15:])
            raise LabError(f"{self.label} has ended with status {self.popen.returncode}. Its last words:\n{tail}")
        return True


@contextlib.contextmanager
def inside_netns(name):
    """The calling thread, alone, is in network namespace `name`: sockets made here stay there for their life."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        door = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            set_netns(door)
        finally:
            os.close(door)
        try:
            yield
        finally:
            set_netns(back)
    finally:
        os.close(back)


def set_netns(descriptor):
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}: are you root?")


def mount(kind, target, options=""):
    os.makedirs(target, exist_ok=True)
    if LIBC.mount(kind.encode(), target.encode(), kind.encode(), 0, options.encode() or None) != 0:
        raise LabError(f"can not mount {kind} on {target}: {os.strerror(ctypes.get_errno())}")


def mounts_below(directory):
    """Mount points at or under `directory`, deepest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mountinfo:
        for line in mountinfo:
            point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split()[4])
            if point == directory or point.startswith(directory + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


def unmount(target):
    return LIBC.umount2(target.encode(), UMOUNT_DETACH) == 0


def require_root():
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and loads BPF: run it as root (sudo)")
