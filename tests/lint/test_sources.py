# SPDX-License-Identifier: MIT
"""What every file owes its reader."""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import unittest

from support.program import ROOT
from support.tree import lines_of, repository_files, sources

C = (".c", ".h", ".cpp", ".cu", ".cuh")
FOLDERS = ("coordinator", "io", "jobs", "kernels", "layers", "packaging", "slurm", "tests",
           "worker")
BUILD = pathlib.Path(os.environ.get("AWQ_BUILD_DIR", ROOT / "build" / "dev"))


def has_code(path):
    """Files that people write code in."""
    if path.parts[:2] == ("tests", "data") and path.suffix != ".py":
        return False
    return path.suffix in (*C, ".py", ".sh", ".cmake", ".supp", ".1", ".js", ".css", ".html") or \
        path.name == "CMakeLists.txt" or path.parts[0] == ".ci"


def is_script(path):
    if path.suffix == ".sh":
        return True
    with open(ROOT / path, "rb") as file:
        return bool(re.match(rb"#!.*\b(ba|da)?sh\b", file.readline(80)))


class Sources(unittest.TestCase):
    def none(self, found, what):
        if found:
            self.fail(f"{what}:\n" + "\n".join(map(str, found)))

    def tool(self, *names):
        for name in names:
            if shutil.which(name):
                return name
        return self.fail(f"{names[0]} is not installed; ./test.sh installs it")

    def test_every_file_names_its_license(self):
        self.none([path for path in repository_files() if has_code(path) and not
                   any("SPDX-License-Identifier: MIT" in line for line in lines_of(path)[:5])],
                  "no SPDX line")

    def test_c_is_formatted_as_clang_format_14_does(self):
        done = subprocess.run([self.tool("clang-format-14"), "--dry-run", "-Werror",
                               *map(str, sources(*C))], cwd=ROOT, capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_lines_are_neat(self):
        wrong = []
        for path in filter(has_code, repository_files()):
            for number, line in enumerate(lines_of(path), 1):
                if line != line.rstrip():
                    wrong.append(f"{path}:{number}: blanks at the end")
                if "\t" in line and path.suffix in (*C, ".py", ".sh"):
                    wrong.append(f"{path}:{number}: tab")
                if len(line) > 100 and path.suffix not in (*C, ".1"):  # clang-format's
                    wrong.append(f"{path}:{number}: {len(line)} columns")
        self.none(wrong, "lines")

    def test_lines_of_readmes_are_neat(self):
        """But for rows of tables, and what a program prints."""
        self.none([f"{path}:{number}: {len(line)} columns"
                   for path in repository_files() if path.name == "README.md"
                   for number, line in enumerate(lines_of(path), 1)
                   if len(line) > 100 and not line.startswith(("|", "    ", "estimate"))], "lines")

    def test_each_folder_describes_itself_in_fifty_lines(self):
        wrong = []
        for folder in FOLDERS:
            readme = ROOT / folder / "README.md"
            if not any(path.parts[0] == folder for path in repository_files()):
                continue
            if not readme.exists():
                wrong.append(f"{folder}/README.md is missing")
            elif len(lines_of(readme)) > 50:
                wrong.append(f"{folder}/README.md has {len(lines_of(readme))} lines")
        self.none(wrong, "READMEs")

    def test_no_file_names_a_place_of_one_machine(self):
        place = re.compile(r"(?<![\w.$}~-])/(" + "|".join(("work", "root", "home")) + r")/\w")
        wrong = []
        for path in repository_files():
            if path.parts[:2] == ("tests", "data") and path.suffix != ".py":
                continue
            for number, line in enumerate(lines_of(path), 1):
                if place.search(line):
                    wrong.append(f"{path}:{number}: {line.strip()[:80]}")
        self.none(wrong, "paths of one machine")

    def test_scripts_pass_shellcheck(self):
        scripts = [str(path) for path in repository_files() if is_script(path)]
        self.assertIn("test.sh", scripts)
        done = subprocess.run([self.tool("shellcheck"), "-x", *scripts], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_scripts_can_be_executed(self):
        self.none([path for path in repository_files() if lines_of(path)[:1]
                   and lines_of(path)[0].startswith("#!") and not os.access(ROOT / path, os.X_OK)],
                  "a #! line, but not executable")

    def test_clang_14_has_no_warning(self):
        """What gcc compiled with warnings as errors, clang checks with the same options."""
        clang = self.tool("clang-14")
        commands = json.loads((BUILD / "compile_commands.json").read_text())

        def check(entry):
            options = [word for word in shlex.split(entry["command"])[1:]
                       if word not in ("-c", "-o", "-Werror", entry["file"])
                       and not word.endswith(".o") and not word.startswith("-fsanitize")]
            return subprocess.run([clang, "-fsyntax-only", "-Werror", *options, entry["file"]],
                                  cwd=entry["directory"], capture_output=True, text=True,
                                  check=False)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            done = list(pool.map(check, (c for c in commands if c["file"].endswith(".c"))))
        self.assertGreater(len(done), 50)
        self.none([result.stderr for result in done if result.returncode], "clang-14")


if __name__ == "__main__":
    unittest.main()
