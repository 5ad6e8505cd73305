# SPDX-License-Identifier: MIT
"""What the documentation shows is true: README.md's `sh` blocks are run, in order, on the demo
model; so are the Python snippets; `console` blocks, which need a large model, use options that
exist; links and citations lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
import unittest

from support.case import DEMO, ROOT, Case
from support.program import AWQRUN, ENVIRONMENT, SLOWER, kill_session, options_of, run
from support.tree import repository_files, sources

README = ROOT / "README.md"
PAGES = [ROOT / path for path in repository_files() if path.suffix == ".md"]


def blocks(page, language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands_of(block):
    """The words of each command of a console block: `$ ` begins one, a backslash continues it."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:]) for line in lines if line.startswith("$ ")]


class Readme(Case):
    def shell(self, script, seconds=60):
        """Runs a bash script in a folder that looks like this directory."""
        (self.folder / "tests").symlink_to(ROOT / "tests")
        path = f"{(ROOT / AWQRUN).parent}:{os.environ['PATH']}"
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=self.folder,
                                   env={**os.environ, **ENVIRONMENT, "PATH": path},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(kill_session, process.pid)
        out, err = process.communicate(timeout=seconds * SLOWER)
        self.assertEqual(process.returncode, 0, f"{script}\n{out}\n{err}")
        return out

    def test_the_small_job_runs_as_it_is_written(self):
        out = self.shell("\n".join(blocks(README, "sh")))
        self.assertRegex(out, r"stages     2 of at most 2 layers, stage i on worker i mod 2")
        self.assertIn("documents  125, 77.9 kB of 1 file; the text continues", out)
        self.assertRegex(out, r"demo-awq: (interrupted, \d of 4 layers done|complete)")
        shown, found = (float(re.search(r"KL divergence (\S+), mean over 8192 positions", text)[1])
                        for text in (README.read_text(), out))
        self.assertLess(abs(found / shown - 1), 0.02)  # BLAS kernels differ from CPU to CPU
        self.assertRegex(out, r"demo-awq: AWQ GEMM checkpoint of 4 layers, .*: nothing is wrong")
        self.assertRegex(out, r"layer 2 reproduced: 23 of 23 tensors have the same bytes")

    def test_statistics_are_read_as_it_is_written(self):
        self.succeeds(self.quantize(sequences=2))
        snippet = blocks(ROOT / "docs/formats.md", "python")[1]
        result = subprocess.run([sys.executable, "-c", snippet], cwd=self.folder, text=True,
                                capture_output=True, check=True, timeout=60)
        self.assertRegex(result.stdout, r"00003 down +alpha \d\.\d\d  loss \S+  of rounding \S+")

    def test_commands_that_are_shown_have_the_options_that_they_use(self):
        shown = [words for page in PAGES for block in blocks(page, "console")
                 for words in commands_of(block) if "awqrun" in words]
        self.assertTrue(shown)
        for words in shown:
            command, *arguments = words[words.index("awqrun") + 1:]
            with self.subTest(command=" ".join(words)):
                used = {word[2:].partition("=")[0] for word in arguments if word[:2] == "--"}
                self.assertLessEqual(used, set(options_of(command)))


class References(Case):
    def test_links_lead_to_files(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")

    def test_sections_that_the_code_cites_exist(self):
        awq, design = ((ROOT / "docs" / name).read_text() for name in ("awq.md", "design.md"))
        for path in sources(".c", ".h", ".cu", ".cuh"):
            for page, section in re.findall(r"docs/(awq|design)\.md[\s*]+(\d+(?:\.\d+)?)",
                                            (ROOT / path).read_text()):
                text = awq if page == "awq" else design
                chapter = section.partition(".")[0]
                self.assertIn(f"\n## {chapter}. ", text, f"{path}: {page} {section}")
                if page == "awq" and "." in section:
                    self.assertIn(f"\n**{section} ", text, f"{path}: {page} {section}")


if __name__ == "__main__":
    unittest.main()
