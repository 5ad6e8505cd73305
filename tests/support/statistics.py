# SPDX-License-Identifier: MIT
"""What awqrun.h5 and layer records hold, times aside (io/records/layer_record.h)."""

import h5py
import numpy as np


def statistics(path):
    """{name: value} of all datasets and attributes, arrays as bytes; /seconds left out."""
    found = {}

    def visit(name, item):
        if "seconds" in name.split("/"):
            return
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = value.tobytes() if isinstance(value, np.ndarray) else value
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype.str, item.shape, item[()].tobytes())

    with h5py.File(path) as file:
        file.visititems(visit)
        for key, value in file.attrs.items():
            found[f"@{key}"] = value
    return found
