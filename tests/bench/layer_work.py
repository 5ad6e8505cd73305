# SPDX-License-Identifier: MIT
"""The layers that layer_bench.py times: their shapes, and the useful arithmetic of one."""

import json
import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parents[1]

PRESETS = {
    "micro": {"hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4,
              "num_key_value_heads": 2},
    "tiny": {"hidden_size": 512, "intermediate_size": 1536, "num_attention_heads": 8,
             "num_key_value_heads": 4, "head_dim": 64},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 64},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
           "num_key_value_heads": 8, "head_dim": 128},
    "70b": {"hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64,
            "num_key_value_heads": 8, "head_dim": 128},
    "qwen72b": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
                "hidden_size": 8192, "intermediate_size": 29568, "num_attention_heads": 64,
                "num_key_value_heads": 8},
    "experts": {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"],
                "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4,
                "num_key_value_heads": 2, "head_dim": 64, "num_experts": 512,
                "num_experts_per_tok": 8, "moe_intermediate_size": 64},
}
# One layer of published models, by tests/data/published.json: the repository, and what makes of
# that layer the kind that most of the model's are.
PUBLISHED = {
    "qwen3.5-397b": ("Qwen/Qwen3.5-397B-A17B", {"layer_types": ["linear_attention"]}),
    "deepseek-v3": ("deepseek-ai/DeepSeek-V3", {"first_k_dense_replace": 0}),
    "kimi-k2": ("moonshotai/Kimi-K2-Instruct", {"first_k_dense_replace": 0}),
}
EXPERTS = ("num_experts", "n_routed_experts")
PHASES = ("read", "forward", "gram", "search", "clip", "feedback", "pack", "write")


def published_config(preset, layers, experts):
    """The text model's, of so many experts; 0: all."""
    repository, one = PUBLISHED[preset]
    config = json.loads((TESTS / "data" / "published.json").read_text())[repository]["config"]
    config = config.get("text_config", config)
    config = {**config, **{key: value * layers if isinstance(value, list) else value
                           for key, value in one.items()},
              "vocab_size": 1024, "num_hidden_layers": layers,
              "num_nextn_predict_layers": 0}
    if experts:
        key = next(key for key in EXPERTS if key in config)
        config[key] = experts
        config["num_experts_per_tok"] = min(config["num_experts_per_tok"], experts)
        if config.get("n_group", 1) > 1:  # groups of two, as the best two make a group's score
            config.update(n_group=max(experts // 2, 1), topk_group=max(experts // 2, 1))
    return config


def config_of(preset, layers, experts=0):
    if preset in PUBLISHED:
        return published_config(preset, layers, experts)
    return {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu",
            "vocab_size": 1024, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
            "num_hidden_layers": layers, **PRESETS[preset]}


# ---- useful arithmetic of one layer, as layers/quantize/cost.h counts it ----

def linears(model):
    """{name in the layer: (out, in)} of the first layer, from the shard's header."""
    with open(next(model.glob("*.safetensors")), "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = {}
    for name, tensor in header.items():
        found = re.fullmatch(r"model\.layers\.0\.\w+\.(.+)\.weight", name)
        if found and len(tensor["shape"]) == 2:
            shapes[found[1]] = tuple(tensor["shape"])
    return shapes


def attention_flops(config, length):
    """Of a token, beside the linears: both products with half of its sequence in the mean; or what
    a gated delta net does with its state."""
    if "linear_num_value_heads" in config:
        return (6 * config["linear_num_value_heads"] * config["linear_key_head_dim"] *
                config["linear_value_head_dim"])
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    both = 2 * head_dim
    if "kv_lora_rank" in config:
        both = config["qk_nope_head_dim"] + config["qk_rope_head_dim"] + config["v_head_dim"]
    return heads * both * length


def measured_of(group):
    """How often all rows of a group were measured, in parts; of a build without races by each of
    the candidates."""
    return sum(group["measured"]) if "measured" in group else len(group["loss"])


def layer_flops(config, shapes, tokens, length, record):
    """{phase: flops}; the record says which linears read which group and how many tokens that saw,
    on how many rows candidates were measured, whether clip was on, and whether errors were fed
    back."""
    flops = dict.fromkeys(PHASES, 0.0)
    flops["forward"] = tokens * attention_flops(config, length)
    groups = {group.attrs["index"]: group for group in record["groups"].values()}
    seen = {group.attrs["expert"]: group.attrs["tokens"] for group in groups.values()
            if group.attrs.get("expert", -1) >= 0}
    inputs = {}  # {(group, expert): (channels, fed back)}: an expert's own of a shared group, too
    for name, linear in record["linears"].items():
        (out, channels), attrs = shapes[name], linear.attrs
        expert, index = attrs["expert"], attrs["group"]
        flops["forward"] += 2 * seen.get(expert, tokens) * out * channels
        fed_back = attrs["damp"] > 0
        before = inputs.get((index, expert), (channels, False))[1]
        inputs[index, expert] = (channels, before or fed_back)
        if not attrs["groups"]:
            continue  # in full precision
        triangle = out * channels * channels
        flops["search"] += measured_of(groups[index]) * triangle
        flops["pack"] += 2 * triangle
        if attrs["clipped_groups"]:
            flops["clip"] += 20 * out * channels * (out * channels / attrs["groups"])
        flops["feedback"] += triangle * fed_back
    for (index, expert), (channels, fed_back) in inputs.items():
        flops["gram"] += seen.get(expert, tokens) * channels ** 2
        flops["feedback"] += fed_back * channels ** 3 / 3
    return flops
