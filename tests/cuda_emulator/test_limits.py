# SPDX-License-Identifier: MIT
"""What a multiprocessor has for a block, and the emulator cannot know when it runs one: registers
and shared memory. The emulator's shared arrays are thread-local variables of their kernels."""

import os
import pathlib
import re
import subprocess
import unittest

from support.program import ROOT

PROGRAMS = pathlib.Path(os.environ.get("AWQ_BUILD_DIR", ROOT / "build" / "dev")) / "tests" / \
    "cuda_emulator"
SANITIZED = os.environ.get("AWQ_TEST_SLOWER", "1") != "1"  # shared arrays are not thread-local
SHARED_BYTES = 48 << 10
# A thread has 255 registers at most, a multiprocessor 65536: 256 threads always fit.
UNBOUNDED_THREADS = 256


# ---- shared memory ----

def shared_bytes(program):
    """{kernel: bytes of its own arrays}, and the bytes of all arrays of other functions: any kernel
    may call those."""
    lines = subprocess.run(["nm", "-S", "-C", "-f", "sysv", PROGRAMS / program], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    kernels, helpers = {}, {}
    for name, _, _, kind, size, *_ in (line.split("|") for line in lines if line.count("|") > 5):
        if kind.strip() == "TLS" and not name.startswith("guard variable"):
            function = name.rpartition("::")[0]
            owner = kernels if re.search(r"_kernel\b", function) else helpers
            owner.setdefault(function, {})[name] = int(size, 16)
    return ({kernel: sum(arrays.values()) for kernel, arrays in kernels.items()},
            sum(sum(arrays.values()) for arrays in helpers.values()))


def beyond_the_limit(program):
    kernels, helpers = shared_bytes(program)
    return {kernel for kernel, size in kernels.items() if size + helpers > SHARED_BYTES}


# ---- launches ----

def arguments(text, start):
    """Those of the call whose first one begins there."""
    found, depth, last = [], 0, start
    for at in range(start, len(text)):
        if text[at] in ",)" and depth == 0:
            found.append(text[last:at].strip())
            last = at + 1
            if text[at] == ")":
                return found
        depth += (text[at] in "(") - (text[at] in ")")
    raise AssertionError("a call does not end")


def constants(text):
    """{name: number} of the enums whose values can be told from these files."""
    values = {}
    for body in re.findall(r"enum \{(.*?)\}", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL),
                           re.DOTALL):
        for name, value in re.findall(r"(\w+) = ([^,]+)", body):
            try:
                values[name] = eval(value.replace("/", "//"), {"__builtins__": {}}, values)
            except (NameError, SyntaxError):
                pass  # of the preprocessor: no number of threads is
    return values


def misfits(text, shared):
    """Launches of more threads than their kernel is compiled for."""
    bounds = {kernel: bound for bound, kernel in
              re.findall(r"__launch_bounds__\((\w+)\)\s+(\w+)\(", text)}
    known, found = constants(shared + text), []
    for launch in re.finditer(r"(?<!define )CUDA_LAUNCH\(", text):
        _, _, kernel, _, block, *_ = arguments(text, launch.end())
        kernel = re.match(r"\(?(\w+)", kernel)[1]
        limit = known[bounds[kernel]] if kernel in bounds else UNBOUNDED_THREADS
        if eval(block.replace("/", "//"), {"__builtins__": {}}, known) > limit:
            found.append(kernel)
    return found


class Limits(unittest.TestCase):
    @unittest.skipIf(SANITIZED, "shared arrays are ordinary variables here")
    def test_kernels_fit_the_shared_memory_of_a_block(self):
        kernels, _ = shared_bytes("awqrun_emulated")
        self.assertGreater(len(kernels), 3)
        self.assertEqual(beyond_the_limit("awqrun_emulated"), set())

    @unittest.skipIf(SANITIZED, "shared arrays are ordinary variables here")
    def test_a_kernel_that_does_not_fit_is_found(self):
        self.assertEqual(beyond_the_limit("cuda_emulator"), {"greedy_kernel(int*)"})

    def test_launches_fit_the_registers_that_kernels_are_compiled_for(self):
        sources = sorted((ROOT / "kernels" / "cuda").glob("*.cu"))
        shared = "".join(path.read_text() for path in (ROOT / "kernels" / "cuda").glob("*.cuh"))
        self.assertTrue(sources)
        for path in sources:
            self.assertEqual(misfits(path.read_text(), shared), [], path.name)

    def test_a_launch_that_does_not_fit_is_found(self):
        text = """enum { FEW = 128, MANY = 4 * FEW };
            __global__ static void __launch_bounds__(FEW) bounded(int *x) {}
            __global__ static void free(int *x) {}
            CUDA_LAUNCH(self, "a", bounded, grid(1, 2), FEW, x);
            CUDA_LAUNCH(self, "b", (bounded), grid(1, 2), FEW * 2, x);
            CUDA_LAUNCH(self, "c", (free), 1, MANY / 2, x);
            CUDA_LAUNCH(self, "d", free, 1, MANY, x);"""
        self.assertEqual(misfits(text, ""), ["bounded", "free"])


if __name__ == "__main__":
    unittest.main()
