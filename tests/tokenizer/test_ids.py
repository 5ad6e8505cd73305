# SPDX-License-Identifier: MIT
"""Ids are those of Hugging Face tokenizers: tests/data/tokenizers has what it made of texts."""

import gzip
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import unittest

from support.case import DATA, DEMO, Case, read_json

sys.path.insert(0, str(DATA / "tokenizers"))
import configurations  # noqa: E402
import texts  # noqa: E402

ENCODER = pathlib.Path(os.environ.get("AWQ_BUILD_DIR", DATA.parents[1] / "build/dev")) / \
    "tests/tokenizer/encode_documents"


def encode(path, documents):
    """[ids] of documents; a refusal is an AssertionError that has its sentence."""
    data = b"".join(struct.pack("<I", len(text)) + text
                    for text in (document.encode() for document in documents))
    done = subprocess.run([ENCODER, path], input=data, capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    out, at = [], 0
    while at < len(done.stdout):
        count, = struct.unpack_from("<I", done.stdout, at)
        out.append(list(struct.unpack_from(f"<{count}i", done.stdout, at + 4)))
        at += 4 + 4 * count
    return out


def digest(encodings):
    """As make.py's."""
    sha = hashlib.sha256()
    for ids in encodings:
        sha.update(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
    return sha.hexdigest()


class Ids(Case):
    @classmethod
    def setUpClass(cls):
        with gzip.open(DATA / "tokenizers" / "expected.json.gz", "rt") as file:
            cls.expected = json.load(file)
        cls.fuzzed = texts.fuzzed(10000, 1)

    def tokenizer(self, name):
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(configurations.build(name)))
        return path

    def each(self, check):
        """check(tokenizer.json, expected) of every configuration."""
        self.assertEqual(set(configurations.CONFIGURATIONS), set(self.expected) - {"tokenizers"})
        for name in configurations.CONFIGURATIONS:
            with self.subTest(configuration=name):
                check(self.tokenizer(name), self.expected[name])

    def test_a_corpus_of_many_scripts_has_the_ids_of_the_library(self):
        def check(path, expected):
            self.assertEqual(len(expected["corpus"]), len(texts.CORPUS))
            for text, ids, wanted in zip(texts.CORPUS, encode(path, texts.CORPUS),
                                         expected["corpus"]):
                self.assertEqual(ids, wanted, repr(text[:200]))
        self.each(check)

    def test_ten_thousand_fuzzed_strings_have_the_ids_of_the_library(self):
        def check(path, expected):
            ids = encode(path, self.fuzzed)
            blocks = [digest(ids[i:i + 100]) for i in range(0, len(ids), 100)]
            wrong = [i for i, pair in enumerate(zip(blocks, expected["fuzzed"]))
                     if pair[0] != pair[1]]
            self.assertEqual((len(blocks), wrong), (100, []), "blocks of 100 texts that differ")
        self.each(check)

    def test_every_code_point_has_the_ids_of_the_library(self):
        documents = texts.every_code_point()

        def check(path, expected):
            if "every_code_point" in expected:
                self.assertEqual(digest(encode(path, documents)), expected["every_code_point"])
        self.each(check)

    def test_the_demo_has_the_ids_that_it_was_trained_with(self):
        golden = read_json(DEMO / "golden.json")["tokenizer_examples_without_special_tokens"]
        path = DEMO / "tokenizer.json"
        examples = golden if isinstance(golden, list) else list(golden.values())
        ids = encode(path, [example["text"] for example in examples])
        begin = read_json(DEMO / "tokens.json")["bos"]
        self.assertEqual(ids, [[begin, *example["ids"]] for example in examples])


if __name__ == "__main__":
    unittest.main()
