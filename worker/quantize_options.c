/* SPDX-License-Identifier: MIT */
#include "worker/quantize_options.h"

#include "jobs/skip.h"

awq_quantize_options awq_worker_quantize_options(const awq_options *options, const awq_model *model)
{
    awq_quantize_options out = awq_quantize_options_default();
    awq_quantization quantization = awq_job_quantization(options, model);
    out.grid.bits = quantization.bits;
    out.grid.group_size = quantization.group_size;
    out.grid.zero_point = !quantization.symmetric;
    out.grid.bf16_scales = quantization.scales == AWQ_BF16;
    out.objective = (awq_objective)options->objective;
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
