/* SPDX-License-Identifier: MIT
 * io/tokenizer/tokenizer.h - from text to token ids, as Hugging Face tokenizers does by a
 * tokenizer.json.
 *
 * BPE, byte-level (Llama 3, Qwen, Mistral's newer) and SentencePiece-style (Llama 2, Mistral 7B).
 * The rule: ids equal those of `Tokenizer.from_file(path).encode(text)` of tokenizers 0.22, and
 * whatever in the file is not understood is refused by name, never approximated. */
#ifndef AWQ_IO_TOKENIZER_TOKENIZER_H
#define AWQ_IO_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/tokenizer/ids.h"

typedef struct awq_tokenizer awq_tokenizer;

/* Reads a tokenizer.json. Close the result. */
awq_status awq_tokenizer_open(const char *path, awq_tokenizer **out, awq_error *err);
void awq_tokenizer_close(awq_tokenizer *tokenizer);

/* Appends the ids of one document: UTF-8 (not checked; awq_utf8_check) of less than 1 GiB.
 * `marks`, one byte for each of the text's, or NULL; a run of equal marks must begin with ASCII.
 * with_special: what the post-processor adds, such as a BOS. Not for several threads at once. */
awq_status awq_tokenizer_encode(awq_tokenizer *tokenizer, const char *text, const uint8_t *marks,
                                size_t bytes, bool with_special, awq_ids *out, awq_error *err);

/* The id of a token by its content as the file spells it, or -1. */
int32_t awq_tokenizer_find(const awq_tokenizer *tokenizer, const char *token);
/* Whether text that is this token's content is always taken as the token: an added token. */
bool awq_tokenizer_is_added(const awq_tokenizer *tokenizer, int32_t id);

#endif
