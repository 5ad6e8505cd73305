/* SPDX-License-Identifier: MIT
 * layers/quantize/small_scales.c - linears whose weights are too small for the type of their scales
 * (docs/awq.md 2.4). A scale below 2^-14 is a multiple of 2^-24, and of fewer than qmax of them it
 * is off by so much that the ends of its range are off by half a step: from there on down the error
 * rises, to all of the weights.
 *
 * A linear is named when such groups are a part of it that counts, by the squares of their scales,
 * as errors go: rows that died in training are as small, and no loss. */
#include <math.h>

#include "io/core/log.h"
#include "layers/forward/extent.h"
#include "layers/quantize/steps.h"

enum { SCALE_OF_ZEROS = 0x0400 };  /* of a group that has nothing to lose */
static const double counts = 1e-3; /* of a linear */

/* The share of a linear's groups whose scales are too small; 0 where they do not count. */
static double too_small(const awq_quantizer *quantizer, int linear)
{
    const uint16_t *scales = quantizer->out->linear[linear].scales;
    int64_t groups = quantizer->out->record.linear[linear].groups, found = 0;
    uint16_t most = (uint16_t)((1 << awq_quantizer_grid(quantizer, linear).bits) - 1);
    double small = 0, all = 0;
    for (int64_t i = 0; scales && i < groups; i++) {
        double scale = (double)awq_float_from_f16(scales[i]) * 0x1p24;
        if (scales[i] == SCALE_OF_ZEROS) continue;
        all += scale * scale;
        small += scales[i] < most ? scale * scale : 0;
        found += scales[i] < most;
    }
    return found && small >= counts * all ? (double)found / (double)groups : 0;
}

void awq_tell_small_scales(const awq_quantizer *quantizer)
{
    double most = 0;
    int worst = 0, named = 0;
    for (int i = 0; i < quantizer->spec->linears; i++) {
        double share = too_small(quantizer, i);
        named += share > 0;
        if (share > most) worst = i;
        most = fmax(most, share);
    }
    char name[AWQ_NAME_BYTES];
    if (named)
        awq_report_warning(
            "'%s': the weights of %.3g%% of its groups are too small for a float16 scale and lose "
            "more than by %lld bits, as those of %d linears of the layer do; --skip keeps them in "
            "full precision",
            awq_linear_full_name(name, quantizer->model, quantizer->decoder->index, worst),
            100 * most, (long long)quantizer->recipe->bits, named);
}
