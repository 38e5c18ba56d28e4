#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Applies deliberate one-line bugs to a copy of the tree, one at a time; each must be caught by a test. Prints TAP.

usage: run_mutants.py [--sample N] [--seed S] [--only NUMBER] [--all-tests] [--list] [--tree DIRECTORY]

  --sample N     only so many, drawn by lot (the seed is printed)
  --seed S       … by this seed
  --only NUMBER  only this one
  --all-tests    go on after the first test that catches it: which ones would?
  --list         print the mutants and end
  --tree         mutate this tree's NAT core (default: the tree that this script is part of)

A mutant in mutants.txt is a description, a file, a line as it stands (without its indentation) and what it becomes;
where the line stands there several times, `after:` names a line before it. The tests are those of tests/nat and
tests/sim, with short settings; one that fails without a mutant catches nothing and is left out.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SIM = ("world", "wire", "oracle", "oracle_policy", "oracle_session", "oracle_fragment", "oracle_bytes", "model",
       "traffic", "sim")
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-w", "-fno-strict-aliasing", "-I.", "-MMD"]
SIM_PACKETS = "120000"
TIMEOUT_S = 120


def mutants_read(path):
    """Blocks of `# description`, `file:`, `after:` (or not), `old:`, `new:`, with empty lines between them."""
    mutants, current = [], {}
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), ""], 1):
        if line.startswith("# "):
            current = {"what": line[2:], "at": number}
        elif line.strip() == "":
            if "new" in current:
                mutants.append(current)
            current = {}
        elif current:
            key, _, value = line.partition(":")
            if key not in ("file", "after", "old", "new"):
                raise SystemExit(f"mutants.txt:{number}: {key} is not known")
            current[key] = value.strip()
    return mutants


def mutant_apply(tree, mutant):
    """None, or why it can not be applied: then the list must follow the code."""
    path = tree / mutant["file"]
    if not path.exists():
        return f"{mutant['file']} is not there"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    start = 0
    if "after" in mutant:
        begins = [i for i, line in enumerate(lines) if line.strip() == mutant["after"]]
        if len(begins) != 1:
            return f"{mutant['after']!r} stands {len(begins)} times in {mutant['file']}"
        start = begins[0]
    found = [i for i, line in enumerate(lines) if i >= start and line.strip() == mutant["old"]]
    if not found or (len(found) > 1 and "after" not in mutant):
        return f"{mutant['old']!r} stands {len(found)} times in {mutant['file']}"
    indentation = lines[found[0]][:len(lines[found[0]]) - len(lines[found[0]].lstrip())]
    lines[found[0]] = f"{indentation}{mutant['new']}\n"
    path.write_text("".join(lines), encoding="utf-8")
    return None


