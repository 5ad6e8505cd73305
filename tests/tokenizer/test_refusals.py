# SPDX-License-Identifier: MIT
"""What a tokenizer.json may hold and awqrun does not do as Hugging Face tokenizers does is refused
by name, with the file."""

import json
import subprocess
import unittest

from support.case import Case
from tokenizer.test_ids import ENCODER, configurations


def regex(pattern):
    return lambda t: t.update(pre_tokenizer=configurations.regex(pattern))


def put(*path, value):
    def change(tokenizer):
        at = tokenizer
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
    return change


def added(**changes):
    return lambda t: t["added_tokens"][-1].update(changes)


class Refusals(Case):
    # (what is changed in "llama3", what the refusal says)
    CHANGES = (
        (put("model", "type", value="Unigram"), "type 'Unigram' is not supported, only BPE is"),
        (put("model", "type", value="WordPiece"), "model type 'WordPiece' is not supported"),
        (put("model", "type", value=None), None),  # as files of before 2021
        (put("model", "dropout", value=0.1), "the model has a 'dropout', which is not supported"),
        (put("model", "continuing_subword_prefix", value="##"), "'continuing_subword_prefix'"),
        (put("model", "end_of_word_suffix", value="</w>"), "'end_of_word_suffix'"),
        (put("model", "continuing_subword_prefix", value=""), None),
        (put("model", "new_field", value=1), "the model has 'new_field', which is not supported"),
        (put("model", "fuse_unk", value=1), "'fuse_unk' of the model is neither true nor false"),
        (put("model", "unk_token", value="<none>"), "'unk_token' is not in the vocabulary"),
        (put("model", "vocab", value=[]), "no vocabulary and merges"),
        (put("model", "vocab", "a", value=-1), "the id of token 'a' is no token id"),
        (put("model", "vocab", "a", value="1"), "the id of token 'a' is no token id"),
        (put("model", "merges", value=["a b c"]), "merge 0 is no pair of tokens"),
        (put("model", "merges", value=[["a"]]), "merge 0 is no pair of tokens"),
        (put("model", "merges", value=["a zqzqzq"]), "merge 0, of 'a' and 'zqzqzq', needs a token"),
        (put("truncation", value={"max_length": 5}), "asks for truncation; set it to null"),
        (put("padding", value={"length": 5}), "asks for padding; set it to null"),
        (put("extra", value={}), "the file has 'extra', which is not supported"),
        (put("normalizer", value={"type": "Lowercase"}),
         "the normalizer 'Lowercase': it is not supported"),
        (put("normalizer", value={"type": "NFC", "form": 2}), "'NFC' has 'form', which is not"),
        (put("normalizer", value={"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}),
         "the normalizer 'Replace': it is supported with a String only"),
        (put("normalizer", value={"type": "Sequence", "normalizers": [{"type": "Strip"}]}),
         "the normalizer 'Strip': it is not supported"),
        (put("pre_tokenizer", value={"type": "Whitespace"}),
         "the pre-tokenizer 'Whitespace': it is not supported"),
        (put("pre_tokenizer", value={"type": "Sequence", "pretokenizers": [
            configurations.byte_level(), {"type": "Digits", "individual_digits": True}]}),
         "the pre-tokenizer 'Digits': ByteLevel must be the last one"),
        (put("pre_tokenizer", "pretokenizers", 0, "behavior", value="Inwards"),
         "the pre-tokenizer 'Split': its behavior is not supported"),
        (put("pre_tokenizer", value={"type": "Metaspace", "replacement": "_"}),
         "its replacement is not U\\+2581"),
        (put("pre_tokenizer", value={"type": "Metaspace", "replacement": "▁",
                                     "prepend_scheme": "last"}), "its prepend_scheme is not"),
        (put("pre_tokenizer", value={"type": "Metaspace", "replacement": "▁",
                                     "add_prefix_space": False}), "contradicts its prepend_scheme"),
        (put("post_processor", value={"type": "BertProcessing"}),
         "post-processor 'BertProcessing' is not supported"),
        (put("post_processor", "processors", 1, "single", value=[]), "leaves out the text"),
        (put("post_processor", "processors", 1, "special_tokens", value={}), "ids are missing"),
        (put("post_processor", "processors", 1, "single", 1, "Sequence", "id", value="B"),
         "part 1 of the post-processor's template is not supported"),
        (added(id=9999), r"added token '<\|eot_id\|>' has id 9999, and its place says \d+"),
        (added(content=""), "an added token has no content"),
        (added(content="<|end_of_text|>", id=3001), "is there twice|its place says"),
        (added(future=True), "an added token has 'future', which is not supported"),
        (regex(r"\p{Han}+"), "a Unicode property other than a general category"),
        (regex(r"\p{Mn}"), "a Unicode property other than a general category"),
        (regex("[一-龥]+"), "characters other than ASCII"), (regex(r"\bword"), "an escape"),
        (regex("(?i:straße)"), "characters other than ASCII"),
        (regex("(?i:stop)"), "letters under \\(\\?i: that Unicode has a ligature of"),
        (regex("(?i:[a-z]+)"), "something else than words under"),
        (regex("(?<=a)b"), "a group other than"), (regex("(?>a)"), "a group other than"),
        (regex("(*FAIL)a"), "a group \\(\\*"), (regex("[a&&b]"), "a nested class"),
        (regex("[[:alpha:]]"), "a nested class"), (regex("[]a]"), "at the start of a class"),
        (regex("[a"), "a class without an end"), (regex("a{1,3}+"), "a repeat {} with a sign"),
        (regex("a{,3}"), "a '{' that is no repeat"), (regex("a.b"), "one of \\. \\^ \\$"),
        (regex("^a"), "one of"), (regex("a*"), "a way to match nothing"),
        (regex("(a"), "the pattern '\\(a' is wrong at 2"), (regex("[^\\S]"), "an escape"),
    )

    def test_each_is_refused_by_name(self):
        base = json.dumps(configurations.build("llama3"))
        path = self.folder / "tokenizer.json"
        for change, sentence in self.CHANGES:
            tokenizer = json.loads(base)
            change(tokenizer)
            path.write_text(json.dumps(tokenizer))
            done = subprocess.run([ENCODER, path], input=b"", capture_output=True, check=False)
            with self.subTest(sentence=sentence):
                self.assertEqual(done.returncode, 1 if sentence else 0, done)
                if sentence:
                    self.assertRegex(done.stderr.decode(), sentence)
                    self.assertIn(f"'{path}", done.stderr.decode())
                    self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_torn_files_are_refused(self):
        base = json.dumps(configurations.build("llama2"))
        path = self.folder / "tokenizer.json"
        for length in range(0, len(base), len(base) // 40):
            path.write_text(base[:length])
            done = subprocess.run([ENCODER, path], input=b"", capture_output=True, check=False)
            self.assertEqual(done.returncode, 1, length)
            self.assertIn("is not valid JSON", done.stderr.decode())


if __name__ == "__main__":
    unittest.main()
