#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian package, without building it: what debian/ says fits what is built and installed. And manual pages.

Arguments: the build directory."""

import functools
import json
import os
import re
import subprocess
import sys

from sources import ROOT, claims, read, run, test

BUILD = sys.argv[1]
OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*")
NOT_TOLD = {"--help", "--version", "--vdev", "--in-memory", "--no-huge"}  # the last ones are of DPDK, as examples


@functools.lru_cache(maxsize=None)
def introspect(what):
    done = subprocess.run(["meson", "introspect", what, BUILD], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def installed():
    """Names of the files that `meson install` puts somewhere, and where."""
    return {os.path.basename(path): path for path in introspect("--installed").values()}


def programs():
    return {name for name, path in installed().items() if re.search(r"/s?bin/", path)}


def fields(paragraph):
    """{name: value} of one paragraph of debian/control."""
    found = re.findall(r"^([A-Z][A-Za-z-]*):((?:.*\n(?: .*\n)*))", paragraph + "\n", re.MULTILINE)
    return {name: value.strip() for name, value in found}


def names(dependencies):
    return {part.split()[0] for part in re.split(r"[,|]", dependencies) if part.strip() and "$" not in part}


def control():
    return [fields(paragraph) for paragraph in read("debian/control").split("\n\n")]


@test
def the_version_is_the_projects():
    version = re.match(r"postern \(([^)]+)\)", read("debian/changelog")).group(1)
    assert version.split("-")[0] == introspect("--projectinfo")["version"], version


@test
def what_the_build_needs_is_what_install_deps_installs():
    """But for what Debian's builders always have, and debhelper."""
    script = read("tools/install-deps")
    wanted = set(re.search(r"# build\n(.*?)\n\s*# lab and tests", script, re.DOTALL).group(1).split())
    got = names(control()[0]["Build-Depends"])
    helpers = {name for name in got if name.startswith(("debhelper", "dh-"))}
    without = {"libc6-dev", "llvm", "libclang-rt-14-dev", "openssl", "libcmocka-dev"}  # essential to build, or of the tests alone
    assert helpers and got - helpers == wanted - without, f"{sorted((got - helpers) ^ (wanted - without))}"


@test
def the_description_names_every_program():
    told = control()[1]["Description"]
    assert len(programs()) >= 4, programs()
    for name in programs():
        assert name in told, f"{name} is not in the description"


@test
def every_program_and_file_format_has_a_manual_page():
    pages = {name for name, path in installed().items() if "/man/" in path}
    for name in programs():
        assert name + ".1" in pages or name + ".8" in pages, f"{name} has none"
    assert {"postern.yaml.5", "postern-state.5", "postern-signature.5", "postern-api.7"} <= pages, pages
    assert pages == set(os.listdir(os.path.join(ROOT, "docs/man"))), "docs/man has others than are installed"


def options_of_page(page):
    """Of the heads in its section OPTIONS; all that are mentioned in a page without one."""
    text = page.replace("\\-", "-")
    section = text.partition("\n.SH OPTIONS\n")[2].partition("\n.SH ")[0]
    heads = "\n".join(re.findall(r"^\.TP\n(.*)", section, re.MULTILINE))
    return set(OPTION.findall(heads or text))


@test
def manual_pages_have_the_options_that_help_tells():
    for path, target in introspect("--installed").items():
        name = os.path.basename(target)
        if name not in programs():
            continue
        told = set(OPTION.findall(run(path, "--help").stdout)) - NOT_TOLD
        section = 8 if "/sbin/" in target else 1
        explained = options_of_page(read(f"docs/man/{name}.{section}"))
        assert told and told <= explained, f"{name}.{section} does not explain {sorted(told - explained)}"


@test
def files_that_are_named_exist():
    for name in ("postern.docs", "postern.examples", "postern.install"):
        for line in read("debian/" + name).splitlines():
            path = line.split()[0]
            if "*" not in path:
                assert os.path.exists(os.path.join(ROOT, path)), f"{name}: {path} is not there"
    examples = {os.path.basename(line) for line in read("debian/postern.examples").splitlines()}
    there = {name for name in os.listdir(os.path.join(ROOT, "configs")) if name.endswith((".yaml", ".conf"))}
    assert examples == there, f"{sorted(examples ^ there)}"


@test
def the_configuration_that_is_installed_says_nothing_until_it_is_edited():
    lines = read("debian/postern.yaml").splitlines()
    assert all(line.startswith("#") for line in lines) and lines
    path = os.path.join(BUILD, "debian-test.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(line[2:] for line in lines[lines.index("# version: 1"):]) + "\n")
    done = run(os.path.join(BUILD, "control/posternd"), "--config", path, "--check")
    os.unlink(path)
    assert done.returncode == 0, "uncommented it is not valid: " + done.stdout


if __name__ == "__main__":
    sys.exit(claims.run())