class Builder:
    """Objects and tests of one copy of the tree."""

    def __init__(self, tree, objects):
        self.tree, self.objects = tree, objects
        self.core = sorted((tree / "dataplane/nat").glob("*.c"))
        self.tests = [path.stem for path in sorted((tree / "tests/nat").glob("test_*.c"))]

    def sources(self):
        sim = [self.tree / f"tests/sim/{name}.c" for name in (*SIM, "image", "simulator", "exhaustive", "sabotage")]
        return [*self.core, *sim, self.tree / "tests/nat/fixture.c",
                *(self.tree / f"tests/nat/{name}.c" for name in self.tests)]

    def object_of(self, source):
        return self.objects / (source.parent.name + "_" + source.stem + ".o")

    def compile(self, sources):
        def one(source):
            return subprocess.run(["gcc", *FLAGS, "-c", str(source.relative_to(self.tree)), "-o",
                                   str(self.object_of(source))], cwd=self.tree, capture_output=True, check=False)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            failed = [done for done in pool.map(one, sources) if done.returncode != 0]
        return failed[0].stderr.decode(errors="replace") if failed else None

    def depends_on(self, name):
        """The sources whose objects were made with that file."""
        needle = f" {name}"
        return [source for source in self.sources()
                if source.relative_to(self.tree).as_posix() == name
                or needle in self.object_of(source).with_suffix(".d").read_text(encoding="utf-8").replace("\\\n", " ")]

    def link(self, program, *own):
        core = [str(self.object_of(source)) for source in self.core]
        objects = [str(self.objects / f"{name}.o") for name in own]
        done = subprocess.run(["gcc", *objects, *core, "-lcmocka", "-lm", "-o", str(self.objects / program)],
                              capture_output=True, check=False)
        return done.stderr.decode(errors="replace") if done.returncode != 0 else None

    def programs(self):
        """(name, objects, arguments), the quickest first."""
        sim = [f"sim_{name}" for name in SIM]
        nat = [(name, [f"nat_{name}", "nat_fixture"], []) for name in self.tests]
        return [("sabotage", ["sim_sabotage", *sim], []), *nat,
                ("simulator", ["sim_simulator", *sim], ["--packets", SIM_PACKETS, "--seed", "7"]),
                ("exhaustive", ["sim_exhaustive", "sim_image", *sim], [])]

    def run(self, name, arguments):
        """None, or what failed."""
        try:
            done = subprocess.run([str(self.objects / name), *arguments], cwd=self.tree, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            return "does not end"
        lines = done.stdout.decode(errors="replace").splitlines()
        failed = [line.partition(" - ")[2] for line in lines if line.startswith("not ok")]
        if failed:
            return failed[0]
        return f"ended with {done.returncode}" if done.returncode != 0 else None


def caught_by(builder, usable, all_tests):
    caught = []
    for name, objects, arguments in builder.programs():
        if name not in usable:
            continue
        if builder.link(name, *objects):
            continue
        problem = builder.run(name, arguments)
        if problem:
            caught.append(f"{name}: {problem}")
            if not all_tests:
                break
    return caught


def tree_copy(source, target):
    for part in ("dataplane/nat", "dataplane/contract", "tests/nat"):
        shutil.copytree(source / part, target / part)
    shutil.copytree(HERE, target / "tests/sim", ignore=shutil.ignore_patterns("__pycache__"))


def baseline(builder):
    """Names of the tests that pass without a mutant."""
    problem = builder.compile(builder.sources())
    if problem:
        raise SystemExit(f"the tree does not compile:\n{problem}")
    usable = []
    for name, objects, arguments in builder.programs():
        if name == "exhaustive":
            builder.link(name, *objects)
            usable.append(name)  # it takes long, and its verdict is asked for last
            continue
        problem = builder.link(name, *objects) or builder.run(name, arguments)
        if problem:
            print(f"# {name} is left out: without a mutant it says: {problem}", flush=True)
        else:
            usable.append(name)
    return usable


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=0)
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tree", type=pathlib.Path, default=HERE.parent.parent)
    options = parser.parse_args()
    mutants = list(enumerate(mutants_read(HERE / "mutants.txt"), 1))
    if options.list:
        for number, mutant in mutants:
            print(f"{number:3} {mutant['file']}: {mutant['what']}")
        return 0
    seed = options.seed or random.randrange(1, 1 << 31)
    if options.only:
        mutants = [pair for pair in mutants if pair[0] == options.only]
    elif options.sample:
        mutants = sorted(random.Random(seed).sample(mutants, min(options.sample, len(mutants))))
    print(f"TAP version 13\n1..{len(mutants)}\n# seed {seed}", flush=True)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="postern-mutants-") as work:
        tree, objects = pathlib.Path(work) / "tree", pathlib.Path(work) / "objects"
        tree_copy(options.tree.resolve(), tree)
        objects.mkdir()
        builder = Builder(tree, objects)
        usable = baseline(builder)
        for number, mutant in mutants:
            path = tree / mutant["file"]
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            problem = mutant_apply(tree, mutant)
            affected = builder.depends_on(mutant["file"]) if problem is None else []
            if problem is None and builder.compile(affected):
                problem = "it does not compile"
            caught = caught_by(builder, usable, options.all_tests) if problem is None else []
            if before:
                path.write_text(before, encoding="utf-8")
                builder.compile(affected)
            survived += not caught
            verdict = "; ".join(caught) if caught else problem or "SURVIVED"
            print(f"{'ok' if caught else 'not ok'} {number} - {mutant['what']}\n#   {verdict}", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
