# SPDX-License-Identifier: MIT
"""Runs awqrun, alone or under mpirun, with a time limit that nothing survives."""

import atexit
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(os.environ.get("AWQ_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
AWQRUN = os.environ.get("AWQRUN", str(ROOT / "build/dev/bin/awqrun"))
SLOWER = float(os.environ.get("AWQ_TEST_SLOWER", "1"))  # how much a sanitized program is

ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "LC_ALL": "C",
}
if not shutil.which("ssh"):  # without it mpirun wants another way to start daemons it never starts
    ENVIRONMENT["OMPI_MCA_plm_rsh_agent"] = "/bin/false"

SESSIONS = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-mpi-"))
atexit.register(shutil.rmtree, SESSIONS, ignore_errors=True)

ERROR = "awqrun: error: "


class Result:
    """How a run ended: code, out, err, seconds; lingered: seconds from its first error line on."""

    def __init__(self, command, code, out, err, begin):
        end = time.monotonic()
        self.command, self.code, self.seconds = command, code, end - begin
        self.out, self.err = ("".join(line for _, line in lines) for lines in (out, err))
        self.lingered = end - next((at for at, line in err if ERROR in line), end)

    @property
    def errors(self):
        """The sentences of its error lines."""
        return [line[len(ERROR):] for line in self.err.splitlines() if line.startswith(ERROR)]

    def __str__(self):
        return (f"{' '.join(self.command)}\nexit {self.code} after {self.seconds:.1f} s\n"
                f"-- stdout\n{self.out}-- stderr\n{self.err}--")


def kill_session(leader):
    """Kills every process of a session: mpirun's ranks have process groups of their own."""
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                fields = file.read().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                os.kill(int(name), signal.SIGKILL)
        except (OSError, IndexError, ValueError):
            pass


def kill_writers(pipe):
    """Kills whoever else has the pipe as its stderr. Open MPI's daemon of a rank without mpirun has
    a session of its own and can miss that the rank was killed: who reads would wait for ever."""
    name = f"pipe:[{os.fstat(pipe.fileno()).st_ino}]"
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{process}/fd/2") == name:
                os.kill(int(process), signal.SIGKILL)
        except OSError:
            pass


def start_up():
    """What a run of one rank starts without, so that it takes 0.2 s and not 0.45: Open MPI's daemon
    and its search for networks. Each thread that starts runs has a place of its own for Open MPI's
    files, which it would share by the process's number."""
    place = SESSIONS / f"{os.getpid()}-{threading.get_ident()}"
    place.mkdir(exist_ok=True)
    return {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_orte_tmpdir_base": str(place),
            "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}


def run(*arguments, ranks=1, timeout=60, env=None, cwd=None, file_size=None, program=AWQRUN):
    """Runs `awqrun arguments`, under `mpirun -n ranks` if there are several.

    file_size limits the bytes of every file that a rank writes, as a full disk would (mpirun has
    larger files of its own)."""
    command = [str(program), *map(str, arguments)]
    if file_size:
        command = ["prlimit", f"--fsize={file_size}", *command]
    several = ranks > 1 or file_size
    if several:
        command = ["mpirun", "-n", str(ranks), *command]
    environment = {**os.environ, **ENVIRONMENT, **({} if several else start_up()), **(env or {})}
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace", cwd=cwd,
                               env=environment, start_new_session=True)
    streams = [[], []]
    readers = [threading.Thread(target=collect, args=pair)
               for pair in zip((process.stdout, process.stderr), streams)]
    for reader in readers:
        reader.start()
    readers[1].join(timeout * SLOWER)
    late = readers[1].is_alive()
    if late:
        kill_session(process.pid)
    for reader in readers:
        reader.join()
    result = Result(command, process.wait(), *streams, begin)
    if late:
        raise AssertionError(f"was still running after {timeout * SLOWER:.0f} s: {result}")
    return result


def collect(stream, lines):
    """Appends (time, line) for each."""
    with stream:
        for line in stream:
            lines.append((time.monotonic(), line))


def commands():
    """The subcommands that --help lists."""
    return re.findall(r"^  awqrun (\w+) ", run("--help").out, re.MULTILINE)


def options_of(command):
    """The long options that a subcommand's --help lists."""
    return re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", run(command, "--help").out, re.MULTILINE)
