/* SPDX-License-Identifier: MIT */
#include "worker/quantize_options.h"

awq_quantize_options awq_worker_quantize_options(const awq_options *options)
{
    awq_quantize_options out = awq_quantize_options_default();
    out.grid.bits = (int)options->bits;
    out.grid.group_size = options->group_size;
    out.alpha_steps = (int)options->alpha_steps;
    out.duo = (awq_duo)options->duo;
    out.refine = (int)options->refine;
    out.smooth = options->smooth;
    out.o_proj_tied = options->o_proj == AWQ_OPTION_O_PROJ_TIED;
    out.clip = (awq_clip_mode)options->clip;
    out.clip_shape = (awq_clip_shape)options->clip_shape;
    out.rounding = (awq_rounding)options->rounding;
    return out;
}
