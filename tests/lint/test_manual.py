# SPDX-License-Identifier: MIT
"""The manual page keeps up with the option table."""

import re
import unittest

from support.program import ROOT, commands, options_of

PAGE = ROOT / "docs" / "awqrun.1"


class Manual(unittest.TestCase):
    def setUp(self):
        if not PAGE.exists():
            self.skipTest("docs/awqrun.1 is not written yet")
        page = PAGE.read_text().replace("\\-", "-").replace("\\", "")
        self.page = re.sub(r"(\bFl |, )-(?=[a-z])", r"\1--", page)  # mdoc's Fl adds one

    def test_it_lists_every_option_of_every_command(self):
        missing = []
        for command in commands():
            missing += [f"--{option} of {command}" for option in options_of(command)
                        if not re.search(rf"--{option}\b(?!-)", self.page)]
        self.assertEqual(missing, [], "docs/awqrun.1 does not mention " + ", ".join(missing))

    def test_it_says_which_commands_an_option_belongs_to(self):
        """An entry's `.Pq Cm a , b`, or else its section's `For .Cm ..`."""
        known = {command: set(options_of(command)) for command in commands()}
        told, section, entry = {}, set(), None
        for line in PAGE.read_text().splitlines():
            words = set(re.findall(r"[a-z]+", line.partition("Cm ")[2]))
            if line.startswith((".Ss ", ".Sh ")):
                section, entry = set(), None
            elif line.startswith(".It Fl "):
                entry = re.findall(r"-([a-z][a-z0-9-]+)", line)[0]
                told[entry] = [set(section), set()]
            elif entry is None and ".Cm " in line or entry is None and line == "and":
                section |= words & set(known)
            elif entry and line.startswith(".Pq Cm "):
                told[entry][1] |= words & set(known)
        for option, (of_section, of_entry) in told.items():
            if option != "help":
                with self.subTest(option=option):
                    self.assertEqual(of_entry or of_section,
                                     {command for command in known if option in known[command]})

    def test_it_lists_every_command_and_exit_code(self):
        for command in commands():
            self.assertRegex(self.page, rf"\b{command}\b")
        for code in (0, 1, 2, 75):
            self.assertRegex(self.page, rf"\b{code}\b")

    def test_it_lists_no_option_that_is_gone(self):
        known = {option for command in commands()
                 for option in options_of(command)} | {"version"}
        named = set(re.findall(r"(?<![\w-])--([a-z][a-z-]*[a-z0-9])", self.page))
        self.assertLessEqual(named, known)


if __name__ == "__main__":
    unittest.main()
