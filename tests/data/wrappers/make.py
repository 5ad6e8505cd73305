#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the small random wrappers of this folder, and models with another head or none, and what
they must score, by transformers.

Each is written by save_pretrained: tensors have the names and the order of the hub. The text models
have weights large enough that every part of the forward pass shows in the result; the towers beside
them are as small as they can be, and see no image. Run once, with torch 2.5.1 and transformers
4.57.6; run again with transformers 5.23.0, it writes each config-transformers5.json and proves that
this version scores the same. The tests read what it wrote and need neither."""

import json
import pathlib
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaConfig,
                          LlavaForConditionalGeneration, Mistral3Config,
                          Mistral3ForConditionalGeneration, MistralConfig, PixtralVisionConfig,
                          Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Config,
                          Qwen2ForSequenceClassification, Qwen3Config, Qwen3Model, Qwen3VLConfig,
                          Qwen3VLForConditionalGeneration)

HERE = pathlib.Path(__file__).parent
TOKENS = json.loads((HERE.parent / "families" / "expected.json").read_text())["tokens"]
TEXT = dict(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
            bos_token_id=1, eos_token_id=2)
TOWER = dict(hidden_size=32, intermediate_size=48, num_attention_heads=2, image_size=16,
             patch_size=4)
QWEN_TOWER = dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=4,
                  out_hidden_size=64, fullatt_block_indexes=[1])
QWEN_TOKENS = dict(image_token_id=0, video_token_id=0, vision_start_token_id=0,
                   vision_end_token_id=0)


def llava():
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**TOWER, num_hidden_layers=2, projection_dim=16),
        text_config=LlamaConfig(**TEXT, rope_theta=500.0, rms_norm_eps=1e-5),
        image_token_index=0, image_seq_length=16)


def mistral3():
    return Mistral3Config(
        vision_config=PixtralVisionConfig(**TOWER, num_hidden_layers=2, hidden_act="silu"),
        text_config=MistralConfig(**TEXT, head_dim=32, sliding_window=None, rope_theta=1000.0),
        image_token_index=0)


def qwen2_5_vl():
    """Biases; positions of three parts; tied."""
    return Qwen2_5_VLConfig(
        vision_config=QWEN_TOWER, tie_word_embeddings=True,
        text_config=dict(**TEXT, rope_theta=1000.0, tie_word_embeddings=True,
                         rope_scaling=dict(type="mrope", mrope_section=[2, 3, 3])),
        **QWEN_TOKENS)


def qwen3_vl():
    """Norms of heads; positions of three parts in turn; features of the tower added to layers."""
    return Qwen3VLConfig(
        vision_config=dict(QWEN_TOWER, deepstack_visual_indexes=[0], num_position_embeddings=16),
        text_config=dict(**TEXT, head_dim=32, rope_theta=1000.0, rope_scaling=dict(
            rope_type="default", mrope_section=[6, 5, 5], mrope_interleaved=True)),
        **QWEN_TOKENS)


MODELS = {
    "llava": (LlavaForConditionalGeneration, llava, torch.bfloat16),
    "mistral3": (Mistral3ForConditionalGeneration, mistral3, torch.float16),
    "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, qwen2_5_vl, torch.bfloat16),
    "qwen3_vl": (Qwen3VLForConditionalGeneration, qwen3_vl, torch.bfloat16),
    # no likelihood: they predict no tokens
    "classifier": (Qwen2ForSequenceClassification,
                   lambda: Qwen2Config(**TEXT, num_labels=3, pad_token_id=0), torch.bfloat16),
    "embedder": (Qwen3Model, lambda: Qwen3Config(**TEXT, head_dim=32), torch.bfloat16),
}

# The same tensors as transformers 4.52 and later call its modules; it loads both.
RENAMED = {"llava": (("language_model.model.", "model.language_model."),
                     ("language_model.lm_head.", "lm_head."),
                     ("vision_tower.", "model.vision_tower."),
                     ("multi_modal_projector.", "model.multi_modal_projector."))}


def randomize(model, generator):
    """As in ../families/make.py: projections that keep the size of what goes through, norms with a
    few loud channels."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("bias"):
            weight.data = 0.3 * noise
        elif weight.dim() == 1:
            weight.data = (1 + 0.2 * noise).abs()
            if name.endswith("layernorm.weight"):
                weight.data[torch.randperm(len(weight), generator=generator)[:2]] *= 8
        elif "embed" in name or "lm_head" in name:
            weight.data = 0.3 * noise
        else:
            weight.data = noise / weight[0].numel() ** 0.5


def mean_nll(model_class, folder):
    """Of each position but the first, in float64."""
    model = model_class.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    tokens = torch.tensor(TOKENS)
    with torch.no_grad():
        logits = model(input_ids=tokens, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:]).item()


def renamed_nll(name, model_class):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        tensors = load_file(HERE / name / "model.safetensors")
        for old, new in RENAMED[name]:
            tensors = {new + key[len(old):] if key.startswith(old) else key: value
                       for key, value in tensors.items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        (folder / "config.json").symlink_to(HERE / name / "config.json")
        return mean_nll(model_class, folder)


def respell():
    expected = json.loads((HERE / "expected.json").read_text())["models"]
    for name, (model_class, _, _) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            model_class.config_class.from_pretrained(HERE / name).save_pretrained(folder)
            text = (pathlib.Path(folder) / "config.json").read_text()
        (HERE / name / "config-transformers5.json").write_text(text)
        if name in expected:
            found = mean_nll(model_class, HERE / name)
            print(f"{name:12} {found:.6f}")
            assert abs(found / expected[name]["mean_nll"] - 1) < 1e-6, name


def main():
    generator = torch.Generator().manual_seed(20252)
    expected = {"how": "torch " + torch.__version__ + ", transformers " +
                       transformers.__version__ + ", float64 forward (norms and softmax in "
                       "float32 where transformers does so) from the stored weights, the tokens of "
                       "../families/expected.json; mean over positions 1.. , natural log",
                "models": {}}
    for name, (model_class, config, dtype) in MODELS.items():
        model = model_class(config())
        randomize(model, generator)
        model.tie_weights()
        model.to(dtype)
        model.save_pretrained(HERE / name)
        if not hasattr(model, "lm_head"):
            continue
        found = mean_nll(model_class, HERE / name)
        expected["models"][name] = {"mean_nll": found}
        print(f"{name:12} {found:.6f}")
        if name in RENAMED:
            assert renamed_nll(name, model_class) == found
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if transformers.__version__.startswith("5."):
    respell()
else:
    main()
