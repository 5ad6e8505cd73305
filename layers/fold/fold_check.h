/* SPDX-License-Identifier: MIT
 * layers/fold/fold_check.h - the proof that folding changed nothing but by rounding (docs/awq.md
 * 1). */
#ifndef AWQ_LAYERS_FOLD_FOLD_CHECK_H
#define AWQ_LAYERS_FOLD_FOLD_CHECK_H

#include "layers/search/quantizer.h"

/* How many of a tile's sequences the folding check looks at, the first ones: 512 tokens of them,
 * and one at least. Callers need to keep no more. And a tile's size with that many rows checked. */
int64_t awq_fold_check_sequences(int64_t sequences, int64_t length);
awq_tile_size awq_checked_tile(int64_t sequences, int64_t length);

/* What the layer gives as it is, before anything is folded; `first_tile`: its input. */
awq_status awq_fold_check_begin(awq_quantizer *quantizer, const awq_kept_tokens *first_tile,
                                awq_error *err);
/* Whether it gives the same when all is folded; else an error that names the scale group. */
awq_status awq_fold_check_layer(awq_quantizer *quantizer, const awq_kept_tokens *first_tile,
                                awq_error *err);

/* The layer that the folding check runs (fold_proof.c). decoder->weight of a linear, from `folded`.
 * Then the norms and biases, from those in `out`. And all of a group's
 * scales taken back: weights, norm or bias are the original ones. */
awq_status awq_fold_proof_linear(awq_quantizer *quantizer, int linear, awq_error *err);
awq_status awq_fold_proof_vectors(awq_quantizer *quantizer, awq_error *err);
awq_status awq_fold_proof_unfold(awq_quantizer *quantizer, int group, awq_error *err);

#endif
