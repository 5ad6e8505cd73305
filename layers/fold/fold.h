/* SPDX-License-Identifier: MIT
 * layers/fold/fold.h - which elements absorb the scales of which channels: once for folding, for
 * its proof, and for undoing it. */
#ifndef AWQ_LAYERS_FOLD_FOLD_H
#define AWQ_LAYERS_FOLD_FOLD_H

#include "layers/search/quantizer.h"

/* of_free [free channels] = values [channels], of which those of tied channels are equal. */
void awq_free_values(const awq_group_spec *group, const float *values, float *of_free);

/* rows [out] = the value of the free channel whose scale each row of a linear absorbs, 1 where it
 * absorbs none; false: none of them does. */
bool awq_row_values(const awq_layer_spec *spec, int linear, const float *of_free, float *rows);

/* Norms divided by their scales, on the device and in the result, and what rows are divided by;
 * scales of the records become those that consumers are multiplied by. */
awq_status awq_fold_plan(awq_quantizer *quantizer, awq_error *err);

#endif
