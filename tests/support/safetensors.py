# SPDX-License-Identifier: MIT
"""safetensors files, read and written independently of the program: an 8-byte little-endian
length, that much JSON, then the tensors' bytes."""

import json
import struct

import numpy as np

TYPES = {"F32": np.float32, "F16": np.float16, "I32": np.int32, "I16": np.int16, "I64": np.int64,
         "BF16": np.uint16}


def read_header(path):
    """(header without __metadata__, offset of the data)"""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def read_raw(path):
    """{name: (dtype, shape, bytes)} in the order of the data"""
    header, start = read_header(path)
    data = path.read_bytes()[start:]
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
            for name, entry in entries}


def read(path):
    """{name: array}; BF16 is widened to float32."""
    return {name: to_array(*raw) for name, raw in read_raw(path).items()}


def to_array(dtype, shape, data):
    array = np.frombuffer(data, TYPES[dtype]).reshape(shape)
    return widen(array) if dtype == "BF16" else array


def widen(bfloat16):
    return (bfloat16.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(array):
    """Rounds float32 to the nearest, ties to even; the bits as uint16."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def header_of(tensors):
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape),
                        "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    return header


def write_raw(path, tensors):
    """Writes {name: (dtype, shape, bytes)}."""
    write_with_header(path, json.dumps(header_of(tensors)),
                      b"".join(data for _, _, data in tensors.values()))


def write_with_header(path, header, data, length=None):
    """Writes any text as the header, and any length in front of it."""
    text = header.encode()
    length = len(text) if length is None else length
    path.write_bytes(struct.pack("<Q", length) + text + data)
