/* SPDX-License-Identifier: MIT
 * layers/fold/unfold.h - a quantized checkpoint's weights against those that they were made of,
 * with the folding undone (docs/awq.md 1, 2.7): columns divided by the scales of the linear's
 * group, rows of producers multiplied by the scales of the channels that they feed, norms
 * multiplied by theirs.
 *
 * The scales are those of the layer's record. Sizes are the quantized model's. */
#ifndef AWQ_LAYERS_FOLD_UNFOLD_H
#define AWQ_LAYERS_FOLD_UNFOLD_H

#include "io/checkpoint/checkpoint.h"
#include "io/records/layer_record.h"
#include "kernels/backend.h"

/* Device room for the largest linear. */
typedef struct awq_unfolder awq_unfolder;

awq_status awq_unfolder_create(awq_device *device, const awq_model *model, awq_unfolder **out,
                               awq_error *err);
/* NULL is fine. */
void awq_unfolder_free(awq_unfolder *unfolder);

/* How far a linear is from its source; NaN where one of the two is not finite. */
typedef struct awq_distance {
    double relative; /* |W' - W| / |W|, Frobenius, W' unfolded. Columns that activations hardly use
                        may be far off in a good quantization */
    double folded; /* the same of the folded weights: what the rounding, or the stored type, cost */
    double steps;  /* root mean square of the folded weight's error, in steps of the grid it was
                      rounded to: 0.29 by rounding alone, a little more where ranges were cut; 0 for
                      a linear that is kept in full precision */
} awq_distance;

/* Both checkpoints have the linear's tensors, of the same sizes; the record has as many scales. */
awq_status awq_unfold_measure(awq_unfolder *unfolder, const awq_checkpoint *quantized,
                              const awq_checkpoint *source, int64_t layer, int linear,
                              const awq_layer_record *record, awq_distance *out, awq_error *err);

/* What the rows of a linear that absorbs scales were divided by: [out]. */
awq_status awq_unfold_rows(const awq_layer_spec *spec, const awq_layer_record *record, int linear,
                           float *rows, awq_error *err);
/* The first element of a folded vector that is not original / divisors in its stored type, both
 * plus 1 if `offset`; -1: all are. Elements and dtype are the same in both. */
int64_t awq_unfold_mismatch(const awq_tensor *folded, const awq_tensor *original, bool offset,
                            const float *divisors);

#endif
