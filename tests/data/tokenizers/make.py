#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains the two vocabularies and writes what Hugging Face tokenizers makes of texts.py's texts.

    pip install tokenizers==0.22.1
    python3 make.py                 # vocabulary.json.gz and expected.json.gz
    python3 make.py --keep          # expected.json.gz only

expected.json.gz: {configuration: {"corpus": [ids of each text], "fuzzed": [sha256 of the ids of 100
texts each], "every_code_point": sha256}}."""

import gzip
import hashlib
import json
import pathlib
import struct
import sys

import configurations
import texts
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
DEMO = HERE.parent / "demo-llama-outliers" / "calib.txt"
FUZZED, SEED, BLOCK = 10000, 1, 100
EVERY = ("qwen2", "tekken", "smollm", "llama2")


def training_text():
    code = [path.read_text() for path in sorted((HERE.parents[2] / "io").glob("t*.c"))]
    known = [text.replace("\0", "") for text in (*texts.CORPUS * 3, *texts.fuzzed(2000, 99))]
    return [DEMO.read_text()[:100000], *code, *(text for text in known if len(text) < 1000)]


def train(kind):
    tokenizer = Tokenizer(models.BPE())
    options = {"vocab_size": 3000, "show_progress": False}
    if kind == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                      **options)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.BpeTrainer(
            special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))],
            limit_alphabet=600, **options)
    tokenizer.train_from_iterator(training_text(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [" ".join(pair) for pair in model["merges"]]
    if kind == "characters":  # runs of spaces and marks inside words, as Llama 2 has the former
        for left, right in (("▁", "▁"), ("▁▁", "▁▁"), ("▁▁▁▁", "▁▁▁▁"), (".", "▁"), (".▁", "the")):
            if right in vocab and left in vocab:
                merges.append(f"{left} {right}")
                vocab.setdefault(left + right, len(vocab))
    return {"vocab": vocab, "merges": merges}


def write(name, value):
    with open(HERE / name, "wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def digest(encodings):
    """sha256 of each encoding's count and ids, little-endian int32."""
    sha = hashlib.sha256()
    for ids in encodings:
        sha.update(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
    return sha.hexdigest()


def expect(name):
    tokenizer = Tokenizer.from_str(json.dumps(configurations.build(name)))
    fuzzed = [e.ids for e in tokenizer.encode_batch(texts.fuzzed(FUZZED, SEED))]
    expected = {"corpus": [e.ids for e in tokenizer.encode_batch(list(texts.CORPUS))],
                "fuzzed": [digest(fuzzed[i:i + BLOCK]) for i in range(0, FUZZED, BLOCK)]}
    if name in EVERY:
        every = tokenizer.encode_batch(texts.every_code_point())
        expected["every_code_point"] = digest(e.ids for e in every)
    return expected


def main():
    if "--keep" not in sys.argv:
        write("vocabulary.json.gz", {kind: train(kind) for kind in ("bytes", "characters")})
    write("expected.json.gz", {"tokenizers": tokenizers.__version__,
                               **{name: expect(name) for name in configurations.CONFIGURATIONS}})


if __name__ == "__main__":
    main()
