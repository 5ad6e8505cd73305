/* SPDX-License-Identifier: MIT
 * layers/quantize/feedback.c - rounding with error feedback (docs/awq.md 2.9).
 *
 * Linears that read the same input share the factor of its scaled Gram matrix: it is made for the
 * first of them. What rows of producers are divided by scales whole rows, targets and errors
 * alike, and changes nothing here. */
#include "layers/forward/extent.h"
#include "layers/quantize/steps.h"

/* Starts at 1 % of the mean diagonal element, as GPTQ does, and grows to all of it. */
static const double damps[] = {0.01, 0.1, 1};
enum { DAMPS = sizeof damps / sizeof *damps };

/* The factor at the least damping that makes it; quantizer->damp is 0 where none does. */
static awq_status factor_gram(awq_quantizer *quantizer, const float *gram, double in,
                              awq_error *err)
{
    bool positive = false;
    quantizer->factored = gram;
    quantizer->damp = 0;
    for (int i = 0; i < DAMPS && !positive; i++) {
        if (quantizer->be->feedback_factor(quantizer->device, quantizer->factor, quantizer->order,
                                           gram, quantizer->columns, (int64_t)in, damps[i],
                                           &positive, err) ||
            awq_quantizer_step(quantizer, AWQ_PHASE_FEEDBACK, in * in * in / 3, err))
            return err->status;
        if (positive) quantizer->damp = damps[i];
    }
    return AWQ_OK;
}

awq_status awq_feedback_linear(awq_quantizer *quantizer, int linear, awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    const float *gram = awq_statistics_gram(quantizer->statistics, linear);
    if (awq_quantizer_step(quantizer, AWQ_PHASE_PACK, 0, err)) return err->status;
    if (gram != quantizer->factored && factor_gram(quantizer, gram, (double)extent.in, err))
        return err->status;
    quantizer->out->record.linear[linear].damp = quantizer->damp;
    if (quantizer->damp == 0) return AWQ_OK;
    quantizer->be->feedback(quantizer->device, quantizer->codes, quantizer->d, quantizer->folded,
                            quantizer->factor, quantizer->order, quantizer->steps, quantizer->zeros,
                            extent, &grid);
    double flops = (double)awq_extent_elements(extent) * (double)extent.in;
    return awq_quantizer_step(quantizer, AWQ_PHASE_FEEDBACK, flops, err);
}
