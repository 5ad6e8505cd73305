# SPDX-License-Identifier: MIT
"""The manual page keeps up with the option table."""

import re
import shutil
import subprocess
import unittest

from support.program import ROOT, options_of, run

PAGE = ROOT / "docs" / "awqrun.1"
COMMANDS = ("quantize", "plan", "status", "eval")


def defaults_in_help(command):
    """{option: default or None}"""
    entries = re.split(r"^  (?:-\w, )?--(?=[a-z])", run(command, "--help").out, flags=re.MULTILINE)
    found = {}
    for entry in entries[1:]:
        default = re.search(r"\(default\s+(\S+)\)", entry)
        found[entry.split()[0]] = default.group(1) if default else None
    return found


def defaults_in_page(page):
    """The same of the options of all commands; each entry begins with a line .It --NAME."""
    found = {}
    for entry in re.split(r"^\.It (?=.*--)", page, flags=re.MULTILINE)[1:]:
        entry = re.split(r"^\.[IS]", entry, flags=re.MULTILINE)[0]
        default = re.search(r"^Default: (\S+)\.$", entry, re.MULTILINE)
        found[re.search(r"--([a-z-]+)", entry).group(1)] = default.group(1) if default else None
    return found


class Manual(unittest.TestCase):
    def setUp(self):
        if not PAGE.exists():
            self.skipTest("docs/awqrun.1 is not written yet")
        text = PAGE.read_text().replace("\\-", "-").replace("\\", "")
        self.page = re.sub(r"(Fl|,) -(?=[a-z])", r"\1 --", text)  # mdoc's Fl adds one

    def test_it_lists_every_option_of_every_command(self):
        missing = []
        for command in COMMANDS:
            missing += [f"--{option} of {command}" for option in options_of(command)
                        if not re.search(rf"--{option}\b(?!-)", self.page)]
        self.assertEqual(missing, [], "docs/awqrun.1 does not mention " + ", ".join(missing))

    def test_it_gives_every_default(self):
        page = defaults_in_page(self.page)
        for command in COMMANDS:
            for option, default in defaults_in_help(command).items():
                with self.subTest(command=command, option=option):
                    self.assertEqual(page.get(option), default)

    def test_it_is_clean(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "style", PAGE], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.stdout, "")

    def test_it_lists_every_command_and_exit_code(self):
        for command in re.findall(r"^  awqrun (\w+) ", run("--help").out, re.MULTILINE):
            self.assertRegex(self.page, rf"\b{command}\b")
        for code in (0, 1, 2, 75):
            self.assertRegex(self.page, rf"\b{code}\b")

    def test_it_lists_no_option_that_is_gone(self):
        known = {option for command in COMMANDS
                 for option in options_of(command)} | {"version"}
        named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*[a-z])", self.page))
        self.assertLessEqual(named, known)


if __name__ == "__main__":
    unittest.main()
