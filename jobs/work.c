/* SPDX-License-Identifier: MIT */
#include "jobs/work.h"

double awq_work_forward(const awq_model *model, int64_t tokens, int64_t length)
{
    double linears = 0;
    for (int i = 0; i < AWQ_LINEARS; i++) {
        int64_t out, in;
        awq_linear_shape(model, (awq_linear)i, &out, &in);
        linears += 2.0 * (double)out * (double)in;
    }
    double attention = 2.0 * (double)(model->heads * model->head_dim) * (double)length;
    return (double)tokens * (linears + attention);
}

/* Sum of in^power over what the four scale groups read. */
static double sum_inputs(const awq_model *model, int power)
{
    static const awq_linear inputs[] = {AWQ_Q, AWQ_O, AWQ_GATE, AWQ_DOWN};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        int64_t out, in;
        awq_linear_shape(model, inputs[i], &out, &in);
        double term = (double)in * (double)in;
        sum += power == 3 ? term * (double)in : term;
    }
    return sum;
}

double awq_work_gram(const awq_model *model, int64_t tokens)
{
    return (double)tokens * sum_inputs(model, 2);
}

/* Cuts of a group's range that are tried: ten steps, in three sweeps if its ends are apart. */
static double clip_trials(const awq_options *options)
{
    return options->clip_shape == AWQ_OPTION_CLIP_ASYMMETRIC ? 30 : 10;
}

double awq_work_search(const awq_model *model, const awq_options *options)
{
    double candidates = (double)options->alpha_steps + 1;
    if (options->duo == AWQ_OPTION_DUO_ON && options->alpha_steps) candidates += 1;
    if (options->duo == AWQ_OPTION_DUO_BOTH && options->alpha_steps) candidates *= 2;
    if (options->alpha_steps) candidates += (double)options->refine;
    double clips = options->clip == AWQ_OPTION_CLIP_OFF     ? 0
                   : options->clip == AWQ_OPTION_CLIP_JOINT ? candidates + 1
                                                            : 1;
    bool feedback = options->rounding == AWQ_OPTION_ROUNDING_FEEDBACK;
    double sum = feedback ? sum_inputs(model, 3) / 3 : 0;
    /* two more: the output's energy, and the error of what is written */
    double triangles = candidates + 2 + (feedback ? 1 : 0);
    for (int i = 0; i < AWQ_LINEARS; i++) {
        int64_t out, in;
        awq_linear_shape(model, (awq_linear)i, &out, &in);
        double weights = (double)out * (double)in;
        double group = options->group_size < 0 ? (double)in : (double)options->group_size;
        sum += weights * (double)in * triangles;
        if (i != AWQ_Q && i != AWQ_K) sum += clips * 2 * clip_trials(options) * weights * group;
    }
    return sum;
}

double awq_work_head(const awq_model *model, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)model->vocab * (double)model->hidden;
}
