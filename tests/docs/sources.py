# SPDX-License-Identifier: Apache-2.0
"""What the scripts of this directory share: the tree's files, and points by the names of functions."""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lab"))

import tap  # noqa: E402 (the path is set above)

claims = tap.Claims()
test = claims.test


def read(path):
    """Of a file below the root of the tree, or anywhere if the path is absolute."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def run(*arguments):
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
