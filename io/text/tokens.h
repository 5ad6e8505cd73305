/* SPDX-License-Identifier: MIT
 * io/text/tokens.h - calibration and evaluation tokens.
 *
 * HDF5 file: /input_ids int32 [sequences, length]; optional /mask uint8 of the same shape, 0 where
 * a token does not count in statistics (it is still attended to). Any integer type that fits is
 * read; int32 and uint8 are written. */
#ifndef AWQ_IO_TEXT_TOKENS_H
#define AWQ_IO_TEXT_TOKENS_H

#include <stdint.h>

#include "io/core/error.h"
#include "io/core/problems.h"

typedef struct awq_tokens {
    int32_t *ids;  /* [sequences, length], owned */
    uint8_t *mask; /* [sequences, length], owned; NULL: all tokens count */
    int64_t sequences;
    int64_t length;
    uint32_t crc; /* crc32 of ids, then of mask */
} awq_tokens;

/* Reads the first `limit` sequences (0: all). Fewer than `limit` is an error that says how many
 * there are. Release the result. */
awq_status awq_tokens_read(const char *path, int64_t limit, awq_tokens *out, awq_error *err);
awq_status awq_tokens_write(const char *path, const awq_tokens *tokens, awq_error *err);
/* What `crc` must be. */
uint32_t awq_tokens_crc(const awq_tokens *tokens);
void awq_tokens_release(awq_tokens *tokens);

/* Adds problems: ids that are negative or not below vocab (the first one named by sequence and
 * position, and how many), a length beyond max_positions, a mask that leaves no token. */
void awq_tokens_check(const awq_tokens *tokens, const char *path, int64_t vocab,
                      int64_t max_positions, awq_problems *problems);

#endif
