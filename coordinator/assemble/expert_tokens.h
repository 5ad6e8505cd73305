/* SPDX-License-Identifier: MIT
 * coordinator/assemble/expert_tokens.h - how many calibration tokens the experts of a job had,
 * beside the channels that they read.
 *
 * The Gram matrix of fewer tokens than channels leaves directions in which an error costs nothing:
 * what few tokens cannot say, the search does not know. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_EXPERT_TOKENS_H
#define AWQ_COORDINATOR_ASSEMBLE_EXPERT_TOKENS_H

#include <stdio.h>

#include "io/records/layer_record.h"

typedef struct awq_expert_tokens {
    int64_t *counts; /* [experts], of all layers, owned */
    int64_t experts;
    int64_t channels; /* that an expert reads: the most of its linears */
} awq_expert_tokens;

/* Adds those of a layer; begin with zeros. */
awq_status awq_expert_tokens_add(awq_expert_tokens *tokens, const awq_layer_record *record,
                                 awq_error *err);
void awq_expert_tokens_release(awq_expert_tokens *tokens);

/* A line; nothing if there are no experts. `sequences` were counted: where the median expert had
 * fewer tokens than channels, it says how many would give it as many. Sorts the counts. */
void awq_expert_tokens_print(FILE *file, awq_expert_tokens *tokens, int64_t sequences);

#endif
