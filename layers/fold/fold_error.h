/* SPDX-License-Identifier: MIT
 * layers/fold/fold_error.h - how far the folded layer's output is from the original one, and how
 * far that may be. */
#ifndef AWQ_LAYERS_FOLD_FOLD_ERROR_H
#define AWQ_LAYERS_FOLD_FOLD_ERROR_H

#include "layers/search/quantizer.h"

/* Over the norm of what the layer adds: the error, and the most that it may be. */
typedef struct awq_fold_error {
    double error, most;
} awq_fold_error;

/* Of what is not rounded by additions to the residual. */
double awq_fold_tolerance(awq_dtype compute);
/* scratch->trial against untouched; the check's input is what untouched came from. */
awq_status awq_fold_compare(const awq_quantizer *quantizer, const awq_kept_tokens *check,
                            awq_fold_error *found, awq_error *err);
bool awq_fold_is_right(awq_fold_error found);

#endif
