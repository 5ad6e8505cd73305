# SPDX-License-Identifier: MIT
"""Checkpoints whose linears are stored in FP8, MXFP4 or integers, or whose experts lie in one
tensor: a plain checkpoint and its stored copy, which mean the same values. By numpy, and by what
the codes mean in tests/data/formats/small_floats.json, which ml_dtypes says."""

import re
import shutil

import numpy as np

from support import safetensors
from support.case import DATA, read_json, write_json

TABLE = {name: np.array([np.nan if value is None else value for value in values], np.float64)
         for name, values in read_json(DATA / "formats" / "small_floats.json").items()}
TO_BYTES = {"F32": lambda array: array.astype(np.float32),
            "BF16": safetensors.to_bfloat16,
            "F16": lambda array: array.astype(np.float16),
            "F8_E8M0": lambda array: array.astype(np.uint8), "U8": lambda array: array}


def tensor(dtype, array):
    return dtype, list(array.shape), np.ascontiguousarray(TO_BYTES[dtype](array)).tobytes()


def to_type(dtype, values):
    """float32 to the model's type and back: the one rounding."""
    if dtype == "BF16":
        return safetensors.widen(safetensors.to_bfloat16(values))
    return values.astype(np.float16).astype(np.float32) if dtype == "F16" else values


def nearest(table, values):
    """The codes whose meanings are nearest."""
    codes = np.flatnonzero(np.isfinite(table))
    order = codes[np.argsort(table[codes], kind="stable")]
    middles = (table[order][1:] + table[order][:-1]) / 2
    return order[np.searchsorted(middles, values)].astype(np.uint8)


def spread(scales, block, shape):
    """A scale for each weight."""
    return scales.repeat(block[0], 0).repeat(block[1], 1)[:shape[0], :shape[1]]


