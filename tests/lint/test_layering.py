# SPDX-License-Identifier: MIT
"""Folders include downwards only, and each of what is dangerous has one place."""

import pathlib
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
# Of other folders a folder may include these headers, and nothing else.
HEADERS = {
    "coordinator": ("worker/worker.h", "layers/quantize/cost.h"),
}
# What a room may include of the other rooms of its folder. Files that lie in no room, such as
# worker/worker.c, are held by the folder's arrows alone.
ROOMS = {
    "io": {
        "core": (),
        "files": ("core",),
        "model": ("files", "core"),
        "families": ("model", "files", "core"),
        "tokenizer": ("files", "core"),
        "formats": ("families", "model", "files", "core"),
        "checkpoint": ("formats", "model", "files", "core"),
        "records": ("model", "files", "core"),
        "text": ("tokenizer", "files", "core"),
    },
    "kernels": {"cpu": (), "cuda": ()},
    "layers": {
        "forward": (),
        "search": ("forward",),
        "fold": ("search", "forward"),
        "quantize": ("fold", "search", "forward"),
    },
    "jobs": {
        "options": (),
        "mail": (),
        "plan": ("mail", "options"),
        "run": ("plan", "mail", "options"),
    },
    "worker": {"flow": ("results",), "results": ()},
    "coordinator": {
        "check": (),
        "report": (),
        "crew": ("check",),
        "estimate": ("check",),
        "assemble": ("crew", "check"),
        "verify": ("estimate", "crew", "check"),
        "slurm": ("estimate", "check"),
        "commands": ("assemble", "check", "crew", "estimate", "report", "slurm", "verify"),
    },
}
# Files that include each other: a header and the private one that its files share, and knots that
# are there. No more of them.
CIRCLES = (
    {"io/formats/format", "io/formats/layouts"},
    {"io/records/layer_record", "io/records/layout"},
    {"io/records/tensor_sums", "io/records/tensor_sums_layout"},
    {"kernels/cpu/device", "kernels/cpu/verbs"},
    {"kernels/cuda/blas", "kernels/cuda/device"},
)
# A folder is read as a whole; but a verb a file is one file, many times.
MOST_FILES = 16
LARGE_FOLDERS = ("kernels/cpu", "kernels/cuda")
KERNELS_MAY_INCLUDE = ("io/core/activation.h", "io/core/clip.h", "io/core/clock.h",
                       "io/core/dtype.h", "io/core/error.h", "io/core/routing.h",
                       "io/core/vectorize.h", "io/core/words.h")
INCLUDE = r'\s*#\s*include\s+"([^"]+)"'
MPI_FOLDERS = ("jobs", "worker", "coordinator")
# What ends a process, and who may: main, a second interrupt, and an injected fault.
ENDING = re.compile(r"\b(_?exit|_Exit|quick_exit|abort|MPI_Abort)\s*\(")
MAY_END = ("coordinator/main.c", "coordinator/crew/interrupt.c", "io/core/fault.c")


def code_lines():
    """(path, line number, line) of the program's own sources."""
    for path in sources(".c", ".h", ".cu", ".cuh"):
        if path.parts[0] in ARROWS:
            for number, line in enumerate(lines_of(path), 1):
                yield path, number, line


def circles(graph):
    """Sets of files that reach each other: Tarjan's strongly connected components."""
    order, lowest, stack, found = {}, {}, [], []

    def visit(file):
        order[file] = lowest[file] = len(order)
        stack.append(file)
        for other in graph.get(file, ()):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[file] = min(lowest[file], lowest[other])
        if lowest[file] == order[file]:
            circle = {stack.pop()}
            while file not in circle:
                circle.add(stack.pop())
            if len(circle) > 1:
                found.append(circle)

    for file in sorted(graph):
        if file not in order:
            visit(file)
    return found


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
        for path, where, included in self.includes(INCLUDE):
            folder, _, rest = included.partition("/")
            if not rest or folder not in ARROWS:
                wrong.append(f'{where}: "{included}" is not given from the root')
            elif folder != path.parts[0] and folder not in ARROWS[path.parts[0]] and \
                    included not in HEADERS.get(path.parts[0], ()):
                wrong.append(f"{where}: {path.parts[0]} may not include {included}")
        self.none(wrong)

    def test_rooms_of_a_folder_include_downwards_only(self):
        wrong = []
        for path, where, included in self.includes(INCLUDE):
            to = pathlib.PurePath(included)
            if len(path.parts) < 3 or len(to.parts) < 3 or path.parts[0] != to.parts[0]:
                continue
            room, other = path.parts[1], to.parts[1]
            rooms = ROOMS[path.parts[0]]
            if room not in rooms:
                wrong.append(f"{path}: no room of {path.parts[0]} is called {room}")
            elif other not in (room, *rooms[room]):
                wrong.append(f"{where}: {room} may not include {included}")
        self.none(wrong)

    def test_no_files_include_each_other_in_a_circle(self):
        graph = {}
        for path, _, included in self.includes(INCLUDE):
            stem, other = str(path.with_suffix("")), str(pathlib.PurePath(included).with_suffix(""))
            if stem != other:
                graph.setdefault(stem, set()).add(other)
        known = [circle for circle in circles(graph) if circle in CIRCLES]
        self.none([" <-> ".join(sorted(circle)) for circle in circles(graph)
                   if circle not in CIRCLES])
        self.none([f"{sorted(circle)} is no circle any more; take it out of CIRCLES"
                   for circle in CIRCLES if circle not in known])

    def test_no_folder_holds_too_many_files(self):
        folders = {}
        for path in sources(".c", ".h", ".cu", ".cuh"):
            if path.parts[0] in ARROWS:
                folders.setdefault(str(path.parent), set()).add(path.stem)
        self.none([f"{folder} holds {len(stems)} files" for folder, stems in folders.items()
                   if len(stems) > MOST_FILES and folder not in LARGE_FOLDERS])

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
