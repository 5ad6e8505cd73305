# SPDX-License-Identifier: MIT
"""Tiles from GPU to GPU, on the emulated CUDA backend (AWQRUN is awqrun_emulated) and NCCL's twin
(tests/nccl_twin): the same bytes as through MPI, and what becomes of a link that breaks."""

import os
import pathlib
import signal
import unittest

import numpy as np

from support import safetensors
from support.case import DEMO, EXPERTS, FAMILIES, digest, read_json, write_json
from support.faults import FaultCase, Started
from support.program import SLOWER, run

TWIN = pathlib.Path(os.environ["AWQ_BUILD_DIR"]) / "tests/nccl_twin"
GPUS = {"AWQ_EMULATOR_GPUS": "3", "LD_LIBRARY_PATH": str(TWIN)}
# Four stages in turn on the workers, several tiles, and little arithmetic.
JOB = ("--backend", "cuda", "--stage-layers", 1, "--tile-tokens", 24, "--alpha-steps", 0,
       "--group-size", 32, "--clip", "off", "--rounding", "nearest")
# The same with a search that lasts long enough to be met in the middle.
LONG = tuple(100 if word == 0 else word for word in JOB)


def bytes_of(out):
    return {name: sha for name, sha in digest(out).items() if name != "awqrun.h5"}


