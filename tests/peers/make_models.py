#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains small models with activation outliers, to choose defaults by: make_models.py OUT [NAME...]

Each is of another family and another size than tests/data's, trained from nothing on corpus.py's
text for some minutes of a CPU, and then rewritten without changing what it computes: in each
layer, the 3 % most used channels of every linear input carry activations many times larger (the
norm's weight or the producer's rows multiplied, the consumers' columns divided), as in large
language models. Vocabulary, calibration and evaluation tokens are those of the demo model.

Needs torch, transformers, tokenizers from the Python registry."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

import torch
from tokenizers import Tokenizer
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          MixtralConfig, MixtralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

HERE = pathlib.Path(__file__).resolve().parent
DEMO = HERE.parent / "data" / "demo-llama-outliers"
LENGTH, BATCH = 512, 4
OUTLIERS = 0.03

COMMON = dict(vocab_size=1024, bos_token_id=1022, eos_token_id=1023, max_position_embeddings=1024,
              attention_dropout=0.0)
# name: (class, config, steps of BATCH * LENGTH tokens, how many times larger outliers are)
MODELS = {
    "qwen2-tied": (Qwen2ForCausalLM, Qwen2Config(
        hidden_size=256, intermediate_size=640, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, rms_norm_eps=1e-6, sliding_window=None,
        **COMMON),
        600, (20, 60)),
    "mistral-gqa": (MistralForCausalLM, MistralConfig(
        hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, head_dim=32, sliding_window=None, tie_word_embeddings=False,
        **COMMON),
        600, (10, 30)),
    "llama-larger": (LlamaForCausalLM, LlamaConfig(
        hidden_size=512, intermediate_size=1408, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=4, head_dim=64, tie_word_embeddings=False, rms_norm_eps=1e-5,
        **COMMON),
        120, (20, 80)),
    "qwen3-wide": (Qwen3ForCausalLM, Qwen3Config(
        hidden_size=384, intermediate_size=896, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=4, head_dim=64, tie_word_embeddings=True, rms_norm_eps=1e-6, **COMMON),
        600, (40, 100)),
    "mixtral-8": (MixtralForCausalLM, MixtralConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=8, num_experts_per_tok=2, sliding_window=None,
        tie_word_embeddings=False, rms_norm_eps=1e-5, router_aux_loss_coef=0.05, **COMMON),
        400, (10, 30)),
    "qwen3-moe-32": (Qwen3MoeForCausalLM, Qwen3MoeConfig(
        hidden_size=128, moe_intermediate_size=64, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_experts=32,
        num_experts_per_tok=4, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[],
        tie_word_embeddings=True, router_aux_loss_coef=0.01, **COMMON),
        1000, (20, 60)),
}


# ---- training ----

def training_rows(out):
    """Tokens of the training text, [rows, LENGTH + 1]"""
    text = out / "train.txt"
    if not text.exists():
        subprocess.run([sys.executable, HERE / "corpus.py", "--seed", "20240", "--mb", "8",
                        "--out", text], check=True)
    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    documents = text.read_text().split("%%\n")[:-1]
    ids = []
    for encoding in tokenizer.encode_batch(documents, add_special_tokens=False):
        ids += [COMMON["bos_token_id"], *encoding.ids, COMMON["eos_token_id"]]
    rows = len(ids) // (LENGTH + 1)
    return torch.tensor(ids[:rows * (LENGTH + 1)]).reshape(rows, LENGTH + 1)


