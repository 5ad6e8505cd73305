# SPDX-License-Identifier: MIT
"""How a model of make.py is described: what is said to transformers' class, and what is changed
once. Every trait of a family is switched on, and the likelihood shows each key's change."""

import dataclasses
import typing

from support import random_model
from support.random_model import ABSENT

# Sequences are of 96 tokens: windows are shorter, and original lengths lie on either side.
SIZES = dict(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
FULL, WINDOW, CHUNK = "full_attention", "sliding_attention", "chunked_attention"
LINEAR = "linear_attention"
GEMMA_EMBEDDING = {r"embed_tokens": 0.6}  # multiplied by the root of the width


@dataclasses.dataclass
class Model:
    model_class: str
    options: dict
    changes: dict = dataclasses.field(default_factory=dict)
    config_class: str = ""
    dtype: str = "bfloat16"
    norms: typing.Optional[str] = None  # "1 + w"
    scales: dict = dataclasses.field(default_factory=dict)  # of random_model, by pattern
    fused: bool = False  # as transformers 5 names tensors in memory
    transposed: bool = False  # stacks of experts, which transformers 5 turns when it loads them
    names: dict = dataclasses.field(default_factory=dict)  # {pattern: the hub's} for what is saved
    respell: bool = True
    keys: dict = dataclasses.field(default_factory=dict)  # of config.json, which the class drops
    single: str = random_model.CORRECTION.pattern  # whose type is float32 whatever the model's
    copied: dict = dataclasses.field(default_factory=dict)  # {name: shape} of what nobody reads
    dropped: dict = dataclasses.field(default_factory=dict)  # .. and no output holds
    corrected: typing.Optional[typing.Callable] = None  # a loaded model, where transformers errs
    describe: typing.Optional[typing.Callable] = None  # of what transformers lacks
    stand_in: typing.Optional[typing.Callable] = None

    def __post_init__(self):
        base = self.model_class.removesuffix("ForCausalLM")
        self.config_class = self.config_class or base + "Config"


def rope(theta, **more):
    return {"rope_type": "default", "rope_theta": theta, **more}


def yarn(**more):
    return rope(500.0, **{"rope_type": "yarn", "factor": 4.0,
                          "original_max_position_embeddings": 64, **more})


def theta(value=ABSENT):
    return {"rope_parameters": ABSENT if value == ABSENT else rope(value)}
