# SPDX-License-Identifier: MIT
"""From text to tokens: what a document is, how sequences are cut, and every kind of bad text."""

import gzip
import json
import re
import sys
import unittest

import h5py
import numpy as np

from support.case import DATA, DEMO, Case, digest, read_json, write_json
from support.program import run

sys.path.insert(0, str(DATA / "tokenizers"))
import configurations  # noqa: E402

DOCUMENTS = [text for text in (DEMO / "calib.txt").read_text().split("%%\n") if text]
END = 1023  # of the demo
CHAT = [{"role": "system", "content": "Be kind."},
        {"role": "user", "content": " What is 2+2?\n"},
        {"role": "assistant", "content": "\nIt is 4, caf\u00e9 e\u0301!"},
        {"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "You're welcome."}]


def rendered(name):
    """CHAT as (text, by the assistant) parts, as the templates of the models' makers have it."""
    parts = []
    for i, message in enumerate(CHAT):
        role, content = message["role"], message["content"]
        mine = role == "assistant"
        if name == "llama3":
            parts += [(f"<|start_header_id|>{role}<|end_header_id|>\n\n", False),
                      (content.strip() + "<|eot_id|>", mine)]
        elif name == "chatml":
            parts += [(f"<|im_start|>{role}\n", False), (content + "<|im_end|>", mine),
                      ("\n", False)]
        elif mine:
            parts += [(" ", False), (content + "</s>", True)]
        elif role == "user":
            system = CHAT[0]["content"] + "\n\n" if i == 1 else ""
            parts += [(f"[INST] {system}{content} [/INST]", False)]
    return parts


class Text(Case):
    def file(self, content, name="text.txt"):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def jsonl(self, values, name="text.jsonl", key="text"):
        return self.file("".join(json.dumps({key: value}) + "\n" for value in values), name)

    def tokenize(self, *text, model=DEMO, options=("--length", "16"), out="tokens.h5"):
        return run("tokenize", "--model", model, "--text", *text, "--out", self.folder / out,
                   *options)

    def made(self, *text, **how):
        """(input_ids, mask or None)."""
        self.succeeds(self.tokenize(*text, **how))
        with h5py.File(self.folder / how.get("out", "tokens.h5")) as file:
            return file["input_ids"][:], file["mask"][:] if "mask" in file else None

    def ids(self, *text, **how):
        return self.made(*text, **how)[0]

    def configured_as(self, name, end):
        """A model directory with a tokenizer of tests/data/tokenizers."""
        model = self.folder / name
        model.mkdir(exist_ok=True)
        write_json(model / "config.json", {**read_json(DEMO / "config.json"), "vocab_size": 4000})
        write_json(model / "tokenizer_config.json", {"eos_token": end})
        (model / "tokenizer.json").write_text(json.dumps(configurations.build(name)))
        return model

    def refuses_text(self, pattern, *text, code=1, **how):
        result = self.fails_with(self.tokenize(*text, **how), pattern, code=code)
        self.assertEqual(result.out, "")
        self.assertFalse((self.folder / "tokens.h5").exists())


class Documents(Text):
    def test_the_demo_text_becomes_the_tokens_that_its_maker_made(self):
        ids = self.ids(self.jsonl(DOCUMENTS), options=("--sequences", "256"))
        with h5py.File(DEMO / "calib.h5") as file:
            np.testing.assert_array_equal(ids, file["input_ids"])

    def test_lines_paragraphs_and_files_are_documents(self):
        lines = ["one line of text", "another line, which is longer", "a third"]
        options = ("--length", "8", "--split")
        wanted = self.ids(self.jsonl(lines), options=("--length", "8"))
        forms = {"lines": ["\n".join(lines), "\n\n" + "\r\n".join(lines) + "\n"],
                 "blank": ["\n\n".join(lines), "\n \n" + "\n\n\t\n".join(lines) + "\n\n\n"]}
        for split, texts in forms.items():
            for text in texts:
                with self.subTest(split=split, text=text):
                    ids = self.ids(self.file(text), options=(*options, split))
                    np.testing.assert_array_equal(ids, wanted)
        files = [self.file(line, f"{i}.txt") for i, line in enumerate(lines)]
        np.testing.assert_array_equal(self.ids(*files, options=(*options, "files")), wanted)

    def test_a_paragraph_keeps_its_line_ends_and_a_file_all_of_it(self):
        text = "a\r\nb\n\n  c\n"
        for split, documents in (("blank", ["a\r\nb", "  c"]), ("files", [text])):
            with self.subTest(split=split):
                wanted = self.ids(self.jsonl(documents), options=("--length", "4"))
                ids = self.ids(self.file(text), options=("--length", "4", "--split", split))
                np.testing.assert_array_equal(ids, wanted)

    def test_long_documents_are_cut_and_short_ones_joined(self):
        ids = self.ids(self.jsonl(["x " * 50, "y", "z " * 40])).ravel()
        whole = self.ids(self.jsonl(["x " * 50, "y", "z " * 40]), options=("--length", "1",
                                                                         "--sequences", "100"))
        np.testing.assert_array_equal(ids[:100], whole.ravel())
        self.assertEqual(np.count_nonzero(ids == END), 2)  # the third document ends behind

    def test_the_summary_says_what_was_left_over(self):
        result = self.succeeds(self.tokenize(self.jsonl(["word " * 20, "", "more"])))
        found = re.fullmatch(r".*tokens.h5: (\d+) sequences of 16 tokens\n"
                             r"documents  2, \S+ B of 1 file\n +1 more are empty\n"
                             r"tokens     (\d+), of which (\d+) at the end are left over\n",
                             result.out)
        self.assertTrue(found, result)
        sequences, tokens, left = map(int, found.groups())
        self.assertEqual(tokens, len(self.ids(self.jsonl(["word " * 20, "", "more"]), options=(
            "--length", "1"))))
        self.assertEqual((sequences, left), divmod(tokens, 16))
        self.assertRegex(self.succeeds(self.tokenize(self.jsonl(["word " * 20] * 9), options=(
            "--length", "16", "--sequences", "1"))).out, "; the text continues")

    def test_gzip_and_the_order_of_files_are_understood_and_bytes_are_equal(self):
        first, second = self.jsonl(DOCUMENTS[:3], "a.jsonl"), self.jsonl(DOCUMENTS[3:6], "b.jsonl")
        packed = self.file(gzip.compress(first.read_bytes()[:1000]) +
                           gzip.compress(first.read_bytes()[1000:]), "a.jsonl.gz")
        self.ids(self.jsonl(DOCUMENTS[:6]), out="1.h5")
        self.ids(first, second, out="2.h5")
        self.ids(packed, "--text", second, out="3.h5")
        self.assertEqual(len({(self.folder / f"{i}.h5").read_bytes() for i in (1, 2, 3)}), 1)

    def test_another_field_is_read(self):
        wanted = self.ids(self.jsonl(DOCUMENTS[:2]))
        path = self.jsonl(DOCUMENTS[:2], "other.ndjson", "content")
        np.testing.assert_array_equal(
            self.ids(path, options=("--length", "16", "--field", "content")), wanted)

    def test_what_is_not_utf8_is_replaced_as_python_does_it(self):
        bad = (b"ok \xff\xfe caf\xe9! \xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 \xc0\xaf "
               b"\xf4\x90\x80\x80 end")
        options = ("--length", "4", "--invalid-utf8", "replace")
        wanted = self.ids(self.file(bad.decode(errors="replace")), options=("--length", "4"))
        np.testing.assert_array_equal(self.ids(self.file(bad), options=options), wanted)


class Chat(Text):
    # (tokenizer, template, end of turn)
    KINDS = (("llama3", "llama3", "<|eot_id|>"), ("qwen2", "chatml", "<|endoftext|>"),
             ("mistral3", "mistral", "</s>"), ("llama2", "mistral", "</s>"))

    def spelled(self, model, ids):
        """The text of ids, as bytes of UTF-8."""
        tokenizer = read_json(model / "tokenizer.json")
        names = {i: token for token, i in tokenizer["model"]["vocab"].items()}
        names.update({token["id"]: token["content"] for token in tokenizer["added_tokens"]})
        letters = [c for c in range(256) if 33 <= c <= 126 or 161 <= c <= 255 and c != 173]
        others = [c for c in range(256) if c not in letters]
        byte_of = {**{chr(c): c for c in letters},
                   **{chr(256 + i): c for i, c in enumerate(others)}}
        out = b""
        for i in ids:
            name = names[i]
            if "▁" in tokenizer["model"]["vocab"]:
                out += bytes([int(name[3:5], 16)]) if name.startswith("<0x") else \
                    name.replace("▁", " ").encode()
            elif i >= len(tokenizer["model"]["vocab"]):
                out += name.encode()
            else:
                out += bytes(byte_of[c] for c in name)
        return out

    def test_conversations_are_written_out_and_the_prompt_is_masked(self):
        for name, template, end in self.KINDS:
            with self.subTest(tokenizer=name, template=template):
                model, parts = self.configured_as(name, end), rendered(template)
                chat = self.jsonl([CHAT], "chat.jsonl", "messages")
                plain = self.jsonl(["".join(text for text, _ in parts)])
                options = ("--chat-template", template, "--mask-prompt")
                ids, mask = self.whole(chat, model, *options)
                wanted, _ = self.whole(plain, model)
                if template == "chatml":  # a conversation has no EOS behind it
                    wanted = wanted[:-1]
                np.testing.assert_array_equal(ids, wanted)
                said = self.spelled(model, ids[mask == 1]).decode().replace("e\u0301", "é")
                answers = "".join(text for text, mine in parts if mine).replace("e\u0301", "é")
                self.assertEqual("".join(said.split()), "".join(answers.split()))

    def whole(self, path, model, *options):
        """Ids and mask of all tokens of a text."""
        ids, mask = self.made(path, model=model, options=(*options, "--length", "1"))
        self.assertLess(len(ids), 128)  # of which there would be more
        return ids.ravel(), None if mask is None else mask.ravel()

    def test_a_mask_needs_an_assistant_and_a_template(self):
        model = self.configured_as("llama3", "<|eot_id|>")
        path = self.jsonl([[{"role": "user", "content": "x " * 40}]], "chat.jsonl", "messages")
        self.refuses_text("--mask-prompt leaves no token", path, model=model, options=(
            "--length", "8", "--chat-template", "llama3", "--mask-prompt"))
        self.refuses_text("--mask-prompt needs a --chat-template", path, model=model, code=2,
                          options=("--mask-prompt",))

    def test_a_template_whose_tokens_are_missing_is_refused(self):
        for template, token in (("llama3", r"<\|start_header_id\|>"), ("chatml", r"<\|im_start\|>"),
                                ("mistral", "</s>")):
            self.refuses_text(f"--chat-template {template} needs the token '{token}'",
                              self.jsonl([CHAT], key="messages"),
                              options=("--chat-template", template))

    def test_messages_that_are_none_are_refused_with_their_line(self):
        model = self.configured_as("mistral3", "</s>")
        user = {"role": "user", "content": "x"}
        for messages, pattern in (
                ("hello", "the messages are no list"), ([], "an empty one"),
                ([user, {"role": "tool", "content": "x"}], "message 2 is of role 'tool'"),
                ([{"role": "user"}], "message 1 has no role or no text"),
                ([{"role": "user", "content": [{"type": "text"}]}], "message 1 has no role or no"),
                ([user, user], "of role 'user' where the mistral template needs 'assistant'")):
            path = self.jsonl([CHAT[:3], messages], "chat.jsonl", "messages")
            self.refuses_text(f"'.*/chat.jsonl', line 2: .*{pattern}", path, model=model,
                              options=("--chat-template", "mistral"))

    def test_conversations_come_from_json_lines_only(self):
        self.refuses_text("--chat-template needs .jsonl files, and '.*/text.txt' is none",
                          self.file("hello"), model=self.configured_as("llama3", "<|eot_id|>"),
                          options=("--chat-template", "llama3"))


class BadText(Text):
    def test_what_is_not_utf8_is_refused_with_its_line_and_byte(self):
        self.refuses_text("'.*/text.txt', line 2: byte 0xE9 at 9 of the file is not UTF-8; convert "
                          "it, or give --invalid-utf8 replace", self.file(b"hello\ncaf\xe9\n"))

    def test_too_little_text_is_refused(self):
        for text in ("", "\n \n\n", "a few words"):
            self.refuses_text(r"the text has \d+ tokens in \d documents, too few for one sequence "
                              "of 512", self.file(text), options=())

    def test_fewer_sequences_than_asked_for_are_refused(self):
        self.refuses_text("the text makes 1 sequences of 16 tokens, 99 are asked for",
                          self.jsonl(["12345 " * 5]),
                          options=("--length", "16", "--sequences", "99"))

    def test_bad_json_lines_are_refused_with_their_line(self):
        for line, pattern in (('{"text": "a"', "no JSON object"), ("[1]", "another kind of value"),
                              ('{"txt": "a"}', "there is no field 'text'; --field names it"),
                              ('{"text": 1}', "the field 'text' is no string"),
                              ('{"text": "a", "text": "b"}', "duplicate object key"),
                              ('{"text": "\\ud800"}', "no JSON object")):
            with self.subTest(line=line):
                path = self.file('{"text": "fine"}\n\n' + line + "\n", "text.jsonl")
                self.refuses_text(f"'.*/text.jsonl', line 3: .*{pattern}", path)

    def test_files_that_cannot_be_read_are_refused(self):
        packed = gzip.compress(b"some text\n" * 1000)
        self.refuses_text("cannot open '.*/none.txt': No such file", self.folder / "none.txt")
        self.refuses_text("cannot read '.*': Is a directory", self.folder)
        self.refuses_text("'.*/cut.gz' is cut off", self.file(packed[:-20], "cut.gz"))
        self.refuses_text("'.*/bad.gz' is no valid gzip file",
                          self.file(packed[:20] + b"\xff" * 9 + packed[29:], "bad.gz"))
        self.refuses_text("'.*/text.json' is neither plain text nor .jsonl",
                          self.file("{}", "text.json"))

    def test_a_model_without_what_it_takes_is_refused(self):
        text = self.jsonl(DOCUMENTS[:2])
        for change, pattern in (
                (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json': No such file"),
                (lambda m: (m / "tokenizer.json").write_text("{}"), "has no 'model'"),
                (lambda m: (m / "config.json").unlink(), "config.json': No such file"),
                (lambda m: [(m / f).unlink() for f in ("tokenizer_config.json",
                                                      "special_tokens_map.json")],
                 "does not say what ends a document: no 'eos_token'"),
                (lambda m: write_json(m / "tokenizer_config.json", {"eos_token": "</end>"}),
                 "the 'eos_token' '</end>' is not in '.*tokenizer.json'"),
                (lambda m: write_json(m / "config.json", {**read_json(DEMO / "config.json"),
                                                          "vocab_size": 1000}),
                 "gives token id 10[0-2]\\d, and the model's vocabulary has 1000")):
            model = self.demo(f"model{len(list(self.folder.iterdir()))}")
            change(model)
            self.refuses_text(pattern, text, model=model)

    def test_sequences_longer_than_the_positions_are_refused(self):
        self.refuses_text("sequences of 2000 tokens are longer than the model's 1024 positions",
                          self.jsonl(DOCUMENTS[:99]), options=("--length", "2000"))


class InOneGo(Text):
    OPTIONS = ("--sequences", "2", "--length", "32")

    def quantize_text(self, text, *options, out=None, **how):
        return run("quantize", "--model", DEMO, "--text", text, "--out", out or self.out,
                   *self.OPTIONS, *options, **how)

    def test_text_and_its_tokens_give_the_same_checkpoint_on_any_number_of_ranks(self):
        text = self.jsonl(DOCUMENTS[:3])
        self.ids(text, options=self.OPTIONS)
        self.succeeds(self.quantize(tokens=self.folder / "tokens.h5", out=self.folder / "tokens"))
        wanted = digest(self.folder / "tokens")
        for ranks in (1, 3):
            out = self.folder / f"text{ranks}"
            self.succeeds(self.quantize_text(text, out=out, ranks=ranks))
            found = digest(out)
            for files in (wanted, found):
                files.pop("awqrun.h5", None)  # has seconds in it
            self.assertEqual(found, wanted)

    def test_a_run_is_resumed_unless_the_text_is_another(self):
        text = self.jsonl(DOCUMENTS[:3])
        self.succeeds(self.quantize_text(text, "--keep-run"))
        (self.out / "config.json").unlink()
        (self.out / ".awqrun" / "layers" / "00002.h5").unlink()
        kept = (self.out / ".awqrun" / "tokens.h5").read_bytes()
        result = self.succeeds(self.quantize_text(text, "--keep-run"))
        self.assertRegex(result.err, "quantizing layers=4 done=3")
        self.assertEqual((self.out / ".awqrun" / "tokens.h5").read_bytes(), kept)
        self.assertRegex(self.succeeds(self.quantize_text(text)).out, "complete already")
        other = self.jsonl(DOCUMENTS[3:6])
        self.fails_with(self.quantize_text(other), r"tokens crc32: \d+ in the earlier run, \d+ now",
                        "holds the checkpoint of another job")
        (self.out / "config.json").unlink()
        self.fails_with(self.quantize_text(other), r"tokens crc32: \d+ in the earlier run, \d+ now",
                        "holds the run of another job")

    def test_plan_takes_text_and_bad_text_is_refused_before_anything(self):
        text = self.jsonl(DOCUMENTS[:3])
        out = self.succeeds(run("plan", "--model", DEMO, "--text", text, *self.OPTIONS)).out
        self.assertRegex(out, "tokens     of the text: 2 sequences of 32, 1 tiles of 2")
        self.fails_with(self.quantize_text(self.file(b"\xff")), "is not UTF-8")
        self.fails_with(self.quantize_text(text, "--tokens", DEMO / "calib.h5"),
                        "--tokens and --text exclude each other", code=2)
        self.assertFalse(self.out.exists())

    def test_a_job_file_holds_a_list_and_the_command_line_wins_over_it(self):
        files = [self.jsonl(DOCUMENTS[:2], f"{i} #.jsonl") for i in range(3)]
        job = self.folder / "job"
        job.write_text(f"model = {DEMO}\ntext = \"{files[0]}\"\ntext = \"{files[1]}\"\n")

        def printed(*options):
            out = self.succeeds(run("plan", "--job", job, *self.OPTIONS, *options, "--print-job",
                                    cwd=self.folder)).out
            return re.findall(r'^(text|tokens) = "?(.*?)"?$', out, re.MULTILINE)
        both = [("text", str(files[0])), ("text", str(files[1]))]
        self.assertEqual(printed(), both)
        self.assertEqual(printed("--text", files[2].name, files[0].name, "--length", "8"),
                         [("text", str(files[2])), ("text", str(files[0]))])
        self.assertEqual(printed("--tokens", DEMO / "calib.h5"),
                         [("tokens", str(DEMO / "calib.h5"))])
        job.write_text(f"model = {DEMO}\ntokens = {DEMO / 'calib.h5'}\n")
        self.assertEqual(printed("--text", files[0], "--text", files[1]), both)

    def test_a_batch_script_has_each_file(self):
        files = [self.jsonl(DOCUMENTS[:2], f"{i}.jsonl") for i in range(2)]
        script = self.succeeds(run("submit", "--dry-run", "--nodes", "1", "--time", "10", "--",
                                   "--model", DEMO, "--out", self.out, "--text", *files,
                                   *self.OPTIONS)).out
        self.assertEqual(re.findall(r"--text=(\S+)", script), [str(path) for path in files])


if __name__ == "__main__":
    unittest.main()
