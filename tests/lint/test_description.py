# SPDX-License-Identifier: MIT
"""A layer is data (io/model/layer.h): what its linears, norms and scale groups are called, and
which family has which, is said in io/model and io/families, and what is in an attention or MLP of a
kind in the files of that kind. Code elsewhere walks the arrays."""

import re
import unittest

from support.tree import lines_of, sources

FOLDERS = ("coordinator", "io", "jobs", "kernels", "layers", "worker")
# Where the names are at home, and texts that tell a user what names look like.
HOME = ("io/model/", "io/families/")
TEXTS = {
    "jobs/options/option_table.c": ("model.layers.7.mlp.down_proj", "o_proj's scales"),
    "coordinator/check/format.c": ("model.layers.0.mlp.down_proj",),
}
FAMILIES = set(re.findall(r'\.model_type = "(\w+)"',
                          "\n".join(lines_of("io/families/families.c"))))
NAMES = re.compile(r"\b([a-z0-9]+_proj|self_attn|block_sparse_moe|mlp\.[a-z]|w[123]|"
                   r"\w*layernorm|shared_expert|qkv|gate_up|" + "|".join(sorted(FAMILIES)) + r")\b")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def code_strings(path):
    """(line number, text) of a file's string literals outside comments."""
    text = "\n".join(lines_of(path))
    text = re.sub(r"/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), text, flags=re.S)
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("#include"):
            for match in STRING.finditer(line):
                yield number, match.group(1)


class Description(unittest.TestCase):
    def test_the_table_of_families_is_found(self):
        self.assertLessEqual({"llama", "qwen3_moe", "phi3", "gemma2"}, FAMILIES)

    def test_names_of_a_layers_parts_are_said_in_its_description_only(self):
        found = []
        for path in sources(".c", ".h", ".cu", ".cuh"):
            if path.parts[0] not in FOLDERS or str(path).startswith(HOME):
                continue
            for number, text in code_strings(path):
                for allowed in TEXTS.get(str(path), ()):
                    text = text.replace(allowed, "")
                match = NAMES.search(text)
                if match and not is_a_chat_template(path, text):
                    found.append(f'{path}:{number}: "{text}" names {match.group()}')
        if found:
            self.fail("\n".join(found))


def is_a_chat_template(path, text):
    """--chat-template mistral is no family."""
    return "chat" in path.name or "mistral" in text and "llama3" in text


if __name__ == "__main__":
    unittest.main()
