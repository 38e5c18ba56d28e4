#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""systemd's units: it accepts them, finds them tight, and they start programs with options that these know.

Arguments: posternd, postern-dataplane, the unit files as built."""

import os
import re
import shutil
import sys
import tempfile

from sources import claims, read, run, tap, test

PROGRAMS = {os.path.basename(path): os.path.abspath(path) for path in sys.argv[1:3]}
UNITS = [os.path.abspath(path) for path in sys.argv[3:]]
SERVICES = [path for path in UNITS if path.endswith(".service")]
# Of 10, by `systemd-analyze security`: 10 is a service without any limit. posternd has CAP_SYS_ADMIN.
EXPOSURE_MAX = {"posternd.service": 3.0, "postern-dataplane.service": 3.0}


def analyze(arguments_of, paths):
    """On copies that start the programs as built, since the installed ones may not be there."""
    if not shutil.which("systemd-analyze"):
        raise tap.Skip("systemd-analyze is not installed")
    with tempfile.TemporaryDirectory(prefix="postern-units-") as directory:
        copies = []
        for path in UNITS:
            text = re.sub(r"^ExecStart=\S*/", "ExecStart=" + directory + "/", read(path), flags=re.MULTILINE)
            copies.append(os.path.join(directory, os.path.basename(path)))
            with open(copies[-1], "w", encoding="utf-8") as file:
                file.write(text)
        for name, path in PROGRAMS.items():
            os.symlink(path, os.path.join(directory, name))
        chosen = [copy for copy in copies if os.path.basename(copy) in map(os.path.basename, paths)]
        return [(copy, run("systemd-analyze", *arguments_of(os.path.basename(copy)), copy)) for copy in chosen]


@test
def systemd_accepts_the_units_without_a_warning():
    for name, done in analyze(lambda name: ["verify", "--man=no"], UNITS):
        assert done.returncode == 0 and not done.stdout.strip(), f"{name}: {done.stdout}"


@test
def systemd_finds_the_services_tight():
    for name, done in analyze(
        lambda name: ["security", "--offline=true", f"--threshold={int(EXPOSURE_MAX[name] * 10)}"], SERVICES
    ):
        assert done.returncode == 0, f"{name}: {done.stdout}"


@test
def programs_know_the_options_that_units_give_them():
    for path in SERVICES:
        words = re.search(r"^ExecStart=(.*)$", read(path), re.MULTILINE).group(1).split()
        words = [word for word in words if not word.startswith("$")]
        program = PROGRAMS[os.path.basename(words[0])]
        options = [word for word in words[1:] if word.startswith("-")]
        told = run(program, "--help").stdout
        assert options and all(option in told for option in options), f"{path}: {options} are not all in --help"
        done = run(program, *words[1:], "--version")
        assert done.returncode == 0, f"{path}: {words[1:]}: {done.stdout}"


def capabilities_in(path, array):
    """Those of a C array in a source."""
    source = read(path)
    return set(re.findall(r"CAP_[A-Z_]+", re.search(array + r"\[\] = \{([^}]*)\}", source).group(1)))


@test
def units_bound_what_the_programs_keep():
    """posternd also gives its socket to the group, before it gives up the right to."""
    wanted = {
        "posternd.service": capabilities_in("control/daemon.c", "kept") | {"CAP_CHOWN"},
        "postern-dataplane.service": capabilities_in("dataplane/main.c", "capabilities_needed"),
    }
    for path in SERVICES:
        bounded = set(re.search(r"^CapabilityBoundingSet=(.*)$", read(path), re.MULTILINE).group(1).split())
        name = os.path.basename(path)
        assert bounded == wanted[name], f"{name}: {sorted(bounded)}, the program keeps {sorted(wanted[name])}"


@test
def pins_are_on_a_mount_of_the_host():
    """A mount that a service makes in its own mount namespace would end with it, and the pins with it (P4)."""
    mount = next(path for path in UNITS if path.endswith(".mount"))
    where = re.search(r"^Where=(.*)$", read(mount), re.MULTILINE).group(1)
    posternd = read(next(path for path in SERVICES if path.endswith("posternd.service")))
    run_dir = re.search(r"--run-dir (\S+)", posternd).group(1)
    assert where == run_dir + "/bpf", f"{where} is not where posternd pins"
    assert f"\nRequiresMountsFor={where}\n" in posternd, "posternd does not wait for the mount"
    for path in SERVICES:
        text = read(path)
        assert "\nRuntimeDirectory=postern\n" in text and "\nRuntimeDirectoryPreserve=yes\n" in text, path
        assert f"--run-dir {run_dir} " in text and run_dir == "/run/postern", path


if __name__ == "__main__":
    sys.exit(claims.run())
