# SPDX-License-Identifier: MIT
"""Kills at the named points of io/core/fault.h, which timing cannot hit."""

import shutil

from support.faults import FaultCase

FAULT_POINTS = ["publish-before-fsync", "publish-before-rename", "publish-before-directory-fsync",
                "safetensors-append", "record-before-statistics", "safetensors-put",
                "merge-after-shards", "merge-before-config", "finish-before-removal"]


class Points(FaultCase):
    def test_a_kill_at_each_named_point_is_resumed(self):
        for point in FAULT_POINTS:
            for nth, ranks in ((1, 3), (5, 1)):
                with self.subTest(point=point, nth=nth, ranks=ranks):
                    shutil.rmtree(self.out, ignore_errors=True)
                    result = self.job(ranks=ranks, env={"AWQ_FAULT": f"{point}:{nth}"})
                    if result.code == 0:  # reached less often than that
                        self.assertGreater(nth, 1, result)
                        self.same_bytes()
                    else:
                        self.resumes()
