# SPDX-License-Identifier: MIT
"""The job files of jobs/examples: options that are known, for models of the sizes that they name,
and what their README says of each."""

import json
import re
import subprocess
import unittest

import h5py
import numpy as np

from support import headers
from support.case import DATA, DEMO, Case, read_json
from support.program import ROOT, run

FOLDER = ROOT / "jobs/examples"
EXAMPLES = {path.name: path for path in sorted(FOLDER.glob("*.job"))}
PUBLISHED = read_json(DATA / "published.json")
MIXTURE = headers.QWEN3_235B
DENSE = headers.LLAMA_70B
# Sizes of those that are not in published.json.
SIZES = {
    "llama-3.3-70b.job": DENSE,
    "llama-3.1-8b.job": {**DENSE, "hidden_size": 4096, "intermediate_size": 14336,
                         "num_hidden_layers": 32, "num_attention_heads": 32},
    "llama-3.1-405b.job": {**DENSE, "hidden_size": 16384, "intermediate_size": 53248,
                           "num_hidden_layers": 126, "num_attention_heads": 128},
    "qwen3-235b-a22b.job": MIXTURE,
    "qwen3-30b-a3b.job": {**MIXTURE, "hidden_size": 2048, "moe_intermediate_size": 768,
                          "num_hidden_layers": 48, "num_attention_heads": 32},
}
# Others are in published.json under the name of their directory, or in this one's sizes.
ALIKE = {"minimax-m2.5.job": "MiniMaxAI/MiniMax-M2"}
# Of a GPU's 80 GB; CPUs compute in 32 bits, so that weights take twice as much.
CUDA = ("--backend", "cuda", "--device-memory", "72GB")
CPU = ("--backend", "cpu", "--device-memory", "144GB")
OTHER_FILES = ("--model", DEMO, "--tokens", DEMO / "calib.h5", "--sequences", 16)


def value(path, key):
    return re.search(rf"^{key} = (\S+)", path.read_text(), re.MULTILINE)[1]


def submit_line(path):
    """The words between `submit` and the job file."""
    match = re.search(r"^# {5}awqrun submit (.*) -- --job (\S+)$", path.read_text(), re.MULTILINE)
    assert match and match[2] == path.name, f"{path.name} does not say how it is submitted"
    return match[1].split()


def gpus(path):
    words = submit_line(path)
    options = dict(zip(words[::2], map(int, words[1::2])))
    return options["--gpus-per-node"] * options.get("--nodes", 1)


def rows():
    """{file: its columns} of the README's table."""
    found = re.findall(r"^\| `([\w.-]+\.job)` \| (.*) \|$", (FOLDER / "README.md").read_text(),
                       re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in found}


class Examples(Case):
    def headers_of(self, name, path):
        folder = self.folder / f"{name}-model"
        if name in SIZES:
            headers.write(folder, SIZES[name])
            return folder
        directory = value(path, "model").split("/")[-1]
        hub = next(key for key in PUBLISHED
                   if key == ALIKE.get(name) or key.split("/")[-1] == directory)
        headers.write(folder, PUBLISHED[hub]["config"],
                      headers.unfolded(PUBLISHED[hub]["tensors"]))
        return folder

    def test_they_are_job_files(self):
        self.assertGreaterEqual(len(EXAMPLES), 10)
        for name, path in EXAMPLES.items():
            with self.subTest(job=name):
                self.succeeds(run("plan", "--print-job", "--job", path))
                self.succeeds(run("plan", "--job", path, *OTHER_FILES, "--out", self.out))

    def test_their_submit_lines_write_scripts_that_bash_reads(self):
        for name, path in EXAMPLES.items():
            with self.subTest(job=name):
                script = self.succeeds(run(
                    "submit", "--dry-run", "--program", "awqrun", *submit_line(path), "--",
                    "--job", path, *OTHER_FILES, "--out", self.out)).out
                self.assertIn("\n#SBATCH --gpus-per-node=", script)
                done = subprocess.run(["bash", "-n"], input=script, text=True, check=False,
                                      capture_output=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_the_readme_has_a_row_for_each(self):
        self.assertEqual(list(rows()), list(EXAMPLES))
        for name, (count, group_size, *_) in rows().items():
            with self.subTest(job=name):
                self.assertEqual((count, group_size), (str(gpus(EXAMPLES[name])),
                                                       value(EXAMPLES[name], "group-size")))

    def plan(self, name, *options):
        """What `awqrun plan` prints of a job, with as many sequences of 512 as it asks for."""
        path = EXAMPLES[name]
        tokens = self.folder / f"{name}.h5"
        with h5py.File(tokens, "w") as file:
            file["input_ids"] = np.zeros((int(value(path, "sequences")), 512), np.int32)
        job = self.folder / name  # without `out`: no disk here has room for these
        job.write_text(re.sub("^out = .*$", "", path.read_text(), flags=re.MULTILINE))
        return self.succeeds(run("plan", "--job", job, "--model", self.headers_of(name, path),
                                 "--tokens", tokens, "--workers", gpus(path), *options)).out

    def has_cuda(self):
        return "CUDA" in self.succeeds(run("version")).out

    def test_they_fit_and_load_as_the_readme_says(self):
        worker = CUDA if self.has_cuda() else CPU
        for name in EXAMPLES:
            with self.subTest(job=name):
                plan = json.loads(self.plan(name, "--json", *worker))
                gemm = next(engines for engines in plan["serving"]["engines"]
                            if engines["format"] == "gemm")
                self.assertEqual(rows()[name][2],
                                 str(max(size for size in gemm["vllm"] if size <= 8)))

    def test_the_page_on_clusters_has_the_numbers_of_the_plan(self):
        versions = json.loads(self.succeeds(run("version", "--json")).out)
        if not self.has_cuda() or versions["GPUs"]:
            self.skipTest("they are of a build with a CUDA backend where no GPU is asked for more")
        page = (ROOT / "docs/clusters.md").read_text()
        found = re.findall(r"^\| `([\w.-]+\.job)` \| (.*) \|$", page, re.MULTILINE)
        self.assertGreaterEqual(len(found), 5)
        for name, rest in found:
            with self.subTest(job=name):
                text = self.plan(name, *CUDA)
                gpu, node = re.search(r"^memory +(.*) for each worker, .*; (.*) of its node's$",
                                      text, re.MULTILINE).groups()
                disk = re.search(r"^disk +(.*) for the checkpoint, (.*) beside it", text,
                                 re.MULTILINE).groups()
                files = re.search(r"^ +(\S+) of files", text, re.MULTILINE)[1]
                layers = re.findall(r"^ +stage \d+ +layers (\d+)-\1,", text, re.MULTILINE)
                workers = max([layers.count(layer) for layer in layers], default=1)
                self.assertEqual(
                    [cell.strip() for cell in rest.split("|")],
                    [value(EXAMPLES[name], "sequences"), gpu, node, str(workers),
                     ", ".join(disk), files])


if __name__ == "__main__":
    unittest.main()
