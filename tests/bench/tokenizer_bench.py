#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Megabytes a second of the tokenizer on one core, in seconds of the process.

    tests/bench/tokenizer_bench.py build/release/tests/tokenizer/encode_documents FOLDER...

FOLDER has text: what is UTF-8 below it, up to 20 MB. Beside it, strings of the fuzz generator, in
which next to no word comes twice, and one word of a megabyte. With the tokenizers package
installed, --peer tells its rate on the first 2 MB, one document after another."""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "data" / "tokenizers"))
import configurations  # noqa: E402
import texts  # noqa: E402

NAMES = ("llama3", "qwen2", "tekken", "llama2", "mistral3", "smollm")


def documents_below(folders, limit=20_000_000):
    documents, total = [], 0
    for path in (path for folder in folders for path in sorted(pathlib.Path(folder).rglob("*"))):
        if total < limit and path.is_file():
            try:
                documents.append(path.read_bytes().decode())
                total += len(documents[-1])
            except (UnicodeDecodeError, OSError):
                pass
    return documents


def rate(encoder, tokenizer, documents):
    data = b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, documents))
    done = subprocess.run([encoder, tokenizer, "2"], input=data, capture_output=True, check=True)
    return done.stderr.decode().strip()


def peer_rate(tokenizer, documents):
    from tokenizers import Tokenizer
    library, bytes_done, begin = Tokenizer.from_file(tokenizer), 0, time.process_time()
    for document in documents:
        if bytes_done < 2_000_000:
            library.encode(document)
            bytes_done += len(document.encode())
    return f"{bytes_done / 1e6 / (time.process_time() - begin):.1f} MB/s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoder")
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--peer", action="store_true", help="the tokenizers package, too")
    options = parser.parse_args()
    kinds = {"text": documents_below(options.folders), "fuzzed": texts.fuzzed(40000, 3),
             "one word": ["ab" * 500_000]}
    for name in NAMES:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(configurations.build(name), file)
            file.flush()
            rates = [f"{kind} {rate(options.encoder, file.name, documents)}"
                     for kind, documents in kinds.items()]
            if options.peer:
                rates.append(f"tokenizers {peer_rate(file.name, kinds['text'])}")
        print(f"{name:9}", ", ".join(rates), flush=True)


if __name__ == "__main__":
    main()
