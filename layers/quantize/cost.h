/* SPDX-License-Identifier: MIT
 * layers/quantize/cost.h - how much arithmetic a job is: what progress and ETAs are measured in.
 *
 * Floating-point operations (a multiply-add is two) of one decoder layer, the mean of sparse and
 * dense ones where a model has both; routed experts count for the tokens they see. docs/design.md
 * 10 counts the same. Small change (norms, softmax, packing) is left out. */
#ifndef AWQ_LAYERS_QUANTIZE_COST_H
#define AWQ_LAYERS_QUANTIZE_COST_H

#include <stdint.h>

#include "io/model/model.h"
#include "io/model/recipe.h"

/* Forward pass of `tokens` tokens in sequences of `length`: linears and causal attention. */
double awq_work_forward(const awq_model *model, int64_t tokens, int64_t length);
/* Gram updates of `tokens` tokens as they flow: one triangle each; those of experts are .. */
double awq_work_gram(const awq_model *model, int64_t tokens);
/* .. made when the layer is searched, and again when it is quantized, with what goes before them.
 */
double awq_work_experts(const awq_model *model, int64_t tokens);
/* Search, clip and error feedback: one triangle per candidate and linear, and for feedback one more
 * and a factorization per scale group, whatever the tokens; the module objective runs candidates on
 * the `scored` tokens that it is measured on, in sequences of `length`. */
double awq_work_search(const awq_model *model, const awq_recipe *recipe, int64_t scored,
                       int64_t length);
/* The embedding's opposite: final norm and head over `tokens` tokens. */
double awq_work_head(const awq_model *model, int64_t tokens);

#endif
