# SPDX-License-Identifier: MIT
"""Models that transformers has no class of, as their hub's code writes them, each with the Llama of
transformers that computes the same: InternLM, InternLM 2 (q, k and v in one tensor, by groups of
heads), InternLM 3, and a Llama by another name."""

import json

import numpy as np
from described import Model
from support import safetensors


HEADS, KV_HEADS, HEAD, HIDDEN, INNER, VOCAB = 4, 2, 16, 64, 160, 128
SIZES = dict(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=2,
             num_attention_heads=HEADS, max_position_embeddings=256, hidden_act="silu",
             rms_norm_eps=0.01, bos_token_id=1, eos_token_id=2, pad_token_id=2,
             initializer_range=0.02, tie_word_embeddings=False, use_cache=True)


def llama_layer(kv_heads, head_dim, biased):
    widths = {"self_attn.q_proj": (HEADS * head_dim, HIDDEN),
              "self_attn.k_proj": (kv_heads * head_dim, HIDDEN),
              "self_attn.v_proj": (kv_heads * head_dim, HIDDEN),
              "self_attn.o_proj": (HIDDEN, HEADS * head_dim),
              "mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN),
              "mlp.down_proj": (HIDDEN, INNER)}
    shapes = {f"{name}.weight": shape for name, shape in widths.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in widths.items() if biased(name)}
    return shapes | {"input_layernorm.weight": (HIDDEN,),
                     "post_attention_layernorm.weight": (HIDDEN,)}


def described(config, layer, ends, norms=None, scales=None):
    tensors = {f"model.layers.{i}.{name}": shape for i in range(config["num_hidden_layers"])
               for name, shape in layer.items()} | ends
    return {"model_type": config["model_type"], "config": config,
            "tensors": {name: list(tensors[name]) for name in sorted(tensors)},
            "norms": norms, "scales": scales or {}}


LLAMA_ENDS = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,),
              "lm_head.weight": (VOCAB, HIDDEN)}


def write_llama(folder, config, tensors, **more):
    """The same model as transformers' Llama: names and keys in its words."""
    kept = {key: config[key] for key in (*SIZES, "rope_theta", "rope_scaling",
                                         "num_key_value_heads", "head_dim") if key in config}
    (folder / "config.json").write_text(json.dumps(
        {**kept, **more, "model_type": "llama", "dtype": config["torch_dtype"]}))
    safetensors.write_raw(folder / "model.safetensors", tensors)


# ---- InternLM: `bias` is of q, k, v and o; no grouped heads ----

def internlm():
    config = dict(SIZES, architectures=["InternLMForCausalLM"], model_type="internlm", bias=True,
                  rope_theta=500.0, torch_dtype="bfloat16", dtype="bfloat16",
                  auto_map={"AutoModelForCausalLM": "modeling_internlm.InternLMForCausalLM"})
    return described(config, llama_layer(HEADS, HEAD, lambda name: "attn" in name), LLAMA_ENDS)


def internlm_as_llama(folder, config, tensors):
    write_llama(folder, config, tensors, attention_bias=config["bias"])


# ---- InternLM 2 ----

INTERNLM2_NAMES = {
    "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj", "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "model.tok_embeddings": "model.embed_tokens"}


def internlm2():
    config = dict(SIZES, architectures=["InternLM2ForCausalLM"], model_type="internlm2",
                  num_key_value_heads=KV_HEADS, bias=True, rope_theta=500.0, rope_scaling=None,
                  attn_implementation="eager", pretraining_tp=1, torch_dtype="bfloat16",
                  dtype="bfloat16",
                  auto_map={"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"})
    rows = (HEADS + 2 * KV_HEADS) * HEAD
    layer = {"attention.wqkv.weight": (rows, HIDDEN), "attention.wqkv.bias": (rows,),
             "attention.wo.weight": (HIDDEN, HEADS * HEAD), "attention.wo.bias": (HIDDEN,),
             "feed_forward.w1.weight": (INNER, HIDDEN), "feed_forward.w3.weight": (INNER, HIDDEN),
             "feed_forward.w2.weight": (HIDDEN, INNER), "attention_norm.weight": (HIDDEN,),
             "ffn_norm.weight": (HIDDEN,)}
    return described(config, layer, {"model.tok_embeddings.weight": (VOCAB, HIDDEN),
                                     "model.norm.weight": (HIDDEN,),
                                     "output.weight": (VOCAB, HIDDEN)})


def split_qkv(name, dtype, shape, data):
    """Rows of each group: its query heads, its key head, its value head."""
    bits = np.frombuffer(data, np.uint16).reshape(KV_HEADS, -1, HEAD, *shape[1:])
    parts = {"q": bits[:, :-2], "k": bits[:, -2], "v": bits[:, -1]}
    for part, rows in parts.items():
        rows = np.ascontiguousarray(rows).reshape(-1, *shape[1:])
        yield (name.replace("attention.wqkv", f"self_attn.{part}_proj"),
               (dtype, list(rows.shape), rows.tobytes()))


def internlm2_as_llama(folder, config, tensors):
    found = {}
    for name, raw in tensors.items():
        if "wqkv" in name:
            found.update(split_qkv(name, *raw))
            continue
        for ours, theirs in INTERNLM2_NAMES.items():
            name = name.replace(ours, theirs)
        found["lm_head.weight" if name == "output.weight" else name] = raw
    write_llama(folder, config, found, attention_bias=config["bias"])


# ---- InternLM 3: `qkv_bias` is of q, k and v, `bias` of o and the MLP ----

def internlm3():
    config = dict(SIZES, architectures=["InternLM3ForCausalLM"], model_type="internlm3",
                  num_key_value_heads=KV_HEADS, head_dim=32, qkv_bias=True, bias=True,
                  rope_theta=500.0, rope_scaling={"rope_type": "dynamic", "factor": 6.0},
                  torch_dtype="bfloat16", dtype="bfloat16", attention_dropout=0.0,
                  auto_map={"AutoModelForCausalLM": "modeling_internlm3.InternLM3ForCausalLM"})
    return described(config, llama_layer(KV_HEADS, 32, lambda name: True), LLAMA_ENDS)


def internlm3_as_llama(folder, config, tensors):
    write_llama(folder, config, tensors, attention_bias=config["qkv_bias"],
                mlp_bias=config["bias"])


# ---- a Llama whose model_type nobody knows, as Yi was ----

def yi():
    config = dict(SIZES, architectures=["LlamaForCausalLM"], model_type="some_llama",
                  num_key_value_heads=KV_HEADS, rope_theta=500.0, rope_scaling=None,
                  pretraining_tp=1, torch_dtype="bfloat16", dtype="bfloat16")
    return described(config, llama_layer(KV_HEADS, HEAD, lambda name: False), LLAMA_ENDS)


THETA = {"theta": {"rope_theta": 2000.0}}
HUB = {
    "internlm": (internlm, internlm_as_llama, THETA),
    "internlm2": (internlm2, internlm2_as_llama, THETA | {
        "same: dynamic, within its positions": {
            "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "linear": {"rope_scaling": {"type": "linear", "factor": 2.0}}}),
    "internlm3": (internlm3, internlm3_as_llama, THETA | {
        "same: within its positions": {"rope_scaling": None}}),
    "some_llama": (yi, write_llama, THETA),
}
MODELS = {name: Model("LlamaForCausalLM", {}, changes, describe=describe, stand_in=stand_in,
                      respell=False) for name, (describe, stand_in, changes) in HUB.items()}
