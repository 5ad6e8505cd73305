# SPDX-License-Identifier: MIT
"""Reads the PNG files that a browser's screenshots are: 8 bits, RGB or RGBA, not interlaced."""

import struct
import zlib

import numpy as np


def chunks(data):
    at = 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + 8 + size]
        at += 12 + size


def unfilter(kind, line, above, step):
    """One row of bytes from its filtered form (PNG specification, 9.2)."""
    if kind == 0:
        return line
    if kind == 2:
        return line + above
    row = line.copy()
    if kind == 1:
        for i in range(step):
            row[i::step] = np.cumsum(line[i::step], dtype=np.uint8)
        return row
    values, before = row.tolist(), above.tolist()
    for i, value in enumerate(values):
        left = values[i - step] if i >= step else 0
        if kind == 3:
            guess = (left + before[i]) // 2
        else:
            corner = before[i - step] if i >= step else 0
            guess = min((left, before[i], corner),
                        key=lambda x, target=left + before[i] - corner: abs(target - x))
        values[i] = (value + guess) & 255
    return np.array(values, np.uint8)


def read(path):
    """Pixels, uint8 [rows, columns, 3]."""
    parts = list(chunks(path.read_bytes()))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    if depth != 8 or colour not in (2, 6) or interlaced:
        raise ValueError(f"{path}: not a plain RGB image")
    step = 4 if colour == 6 else 3
    packed = zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    lines = np.frombuffer(packed, np.uint8).reshape(height, 1 + width * step)
    rows, above = [], np.zeros(width * step, np.uint8)
    for line in lines:
        above = unfilter(line[0], line[1:], above, step)
        rows.append(above)
    return np.stack(rows).reshape(height, width, step)[:, :, :3]
