/* SPDX-License-Identifier: MIT
 * layers/quantize/small_scales.c - linears whose weights are too small for the type of their scales
 * (docs/awq.md 2.4). A scale below 2^-14 is rounded up to a multiple of 2^-24; where that is of
 * fewer than 8 of them, codes may be coarser by an eighth, and the less it is the more, until
 * nothing of the weights is left.
 *
 * A linear is named when such groups are a part of it that counts, by the squares of their scales,
 * as errors go: rows that died in training are as small, and no loss. */
#include <math.h>

#include "io/core/log.h"
#include "layers/forward/extent.h"
#include "layers/quantize/steps.h"

enum { COARSE = 8 };               /* times 2^-24, as float16 has it */
static const double counts = 0.01; /* of a linear */

/* The share of a linear's groups whose scales are too small; 0 where they do not count. */
static double too_small(const awq_quantizer *quantizer, int linear)
{
    const uint16_t *scales = quantizer->out->linear[linear].scales;
    int64_t groups = quantizer->out->record.linear[linear].groups, found = 0;
    double small = 0, all = 0;
    for (int64_t i = 0; scales && i < groups; i++) {
        double scale = (double)awq_float_from_f16(scales[i]) * 0x1p24;
        if (scales[i] == AWQ_SCALE_OF_ZEROS) continue;
        all += scale * scale;
        small += scales[i] < COARSE ? scale * scale : 0;
        found += scales[i] < COARSE;
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
            "'%s': the weights of %.3g%% of its groups are too small for a float16 scale, and lose "
            "more than %lld bits do (so it is with %d of the layer's linears); --skip keeps them "
            "in full precision",
            awq_linear_full_name(name, quantizer->model, quantizer->decoder->index, worst),
            100 * most, (long long)quantizer->recipe->bits, named);
}
