# SPDX-License-Identifier: MIT
"""What the CUDA backend's checkpoint is worth, beside the CPU's (AWQRUN is awqrun_emulated): all
that a layer goes through, on half of a trained model with outliers (tests/gpu/run.sh does the whole
on a GPU)."""

import unittest

from support.case import DEMO, Case

# Of the KL divergence from the original: the backends see other roundings of activations.
BESIDE_THE_CPU = 0.05


class Quality(Case):
    def divergence(self, backend, tokens):
        out = self.folder / backend
        self.succeeds(self.quantize("--backend", backend, "--alpha-steps", "4", "--skip",
                                    r"layers\.[12]\.", out=out, tokens=tokens,
                                    env={"OPENBLAS_NUM_THREADS": "1"}))
        return self.evaluate(out, "--backend", "cpu", "--against", DEMO, "--sequences", "8",
                             tokens=DEMO / "eval.h5")["kl"]

    def test_the_kl_divergence_from_the_original_is_the_cpus(self):
        tokens = self.demo_tokens(sequences=16, length=64)
        on_cpu, on_gpu = (self.divergence(backend, tokens) for backend in ("cpu", "cuda"))
        self.assertGreater(on_cpu, 0)
        self.assertLess(abs(on_gpu / on_cpu - 1), BESIDE_THE_CPU, (on_cpu, on_gpu))


if __name__ == "__main__":
    unittest.main()
