/* SPDX-License-Identifier: MIT */
#include "layers/search/trial.h"

#include "layers/forward/extent.h"

void awq_trial_codes(awq_quantizer *quantizer, int linear, bool clipped, double *flops)
{
    const awq_backend *be = quantizer->be;
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    be->fold(quantizer->device, quantizer->folded, quantizer->decoder->weight[linear],
             quantizer->columns, NULL, extent);
    if (clipped) {
        be->clip_search(quantizer->device, &quantizer->clip, quantizer->folded,
                        awq_statistics_gram(quantizer->statistics, linear), quantizer->columns,
                        extent, &grid);
        *flops += awq_clip_flops(quantizer->clip.shape, extent, &grid);
    }
    be->quantize(quantizer->device, quantizer->codes, quantizer->steps, quantizer->zeros,
                 quantizer->folded, clipped ? &quantizer->clip : NULL, extent, &grid);
}

void awq_trial_error(awq_quantizer *quantizer, int linear, bool clipped, double *flops)
{
    const awq_backend *be = quantizer->be;
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    if (!clipped) { /* the same in one pass */
        be->rounding_error(quantizer->device, quantizer->d, quantizer->decoder->weight[linear],
                           quantizer->columns, extent, &grid);
        return;
    }
    awq_trial_codes(quantizer, linear, true, flops);
    be->coded_error(quantizer->device, quantizer->d, quantizer->folded, quantizer->codes,
                    quantizer->steps, quantizer->zeros, quantizer->columns, extent, &grid);
}
