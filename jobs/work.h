/* SPDX-License-Identifier: MIT
 * jobs/work.h - how much arithmetic a job is: what progress and ETAs are measured in.
 *
 * Floating-point operations (a multiply-add is two) of one decoder layer, the mean of sparse and
 * dense ones where a model has both; routed experts count for the tokens they see. docs/design.md
 * 10 counts the same. Small change (norms, softmax, packing) is left out. */
#ifndef AWQ_JOBS_WORK_H
#define AWQ_JOBS_WORK_H

#include <stdint.h>

#include "io/model.h"
#include "io/tokens.h"
#include "jobs/options.h"

/* Forward pass of `tokens` tokens in sequences of `length`: linears and causal attention. */
double awq_work_forward(const awq_model *model, int64_t tokens, int64_t length);
/* Gram updates of `tokens` tokens: one triangle each. */
double awq_work_gram(const awq_model *model, int64_t tokens);
/* Search, clip and error feedback: one triangle per candidate and linear, and for feedback one more
 * and a factorization per scale group, whatever the tokens; the module objective runs candidates on
 * those that it is measured on. */
double awq_work_search(const awq_model *model, const awq_options *options,
                       const awq_tokens *tokens);
/* The embedding's opposite: final norm and head over `tokens` tokens. */
double awq_work_head(const awq_model *model, int64_t tokens);

#endif
