# SPDX-License-Identifier: MIT
"""The forward pass of mixtures of experts in numpy, float64, from a checkpoint's tensors, quantized
or not: attention with biases and head norms, then the experts of a layer that has them."""

import numpy as np

from support.reference import Llama


def silu(x):
    return x / (1 + np.exp(-x))


class Mixture(Llama):
    """A model of tests/data/experts, and what is quantized of it."""

    def weight(self, name):
        return self.tensors[name + ".weight"]

    def project(self, x, name):
        return x @ self.weight(name).T + self.tensors.get(name + ".bias", 0)

    def heads(self, x, count):
        """As the base class, with q_norm or k_norm before the rotation."""
        norm = self.head_norms.pop(0) if self.head_norms else None
        if norm is not None:
            d = x.shape[1] // count
            heads = x.reshape(-1, d)
            heads = heads / np.sqrt((heads**2).mean(-1, keepdims=True) +
                                    self.config["rms_norm_eps"])
            x = (heads * norm).reshape(x.shape)
        return super().heads(x, count)

    def attend(self, x, prefix):
        q, k, v = (self.project(x, f"{prefix}self_attn.{name}_proj") for name in "qkv")
        self.head_norms = [self.tensors.get(f"{prefix}self_attn.{name}_norm.weight")
                           for name in "qk"]
        # the base class multiplies by q, k, v itself: identities, and what they would give
        width = len(q[0]), len(k[0]), len(v[0])
        parts = np.split(np.eye(sum(width)), np.cumsum(width)[:2])
        return self.attention(np.concatenate([q, k, v], 1), *parts)

    def mlp(self, x, name, gate="gate_proj", up="up_proj", down="down_proj"):
        inner = silu(self.project(x, f"{name}.{gate}")) * self.project(x, f"{name}.{up}")
        return self.project(inner, f"{name}.{down}")

    def mix(self, y, prefix):
        """What the experts put out for y [length, channels]."""
        mixtral = self.config["model_type"] == "mixtral"
        module = prefix + ("block_sparse_moe" if mixtral else "mlp")
        names = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
        logits = self.project(y, module + ".gate")
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        chosen = np.argsort(-logits, -1, kind="stable")[:, :self.config["num_experts_per_tok"]]
        out = np.zeros_like(y)
        for row, experts in enumerate(chosen):
            total = weights[row, experts].sum() if mixtral or self.config["norm_topk_prob"] else 1
            for expert in experts:
                out[row] += weights[row, expert] / total * self.mlp(
                    y[row:row + 1], f"{module}.experts.{expert}", *names)[0]
        if module + ".shared_expert_gate.weight" in self.tensors:
            gate = 1 / (1 + np.exp(-self.project(y, module + ".shared_expert_gate")))
            out += gate * self.mlp(y, module + ".shared_expert")
        return out

    def layer(self, x, index):
        prefix = f"model.layers.{index}."
        x = x + self.project(self.attend(self.norm(x, prefix + "input_layernorm"), prefix),
                             prefix + "self_attn.o_proj")
        y = self.norm(x, prefix + "post_attention_layernorm")
        dense = prefix + "mlp.gate_proj.weight" in self.tensors
        return x + (self.mlp(y, prefix + "mlp") if dense else self.mix(y, prefix))

    def log_probabilities(self, ids):
        if "lm_head.weight" not in self.tensors:
            self.tensors["lm_head.weight"] = self.tensors["model.embed_tokens.weight"]
        return super().log_probabilities(ids)

    def mean_nll(self, tokens):
        """Over positions 1.. of each sequence."""
        return -np.mean([self.log_probabilities(ids)[np.arange(len(ids) - 1), ids[1:]].mean()
                         for ids in tokens])
