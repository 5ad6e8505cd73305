# SPDX-License-Identifier: MIT
"""docs/awq.md 2 once more, in numpy and float64: candidates, quantizer, clip search, and what a
module puts out. Written from the page, not from the program."""

import numpy as np

GROUPS = {"qkv": ("q", "k", "v"), "o": ("o",), "gate_up": ("gate", "up"), "down": ("down",)}
CUTS = [1 - j / 20 for j in range(10)]


class Layer:
    """One layer of a support.reference.Llama; states are [sequences, length, channels]."""

    def __init__(self, llama, index):
        self.llama, self.prefix = llama, f"model.layers.{index}."
        self.weights = {name: llama.tensors[f"{self.prefix}{module}.{name}_proj.weight"]
                        for module, names in (("self_attn", "qkvo"),
                                              ("mlp", ("gate", "up", "down")))
                        for name in names}

    def attended(self, x, w):
        """What o_proj reads, from what q, k and v read."""
        return np.stack([self.llama.attention(sequence, w["q"], w["k"], w["v"])
                         for sequence in x])

    @staticmethod
    def gated(x, w):
        """What down_proj reads, from what gate and up read."""
        gate = x @ w["gate"].T
        return gate / (1 + np.exp(-gate)) * (x @ w["up"].T)

    def inputs(self, hidden):
        """{group: what its consumers read}, and the layer's output."""
        w = self.weights
        found = {"qkv": self.llama.norm(hidden, self.prefix + "input_layernorm")}
        found["o"] = self.attended(found["qkv"], w)
        hidden = hidden + found["o"] @ w["o"].T
        found["gate_up"] = self.llama.norm(hidden, self.prefix + "post_attention_layernorm")
        found["down"] = self.gated(found["gate_up"], w)
        return found, hidden + found["down"] @ w["down"].T

    def module(self, group, x, changed):
        """Output of the module that a group belongs to, with some weights changed."""
        w = {**self.weights, **changed}
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
