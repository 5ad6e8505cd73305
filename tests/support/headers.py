# SPDX-License-Identifier: MIT
"""A checkpoint of any size that is headers alone: its tensors are holes in a sparse file."""

import itertools
import json
import math
import struct

LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
    "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
    "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "tie_word_embeddings": False, "hidden_act": "silu"}

QWEN3_235B = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "torch_dtype": "bfloat16",
    "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 94,
    "num_attention_heads": 64, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
    "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "tie_word_embeddings": False, "hidden_act": "silu", "num_experts": 128,
    "num_experts_per_tok": 8, "moe_intermediate_size": 1536, "norm_topk_prob": True,
    "decoder_sparse_step": 1, "mlp_only_layers": []}


def mlp_shapes(config, name, inner):
    hidden = config["hidden_size"]
    return {f"{name}.gate_proj": (inner, hidden), f"{name}.up_proj": (inner, hidden),
            f"{name}.down_proj": (hidden, inner)}


def shapes(config):
    """{name: shape} of the tensors of a Llama or a Qwen3 mixture."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim", hidden // heads)
    q, kv = heads * head_dim, config["num_key_value_heads"] * head_dim
    layer = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden),
             "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, q),
             "input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
    if "num_experts" in config:
        layer |= {"self_attn.q_norm": (head_dim,), "self_attn.k_norm": (head_dim,),
                  "mlp.gate": (config["num_experts"], hidden)}
        for expert in range(config["num_experts"]):
            layer |= mlp_shapes(config, f"mlp.experts.{expert}", config["moe_intermediate_size"])
    else:
        layer |= mlp_shapes(config, "mlp", config["intermediate_size"])
    found = {f"model.layers.{i}.{name}.weight": shape
             for i in range(config["num_hidden_layers"]) for name, shape in layer.items()}
    ends = (config["vocab_size"], hidden)
    return found | {"model.embed_tokens.weight": ends, "model.norm.weight": (hidden,),
                    "lm_head.weight": ends}


def unfolded(rows):
    """{name: shape} of tests/data/published.json: [name with a * for each number, shape, the spans
    of the first number, of the second, ..]"""
    found = {}
    for pattern, shape, *axes in rows:
        numbers = [[n for first, last in spans for n in range(first, last + 1)] for spans in axes]
        for chosen in itertools.product(*numbers):
            found[pattern.replace("*", "{}").format(*chosen)] = shape
    return found


def write(directory, config, tensors=None):
    """Writes config.json and a sparse model.safetensors in bfloat16."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in (tensors or shapes(config)).items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
