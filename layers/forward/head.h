/* SPDX-License-Identifier: MIT
 * layers/forward/head.h - the end of a model: logits, and the scores of eval.
 *
 * Logits are never all in memory: rows go through the head in fixed blocks. */
#ifndef AWQ_LAYERS_FORWARD_HEAD_H
#define AWQ_LAYERS_FORWARD_HEAD_H

#include <stdint.h>

#include "io/checkpoint/checkpoint.h"
#include "io/records/score.h"
#include "kernels/backend.h"

/* The final norm and the head of one model, on the device, with room for one block of logits. */
typedef struct awq_head awq_head;

uint64_t awq_head_bytes(const awq_model *model, size_t compute_bytes);
awq_status awq_head_load(awq_device *device, const awq_checkpoint *checkpoint, awq_head **out,
                         awq_error *err);
void awq_head_free(awq_head *head);

/* The tokens that are scored; host, [sequences, length]. */
typedef struct awq_scored_tokens {
    const int32_t *ids;
    const uint8_t *mask; /* NULL: all count; else 0 where a token does not */
    int64_t sequences;
    int64_t length;
} awq_scored_tokens;

/* Adds to *score. hidden: device, float32 [sequences * length, hidden], after the last layer.
 * `other` (NULL: none) is the full-precision model that the KL is against, other_hidden its states
 * on the same tokens. */
awq_status awq_head_score(awq_head *head, const float *hidden, awq_head *other,
                          const float *other_hidden, const awq_scored_tokens *tokens,
                          awq_score *score, awq_error *err);

/* Logits of one row: host, float32 [vocab]. For tests and single questions. */
awq_status awq_head_logits(awq_head *head, const float *hidden_row, float *logits, awq_error *err);

#endif
