/* SPDX-License-Identifier: MIT
 * io/tokenizer/word.h - what stands beside an added token. Inside io only. */
#ifndef AWQ_IO_TOKENIZER_WORD_H
#define AWQ_IO_TOKENIZER_WORD_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the character that ends at `at`, or begins there, is one of a word (\w of Rust's regex:
 * Alphabetic, M, Nd, Pc, Join_Control). */
bool awq_word_before(const char *text, size_t at);
bool awq_word_behind(const char *text, size_t bytes, size_t at);

/* Bytes of White_Space that end, or begin, at `at`. */
size_t awq_space_before(const char *text, size_t at);
size_t awq_space_behind(const char *text, size_t bytes, size_t at);

#endif
