# SPDX-License-Identifier: MIT
"""Tokenizers in the configurations that models ship, over two small vocabularies of our own:
vocabulary.json.gz has {"bytes": {vocab, merges}, "characters": {vocab, merges}}."""

import gzip
import json
import pathlib

HERE = pathlib.Path(__file__).parent

# The patterns and flags are those of the tokenizer.json of the models named.
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
POSSESSIVE = (r"'(?i:s|d|m|t|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}"
              r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++(?!\S)|\s*[\r\n]|\s+")


def regex(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def string(text, behavior, invert=False):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": invert}


def byte_level(**changes):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
            "use_regex": False, **changes}


def sequence(kind, *items):
    return {"type": "Sequence", kind: list(items)}


def added(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **flags}


def template(*before):
    return {"type": "TemplateProcessing",
            "single": [*({"SpecialToken": {"id": token, "type_id": 0}} for token in before),
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [None], "tokens": [token]}
                               for token in before}}


SENTENCEPIECE = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
PREPEND = sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                   {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
LLAMA3_TOKENS = [added(token) for token in
                 ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                  "<|end_header_id|>", "<|eot_id|>")]
QWEN_TOKENS = [*map(added, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
               added("<tool_call>", special=False), added("</tool_call>", special=False)]
LLAMA2_TOKENS = [added("<unk>"), added("<s>"), added("</s>")]
MISTRAL_TOKENS = [*LLAMA2_TOKENS, added("[INST]"), added("[/INST]")]
FLAGGED = [added("<left>", lstrip=True), added("<right>", rstrip=True),
           added("<both>", lstrip=True, rstrip=True), added("word", single_word=True),
           added("<norm é>", normalized=True, special=False)]

# name: (vocabulary, normalizer, pre-tokenizer, post-processor, added tokens, of the model)
CONFIGURATIONS = {
    "llama3": ("bytes", None, sequence("pretokenizers", regex(LLAMA3), byte_level()),
               sequence("processors", byte_level(add_prefix_space=True, use_regex=True),
                        template("<|begin_of_text|>")), LLAMA3_TOKENS, {"ignore_merges": True}),
    "qwen2": ("bytes", {"type": "NFC"}, sequence("pretokenizers", regex(QWEN2),
                                                 byte_level(trim_offsets=False)),
              byte_level(trim_offsets=False), QWEN_TOKENS, {}),
    "tekken": ("bytes", None, sequence("pretokenizers", regex(TEKKEN), byte_level()),
               template("<s>"), MISTRAL_TOKENS, {"ignore_merges": True}),
    "llama2": ("characters", PREPEND, None, template("<s>"), LLAMA2_TOKENS, SENTENCEPIECE),
    "mistral3": ("characters", None,
                 {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                  "split": False}, template("<s>"), MISTRAL_TOKENS, SENTENCEPIECE),
    "smollm": ("bytes", None, sequence("pretokenizers", {"type": "Digits",
                                                         "individual_digits": True},
                                       byte_level(use_regex=True)), None, QWEN_TOKENS, {}),
    "gpt2": ("bytes", None, byte_level(add_prefix_space=True, use_regex=True), byte_level(),
             FLAGGED, {}),
    "flags": ("bytes", {"type": "NFC"}, sequence("pretokenizers", regex(POSSESSIVE), byte_level()),
              None, FLAGGED, {}),
    "metaspace": ("characters", None, {"type": "Metaspace", "replacement": "▁"}, None,
                  [*LLAMA2_TOKENS, *FLAGGED], {"unk_token": "<unk>"}),
    "splits": ("characters", PREPEND,
               sequence("pretokenizers", string("▁", "MergedWithNext"), string("e", "Removed"),
                        regex(r"\p{P}", "MergedWithPrevious"), regex(r"[a-c]+", "Contiguous"),
                        regex(r"\s+", "Removed", True),
                        {"type": "Digits", "individual_digits": False}),
               None, [added("<norm é>", normalized=True)], {}),
    "kept": ("characters", None, regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", "Removed", True), None,
             LLAMA2_TOKENS, {**SENTENCEPIECE, "fuse_unk": False, "byte_fallback": False}),
}


def build(name):
    """The tokenizer.json of a configuration, as an object."""
    kind, normalizer, pre_tokenizer, post_processor, tokens, model = CONFIGURATIONS[name]
    with gzip.open(HERE / "vocabulary.json.gz", "rt", encoding="utf-8") as file:
        base = json.load(file)[kind]
    following = len(base["vocab"])
    ids = {}
    for token in tokens:
        content = token["content"]
        if content not in base["vocab"]:
            ids[content], following = following, following + 1
        else:
            ids[content] = base["vocab"][content]
    post_processor = json.loads(json.dumps(post_processor))
    for part in (post_processor or {}).get("processors", [post_processor or {}]):
        for special in part.get("special_tokens", {}).values():
            special["ids"] = [ids[special["id"]]]
    # The two spellings of merges.
    merges = base["merges"] if name in ("llama3", "llama2") else \
        [pair.split(" ") for pair in base["merges"]]
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": ids[token["content"]], **token} for token in tokens],
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "post_processor": post_processor, "decoder": None,
            "model": {"type": "BPE", "dropout": None, "unk_token": None,
                      "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **model,
                      "vocab": base["vocab"], "merges": merges}}
