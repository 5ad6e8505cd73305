# SPDX-License-Identifier: MIT
"""Each command of docs/clusters.md, and the submit line of each job file of jobs/examples, as it
stands there, on a cluster of two nodes with eight GPUs each: awqrun is real, and what it would
submit is put to sbatch --test-only."""

import re
import unittest

from support import slurm
from support.case import DEMO
from support.faults import JOB
from support.program import ROOT, run

PAGE = ROOT / "docs" / "clusters.md"
EXAMPLES = sorted((ROOT / "jobs/examples").glob("*.job"))

# The commands, with other files and no jobs: the programs are functions here.
PRELUDE = r"""
set -euo pipefail
failed() { echo "not accepted: $*" >&2; exit 1; }
sbatch() { # put to SLURM without submitting; --parsable prints the number of a job that is there
    command sbatch --test-only "$@" || failed "$@"
    [[ " $* " != *" --parsable "* ]] || echo "$SOME_JOB"
}
awqrun() {
    case $1 in
    submit) # --program: this build may have no CUDA backend, and the one on the cluster has
        set -- submit --program awqrun "${@:2}"
        case " $* " in
        *" --dry-run "*) command awqrun "$@" ;;
        *) command awqrun submit --dry-run "${@:2}" >written.sbatch && sbatch written.sbatch ;;
        esac || failed "$@"
        ;;
    *) command awqrun "$@" || failed "$@" ;;
    esac
}
apptainer() { while [[ $1 != awqrun ]]; do shift; done; "$@"; }
mpirun() { [[ $1 == -n && $3 == awqrun ]] && command mpirun -n 2 "${@:3}" --time-limit 0.1 ||
    [[ $? == 75 ]] || failed "$@"; }
"""


def blocks():
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def setUpModule():
    slurm.SlurmCase.cluster = slurm.Cluster(cpus=128, gpus=8)
    unittest.addModuleCleanup(slurm.SlurmCase.cluster.stop)


class Commands(slurm.SlurmCase):
    def interrupted(self):
        """An output directory with a script and a job that has begun."""
        result = run(*JOB, "--out", self.out, "--time-limit", 0.1)
        self.assertEqual(result.code, 75, result)
        script = self.succeeds(run("submit", "--dry-run", "--", *JOB[1:], "--out", self.out)).out
        (self.out / ".awqrun/job.sbatch").write_text(script)

    def test_each_is_accepted(self):
        self.assertGreater(len(blocks()), 10)
        self.interrupted()
        for partition in ("gpu", "preempt"):
            self.cluster.run("scontrol", "create", f"partition={partition}", "nodes=ALL")
        some_job = self.sbatch("--hold", "--wrap", "true")
        for block in blocks():
            with self.subTest(block=block):
                self.accepts(block, some_job)

    def accepts(self, block, some_job):
        begun = "/.awqrun/" in block or "awqrun status" in block
        out = self.out if begun else self.folder / "new"
        text = (block.replace("/data/Llama-3.1-70B", str(DEMO))
                .replace("/data/calib.h5", str(DEMO / "calib.h5"))
                .replace("/scratch/Llama-3.1-70B-AWQ", str(out))
                .replace(" slurm/", f" {ROOT}/slurm/"))
        done = self.cluster.run("bash", "-c", PRELUDE + text, cwd=self.folder,
                                env={"SOME_JOB": some_job})
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}{done.stderr}")

    def test_each_job_file_can_be_submitted_as_it_says(self):
        for path in EXAMPLES:
            with self.subTest(job=path.name):
                line = re.search(r"^# {5}(awqrun submit .*)$", path.read_text(), re.MULTILINE)[1]
                line = line.replace(path.name, str(path))
                self.accepts(f"{line} --model /data/Llama-3.1-70B --tokens /data/calib.h5 "
                             "--sequences 16 --out /scratch/Llama-3.1-70B-AWQ\n", "")

    def test_the_table_of_defaults_is_that_of_the_program(self):
        page = PAGE.read_text()
        text = run("submit", "--help").out
        requeues = re.search(r"\(default (\d+)\)", text[text.index("--max-requeues"):]).group(1)
        self.assertIn(f"| `--max-requeues` | {requeues} |", page)


if __name__ == "__main__":
    unittest.main()
