/* SPDX-License-Identifier: MIT */
#include "layers/quantize/cost.h"

#include "layers/forward/expert_statistics.h"
#include "layers/search/work.h"

/* Of the tokens of a layer, the share that goes through what is of an expert. */
static double share(const awq_layer_spec *layer, int expert)
{
    return expert >= 0 ? (double)layer->mlps.routing.active / (double)layer->mlps.routing.experts
                       : 1;
}

/* A quantity of a layer, as the mean over the model's layers. */
typedef struct layer_work {
    const awq_model *model;
    const awq_recipe *recipe;
    int64_t length; /* of sequences */
    int power;
} layer_work;

static double mean_over_layers(const layer_work *work,
                               double (*of_layer)(const layer_work *work,
                                                  const awq_layer_spec *layer))
{
    const awq_model *model = work->model;
    double sum = 0;
    for (int kind = 0; kind < model->kinds; kind++) {
        double count = 0;
        for (int64_t i = 0; i < model->layers; i++) count += model->kind_of[i] == kind;
        sum += count * of_layer(work, &model->kind[kind]);
    }
    return sum / (double)model->layers;
}

/* Of a token that sees `seen` tokens in the mean. A gated delta net reads, writes and reads its
 * state again, whatever was before. */
static double attention_of(const awq_layer_spec *layer, double seen)
{
    const awq_attention_spec *attention = &layer->attention;
    double keys = (double)attention->head_dim, values = (double)attention->value_dim;
    double heads = (double)attention->heads;
    if (attention->kind == AWQ_ATTENTION_DELTA) return 6 * heads * keys * values;
    return 2 * heads * (keys + values) * seen;
}

/* Of a token. Attention multiplies with each token that it sees twice: of a window w in a sequence
 * of length L those are w - w^2 / 2L in the mean, and L / 2 without one. */
static double forward_of(const layer_work *work, const awq_layer_spec *layer)
{
    double length = (double)work->length, window = (double)layer->attention.window;
    if (!(window > 0 && window < length)) window = length;
    double seen = length > 0 ? window - window * window / (2 * length) : 0;
    double sum = attention_of(layer, seen);
    for (int i = 0; i < layer->linears; i++) {
        const awq_linear_spec *linear = &layer->linear[i];
        sum += 2.0 * (double)linear->out * (double)linear->in * share(layer, linear->expert);
    }
    return sum;
}

double awq_work_forward(const awq_model *model, int64_t tokens, int64_t length)
{
    return (double)tokens *
           mean_over_layers(&(layer_work){.model = model, .length = length}, forward_of);
}

/* Sum of in^2 over what all tokens of the layer are measured by; of in^3 over that and over what
 * experts read: a factor each. */
static double inputs_of(const layer_work *work, const awq_layer_spec *layer)
{
    double sum = 0, own = (double)layer->group[layer->half[AWQ_HALF_MLP].group].channels;
    for (int i = 0; i < layer->groups; i++) {
        double in = (double)layer->group[i].channels;
        if (work->power == 3) sum += in * in * in;
        if (work->power == 2 && layer->group[i].expert < 0) sum += in * in;
    }
    if (work->power == 3) sum += (double)layer->mlps.routing.experts * own * own * own;
    return sum;
}

/* The statistics of experts, of a token. */
static double experts_of(const layer_work *work, const awq_layer_spec *layer)
{
    (void)work;
    double sum = 0;
    for (int i = 0; i < layer->mlps.count; i++) {
        const awq_mlp_spec *mlp = &layer->mlps.mlp[i];
        if (mlp->expert < 0) continue;
        sum += awq_expert_statistics_flops(layer, mlp) * share(layer, mlp->expert);
    }
    return sum;
}

static double sum_inputs(const awq_model *model, int power)
{
    return mean_over_layers(&(layer_work){.model = model, .power = power}, inputs_of);
}

double awq_work_gram(const awq_model *model, int64_t tokens)
{
    return (double)tokens * sum_inputs(model, 2);
}

double awq_work_experts(const awq_model *model, int64_t tokens)
{
    enum { TIMES = 2 }; /* for the search, and to quantize */
    return TIMES * (double)tokens * mean_over_layers(&(layer_work){.model = model}, experts_of);
}

/* How often the exact error of a linear is measured beside the search: its output's energy, and
 * what is written. Then error feedback, and the clip of what is written. */
static double search_of(const layer_work *work, const awq_layer_spec *layer)
{
    const awq_recipe *recipe = work->recipe;
    bool feedback = recipe->rounding == AWQ_ROUNDING_FEEDBACK;
    double sum = 0;
    for (int i = 0; i < layer->linears; i++) {
        const awq_linear_spec *linear = &layer->linear[i];
        if (linear->exempt) continue;
        double in = (double)linear->in, weights = (double)linear->out * in;
        double group = recipe->group_size < 0 ? in : (double)recipe->group_size;
        bool clipped = recipe->clip != AWQ_CLIP_OFF && linear->clipped;
        sum += awq_search_flops(recipe, layer, i) + weights * in * (2 + feedback);
        if (clipped) sum += 2 * weights * group * awq_clip_trials(recipe->clip_shape);
    }
    return sum;
}

double awq_work_search(const awq_model *model, const awq_recipe *recipe, int64_t scored,
                       int64_t length)
{
    /* attention and MLP as they are, and once for each candidate */
    double sum = (awq_search_candidates(recipe) + 1) * awq_work_forward(model, scored, length);
    if (recipe->rounding == AWQ_ROUNDING_FEEDBACK) sum += sum_inputs(model, 3) / 3;
    return sum + mean_over_layers(&(layer_work){.model = model, .recipe = recipe}, search_of);
}

double awq_work_head(const awq_model *model, int64_t tokens)
{
    return 2.0 * (double)tokens * (double)model->vocab * (double)model->hidden;
}
