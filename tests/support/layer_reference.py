# SPDX-License-Identifier: MIT
"""docs/awq.md once more, in numpy and float64: a llama layer's forward pass, the quantizer, the
clip search, and the two objectives. Written from the page, not from the program."""

import numpy as np

from support import safetensors

GROUPS = {"qkv": ("q", "k", "v"), "o": ("o",), "gate_up": ("gate", "up"), "down": ("down",)}
CUTS = [1 - j / 20 for j in range(10)]


class Model:
    """The layers of a llama checkpoint and the hidden states of some tokens before each."""

    def __init__(self, config, shards):
        self.config, self.tensors = config, {}
        for shard in shards:
            self.tensors.update(safetensors.read(shard))
        self.dim = config["head_dim"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    def embed(self, ids):
        return self.tensors["model.embed_tokens.weight"].astype(np.float64)[ids]

    def layer(self, index):
        """{short name: weight}"""
        def get(name):
            return self.tensors[f"model.layers.{index}.{name}.weight"].astype(np.float64)
        weights = {name: get(f"self_attn.{name}_proj") for name in "qkvo"}
        weights.update({name: get(f"mlp.{name}_proj") for name in ("gate", "up", "down")})
        weights["norm1"], weights["norm2"] = get("input_layernorm"), get("post_attention_layernorm")
        return weights

    def norm(self, x, weight):
        mean = np.mean(x * x, axis=-1, keepdims=True)
        return x / np.sqrt(mean + self.config["rms_norm_eps"]) * weight

    def turn(self, x):
        """RoPE of [sequences, length, heads, dim]."""
        half = self.dim // 2
        inverse = self.config["rope_theta"] ** (-np.arange(half) / half)
        angle = np.arange(x.shape[1])[:, None, None] * inverse
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                               b * np.cos(angle) + a * np.sin(angle)], axis=-1)

    def attended(self, x, w):
        """What o_proj reads, from what q, k and v read."""
        sequences, length = x.shape[:2]
        q, k, v = ((x @ w[name].T).reshape(sequences, length, -1, self.dim) for name in "qkv")
        q, k = self.turn(q), self.turn(k)
        k, v = (t.repeat(self.heads // self.kv_heads, axis=2) for t in (k, v))
        scores = np.einsum("slhd,smhd->shlm", q, k) / np.sqrt(self.dim)
        scores = np.where(np.tril(np.ones((length, length), bool)), scores, -np.inf)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return np.einsum("shlm,smhd->slhd", scores, v).reshape(sequences, length, -1)

    @staticmethod
    def gated(x, w):
        """What down_proj reads, from what gate and up read."""
        gate = x @ w["gate"].T
        return gate / (1 + np.exp(-gate)) * (x @ w["up"].T)

    def inputs(self, hidden, w):
        """{group: what its consumers read}, and the layer's output."""
        found = {"qkv": self.norm(hidden, w["norm1"])}
        found["o"] = self.attended(found["qkv"], w)
        hidden = hidden + found["o"] @ w["o"].T
        found["gate_up"] = self.norm(hidden, w["norm2"])
        found["down"] = self.gated(found["gate_up"], w)
        return found, hidden + found["down"] @ w["down"].T

    def module(self, group, x, w):
        """Output of the module that a group belongs to."""
        return (self.attended(x, w) @ w["o"].T if group == "qkv" else
                self.gated(x, w) @ w["down"].T)


def round_trip(w, size, range_of=None, levels=15):
    """Q(w) of rows in groups of `size`; range_of(lowest, highest) gives another range."""
    groups = w.reshape(len(w), -1, size)
    low, high = groups.min(-1, initial=0), groups.max(-1, initial=0)
    if range_of:
        low, high = range_of(low, high)
    scale = (np.maximum(high - low, 1e-5) / levels).astype(np.float16).astype(np.float64)
    scale, low, high = (a[..., None] for a in (scale, low, high))
    zero = np.clip(-np.rint(low / scale), 0, levels)
    code = np.clip(np.rint(np.clip(groups, low, high) / scale) + zero, 0, levels)
    return ((code - zero) * scale).reshape(w.shape)


def cuts(shape):
    """[(factor above, factor below) of a range, or both of its magnitude]"""
    if shape == "symmetric":
        def both(cut):
            def cut_range(low, high):
                limit = np.maximum(high, -low) * cut
                return np.maximum(low, -limit), np.minimum(high, limit)
            return cut_range
        return {j: both(cut) for j, cut in enumerate(CUTS)}
    return {(j, k): lambda low, high, above=above, below=below: (low * below, high * above)
            for j, above in enumerate(CUTS) for k, below in enumerate(CUTS)}


def clip(w, s, gram, size, shape):
    """Q of w * s with the best cut of each row and group, and how many trials it had."""
    found = {}
    blocks = [gram[i:i + size, i:i + size] for i in range(0, len(gram), size)]
    scaled = w * s

    def trial(key):
        if key not in found:
            value = round_trip(scaled, size, candidates[key])
            error = ((scaled - value) / s).reshape(len(w), -1, size)
            found[key] = value, np.stack([np.sum(error[:, g] @ block * error[:, g], axis=1)
                                          for g, block in enumerate(blocks)], axis=1)
        return found[key]

    candidates = cuts(shape)
    if shape == "symmetric":
        keys = np.argmin([trial(j)[1] for j in range(10)], axis=0)
        choice = keys[None]
    else:
        errors = np.array([[trial((j, k))[1] for k in range(10)] for j in range(10)])
        first = np.argmin(np.stack([errors[j, j] for j in range(10)]), axis=0)
        above = np.argmin(np.take_along_axis(errors, first[None, None], axis=1)[:, 0], axis=0)
        below = np.argmin(np.take_along_axis(errors, above[None, None], axis=0)[0], axis=0)
        choice = np.stack([above, below])
    best = np.empty_like(scaled).reshape(len(w), -1, size)
    for key in {tuple(pair) for pair in choice.reshape(len(choice), -1).T}:
        here = np.all(choice == np.array(key)[:, None, None], axis=0)
        value = trial(key if len(key) > 1 else key[0])[0].reshape(best.shape)
        best[here] = value[here]
    return best.reshape(w.shape)


def mean_weight(weights, size):
    total = sum((np.abs(w.reshape(len(w), -1, size)) /
                 (np.abs(w.reshape(len(w), -1, size)).max(-1, keepdims=True) + 1e-6))
                .reshape(w.shape).sum(0) for w in weights)
    return total / sum(len(w) for w in weights)


def scales(alpha, duo, m, w):
    s = m ** alpha / (w ** (1 - alpha) + 1e-4) if duo else m ** alpha
    s = np.maximum(s, 1e-4)
    return s / np.sqrt(s.max() * s.min())
