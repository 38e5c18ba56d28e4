#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pages say what the sources say: drop reasons, metrics, tests and files that are named, commands, alerts.

Argument: the program postern."""

import fnmatch
import glob
import os
import re
import sys

from sources import ROOT, claims, read, run, test

PAGES = ["README.md", "docs/architecture.md", "docs/nat.md", "docs/operations.md", "docs/performance.md", "docs/conformance.md"]
POSTERN = sys.argv[1]


def equal(got, wanted, what):
    assert wanted, f"{what}: nothing was found there"
    assert got == wanted, f"{what}: too much {sorted(set(got) - set(wanted))}, missing {sorted(set(wanted) - set(got))}"


def x_macro(path, name):
    """[(label, text)] of a list X(NAME, "label", "text") in a header."""
    body = read(path).partition(f"#define {name}(X)")[2].partition("\n\n")[0].replace("\\\n", "")
    return re.findall(r'X\(\w+,\s*"([^"]*)",\s*"([^"]*)"\)', body)


def table(page, heading):
    """The rows of the first table under a heading, without its head, as lists of cells."""
    rows = []
    for line in read(page).partition(f"\n{heading}\n")[2].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    assert len(rows) > 2, f"{page}: there is no table under {heading}"
    return rows[2:]


def reasons(heading):
    return [(row[0].strip("`"), row[1]) for row in table("docs/operations.md", heading)]


@test
def every_drop_reason_of_the_dataplane_is_explained():
    wanted = [pair for pair in x_macro("dataplane/contract/drop_reasons.h", "DROP_REASONS") if pair[0] != "none"]
    equal(reasons("### Drop reasons of the dataplane"), wanted, "drop_reasons.h")


@test
def every_drop_reason_of_the_classifier_is_explained():
    equal(reasons("### Drop reasons of the classifier"), x_macro("bpf/maps.h", "WORKER_DROPS"), "bpf/maps.h")


@test
def every_action_of_the_steering_program_is_explained():
    equal(reasons("### What the steering program does"), x_macro("bpf/maps.h", "STEER_COUNTERS"), "bpf/maps.h")


def metrics():
    sources = read("control/metrics.c") + read("control/metrics_workers.c")
    return {
        name
        for name in re.findall(r'"((?:postern|process)_[a-z_]+)"', sources)
        if not re.search(r"_seconds_(bucket|sum|count)$", name)
    }


@test
def every_metric_is_explained():
    equal({row[0].strip("`") for row in table("docs/operations.md", "## Metrics")}, metrics(), "control/metrics.c")


@test
def alerts_use_metrics_that_exist():
    used = set(re.findall(r"\b(postern_[a-z_]+)\b", "\n".join(re.findall(r"expr: (.*(?:\n {12}.*)*)", read("configs/alerts.yaml")))))
    assert used and used <= metrics(), f"no such metric: {sorted(used - metrics())}"


def promtool(*arguments):
    done = run("promtool", *arguments)
    assert done.returncode == 0, done.stdout


@test
def promtool_accepts_the_alerts():
    promtool("check", "rules", os.path.join(ROOT, "configs/alerts.yaml"))


@test
def alerts_fire_when_they_should_and_for_whom():
    promtool("test", "rules", os.path.join(ROOT, "tests/docs/alerts_test.yaml"))


@test
def links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(page)):
            path = os.path.normpath(os.path.join(ROOT, os.path.dirname(page), target))
            assert os.path.exists(path), f"{page}: {target} is not there"


@test
def files_that_are_named_exist():
    named = re.compile(r"`((?:dataplane|control|bpf|tools|tests|configs|docs)/[A-Za-z0-9_./-]+)`")
    for page in PAGES:
        for path in named.findall(read(page)):
            assert os.path.exists(os.path.join(ROOT, path)), f"{page}: {path} is not there"


@test
def every_source_file_has_its_place_in_the_architecture():
    section = read("docs/architecture.md").partition("\n## Where what is\n")[2].partition("\n## ")[0]
    tables = dict(re.findall(r"^\| in `([a-z]+)/` \| files \|\n((?:\|.*\n)+)", section, re.MULTILINE))
    for folder in ("control", "dataplane", "bpf"):
        paths = glob.glob(os.path.join(ROOT, folder, "**/*.[ch]"), recursive=True)
        stems = {os.path.basename(path).split(".")[0] for path in paths}
        named = set(re.findall(r"`([a-z_*]+)`", tables[folder])) - {"postern"}
        missing = [stem for stem in stems if not any(fnmatch.fnmatch(stem, name) for name in named)]
        gone = [name for name in named if not any(fnmatch.fnmatch(stem, name) for stem in stems)]
        assert stems and not missing and not gone, f"{folder}: missing {sorted(missing)}, gone {sorted(gone)}"


@test
def tests_that_are_named_exist():
    sources = "".join(read(os.path.relpath(path, ROOT)) for path in glob.glob(os.path.join(ROOT, "tests/**/*.c"), recursive=True))
    known = set(re.findall(r"^static void ([a-z0-9_]+)\(\s*void \*\*state\)$", sources, re.MULTILINE))
    scripts = "".join(read(os.path.relpath(path, ROOT)) for path in glob.glob(os.path.join(ROOT, "tests/**/*.py"), recursive=True))
    known |= set(re.findall(r"^@test\ndef ([a-z0-9_]+)\(", scripts, re.MULTILINE))
    for row in table("docs/nat.md", "## Changes of the policy, and live sessions"):
        for name in re.findall(r"`([a-z0-9_]+)`", row[-1]):
            assert name in known, f"docs/nat.md: there is no test {name}"


def usages():
    """{command: what `postern help` prints of its operands and options}"""
    found = {}
    for line in run(POSTERN, "help").stdout.splitlines():
        match = re.match(r"  ([a-z]+)\b(.*)", line)
        if match:
            found[match[1]] = found.get(match[1], "") + match[2]
    return found


@test
def commands_that_are_named_exist_with_their_options():
    known, checked = usages(), 0
    for page in ("README.md", "docs/operations.md", "docs/nat.md", "docs/architecture.md"):
        text = read(page)
        named = re.findall(r"`(?:sudo )?postern ([a-z]+)([^`]*)`", text)
        for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            named += re.findall(r"(?:^|&& )(?:sudo )?postern ([a-z]+)([^&\n]*)", block, re.MULTILINE)
        for command, rest in named:
            assert command in known, f"{page}: there is no command postern {command}"
            for option in re.findall(r"--[a-z-]+", rest):
                assert option in known[command] or option in ("--help", "--run-dir"), f"{page}: postern {command} has no {option}"
            checked += 1
    assert checked > 20, f"only {checked} were found"


@test
def defaults_that_are_named_are_those_of_the_field_table():
    fields = read("docs/configuration.md")
    for page, heading in (("README.md", "## What the NAT does"), ("docs/nat.md", "## Timers")):
        checked = 0
        for row in table(page, heading):
            for key, default in re.findall(r"`(?:[a-z_]+\.)?([a-z_]+): ([a-z0-9-]+)`", " ".join(row)):
                found = re.findall(rf"^\| `{key}` \| `([^`]*)` \|", fields, re.MULTILINE)
                assert default in found, f"{page}: {key} is {found} by default, not {default}"
                checked += 1
        assert checked > 0, f"{page}: no default under {heading}"


if __name__ == "__main__":
    sys.exit(claims.run())
