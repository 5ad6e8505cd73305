# SPDX-License-Identifier: MIT
"""Random kills for AWQ_SOAK_MINUTES minutes; AWQ_SEED repeats a run."""

import os
import time
import unittest

from support.faults import FaultCase

MINUTES = float(os.environ.get("AWQ_SOAK_MINUTES", "0"))


@unittest.skipUnless(MINUTES, "set AWQ_SOAK_MINUTES to the minutes that it may take")
class Soak(FaultCase):
    def test_random_kills_for_as_long_as_told(self):
        end = time.monotonic() + 60 * MINUTES
        self.kill_at_random(lambda kills: time.monotonic() < end)
