/* SPDX-License-Identifier: MIT */
#include "jobs/work.h"

#include "jobs/job.h"

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

static double candidates(const awq_options *options)
{
    double count = (double)options->alpha_steps + 1;
    if (!options->alpha_steps) return 1;
    if (options->duo == AWQ_OPTION_DUO_ON) count += 1;
    if (options->duo == AWQ_OPTION_DUO_BOTH) count *= 2;
    return count + (double)options->refine;
}

/* How often the exact error of a linear is measured: plain rounding, candidates (a joint clip makes
 * the identity another one), the output's energy, and what is written. */
static double measurements(awq_linear linear, const awq_options *options)
{
    bool in_module = linear != AWQ_O && linear != AWQ_DOWN;
    if (options->objective == AWQ_OPTION_OBJECTIVE_MODULE && in_module) return 1 + 2;
    return candidates(options) + (options->clip == AWQ_OPTION_CLIP_JOINT) + 2;
}

static double clip_searches(awq_linear linear, const awq_options *options)
{
    if (options->clip == AWQ_OPTION_CLIP_OFF || linear == AWQ_Q || linear == AWQ_K) return 0;
    return options->clip == AWQ_OPTION_CLIP_JOINT ? candidates(options) + 1 : 1;
}

double awq_work_search(const awq_model *model, const awq_options *options, const awq_tokens *tokens)
{
    int64_t scored = awq_job_objective_sequences(options, tokens) * tokens->length;
    bool feedback = options->rounding == AWQ_OPTION_ROUNDING_FEEDBACK;
    /* attention and MLP as they are, and once for each candidate */
    double sum = (candidates(options) + 1) * awq_work_forward(model, scored, tokens->length);
    if (feedback) sum += sum_inputs(model, 3) / 3;
    for (int i = 0; i < AWQ_LINEARS; i++) {
        int64_t out, in;
        awq_linear_shape(model, (awq_linear)i, &out, &in);
        double weights = (double)out * (double)in;
        double group = options->group_size < 0 ? (double)in : (double)options->group_size;
        double clips = clip_searches((awq_linear)i, options) * clip_trials(options);
        sum += weights * (double)in * (measurements((awq_linear)i, options) + feedback);
        sum += 2 * weights * group * clips;
    }
    return sum;
}

double awq_work_head(const awq_model *model, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)model->vocab * (double)model->hidden;
}
