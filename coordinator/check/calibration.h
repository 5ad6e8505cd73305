/* SPDX-License-Identifier: MIT
 * coordinator/check/calibration.h - from --text to tokens: documents, one after another, cut to
 * sequences.
 *
 * Each document is encoded on its own, with what the tokenizer's post-processor adds (a BOS, where
 * the model has one), and followed by the EOS, unless it ends with it or is a conversation, whose
 * turns end by themselves. The stream is cut every --length tokens; the first --sequences sequences
 * are taken, and no more text is read than they need. Nothing is dropped but what is left over. */
#ifndef AWQ_COORDINATOR_CHECK_CALIBRATION_H
#define AWQ_COORDINATOR_CHECK_CALIBRATION_H

#include <stdbool.h>
#include <stdio.h>

#include "io/text/text.h"
#include "io/text/tokens.h"
#include "jobs/options/options.h"

typedef struct awq_calibration {
    awq_text_counts text; /* as far as it was read */
    int64_t tokens;       /* of the documents that were read */
    int64_t left_over;    /* of them, not used */
    int64_t assistant;    /* of those used, what the assistant wrote; -1: not asked */
    bool all_read;
} awq_calibration;

/* The options of --text that contradict each other: problems of status AWQ_ERR_USAGE. */
void awq_calibration_check(const awq_calibration_options *options, awq_problems *problems);

/* Tokenizes options->text.files by the tokenizer.json of options->model, whose vocabulary has
 * `vocab` tokens. Release *tokens. */
awq_status awq_calibration_make(const awq_options *options, int64_t vocab, awq_tokens *tokens,
                                awq_calibration *out, awq_error *err);

/* Documents, tokens, what was left over. */
void awq_calibration_print(FILE *file, const awq_calibration *calibration);

#endif
