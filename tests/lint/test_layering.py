# SPDX-License-Identifier: MIT
"""Folders include downwards only, and each of what is dangerous has one place."""

import re
import unittest

from support.tree import lines_of, sources

# What a folder may include of ours, besides itself.
ARROWS = {
    "io": (),
    "kernels": ("io",),
    "layers": ("kernels", "io"),
    "jobs": ("io",),
    "worker": ("layers", "kernels", "jobs", "io"),
    "coordinator": ("jobs", "io"),
}
EXCEPTIONS = {("coordinator/main.c", "worker/worker.h")}
KERNELS_MAY_INCLUDE = ("io/core/activation.h", "io/core/clip.h", "io/core/dtype.h", "io/core/error.h")
MPI_FOLDERS = ("jobs", "worker", "coordinator")
# What ends a process, and who may: main, a second interrupt, and an injected fault.
ENDING = re.compile(r"\b(_?exit|_Exit|quick_exit|abort|MPI_Abort)\s*\(")
MAY_END = ("coordinator/main.c", "coordinator/interrupt.c", "io/core/fault.c")


def code_lines():
    """(path, line number, line) of the program's own sources."""
    for path in sources(".c", ".h", ".cu", ".cuh"):
        if path.parts[0] in ARROWS:
            for number, line in enumerate(lines_of(path), 1):
                yield path, number, line


class Layering(unittest.TestCase):
    def none(self, found):
        if found:
            self.fail("\n".join(found))

    def includes(self, pattern):
        for path, number, line in code_lines():
            match = re.match(pattern, line)
            if match:
                yield path, f"{path}:{number}", match.group(1)

    def test_the_folders_are_there(self):
        self.assertEqual({path.parts[0] for path, _, _ in code_lines()}, set(ARROWS))

    def test_folders_include_downwards_only(self):
        wrong = []
        for path, where, included in self.includes(r'\s*#\s*include\s+"([^"]+)"'):
            folder, _, rest = included.partition("/")
            if not rest or folder not in ARROWS:
                wrong.append(f'{where}: "{included}" is not given from the root')
            elif folder != path.parts[0] and folder not in ARROWS[path.parts[0]] and \
                    (str(path), included) not in EXCEPTIONS:
                wrong.append(f"{where}: {path.parts[0]} may not include {included}")
        self.none(wrong)

    def test_kernels_know_only_errors_and_types_of_io(self):
        self.none([f"{where}: {included}"
                   for path, where, included in self.includes(r'\s*#\s*include\s+"(io/[^"]+)"')
                   if path.parts[0] == "kernels" and included not in KERNELS_MAY_INCLUDE])

    def test_only_jobs_and_those_above_know_mpi(self):
        self.none([where for path, where, _ in self.includes(r"\s*#\s*include\s+<(mpi\.h)>")
                   if path.parts[0] not in MPI_FOLDERS])

    def test_layers_and_kernels_open_no_files(self):
        self.none([where for path, where, _ in
                   self.includes(r"\s*#\s*include\s+<(fcntl\.h|dirent\.h|hdf5\.h|sys/stat\.h)>")
                   if path.parts[0] in ("layers", "kernels")])

    def test_jobs_know_no_cuda(self):
        self.none([where for path, where, _ in self.includes(r"\s*#\s*include\s+<((cuda|nccl).*)>")
                   if path.parts[0] in ("io", "jobs", "coordinator", "layers")])

    def test_one_file_knows_which_backends_there_are(self):
        self.none([f"{path}:{number}" for path, number, line in code_lines()
                   if re.match(r"\s*#\s*(el)?if.*AWQ_HAVE_CUDA", line)
                   and path.name not in ("backend_list.h", "backend_list.c")])

    def test_only_main_ends_the_process(self):
        self.none([f"{path}:{number}: {line.strip()}" for path, number, line in code_lines()
                   if ENDING.search(line) and str(path) not in MAY_END
                   and not line.lstrip().startswith(("*", "/*", "//"))])


if __name__ == "__main__":
    unittest.main()
