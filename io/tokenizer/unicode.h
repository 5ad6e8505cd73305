/* SPDX-License-Identifier: MIT
 * io/tokenizer/unicode.h - UTF-8, and the Unicode versions that Hugging Face tokenizers works with.
 *
 * Its regular expressions know Unicode 16 and ours (PCRE2 10.42) Unicode 14: a newer code point is
 * matched as an older one of the same category and length. Its NFC is of an older Unicode than
 * utf8proc's: what that does not know is left alone. unicode_tables.c lists both. */
#ifndef AWQ_IO_TOKENIZER_UNICODE_H
#define AWQ_IO_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/buffer.h"

typedef struct awq_unicode_range {
    uint32_t first, last;
    uint32_t value; /* awq_unicode_newer: the stand-in */
} awq_unicode_range;

extern const awq_unicode_range awq_unicode_newer[];
extern const int awq_unicode_newer_count;
extern const awq_unicode_range awq_unicode_inert[];
extern const int awq_unicode_inert_count;

/* The range that holds a code point, or NULL. */
const awq_unicode_range *awq_unicode_find(const awq_unicode_range *ranges, int count, uint32_t c);

/* Decodes one code point of at most `bytes` (> 0) bytes. Returns its length; 0: not UTF-8, and
 * *bad (may be NULL) is the length of what Python's errors='replace' makes one U+FFFD of. */
size_t awq_utf8_decode(const char *text, size_t bytes, uint32_t *c, size_t *bad);
/* The same for text that has been checked. */
size_t awq_utf8_next(const char *text, uint32_t *c);
/* Writes a code point; returns its length. */
size_t awq_utf8_encode(char out[4], uint32_t c);

/* The first byte that is not UTF-8, or `bytes`. */
size_t awq_utf8_check(const char *text, size_t bytes);
/* Appends the text, each invalid part replaced by U+FFFD as Python's errors='replace' does. */
awq_status awq_utf8_replace(const char *text, size_t bytes, awq_buffer *out, awq_error *err);

#endif
