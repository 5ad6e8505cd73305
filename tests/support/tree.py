# SPDX-License-Identifier: MIT
"""The repository's files: those that git knows or would add, or all but builds outside of git."""

import subprocess

from support.program import ROOT


def repository_files():
    """Relative paths, sorted."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                                 "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
                                text=True).stdout.split("\0")
        paths = {ROOT / name for name in listed if name}
    except (OSError, subprocess.CalledProcessError):
        paths = {path for path in ROOT.rglob("*")
                 if not {".git", "build", "install"} & set(path.relative_to(ROOT).parts)}
    return sorted(path.relative_to(ROOT) for path in paths if path.is_file())


def sources(*suffixes):
    return [path for path in repository_files() if path.suffix in suffixes]


def lines_of(path):
    return (ROOT / path).read_text(errors="replace").splitlines()
