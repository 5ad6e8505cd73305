#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/data/formats/small_floats.json: what each code of the small floats means, by
ml_dtypes (0.5). Not part of the tests. NaN is null.

    python tests/peers/make_small_floats.py tests/data/formats/small_floats.json
"""

import json
import math
import sys

import ml_dtypes
import numpy as np

TYPES = {"e4m3": (ml_dtypes.float8_e4m3fn, 256), "e8m0": (ml_dtypes.float8_e8m0fnu, 256),
         "e2m1": (ml_dtypes.float4_e2m1fn, 16)}


def values(dtype, count):
    numbers = np.arange(count, dtype=np.uint8).view(dtype).astype(np.float64)
    return [None if math.isnan(number) else number for number in numbers.tolist()]


def main():
    table = {name: values(*how) for name, how in TYPES.items()}
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(",\n".join(f'{"{" if i == 0 else " "}"{name}": {json.dumps(numbers)}'
                              for i, (name, numbers) in enumerate(table.items())) + "}\n")


main()
