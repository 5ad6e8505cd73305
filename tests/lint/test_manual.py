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
