# SPDX-License-Identifier: MIT
"""A small model of random weights from its description alone (tests/data/models/NAME.json): the
names and shapes of its tensors. Each value is a function of the tensor's name and the value's
place in it, by integers, so that every version of numpy on every machine makes the same bytes.

Projections keep the size of what goes through, norms in front of linears have a few loud channels,
and whatever has a part in the forward pass is large enough to show in the likelihood."""

import hashlib
import json
import re

import numpy as np

from support import safetensors
from support.program import ROOT

TYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
ABSENT = "absent"  # a key of config.json that a change takes out

# What linears read comes out of these norms; post_attention_layernorm only where no norm of the
# MLP's own says that it is attention's last step.
LOUD = re.compile(r"(input_layernorm|pre_(feedforward|mlp)_layernorm(_2)?|attention_norm|ffn_norm|"
                  r"(q|kv)_a_layernorm|linear_attn\.norm)\.weight$")
LOUD_IF_ALONE = re.compile(r"post_attention_layernorm\.weight$")
FEEDFORWARD = re.compile(r"(pre|post)_feedforward_layernorm|pre_mlp_layernorm")
NORM = re.compile(r"norm(s\.\d+|_[12])?\.weight$|router\.(per_expert_)?scale$")
PLAIN = re.compile(r"linear_attn\.norm\.weight$")  # times w, also where other norms have 1 + w
EMBEDDING = re.compile(r"(embed_tokens|tok_embeddings|lm_head|output)\.weight$")
CORRECTION = re.compile(r"(correction_bias|expert_bias)$")  # of experts' scores, which are small

# The logarithm of a recurrence's decay, its step's size before softplus, a layer's own factor.
AROUND = {re.compile(r"\.A_log$"): (1.2, 0.5), re.compile(r"\.dt_bias$"): (-2.5, 0.8),
          re.compile(r"\.layer_scalar$"): (0.9, 0.15)}

# What is read otherwise but computed as another of tests/data/models or families is.
READ_OTHERWISE = {
    "deepseek_v2-lite", "deepseek_v32", "dots1", "ernie4_5", "exaone4", "gemma3", "gemma4",
    "glm4_moe_lite", "glm_moe_dsa", "granitemoe", "granitemoeshared", "hunyuan_v1_moe", "hy_v3",
    "internlm", "internlm2", "internlm3", "kimi_k2", "kimi_k25", "llama-dynamic", "llama4",
    "minimax_m2", "mistral-window", "mistral3", "mistral4-wrapped", "mixtral-fused", "mixtral5",
    "olmo2", "qwen2-window", "qwen2_moe5", "qwen3-window", "qwen3_5", "qwen3_5_moe",
    "qwen3_5_moe_text", "qwen3_5_text-full", "qwen3_5_text-linear", "qwen3_moe-fused",
    "qwen3_moe5", "qwen3_vl_moe", "qwen3_vl_moe-hub", "some_llama", "stablelm"}


def described():
    """{name: description} of all that tests/data/models describes"""
    return {path.stem: json.loads(path.read_text())
            for path in sorted((ROOT / "tests/data/models").glob("*.json"))}


def splitmix64(first, count):
    """count numbers of 64 bits (Steele, Lea and Flood, 2014), from the state `first` on."""
    with np.errstate(over="ignore"):
        state = np.uint64(first) + (np.arange(1, count + 1, dtype=np.uint64)
                                    * np.uint64(0x9E3779B97F4A7C15))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def seed(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def noise(name, shape):
    """Nearly normal, of mean 0 and variance 1: the sum of a hash's four 16-bit parts."""
    parts = splitmix64(seed(name), int(np.prod(shape))).view(np.uint16).reshape(-1, 4)
    total = parts.astype(np.int64).sum(1) - 2 * 65535
    return (total / (65536 / np.sqrt(3.0))).reshape(shape)


def loud_channels(name, width):
    first, step = splitmix64(seed(name + " loud"), 2) % np.uint64(width - 1)
    return [int(first), (int(first) + int(step) + 1) % width]


def norm(name, shape, loud):
    values = np.abs(1 + 0.2 * noise(name, shape))
    if loud:
        values[loud_channels(name, shape[-1])] *= 8
    return values


def values(name, shape, description):
    """float64, before it is rounded to the stored type"""
    scale = 1.0
    for pattern, factor in description.get("scales", {}).items():
        if re.search(pattern, name):
            scale = factor
    if CORRECTION.search(name):
        return scale * 0.1 * noise(name, shape)
    for pattern, (middle, spread) in AROUND.items():
        if pattern.search(name):
            return middle + spread * noise(name, shape)
    if name.endswith("sinks"):
        return scale * (2 + noise(name, shape))
    if name.endswith("bias"):
        return scale * 0.3 * noise(name, shape)
    if NORM.search(name):
        alone = not any(FEEDFORWARD.search(other) for other in description["tensors"])
        loud = LOUD.search(name) or (alone and LOUD_IF_ALONE.search(name))
        offset = description.get("norms") == "1 + w" and not PLAIN.search(name)
        return norm(name, shape, loud) - offset
    if EMBEDDING.search(name):
        return scale * 0.3 * noise(name, shape)
    return scale * noise(name, shape) / np.sqrt(shape[-1])


def stored(array, dtype):
    """(safetensors' word, shape, bytes), rounded once, to nearest even"""
    single = array.astype(np.float32)
    data = {"BF16": safetensors.to_bfloat16, "F16": np.float16, "F32": np.float32}[dtype](single)
    return dtype, list(array.shape), np.ascontiguousarray(data).tobytes()


def tensors(description):
    """{name: (dtype, shape, bytes)}"""
    usual = TYPES[description["config"]["dtype"]]
    return {name: stored(values(name, tuple(shape), description),
                         description.get("dtypes", {}).get(name, usual))
            for name, shape in description["tensors"].items()}


def changed(config, changes):
    """config.json with other keys; ABSENT takes one out. A dot leads into an object."""
    config = json.loads(json.dumps(config))
    for path, value in changes.items():
        *outer, key = path.split(".")
        place = config
        for step in outer:
            place = place[step]
        place[key] = value
        if value == ABSENT:
            del place[key]
    return config


def write(folder, description, changes=None):
    """The checkpoint's folder: config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    configure(folder, description, changes)
    safetensors.write_raw(folder / "model.safetensors", tensors(description))
    return folder


def configure(folder, description, changes=None):
    config = changed(description["config"], changes or {})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
