# SPDX-License-Identifier: MIT
"""awqrun's tokenizer and Hugging Face tokenizers, side by side; skipped where it is missing.

    pip install tokenizers==0.22.1
    cd tests && python3 -m unittest -v peers.test_tokenizers
    AWQ_SEED=7 AWQ_TOKENIZERS="Llama-3.1-8B/tokenizer.json Qwen3-8B/tokenizer.json" \\
        python3 -m unittest -v peers.test_tokenizers

Each run takes other strings (AWQ_SEED), and real tokenizer.json files are compared too."""

import json
import os
import pathlib
import time
import unittest

from support.case import Case
from tokenizer.test_ids import configurations, encode, texts

try:
    import tokenizers
except ImportError:
    tokenizers = None


@unittest.skipUnless(tokenizers, "tokenizers is not installed here")
class SideBySide(Case):
    def compare(self, path, documents):
        theirs = tokenizers.Tokenizer.from_file(str(path)).encode_batch(documents)
        for document, ids, encoding in zip(documents, encode(path, documents), theirs):
            self.assertEqual(ids, encoding.ids, repr(document))

    def paths(self):
        for name in configurations.CONFIGURATIONS:
            path = self.folder / f"{name}.json"
            path.write_text(json.dumps(configurations.build(name)))
            yield name, path
        for name in os.environ.get("AWQ_TOKENIZERS", "").split():
            yield name, pathlib.Path(name)

    def test_ids_are_equal(self):
        seed = int(os.environ.get("AWQ_SEED", time.time_ns()))
        documents = [*texts.CORPUS, *texts.fuzzed(int(os.environ.get("AWQ_COUNT", 3000)), seed)]
        for name, path in self.paths():
            with self.subTest(tokenizer=name, seed=seed):
                self.compare(path, documents)


if __name__ == "__main__":
    unittest.main()
