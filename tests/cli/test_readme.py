# SPDX-License-Identifier: MIT
"""What the documentation shows is true: README.md's `sh` blocks are run, in order, on the demo
model; so are the Python snippets; `console` blocks, which need a large model, use options that
exist; the manual page has every option with its default; links and citations lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
import unittest

from support.case import DEMO, ROOT, Case
from support.program import AWQRUN, ENVIRONMENT, SLOWER, kill_session, options_of, run

README = ROOT / "README.md"
PAGES = [path for path in sorted(ROOT.rglob("*.md")) if "build" not in path.parts]
COMMANDS = ("quantize", "plan", "status", "eval")

# The tokenizers package is none of Debian's: a token a byte.
TOKENIZERS = """
class Tokenizer:
    from_file = classmethod(lambda cls, path: open(path).close() or cls())
    encode = lambda self, text: type("Encoding", (), {"ids": list(text.encode())})
"""


def blocks(page, language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands_of(block):
    """The words of each command of a console block: `$ ` begins one, a backslash continues it."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line[2:]) for line in lines if line.startswith("$ ")]


def squeeze(text):
    return re.sub(r"\s+", " ", text)


def defaults_in_help(command):
    """{option: default or None} of a command's --help."""
    entries = re.split(r"^  (?:-\w, )?--(?=[a-z])", run(command, "--help").out, flags=re.MULTILINE)
    found = {}
    for entry in map(squeeze, entries[1:]):
        default = re.search(r"\(default (\S+)\)", entry)
        found[entry.split()[0]] = default.group(1) if default else None
    return found


def defaults_in_manual():
    """The same of the manual page, all commands."""
    source = (ROOT / "docs/awqrun.1").read_text().replace("\\-", "-")
    found = {}
    for entry in re.split(r"^\.It (?=Fl )", source, flags=re.MULTILINE)[1:]:
        name = re.search(r" -([a-z-]+)", entry.splitlines()[0]).group(1)
        default = re.search(r"^Default: (\S+)\.$", re.split(r"^\.[IS]", entry, flags=re.M)[0], re.M)
        found[name] = default.group(1) if default else None
    return found


class Readme(Case):
    def shell(self, script, seconds=60):
        """Runs a bash script in a folder that looks like this directory."""
        (self.folder / "tests").symlink_to(ROOT / "tests")
        path = f"{(ROOT / AWQRUN).parent}:/usr/bin:/bin"
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=self.folder,
                                   env={**ENVIRONMENT, "PATH": path, "HOME": str(self.folder)},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(kill_session, process.pid)
        out, err = process.communicate(timeout=seconds * SLOWER)
        self.assertEqual(process.returncode, 0, f"{script}\n{out}\n{err}")
        return out

    def test_the_small_job_runs_as_it_is_written(self):
        out = self.shell("\n".join(blocks(README, "sh")))
        self.assertRegex(out, r"stages     2 of at most 2 layers, stage i on worker i mod 2")
        self.assertRegex(out, r"demo-awq: (interrupted, \d of 4 layers done|complete)")
        self.assertRegex(out, r"KL divergence 0\.002\d+, mean over 8192 positions")

    def test_tokens_are_made_as_it_is_written(self):
        (self.folder / "tokenizers.py").write_text(TOKENIZERS)
        (self.folder / "tokens.py").write_text(blocks(README, "python")[0])
        subprocess.run([sys.executable, "tokens.py", DEMO, DEMO / "calib.txt", "calib.h5"],
                       cwd=self.folder, check=True, timeout=60)
        self.succeeds(run("plan", "--model", DEMO, "--tokens", self.folder / "calib.h5"))

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


class Manual(Case):
    def test_every_option_is_there_with_its_default(self):
        manual = defaults_in_manual()
        helps = {command: defaults_in_help(command) for command in COMMANDS}
        for command, options in helps.items():
            for option, default in options.items():
                with self.subTest(command=command, option=option):
                    self.assertIn(option, manual)
                    self.assertEqual(manual[option], default)
        self.assertEqual(set(manual), {option for options in helps.values() for option in options})

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_the_page_is_clean(self):
        result = subprocess.run(["mandoc", "-T", "lint", "-W", "style", ROOT / "docs/awqrun.1"],
                                capture_output=True, text=True, check=False, timeout=60)
        messages = [line for line in result.stdout.splitlines() if "outdated mandoc.db" not in line]
        self.assertEqual(messages, [])


class References(Case):
    def test_links_lead_to_files(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page}: {target}")

    def test_sections_that_the_code_cites_exist(self):
        awq, design = ((ROOT / "docs" / name).read_text() for name in ("awq.md", "design.md"))
        for path in sorted(p for p in ROOT.rglob("*.[ch]") if "build" not in p.parts):
            for page, section in re.findall(r"docs/(awq|design)\.md[\s*]+(\d+(?:\.\d+)?)",
                                            path.read_text()):
                text = awq if page == "awq" else design
                chapter = section.partition(".")[0]
                self.assertIn(f"\n## {chapter}. ", text, f"{path}: {page} {section}")
                if page == "awq" and "." in section:
                    self.assertIn(f"\n**{section} ", text, f"{path}: {page} {section}")


if __name__ == "__main__":
    unittest.main()
