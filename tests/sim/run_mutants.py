#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Applies deliberate one-line bugs to a copy of the tree, one at a time; each must be caught by a test. Prints TAP.

usage: run_mutants.py [--sample N] [--only NUMBER] [--all-tests] [--list] [--tree DIRECTORY]

  --sample N     only so many, evenly spread over the list
  --only NUMBER  only this one
  --all-tests    go on after the first test that catches it: which ones would?
  --list         print the mutants and end
  --tree         mutate this tree's NAT core (default: the tree that this script is part of)

A mutant in mutants.txt is a description, a file, a piece of one line as it stands and what it becomes; where the piece
stands in several lines, `after:` names a line before it. The tests are those of tests/nat and tests/sim, with short
settings, those of tests/sim with the small limits of tests/sim/small; the quick ones come first, and those that are
named after the mutant's file. One that fails without a mutant catches nothing and is left out. A mutant whose piece of code is not found has
failed, too, in a sample or not: the list must follow the code.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SIM = ("world", "wire", "oracle", "oracle_policy", "oracle_session", "oracle_ports", "oracle_limits", "oracle_end",
       "oracle_fragment", "oracle_bytes", "model", "traffic", "sim")
NAT_FIXTURE = ("fixture", "draft")
COMPILER = ["ccache", "gcc"] if shutil.which("ccache") else ["gcc"]
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-w", "-fno-strict-aliasing", "-MMD"]
# The small limits stand before the root: they take the place of the contract's.
INCLUDES = {"small": ["-Itests/sim/small", "-I."], "full": ["-I."]}
SIM_PACKETS = ("60000", "750000")  # a quick look, and a thorough one
SIM_SEED = "7"
SLOW_TESTS = ("test_crash", "test_shards")
TIMEOUT_S = {"exhaustive": 900, "others": 60}
ENVIRONMENT = {**os.environ, "CRASH_ROUNDS": "10"}


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
        begins = [i for i, line in enumerate(lines) if mutant["after"] in line]
        if len(begins) != 1:
            return f"mutants.txt does not fit the code: {mutant['after']!r} stands {len(begins)} times " \
                   f"in {mutant['file']}"
        start = begins[0] + 1
    found = [i for i, line in enumerate(lines) if i >= start and mutant["old"] in line]
    if not found or (len(found) > 1 and "after" not in mutant):
        return f"mutants.txt does not fit the code: {mutant['old']!r} stands {len(found)} times in {mutant['file']}"
    lines[found[0]] = lines[found[0]].replace(mutant["old"], mutant["new"], 1)
    path.write_text("".join(lines), encoding="utf-8")
    return None


Program = collections.namedtuple("Program", "name limits sources arguments")
Unit = collections.namedtuple("Unit", "limits source")  # what is compiled to one object


class Builder:
    """Objects and tests of one copy of the tree; those of the mutant at hand lie in a folder of their own."""

    def __init__(self, tree, work):
        self.tree, self.clean, self.mutated = tree, work / "clean", work / "mutated"
        self.core = sorted((tree / "dataplane/nat").glob("*.c"))
        self.tests = [path.stem for path in sorted((tree / "tests/nat").glob("test_*.c"))]
        self.affected, self.made, self.sound = set(), set(), {}
        self.clean.mkdir()

    def units(self):
        """All that the programs are made of."""
        return {Unit(program.limits, source) for program in self.programs("") for source in self.sources_of(program)}

    def sources_of(self, program):
        return [*program.sources, *self.core]

    @staticmethod
    def object_of(folder, unit):
        return folder / f"{unit.limits}_{unit.source.parent.name}_{unit.source.stem}.o"

    def compile(self, folder, units):
        """None, or what the compiler says."""
        def one(unit):
            return subprocess.run([*COMPILER, *FLAGS, *INCLUDES[unit.limits], "-c",
                                   str(unit.source.relative_to(self.tree)), "-o", str(self.object_of(folder, unit))],
                                  cwd=self.tree, capture_output=True, check=False)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            failed = [done for done in pool.map(one, units) if done.returncode != 0]
        return failed[0].stderr.decode(errors="replace") if failed else None

    def mutate(self, name):
        """From here on, what was made with that file is made anew when it is needed."""
        shutil.rmtree(self.mutated, ignore_errors=True)
        self.mutated.mkdir()
        self.made = set()
        self.affected = {unit for unit in self.units() if unit.source.relative_to(self.tree).as_posix() == name
                         or f" {name}" in self.object_of(self.clean, unit).with_suffix(".d")
                         .read_text(encoding="utf-8").replace("\\\n", " ")}

    def run(self, program, clean):
        """None, or what is wrong. `clean`: without the mutant."""
        units = [Unit(program.limits, source) for source in self.sources_of(program)]
        needed = [] if clean else [unit for unit in units if unit in self.affected - self.made]
        problem = self.compile(self.mutated, needed)
        if problem:
            return f"does not compile: {problem.splitlines()[0]}"
        self.made.update(needed)
        objects = [str(self.object_of(self.mutated if not clean and unit in self.affected else self.clean, unit))
                   for unit in units]
        binary = (self.clean if clean else self.mutated) / "program"
        done = subprocess.run(["gcc", *objects, "-lcmocka", "-lm", "-o", str(binary)], capture_output=True,
                              check=False)
        if done.returncode != 0:
            return f"does not link: {done.stderr.decode(errors='replace')[-300:]}"
        try:
            done = subprocess.run([str(binary), *program.arguments], cwd=self.tree, stdout=subprocess.PIPE,
                                  env=ENVIRONMENT, stderr=subprocess.STDOUT, check=False,
                                  timeout=TIMEOUT_S.get(program.name, TIMEOUT_S["others"]))
        except subprocess.TimeoutExpired:
            return "does not end"
        lines = done.stdout.decode(errors="replace").splitlines()
        failed = [line.partition(" - ")[2] for line in lines if line.startswith("not ok")]
        if failed:
            return failed[0]
        return f"ended with {done.returncode}" if done.returncode != 0 else None

    def is_sound(self, program):
        """Does it pass without a mutant? Asked when it has caught one."""
        key = (program.name, program.limits, *program.arguments)
        if key not in self.sound:
            problem = self.run(program, True)
            self.sound[key] = problem is None
            if problem:
                print(f"# {program.name} is left out: without a mutant it says: {problem}", flush=True)
        return self.sound[key]

    def programs(self, name):
        """What may catch a mutant of the file of that name; the quickest and the likeliest first."""
        def of(part, *names):
            return [self.tree / f"tests/{part}/{name}.c" for name in names]

        def simulator(limits, packets):
            return Program("simulator", limits, of("sim", "simulator", *SIM), ["--packets", packets, "--seed", SIM_SEED])
        topic = pathlib.PurePath(name).stem.rstrip("s")
        tests = [Program(test, "small" if test == "test_crash" else "full", of("nat", test, *NAT_FIXTURE), []) for test in
                 sorted(self.tests, key=lambda test: (topic not in test, test in SLOW_TESTS, test))]
        near = sum(topic in test.name for test in tests)
        return [Program("sabotage", "small", of("sim", "sabotage", *SIM), []), simulator("small", SIM_PACKETS[0]),
                *tests[:near], simulator("small", SIM_PACKETS[1]), *tests[near:], simulator("full", SIM_PACKETS[0]),
                Program("exhaustive", "small", of("sim", "exhaustive", "image", *SIM), [])]


