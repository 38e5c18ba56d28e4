# SPDX-License-Identifier: Apache-2.0
"""How the lab talks: progress lines with the time, tables, and a live view on a terminal."""

import sys
import time


class Narrator:
    """Lines like "[ 12.3 s] building"; the clock starts with the object."""

    def __init__(self):
        self.began = time.monotonic()

    def __call__(self, line):
        print(f"[{time.monotonic() - self.began:6.1f} s] {line}", flush=True)


def table(head, rows):
    """Columns as wide as their content, text for print()."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def live(render, pause_s):
    """Draws `render()` every `pause_s` seconds until an exception: in place on a terminal, else a line every 10 s."""
    terminal = sys.stdout.isatty()
    next_line = 0.0
    while True:
        if terminal:
            sys.stdout.write("\033[H\033[2J" + render() + "\n")
            sys.stdout.flush()
        elif time.monotonic() >= next_line:
            print(" | ".join(line.strip() for line in render().splitlines() if line.strip()), flush=True)
            next_line = time.monotonic() + 10
        time.sleep(pause_s)
