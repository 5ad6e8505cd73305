# SPDX-License-Identifier: MIT
"""Tokens that do not fit are refused, each problem in one line."""

import unittest

import h5py
import numpy as np

from support.case import DEMO, Case, digest


class Tokens(Case):
    def ids(self, sequences=4, length=64, **where):
        ids = np.arange(sequences * length, dtype=np.int32).reshape(sequences, length)
        for place, value in where.get("at", {}).items():
            ids[place] = value
        return ids

    def test_a_negative_token_id_is_refused_with_its_place(self):
        self.refuses("1 token ids are outside the vocabulary of 1024, the first is -1 "
                     "\\(sequence 2, position 5\\)",
                     tokens=self.tokens(self.ids(at={(2, 5): -1})), ranks=(1, 3))

    def test_token_ids_beyond_the_vocabulary_are_counted_in_one_line(self):
        self.refuses("2 token ids are outside the vocabulary of 1024, the first is 1024 "
                     "\\(sequence 1, position 0\\)",
                     tokens=self.tokens(self.ids(at={(1, 0): 1024, (3, 63): 2**31 - 1})))

    def test_token_ids_that_are_no_int32_are_refused(self):
        ids = self.ids().astype(np.int64)
        ids[1, 1] = 2**40
        self.refuses("tokens.h5': token id 1099511627776", tokens=self.tokens(ids))

    def test_wider_and_narrower_integers_are_read(self):
        quantized = []
        for dtype in (np.int64, np.uint16, np.int32):
            out = self.folder / np.dtype(dtype).name
            self.succeeds(self.quantize(tokens=self.tokens(self.ids(2, 32).astype(dtype)), out=out))
            quantized.append(digest(out)["model.safetensors"])
        self.assertEqual(len(set(quantized)), 1)

    def test_sequences_longer_than_the_positions_are_refused(self):
        self.refuses("sequences of 1025 tokens are longer than the model's 1024 positions",
                     tokens=self.tokens(np.zeros((1, 1025), np.int32)), ranks=(1, 3))

    def test_empty_tokens_are_refused(self):
        for i, shape in enumerate(((0, 512), (4, 0))):
            with self.subTest(shape=shape):
                self.refuses(f"/input_ids \\[{shape[0]}, {shape[1]}\\] holds no tokens",
                             tokens=self.tokens(np.zeros(shape, np.int32), name=f"{i}.h5"))

    def test_tokens_of_another_kind_are_refused(self):
        for i, ids in enumerate((np.zeros(8, np.int32), np.zeros((2, 2, 2), np.int32),
                                 np.zeros((2, 8), np.float32))):
            with self.subTest(ids=ids.shape):
                self.refuses("/input_ids is not a two-dimensional dataset of integers",
                             tokens=self.tokens(ids, name=f"{i}.h5"))

    def test_a_file_without_input_ids_is_refused(self):
        path = self.folder / "other.h5"
        with h5py.File(path, "w") as file:
            file["ids"] = self.ids()
        self.refuses("other.h5' has no dataset /input_ids", tokens=path)

    def test_a_file_that_is_no_hdf5_is_refused(self):
        self.refuses("calib.txt'", tokens=DEMO / "calib.txt", ranks=(1, 3))

    def test_a_truncated_file_is_refused(self):
        path = self.folder / "short.h5"
        path.write_bytes((DEMO / "calib.h5").read_bytes()[:100000])
        self.refuses("short.h5'", tokens=path)

    def test_a_file_whose_data_is_damaged_is_refused(self):
        data = bytearray((DEMO / "calib.h5").read_bytes())
        data[len(data) // 2:len(data) // 2 + 64] = bytes(64)
        path = self.folder / "damaged.h5"
        path.write_bytes(data)
        self.refuses("damaged.h5'", tokens=path)

    def test_a_missing_file_is_refused(self):
        self.refuses("'.*nowhere.h5': No such file", tokens=self.folder / "nowhere.h5")

    def test_more_sequences_than_there_are_is_refused(self):
        self.refuses("holds 4 sequences, 5 are asked for", tokens=self.tokens(self.ids()),
                     sequences=5)

    def test_problems_of_model_and_tokens_are_told_together(self):
        self.refuses("hidden_act 'relu'", "holds no tokens",
                     model=self.configured(hidden_act="relu"),
                     tokens=self.tokens(np.zeros((0, 8), np.int32)))


class Mask(Case):
    def test_a_mask_of_another_shape_is_refused(self):
        self.refuses("/mask does not fit /input_ids",
                     tokens=self.tokens(np.zeros((4, 8), np.int32), np.ones((4, 9), np.uint8)))

    def test_a_mask_that_leaves_no_token_is_refused(self):
        self.refuses("/mask leaves no token",
                     tokens=self.tokens(np.zeros((4, 8), np.int32), np.zeros((4, 8), np.uint8)))

    def test_a_mask_that_leaves_the_module_objective_no_token_is_refused(self):
        mask = np.ones((4, 64), np.uint8)
        mask[:2] = 0
        tokens = self.tokens(np.ones((4, 64), np.int32), mask)
        for scored, refused in ((64, True), (128, True), (192, False), (0, False)):
            options = ("--objective", "module", "--objective-tokens", scored, "--alpha-steps", 1)
            if refused:
                self.refuses(rf"/mask leaves none of the first {scored} tokens.*raise "
                             "--objective-tokens", tokens=tokens, options=options,
                             out=self.folder / f"out-{scored}")
            else:
                self.succeeds(self.quantize(*options, tokens=tokens,
                                            out=self.folder / f"out-{scored}"))

    def test_masked_sequences_change_nothing(self):
        with h5py.File(DEMO / "calib.h5") as file:
            ids = file["input_ids"][:4, :64]
        mask = np.ones((4, 64), np.uint8)
        mask[2:] = 0
        shards = []
        for name, tokens in (("two", self.tokens(ids[:2], name="two.h5")),
                             ("masked", self.tokens(ids, mask, name="masked.h5")),
                             ("four", self.tokens(ids, name="four.h5"))):
            out = self.folder / name
            self.succeeds(self.quantize("--tile-tokens", "128", tokens=tokens, out=out))
            shards.append(digest(out)["model.safetensors"])
        self.assertEqual(shards[0], shards[1])
        self.assertNotEqual(shards[0], shards[2])


if __name__ == "__main__":
    unittest.main()