def caught_by(builder, mutant, all_tests):
    builder.mutate(mutant["file"])
    caught = []
    for program in builder.programs(mutant["file"]):
        problem = builder.run(program, False)
        if problem and problem.startswith("does not compile"):
            return [], problem
        if problem and builder.is_sound(program):
            caught.append(f"{program.name}: {problem}")
            if not all_tests:
                break
    return caught, None


def tree_copy(source, target):
    for part in ("dataplane/nat", "dataplane/contract", "tests/nat"):
        shutil.copytree(source / part, target / part)
    shutil.copytree(HERE, target / "tests/sim", ignore=shutil.ignore_patterns("__pycache__"))


def fits(tree, mutant):
    path = tree / mutant["file"]
    before = path.read_text(encoding="utf-8") if path.exists() else None
    problem = mutant_apply(tree, mutant)
    if before is not None:
        path.write_text(before, encoding="utf-8")
    return problem is None


def report(good, point, claim, *remarks):
    print(f"{'ok' if good else 'not ok'} {point} - {claim}", *(f"#   {remark}" for remark in remarks), sep="\n", flush=True)


def every_mutant_fits(tree, mutants):
    """All of them, also those that are not in a sample: one that no longer fits would only be found by a whole run."""
    misfits = [f"{number}: {mutant['what']}" for number, mutant in mutants if not fits(tree, mutant)]
    report(not misfits, 1, f"all {len(mutants)} mutants fit the code", *misfits)
    return not misfits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--all-tests", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--tree", type=pathlib.Path, default=HERE.parent.parent)
    options = parser.parse_args()
    mutants = list(enumerate(mutants_read(HERE / "mutants.txt"), 1))
    if options.only is not None and not 1 <= options.only <= len(mutants):
        parser.error(f"--only {options.only}: there are {len(mutants)} mutants, from 1 on")
    if options.list:
        for number, mutant in mutants:
            print(f"{number:3} {mutant['file']}: {mutant['what']}")
        return 0
    print("TAP version 13", flush=True)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="postern-mutants-") as work:
        tree = pathlib.Path(work) / "tree"
        tree_copy(options.tree.resolve(), tree)
        listed = mutants
        if options.only is not None:
            mutants = [pair for pair in mutants if pair[0] == options.only]
        elif options.sample:
            count = min(options.sample, len(listed))
            mutants = [listed[i * len(listed) // count] for i in range(count)]
        print(f"1..{1 + len(mutants)}", flush=True)
        all_fit = every_mutant_fits(tree, listed)
        builder = Builder(tree, pathlib.Path(work))
        problem = builder.compile(builder.clean, builder.units())
        if problem:
            raise SystemExit(f"the tree does not compile:\n{problem}")
        for point, (number, mutant) in enumerate(mutants, 2):
            began = time.monotonic()
            path = tree / mutant["file"]
            before = path.read_text(encoding="utf-8") if path.exists() else None
            problem = mutant_apply(tree, mutant)
            caught = []
            if problem is None:
                caught, problem = caught_by(builder, mutant, options.all_tests)
            if before is not None:
                path.write_text(before, encoding="utf-8")
            survived += not caught
            verdict = "caught by " + "; ".join(caught) if caught else problem or "SURVIVED: no test notices"
            verdict += f" ({time.monotonic() - began:.0f} s)"
            report(caught, point, f"{number}: {mutant['what']}", verdict)
    print(f"# {len(mutants) - survived} of {len(mutants)} mutants caught")
    return 0 if all_fit and not survived else 1


if __name__ == "__main__":
    sys.exit(main())