def float8(weight, block, scale_type):
    """codes, scales [rows of blocks, columns of blocks], float32 products"""
    rows, cols = (-(-size // step) for size, step in zip(weight.shape, block))
    padded = np.zeros((rows * block[0], cols * block[1]), np.float32)
    padded[:weight.shape[0], :weight.shape[1]] = np.abs(weight)
    largest = padded.reshape(rows, block[0], cols, block[1]).max((1, 3))
    scales = to_type(scale_type, np.maximum(largest / np.float32(448), np.float32(1e-8)))
    each = spread(scales, block, weight.shape)
    codes = nearest(TABLE["e4m3"], weight / each)
    return codes, scales, TABLE["e4m3"][codes].astype(np.float32) * each


class Blocks:
    """FP8 in blocks, with `weight_scale_inv`."""

    def __init__(self, block=(128, 128), scales="F32", said=True):
        self.block, self.scales = block, scales
        self.config = {"quant_method": "fp8", "activation_scheme": "dynamic",
                       "modules_to_not_convert": ["lm_head"]}
        if said:
            self.config["weight_block_size"] = list(block)
        self.text = f"FP8 in blocks of {block[0]} x {block[1]}"

    def store(self, name, weight, _):
        codes, scales, values = float8(weight, self.block, self.scales)
        return {f"{name}.weight": ("F8_E4M3", codes.shape, codes.tobytes()),
                f"{name}.weight_scale_inv": tensor(self.scales, scales)}, values


class Rows:
    """compressed-tensors' float-quantized, a scale a row."""
    text = "FP8 with a scale a row"

    def __init__(self, flat):
        self.flat = flat
        weights = {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}
        self.config = {"quant_method": "compressed-tensors", "format": "float-quantized",
                       "ignore": ["lm_head", "re:.*router"],
                       "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                                                     "input_activations": {"num_bits": 8}}}}

    def store(self, name, weight, dtype):
        codes, scales, values = float8(weight, (1, weight.shape[1]), dtype)
        scales = scales[:, 0] if self.flat else scales
        return {f"{name}.weight": ("F8_E4M3", codes.shape, codes.tobytes()),
                f"{name}.weight_scale": tensor(dtype, scales)}, values


class Tensors:
    """FP8 with one scale a tensor, and scales of activations, which are not read."""
    text = "FP8 with one scale a tensor"

    def __init__(self, scale, activation, shape):
        self.scale, self.activation, self.shape = scale, activation, shape
        self.config = {"quant_method": "fp8", "activation_scheme": "static",
                       "weight_block_size": None}

    def store(self, name, weight, _):
        codes, scales, values = float8(weight, weight.shape, "F32")
        return {f"{name}.weight": ("F8_E4M3", codes.shape, codes.tobytes()),
                f"{name}.{self.scale}": tensor("F32", scales.reshape(self.shape)),
                f"{name}.{self.activation}": tensor("F32", np.float32([0.5]))}, values


class Float4:
    """MXFP4: as compressed-tensors names it, or as DeepSeek does."""
    text = "MXFP4"

    def __init__(self, values, scales, types):
        self.values, self.scales, self.types = values, scales, types
        self.config = {"quant_method": "mxfp4"}
        if values == "weight_packed":
            weights = {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}
            self.config = {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
                           "config_groups": {"group_0": {"targets": ["Linear"],
                                                         "weights": weights}}}

    def store(self, name, weight, _):
        groups = np.abs(weight).reshape(len(weight), -1, 32).max(-1)
        powers = (np.floor(np.log2(np.maximum(groups, 1e-9))) - 2 + 127).astype(np.uint8)
        scales = TABLE["e8m0"][powers].astype(np.float32).repeat(32, 1)
        codes = nearest(TABLE["e2m1"], weight / scales)
        packed = codes[:, ::2] | codes[:, 1::2] << 4
        return {f"{name}.{self.values}": (self.types[0], packed.shape, packed.tobytes()),
                f"{name}.{self.scales}": tensor(self.types[1], powers)}, \
            TABLE["e2m1"][codes].astype(np.float32) * scales


class Integers:
    """compressed-tensors' pack-quantized of 4 bits."""

    def __init__(self, group, symmetric, ignore=()):
        self.group, self.symmetric = group, symmetric
        weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": group,
                   "symmetric": symmetric}
        self.ignore = ignore
        self.config = {"quant_method": "compressed-tensors", "format": "pack-quantized",
                       "ignore": ["lm_head", *ignore],
                       "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}
        self.text = f"INT4 in groups of {group}"

    def store(self, name, weight, dtype):
        if any(re.match(pattern[3:], name) for pattern in self.ignore):
            return {f"{name}.weight": tensor(dtype, weight)}, weight
        groups = weight.reshape(len(weight), -1, self.group)
        low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
        zeros = np.full(low.shape, 8)
        scales = np.maximum(np.abs(groups).max(-1) / 7.5, 1e-5)
        if not self.symmetric:
            scales = np.maximum((high - low) / 15, 1e-5)
            zeros = np.clip(np.round(-low / scales), 0, 15).astype(int)
        scales = to_type(dtype, scales.astype(np.float32))
        codes = np.clip(np.round(groups / scales[..., None]) + zeros[..., None], 0, 15).astype(int)
        values = (codes - zeros[..., None]).astype(np.float32) * scales[..., None]
        parts = {"weight_packed": ("I32", [len(weight), weight.shape[1] // 8],
                                   pack(codes.reshape(weight.shape)).tobytes()),
                 "weight_scale": tensor(dtype, scales),
                 "weight_shape": ("I64", [2], np.array(weight.shape, np.int64).tobytes())}
        if not self.symmetric:
            packed = pack(zeros.T).T
            parts["weight_zero_point"] = ("I32", packed.shape,
                                          np.ascontiguousarray(packed).tobytes())
        return {f"{name}.{part}": value for part, value in parts.items()}, \
            values.reshape(weight.shape)


def pack(codes):
    """[n, m] of 4 bits to words [n, ceil(m / 8)], the first in the lowest bits."""
    codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8))).astype(np.uint32)
    return (codes.reshape(len(codes), -1, 8) << np.arange(0, 32, 4, dtype=np.uint32)).sum(
        -1, dtype=np.uint32)


# ---- whole checkpoints ----

LINEAR = re.compile(r"model\.layers\.\d+\..*(_proj|\.w[123])\.weight")


def write_model(folder, config, tensors):
    folder.mkdir()
    write_json(folder / "config.json", config)
    safetensors.write_raw(folder / "model.safetensors", tensors)


def pair(source, folder, storage, linear=LINEAR):
    """Writes folder/plain and folder/stored: linears whose values `storage` holds, in the model's
    type, and as it stores them."""
    plain, stored = {}, {}
    for shard in sorted(source.glob("*.safetensors")):
        for name, (dtype, shape, data) in safetensors.read_raw(shard).items():
            plain[name] = stored[name] = (dtype, shape, data)
            if not linear.fullmatch(name):
                continue
            weight = safetensors.to_array(dtype, shape, data).astype(np.float32)
            parts, values = storage.store(name.removesuffix(".weight"), weight, dtype)
            del stored[name]
            stored.update(parts)
            plain[name] = tensor(dtype, to_type(dtype, values))
    config = read_json(source / "config.json")
    write_model(folder / "plain", config, plain)
    write_model(folder / "stored", {**config, "quantization_config": storage.config}, stored)
    return folder / "plain", folder / "stored"


EXPERT = re.compile(r"(model\.layers\.\d+\.)(\w+)\.experts\.(\d+)\.(\w+)\.(weight\w*)")
STACKS = {"gate_proj": ("gate_up_proj", 0), "w1": ("gate_up_proj", 0),
          "up_proj": ("gate_up_proj", 1), "w3": ("gate_up_proj", 1),
          "down_proj": ("down_proj", 0), "w2": ("down_proj", 0)}


def fuse(model, folder):
    """A copy whose experts are one tensor for gate and up, and one for down, as transformers 5
    has them; `weight_scale_inv` becomes their `_scale_inv`."""
    stacks, tensors = {}, {}
    for name, raw in safetensors.read_raw(model / "model.safetensors").items():
        match = EXPERT.fullmatch(name)
        if not match:
            tensors[name.replace("block_sparse_moe.gate", "mlp.gate")] = raw
            continue
        layer, _, expert, linear, suffix = match.groups()
        stack, half = STACKS[linear]
        key = f"{layer}mlp.experts.{stack}{suffix.removeprefix('weight')}"
        stacks.setdefault(key, {})[int(expert), half] = raw
    for key, parts in stacks.items():
        dtype, shape, _ = parts[0, 0]
        experts, halves = 1 + max(e for e, _ in parts), 1 + max(half for _, half in parts)
        data = b"".join(parts[index][2] for index in sorted(parts))
        tensors[key] = (dtype, [experts, halves * shape[0], *shape[1:]], data)
    write_model(folder, read_json(model / "config.json"), tensors)
    return folder


STACK = re.compile(r"model\.layers\.\d+\.mlp\.experts\.(gate_up|down)_proj")


def float4_stacks(model, folder):
    """Writes folder/plain and folder/stored: experts [experts, in, rows] of values that MXFP4
    holds, and those as gpt-oss publishes them, [experts, rows, groups, 16] and a power of two for
    each group."""
    storage, plain, stored = Float4("blocks", "scales", ("U8", "U8")), {}, {}
    for name, (dtype, shape, data) in safetensors.read_raw(model / "model.safetensors").items():
        plain[name] = stored[name] = (dtype, shape, data)
        if not STACK.fullmatch(name):
            continue
        weight = safetensors.to_array(dtype, shape, data).astype(np.float32).transpose(0, 2, 1)
        experts, rows, columns = weight.shape
        parts, values = storage.store("", weight.reshape(-1, columns), dtype)
        del stored[name]
        stored[f"{name}_blocks"] = ("U8", [experts, rows, columns // 32, 16], parts[".blocks"][2])
        stored[f"{name}_scales"] = ("U8", [experts, rows, columns // 32], parts[".scales"][2])
        values = values.reshape(weight.shape).transpose(0, 2, 1)
        plain[name] = tensor(dtype, to_type(dtype, np.ascontiguousarray(values)))
    config = read_json(model / "config.json")
    write_model(folder / "plain", config, plain)
    write_model(folder / "stored", {**config, "quantization_config": {
        "quant_method": "mxfp4", "modules_to_not_convert": [
            "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
            "lm_head"]}}, stored)
    return folder / "plain", folder / "stored"
