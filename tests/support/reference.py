# SPDX-License-Identifier: MIT
"""A llama's forward pass in numpy, float64, from a checkpoint's tensors: what awqrun's numbers are
compared with. Plain attention, no RoPE scaling, no biases, untied head: the demo model."""

import numpy as np

from golden.test_checkpoint import LINEARS, unpack
from support import safetensors
from support.case import read_json


def tensors_of(directory):
    """{name: array} of all shards; AWQ GEMM linears become their `.weight` [out, in]."""
    found = {}
    for shard in sorted(directory.glob("*.safetensors")):
        found.update(safetensors.read(shard))
    for name in [name.removesuffix(".qweight") for name in found if name.endswith(".qweight")]:
        codes, zeros = unpack(found[name + ".qweight"]), unpack(found[name + ".qzeros"])
        scales = found[name + ".scales"].astype(np.float64)
        group = len(codes) // len(scales)
        found[name + ".weight"] = ((codes - zeros.repeat(group, 0)) * scales.repeat(group, 0)).T
    return found


class Llama:
    def __init__(self, directory):
        self.config = read_json(directory / "config.json")
        self.tensors = {name: value.astype(np.float64)
                        for name, value in tensors_of(directory).items()}

    def norm(self, x, name):
        scale = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x * scale * self.tensors[name + ".weight"]

    def heads(self, x, count):
        """[length, count * d] to [count, length, d], rotated by its position."""
        length, d = len(x), x.shape[1] // count
        theta = self.config.get("rope_theta") or self.config["rope_parameters"]["rope_theta"]
        angle = np.arange(length)[:, None] * theta ** (-2 * np.arange(d // 2) / d)
        x = x.reshape(length, count, d).transpose(1, 0, 2)
        low, high = x[..., :d // 2], x[..., d // 2:]
        return np.concatenate([low * np.cos(angle) - high * np.sin(angle),
                               high * np.cos(angle) + low * np.sin(angle)], -1)

    def attention(self, x, q, k, v):
        heads, kv_heads = (self.config[key] for key in ("num_attention_heads",
                                                        "num_key_value_heads"))
        length, repeat = len(x), heads // kv_heads
        q, k = self.heads(x @ q.T, heads), self.heads(x @ k.T, kv_heads).repeat(repeat, 0)
        v = (x @ v.T).reshape(length, kv_heads, -1).transpose(1, 0, 2).repeat(repeat, 0)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores[:, np.triu(np.ones((length, length), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return (weights @ v).transpose(1, 0, 2).reshape(length, -1)

    def layer(self, x, index):
        weights = {name: self.tensors[f"model.layers.{index}.{name}.weight"] for name in LINEARS}
        q, k, v, o = (weights[f"self_attn.{name}_proj"] for name in "qkvo")
        prefix = f"model.layers.{index}."
        x = x + self.attention(self.norm(x, prefix + "input_layernorm"), q, k, v) @ o.T
        y = self.norm(x, prefix + "post_attention_layernorm")
        gate = y @ weights["mlp.gate_proj"].T
        y = gate / (1 + np.exp(-gate)) * (y @ weights["mlp.up_proj"].T)
        return x + y @ weights["mlp.down_proj"].T

    def log_probabilities(self, ids):
        """[length, vocabulary], natural log."""
        x = self.tensors["model.embed_tokens.weight"][ids]
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, index)
        logits = self.norm(x, "model.norm") @ self.tensors["lm_head.weight"].T
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))
