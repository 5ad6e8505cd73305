#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The shape of the house, in figures: lines, files, functions. For people; no test asserts them.

    tests/lint/figures.py            a line for each folder, and all of them together"""

import pathlib
import re
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from support.tree import lines_of, sources

FOLDERS = ("io", "kernels", "layers", "jobs", "worker", "coordinator")
CODE = (".c", ".h", ".cu", ".cuh")


def functions(lines):
    """(name, lines, static) of each function, from its first line to the brace at the margin."""
    start = None
    for number, line in enumerate(lines):
        if start is None and line == "{":
            start = number
            first = number
            while first and lines[first - 1] and not lines[first - 1].endswith(("*/", ";", "}")):
                first -= 1
            head = " ".join(lines[first:number])
            name = re.search(r"(\w+)\(", head)
        elif start is not None and line == "}":
            if name:
                yield name.group(1), number - first + 1, head.startswith("static")
            start = None


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0


def describe(title, paths):
    found, once, uses = [], 0, []
    texts = {path: lines_of(path) for path in paths}
    for path, lines in texts.items():
        text = "\n".join(lines)
        for name, length, static in functions(lines):
            found.append(length)
            if static:
                uses.append(name)
                once += len(re.findall(rf"\b{name}\b", text)) == 2
    lines = [len(text) for text in texts.values()]
    print(f"{title:12} {len(lines):5} {sum(lines):7} {statistics.median(lines):7.0f} "
          f"{max(lines):5} {len(found):7} {statistics.median(found):7.0f} "
          f"{percentile(found, .9):5} {max(found):5} {once:6} of {len(uses)}")


def main():
    print("folder       files   lines  median   max   funcs  median   p90   max   used once")
    everything = []
    for folder in FOLDERS:
        paths = [path for path in sources(*CODE) if path.parts[0] == folder]
        everything += paths
        describe(folder, paths)
    describe("all", everything)


if __name__ == "__main__":
    main()
