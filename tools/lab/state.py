# SPDX-License-Identifier: Apache-2.0
"""A lab's traces on the machine, written down so that they can be removed even after kill -9.

/run/postern-lab/<id>/
    lock        held (flock) for as long as the owner lives: a lab whose lock is free is a leftover
    journal     one JSON line per trace, written as it is made: {"netns"} or {"pid", "start_time", "program"}
    fs/         a tmpfs: run directories of the programs, with a bpffs in it
    log/        logs, unless the caller wants them elsewhere
"""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal

import system

BASE = "/run/postern-lab"


class State:
    """The owner's side: one directory, one lock, one journal."""

    def __init__(self, log_dir=None):
        with births_and_burials():
            while True:
                self.id = "pq" + secrets.token_hex(2)
                self.directory = os.path.join(BASE, self.id)
                try:
                    os.mkdir(self.directory)
                    break
                except FileExistsError:
                    continue
            self.lock = os.open(os.path.join(self.directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.journal = open(os.path.join(self.directory, "journal"), "a", encoding="ascii")
        self.log_dir = log_dir or os.path.join(self.directory, "log")
        os.makedirs(self.log_dir, exist_ok=True)
        self.fs = os.path.join(self.directory, "fs")
        system.mount("tmpfs", self.fs, "mode=0755,size=50%")

    def note(self, **trace):
        self.journal.write(json.dumps(trace) + "\n")
        self.journal.flush()

    def note_process(self, process):
        self.note(pid=process.pid, start_time=process.start_time, program=os.path.basename(process.argv[0]))

    def remove(self):
        """Everything this lab has left on the machine. Safe to call twice."""
        if self.lock is None:
            return
        self.journal.close()
        remove_traces(self.directory)
        os.close(self.lock)
        self.lock = None


@contextlib.contextmanager
def births_and_burials():
    """One at a time on this machine: so a lab without its lock held is dead, not being born."""
    os.makedirs(BASE, mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(BASE, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def remove_leftovers(tell=lambda line: None):
    """Removes what labs have left whose owner is dead. Labs that live are not touched."""
    with births_and_burials():
        for name in sorted(os.listdir(BASE)):
            directory = os.path.join(BASE, name)
            if not os.path.isdir(directory):
                continue
            lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                tell(f"removing what an earlier run, {name}, has left behind")
                remove_traces(directory)
            except BlockingIOError:
                pass
            finally:
                os.close(lock)


def remove_traces(directory):
    traces = read_journal(os.path.join(directory, "journal"))
    ours = [trace for trace in traces if "pid" in trace and is_still_the_same(trace)]
    for trace in ours:
        try:
            os.kill(trace["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass
    for trace in ours:
        # A zombie of ours is reaped by its Popen object; it holds no namespace any more.
        system.wait_for(
            f"the end of process {trace['pid']}", lambda trace=trace: system.process_state(trace["pid"]) in ("", "Z")
        )
    for trace in traces:
        if "netns" in trace and os.path.exists(f"/run/netns/{trace['netns']}"):
            system.run(["ip", "netns", "delete", trace["netns"]], check=False)
    for point in system.mounts_below(directory):
        system.unmount(point)
    shutil.rmtree(directory, ignore_errors=True)


def read_journal(path):
    """The traces; a last line cut short by a crash is left out."""
    traces = []
    try:
        with open(path, encoding="ascii", errors="replace") as journal:
            for line in journal:
                try:
                    traces.append(json.loads(line))
                except ValueError:
                    continue
    except FileNotFoundError:
        pass
    return traces


def is_still_the_same(trace):
    """Is the recorded pid still that very process, and not a later one that got its number?"""
    return system.start_time_ticks(trace["pid"]) == trace["start_time"] and trace["program"] in system.command_line(
        trace["pid"]
    )
