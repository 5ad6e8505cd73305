/* SPDX-License-Identifier: MIT */
#include "jobs/work.h"

#include "jobs/job.h"

/* Of the tokens of a layer, the share that goes through a linear. */
static double share(const awq_model *model, awq_linear linear)
{
    const awq_experts *experts = &model->experts;
    int mlp = awq_linear_mlp(linear);
    bool routed = linear >= AWQ_DENSE_LINEARS && mlp >= 1 && mlp <= (int)experts->count;
    return routed ? (double)experts->active / (double)experts->count : 1;
}

/* A quantity of a layer, as the mean over the model's layers. */
typedef struct layer_work {
    const awq_model *model;
    const awq_options *options;
    int power;
} layer_work;

static double mean_over_layers(const layer_work *work,
                               double (*of_layer)(const layer_work *work, int64_t layer))
{
    int64_t layer[2];
    double first = of_layer(work, 0);
    if (awq_model_sorts(work->model, layer) < 2) return first;
    double second = of_layer(work, layer[1]), count = 0, layers = (double)work->model->layers;
    for (int64_t i = 0; i < work->model->layers; i++)
        count += work->model->sparse[i] == work->model->sparse[0];
    return (count * first + (layers - count) * second) / layers;
}

static double linears_of(const layer_work *work, int64_t layer)
{
    double sum = 0;
    for (awq_linear linear = 0; linear < awq_model_linears(work->model); linear++) {
        int64_t out, in;
        if (!awq_layer_has(work->model, layer, linear)) continue;
        awq_linear_shape(work->model, linear, &out, &in);
        sum += 2.0 * (double)out * (double)in * share(work->model, linear);
    }
    return sum;
}

double awq_work_forward(const awq_model *model, int64_t tokens, int64_t length)
{
    double linears = mean_over_layers(&(layer_work){.model = model}, linears_of);
    double attention = 2.0 * (double)(model->heads * model->head_dim) * (double)length;
    return (double)tokens * (linears + attention);
}

/* Sum of in^power over what the scale groups read; for Gram matrices, by the tokens that do. */
static double inputs_of(const layer_work *work, int64_t layer)
{
    double sum = 0;
    for (awq_group group = 0; group < awq_model_groups(work->model); group++) {
        if (!awq_layer_has_group(work->model, layer, group)) continue;
        double in = (double)awq_group_channels(work->model, group);
        int mlp = group - AWQ_GROUP_DOWN;
        if (work->power == 3)
            sum += in * in * in;
        else
            sum += in * in * (mlp > 0 ? share(work->model, awq_mlp_linear(mlp, AWQ_DOWN)) : 1);
    }
    if (!work->model->sparse[layer]) return sum;
    /* what each expert's gate and up read */
    double hidden = (double)work->model->hidden, experts = (double)work->model->experts.count;
    return sum + (work->power == 3 ? experts * hidden * hidden * hidden
                                   : (double)work->model->experts.active * hidden * hidden);
}

static double sum_inputs(const awq_model *model, int power)
{
    return mean_over_layers(&(layer_work){.model = model, .power = power}, inputs_of);
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
static double measurements(awq_kind kind, const awq_options *options)
{
    if (kind >= AWQ_ROUTER) return 0;
    bool in_module = kind != AWQ_O && kind != AWQ_DOWN;
    if (options->objective == AWQ_OPTION_OBJECTIVE_MODULE && in_module) return 1 + 2;
    return candidates(options) + (options->clip == AWQ_OPTION_CLIP_JOINT) + 2;
}

static double clip_searches(awq_kind kind, const awq_options *options)
{
    if (options->clip == AWQ_OPTION_CLIP_OFF || kind == AWQ_Q || kind == AWQ_K) return 0;
    if (kind >= AWQ_ROUTER) return 0;
    return options->clip == AWQ_OPTION_CLIP_JOINT ? candidates(options) + 1 : 1;
}

static double search_of(const layer_work *work, int64_t layer)
{
    const awq_options *options = work->options;
    bool feedback = options->rounding == AWQ_OPTION_ROUNDING_FEEDBACK;
    double sum = 0;
    for (awq_linear linear = 0; linear < awq_model_linears(work->model); linear++) {
        int64_t out, in;
        if (!awq_layer_has(work->model, layer, linear)) continue;
        awq_kind kind = awq_linear_kind(work->model, linear);
        awq_linear_shape(work->model, linear, &out, &in);
        double weights = (double)out * (double)in;
        double group = options->group_size < 0 ? (double)in : (double)options->group_size;
        double clips = clip_searches(kind, options) * clip_trials(options);
        bool fed_back = feedback && kind < AWQ_ROUTER;
        sum += weights * (double)in * (measurements(kind, options) + fed_back);
        sum += 2 * weights * group * clips;
    }
    return sum;
}

double awq_work_search(const awq_model *model, const awq_options *options, const awq_tokens *tokens)
{
    int64_t scored = awq_job_objective_sequences(options, tokens) * tokens->length;
    /* attention and MLP as they are, and once for each candidate */
    double sum = (candidates(options) + 1) * awq_work_forward(model, scored, tokens->length);
    if (options->rounding == AWQ_OPTION_ROUNDING_FEEDBACK) sum += sum_inputs(model, 3) / 3;
    return sum + mean_over_layers(&(layer_work){.model = model, .options = options}, search_of);
}

double awq_work_head(const awq_model *model, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)model->vocab * (double)model->hidden;
}