@unittest.skipUnless(TWIN.exists(), "this build has no NCCL: its header was not found")
class Transport(FaultCase):
    def setUp(self):
        super().setUp()
        self.ids = self.tokens(np.arange(72).reshape(3, 24) * 7 % 128)
        self.model = self.four_layers()

    def four_layers(self):
        """The small llama3 with its two layers twice."""
        model = self.folder / "model"
        model.mkdir()
        config = read_json(FAMILIES / "llama3/config.json") | {"num_hidden_layers": 4}
        write_json(model / "config.json", config)
        tensors = safetensors.read_raw(FAMILIES / "llama3/model.safetensors")
        for layer in (0, 1):
            tensors |= {name.replace(f"layers.{layer}.", f"layers.{layer + 2}."): tensor
                        for name, tensor in tensors.items() if f"layers.{layer}." in name}
        safetensors.write_raw(model / "model.safetensors", tensors)
        return model

    def gpu_job(self, *options, ranks=3, env=None, **how):
        return self.quantize(*JOB, *options, model=self.model, tokens=self.ids,
                             ranks=ranks, env={**GPUS, **(env or {})}, **how)

    def test_both_transports_give_the_bytes_of_one_worker(self):
        one = self.folder / "one"
        self.succeeds(self.gpu_job(ranks=1, out=one))
        for transport, ranks in (("mpi", 3), ("nccl", 3), ("nccl", 4)):
            with self.subTest(transport=transport, ranks=ranks):
                out = self.folder / f"{transport}-{ranks}"
                result = self.succeeds(self.gpu_job("--transport", transport, "--verbose",
                                                    "--keep-run", ranks=ranks, out=out,
                                                    env={"AWQ_EMULATOR_STREAMS": "late"}))
                self.assertEqual("transport=nccl" in result.err, transport == "nccl")
                self.assertEqual(bytes_of(out), bytes_of(one) | {
                    name: sha for name, sha in bytes_of(out).items() if name[0] == "."})
                self.assertEqual(len(list(out.glob(".awqrun/boundaries/*.h5"))), 3)

    def test_parts_of_a_layer_send_letters_beside_the_links(self):
        one = self.folder / "one"
        self.model, parts = EXPERTS / "qwen3_moe", ("--expert-parts", 2, "--transport", "nccl")
        self.succeeds(self.gpu_job(ranks=1, out=one))
        result = self.succeeds(self.gpu_job("--verbose", *parts, ranks=4))
        self.assertIn("transport=nccl", result.err)
        self.assertIn("stages=4 stage_layers=1 expert_parts=2", result.err)
        self.assertEqual(bytes_of(self.out), bytes_of(one))

    def test_what_arrived_over_a_link_is_kept_as_it_was(self):
        for transport in ("mpi", "nccl"):
            self.succeeds(self.gpu_job("--transport", transport, "--keep-run",
                                       out=self.folder / transport))
        kept = [{path.name: path.read_bytes() for path in
                 (self.folder / transport).glob(".awqrun/boundaries/*.h5")}
                for transport in ("mpi", "nccl")]
        self.assertEqual(*kept)

    def test_eval_sends_two_models_over_a_link(self):
        self.succeeds(self.gpu_job(ranks=1))
        scores = [run("eval", "--model", self.out, "--against", self.model, "--tokens", self.ids,
                      "--backend", "cuda", "--stage-layers", 1, "--tile-tokens", 24, "--json",
                      "--transport", transport, ranks=3, env=GPUS).out
                  for transport in ("mpi", "nccl")]
        self.assertIn("kl", scores[0])
        self.assertEqual(*scores)

    def test_auto_takes_nccl_where_every_worker_can_and_says_why_not(self):
        can = self.succeeds(self.gpu_job("--verbose"))
        self.assertIn("transport=nccl", can.err)
        shared = self.gpu_job("--verbose", "--share-gpu", env={"AWQ_EMULATOR_GPUS": "1"},
                              out=self.folder / "shared")
        self.assertRegex(self.succeeds(shared).err, r"transport=mpi: worker 1 .* shares its GPU")
        self.assertEqual(bytes_of(self.out), bytes_of(self.folder / "shared"))

    def test_what_nccl_lacks_is_named(self):
        self.fails_with(self.gpu_job("--transport", "nccl", "--share-gpu",
                                     env={"AWQ_EMULATOR_GPUS": "1"}),
                        r"--transport nccl: worker 1 \(.*\) shares its GPU, and NCCL takes one a")
        (self.folder / "libnccl.so.2").write_text("no library")
        self.fails_with(self.gpu_job("--transport", "nccl",
                                     env={"LD_LIBRARY_PATH": str(self.folder)}),
                        r"--transport nccl: worker 1 \(.*\) has no NCCL: cannot load "
                        r"'libnccl\.so\.2'; install NCCL")
        self.fails_with(run(*"quantize --backend cpu --transport nccl".split(), "--model", DEMO,
                            "--tokens", DEMO / "calib.h5", "--out", self.out, ranks=3),
                        r"--transport nccl: worker 1 \(.*\) has no NCCL: the cpu backend")
        self.nothing_looks_finished()

    def test_an_error_of_nccl_ends_the_job_and_it_can_be_resumed(self):
        result = self.gpu_job(env={"AWQ_TWIN_FAULT": "error:2", "AWQ_TWIN_FAULT_RANK": "1"})
        self.fails_with(result, r"worker 1 \(.*\): tile 1 of layer 1: GPU 0: NCCL, sending: "
                                r"unhandled system error")
        self.assertIn("run the same command again", result.err)
        self.resumes_to_the_bytes_of_one_worker()

    def test_a_transfer_that_hangs_ends_the_job(self):
        result = self.gpu_job("--worker-timeout", 2 * SLOWER,
                              env={"AWQ_TWIN_FAULT": "hang:2", "AWQ_TWIN_FAULT_RANK": "2"})
        self.fails_with(result, r"worker [12] \(.*\): tile \d of layer \d: worker [12] has not "
                                r"answered over NCCL for \d+ s; look at its node")
        self.resumes_to_the_bytes_of_one_worker()

    def test_a_worker_that_is_killed_ends_the_job(self):
        started = self.long_job_with_a_layer_done()
        os.kill(started.ranks()[2], signal.SIGKILL)
        code, _, err = started.finish()
        self.assertNotEqual(code, 0)
        self.assertRegex(err, r"error: worker 2 \(.*\) was lost|remote process exited")

    def test_a_job_that_is_told_to_stop_stops_and_resumes(self):
        started = self.long_job_with_a_layer_done()
        os.kill(started.process.pid, signal.SIGUSR1)
        code, _, err = started.finish()
        self.assertEqual(code, 75, err)
        self.assertIn("run the same command again", err)
        again = self.quantize(*LONG, model=self.model, tokens=self.ids, ranks=3, env=GPUS)
        self.assertRegex(self.succeeds(again).err, r"done=[1-3] ")

    def test_a_link_that_breaks_while_the_job_is_told_to_stop_is_no_error(self):
        # as where the other end was told first, and left
        mark = self.folder / "broken"
        started = Started("quantize", "--model", self.model, "--tokens", self.ids,
                          "--out", self.out, *JOB, ranks=3,
                          env={**GPUS, "AWQ_TWIN_FAULT": "error:3", "AWQ_TWIN_FAULT_RANK": "1",
                               "AWQ_TWIN_FAULT_MARK": str(mark)})
        self.assertTrue(started.wait_for(mark.exists, seconds=120))
        os.kill(started.process.pid, signal.SIGUSR1)
        code, _, err = started.finish()
        self.assertEqual(code, 75, err)
        self.assertNotIn("NCCL", err)

    def long_job_with_a_layer_done(self):
        started = Started("quantize", "--model", self.model, "--tokens", self.ids,
                          "--out", self.out, *LONG, ranks=3, env=GPUS)
        if not started.wait_for(lambda: self.layers_done() >= 1, seconds=120):
            self.fail(f"no layer was done: {started.finish()}")
        return started

    def resumes_to_the_bytes_of_one_worker(self):
        self.succeeds(self.gpu_job())
        one = self.folder / "one"
        self.succeeds(self.gpu_job(ranks=1, out=one))
        self.assertEqual(bytes_of(self.out), bytes_of(one))


if __name__ == "__main__":
    unittest.main()
