/* SPDX-License-Identifier: MIT
 * layers/search/trial.h - what a candidate's scales would do to one linear: quantized on trial,
 * with the scales in quantizer->columns, rounded to the nearest. */
#ifndef AWQ_LAYERS_SEARCH_TRIAL_H
#define AWQ_LAYERS_SEARCH_TRIAL_H

#include "layers/search/quantizer.h"

/* quantizer->folded, codes, steps and zeros of Q(W s); `clipped`: of the ranges that a clip search
 * leaves (docs/awq.md 2.8). Adds what is executed to *flops. */
void awq_trial_codes(awq_quantizer *quantizer, int linear, bool clipped, double *flops);

/* quantizer->d = W - Q(W s) / s, likewise. */
void awq_trial_error(awq_quantizer *quantizer, int linear, bool clipped, double *flops);

#endif