def train(model, rows, steps):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    generator = torch.Generator().manual_seed(7)
    sparse = hasattr(model.config, "router_aux_loss_coef")
    model.train()
    start = time.time()
    for step in range(steps):
        batch = rows[torch.randint(len(rows), (BATCH,), generator=generator)]
        output = model(batch[:, :-1], **({"output_router_logits": True} if sparse else {}))
        loss = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1),
                                                 batch[:, 1:].flatten())
        optimizer.zero_grad()  # experts are balanced by a loss of their own
        (loss + model.config.router_aux_loss_coef * output.aux_loss if sparse else loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step + 1 == steps:
            print(f"  step {step} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)
    model.eval()


# ---- outliers ----

def mean_inputs(model, tokens):
    """{linear: mean |x| of its input channels}"""
    means, hooks = {}, []
    for name, module in model.model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            def hook(_, inputs, name=name):
                means[name] = inputs[0].abs().flatten(0, -2).mean(0)
            hooks.append(module.register_forward_pre_hook(hook))
    with torch.no_grad():
        model(tokens)
    for hook in hooks:
        hook.remove()
    return means


def factors(mean, between, generator):
    """What channels are multiplied by: 1, but for the most used ones."""
    loud = mean.topk(max(1, round(OUTLIERS * len(mean)))).indices
    result = torch.ones_like(mean)
    low, high = between
    result[loud] = low + (high - low) * torch.rand(len(loud), generator=generator)
    return result


def scale(producer, consumers, by, repeats=None):
    """producer's outputs *= by, consumers' columns /= by, each `repeats` heads apart."""
    producer.weight.data *= by if producer.weight.dim() == 1 else by[:, None]
    if getattr(producer, "bias", None) is not None:
        producer.bias.data *= by
    for consumer in consumers:
        consumer.weight.data /= by if repeats is None else repeats(by)


def mlps_of(layer):
    """[[gate, up, down], ..] of a layer, and its router if it has one."""
    mlp = layer.block_sparse_moe if hasattr(layer, "block_sparse_moe") else layer.mlp
    names = ("w1", "w3", "w2") if hasattr(layer, "block_sparse_moe") else (
        "gate_proj", "up_proj", "down_proj")
    experts = getattr(mlp, "experts", [mlp])
    routers = [mlp.gate] if hasattr(mlp, "experts") else []
    return [[getattr(expert, name) for name in names] for expert in experts], routers


def make_outliers(model, tokens, between):
    generator = torch.Generator().manual_seed(11)
    means = mean_inputs(model, tokens)
    names = {module: name for name, module in model.model.layers.named_modules()}
    config = model.config
    for i, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        mlps, routers = mlps_of(layer)
        heads, kv = config.num_attention_heads, config.num_key_value_heads
        width = attention.head_dim

        def repeat(by):
            return by.reshape(kv, 1, width).expand(kv, heads // kv, width).flatten()

        o_mean = means[f"{i}.self_attn.o_proj"].reshape(kv, heads // kv, width).mean(1).flatten()
        scale(layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj),
              factors(means[f"{i}.self_attn.q_proj"], between, generator))
        readers = [*routers, *(linear for gate, up, _ in mlps for linear in (gate, up))]
        scale(layer.post_attention_layernorm, readers,
              factors(means[names[readers[0]]], between, generator))
        scale(attention.v_proj, (attention.o_proj,), factors(o_mean, between, generator), repeat)
        for _, up, down in mlps:
            if names[down] in means:  # of an expert: some token came there
                scale(up, (down,), factors(means[names[down]], between, generator))


def begin(name, kind, config):
    torch.manual_seed(3)
    model = kind(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{name}: {parameters / 1e6:.2f} M parameters", flush=True)
    return model


def rewrite(name, model, tokens, outliers):
    """Calls `outliers`, which must not change what the model computes."""
    with torch.no_grad():
        before = model(tokens).logits
        outliers()
        after = model(tokens).logits
    worst = (after - before).abs().max().item()
    print(f"  outliers change logits by {worst:.2g} of {before.abs().max().item():.2g}")
    if worst > 1e-2:
        sys.exit(f"{name}: outliers changed logits by {worst}")


def make(name, out, rows):
    kind, config, steps, between = MODELS[name]
    model = begin(name, kind, config)
    train(model, rows, steps)
    tokens = rows[:8, :-1]
    rewrite(name, model, tokens, lambda: make_outliers(model, tokens, between))
    model.to(torch.bfloat16).save_pretrained(out / name)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "calib.h5",
                 "eval.h5"):
        shutil.copy(DEMO / file, out / name)


def main(about, models, make):
    """Each of the models that is not there yet, by make(name, folder, rows of tokens)."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=list(models), metavar="NAME")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = training_rows(options.out)
    print(f"{rows.numel() / 1e6:.1f} M tokens to train on", flush=True)
    for name in options.names:
        if not (options.out / name / "config.json").exists():
            make(name, options.out, rows)


if __name__ == "__main__":
    main(__doc__, MODELS, make)
