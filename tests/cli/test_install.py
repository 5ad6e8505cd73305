# SPDX-License-Identifier: MIT
"""What is installed: the files, the Debian package, and completions that know every option."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support.case import DEMO, ROOT, Case
from support.program import AWQRUN, ENVIRONMENT, commands, options_of, run

BUILD = pathlib.Path(os.environ.get("AWQ_BUILD_DIR", ROOT / "build" / "dev"))
INSTALLED = {"bin/awqrun", "share/man/man1/awqrun.1", "share/doc/awqrun/README.md",
             "share/doc/awqrun/copyright", "share/awqrun/slurm/quantize.sbatch",
             "share/awqrun/examples/llama-3.1-8b.job",
             "share/bash-completion/completions/awqrun", "share/zsh/site-functions/_awqrun",
             "share/zsh/vendor-completions/_awqrun"}


def call(*command, **how):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **how)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class Installed(Case):
    def expect_tree(self, prefix):
        """All files, the program as built, and it runs from there."""
        self.assertLessEqual(INSTALLED, files_below(prefix))
        environment = {**os.environ, **ENVIRONMENT}
        version = call(prefix / "bin/awqrun", "version", env=environment)
        self.assertEqual(version, run("version").out)
        call(prefix / "bin/awqrun", "plan", "--model", DEMO, "--tokens", DEMO / "calib.h5",
             env=environment)
        for shell, path in (("bash", "bash-completion/completions/awqrun"),
                            ("zsh", "zsh/site-functions/_awqrun")):
            self.assertEqual((prefix / "share" / path).read_text(),
                             run("completion", "--shell", shell).out)

    def test_cmake_installs_what_the_readme_promises(self):
        prefix = self.folder / "prefix"
        call("cmake", "--install", BUILD, "--prefix", prefix)
        self.expect_tree(prefix)

    @unittest.skipUnless(shutil.which("dpkg-shlibdeps"), "dpkg-dev is not installed here")
    def test_the_debian_package_holds_it_and_names_what_it_needs(self):
        if "AWQ_SANITIZE:BOOL=ON" in (BUILD / "CMakeCache.txt").read_text():
            self.skipTest("nobody packages a sanitized program")
        call("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", self.folder)
        package, = self.folder.glob("awqrun_*_*.deb")
        fields = call("dpkg-deb", "--field", package)
        for name in ("Package: awqrun\n", "libhdf5-", "libopenmpi", "libjansson4", "openmpi-bin",
                     "libopenblas0", "zlib1g", "\nMaintainer: ", "\nSection: science"):
            self.assertIn(name, fields)
        self.assertNotIn("libasan", fields)
        call("dpkg-deb", "--extract", package, self.folder / "root")
        self.expect_tree(self.folder / "root/usr")
        self.assertEqual(set(os.listdir(self.folder / "root")), {"usr"})
        for path in (self.folder / "root").rglob("*"):
            self.assertEqual(path.stat().st_mode & 0o022, 0, f"{path} can be written by others")


class Image(unittest.TestCase):
    def test_it_is_given_all_that_the_build_reads(self):
        given = set(re.findall(r"^    (\S+) /usr/src/awqrun/\1$",
                               (ROOT / "packaging/apptainer.def").read_text(), re.MULTILINE))
        build = (ROOT / "CMakeLists.txt").read_text().partition("if(AWQ_TESTS)")[0]
        folders = set(re.findall(r"^add_subdirectory\((\w+)\)", build, re.MULTILINE))
        installed = re.findall(r"[\w./-]+\.(?:md|sbatch|1)\b|LICENSE",
                               (ROOT / "cmake/package.cmake").read_text())
        self.assertGreater(len(folders), 5)
        self.assertGreater(len(installed), 9)
        self.assertLessEqual(folders | {"cmake", "CMakeLists.txt", "CMakePresets.json"} |
                             {name.partition("/")[0] for name in installed}, given)


class Completion(Case):
    """The scripts that the program writes, asked as the shells ask them."""

    def complete(self, *words):
        """What bash offers for the last word."""
        script = self.folder / "completion.bash"
        script.write_text(run("completion", "--shell", "bash").out)
        (self.folder / "models").mkdir(exist_ok=True)
        (self.folder / "calib.h5").touch()
        ask = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }\n'
               '_awqrun awqrun "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"\n'
               'printf "%s\\n" "${COMPREPLY[@]}"')
        return call("bash", "-c", ask, "bash", script, "awqrun", *words,
                    cwd=self.folder).split("\n")[:-1]

    def test_bash_knows_every_command(self):
        self.assertEqual(sorted(self.complete("")), sorted(commands()))
        self.assertEqual(self.complete("qu"), ["quantize"])

    def test_bash_knows_every_option_of_every_command(self):
        for command in commands():
            with self.subTest(command=command):
                offered = set(self.complete(command, "--"))
                self.assertEqual(offered - {"--"},
                                 {f"--{name}" for name in options_of(command)})

    def test_bash_completes_the_values_of_options(self):
        self.assertEqual(self.complete("quantize", "--duo", "o"), ["off", "on"])
        self.assertEqual(self.complete("quantize", "--model", ""), ["models"])
        self.assertEqual(sorted(self.complete("quantize", "--tokens", "c")),
                         ["calib.h5", "completion.bash"])
        self.assertEqual(self.complete("status", ""), ["models"])
        self.assertEqual(self.complete("quantize", "--bits", ""), [""])

    def test_what_follows_submits_dashes_are_options_of_quantize(self):
        self.assertIn("--nodes", self.complete("submit", "--"))
        self.assertIn("--alpha-steps", self.complete("submit", "--nodes", "2", "--", "--a"))
        self.assertNotIn("--nodes", self.complete("submit", "--nodes", "2", "--", "--n"))

    def test_zsh_has_every_option_of_every_command(self):
        script = run("completion", "--shell", "zsh").out
        self.assertTrue(script.startswith("#compdef awqrun\n"))
        for command in commands():
            part = script.partition(f"\n    {command})\n")[2].partition(";;")[0]
            for option in options_of(command):
                self.assertRegex(part, rf"'--{option}\[.+\]", f"--{option} of {command}")
        if shutil.which("zsh"):
            path = self.folder / "_awqrun"
            path.write_text(script)
            call("zsh", "-n", path)

    def test_a_shell_that_is_not_known_is_refused(self):
        self.fails_with(run("completion", "--shell", "fish"), "--shell takes bash|zsh, not 'fish'",
                        code=2)


if __name__ == "__main__":
    unittest.main()
