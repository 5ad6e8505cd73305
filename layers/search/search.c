/* SPDX-License-Identifier: MIT
 * layers/search/search.c - choose the scales of one group (docs/awq.md 2.3, 2.5): for each
 * candidate, the exact output error of all consumers over the calibration tokens, from their
 * input's Gram matrix. Strictly smaller wins, so ties go to the smaller alpha and NaN never wins.
 * Alphas between two of the grid (--refine) are candidates like the others, tried last. */
#include <math.h>
#include <stdlib.h>

#include "io/core/log.h"
#include "layers/forward/extent.h"
#include "layers/search/candidates.h"
#include "layers/search/channel_means.h"
#include "layers/search/module_loss.h"
#include "layers/search/quantizer.h"

typedef struct group_search {
    awq_quantizer *quantizer;
    int index; /* of the group */
    const awq_group_spec *group;
    int64_t tokens; /* that the input was measured on */
    awq_group_record *record;
    awq_candidate *candidates;
    int count;        /* of them, tried or to be tried */
    bool module;      /* candidates are scored by a module's output */
    bool joint;       /* consumers are clipped in each candidate */
    float *m, *w, *s; /* [free channels]; w NULL without duo */
    double *raw;      /* likewise: work space */
} group_search;

/* No one can absorb scales, or all that read the input are kept in full precision, or no
 * calibration token went there, or channels are tied and --o-proj skip: the scales stay 1. */
static bool is_skipped(const group_search *search)
{
    return search->group->producer.by == AWQ_BY_NO_ONE || !search->tokens ||
           awq_quantizer_keeps_group(search->quantizer, search->index) ||
           (search->group->repeat > 1 && search->quantizer->recipe->o_proj == AWQ_O_PROJ_SKIP);
}

/* mean|x| and, with duo, mean relative weight, of the free channels. */
static awq_status load_means(group_search *search, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    const awq_group_spec *group = search->group;
    size_t bytes = sizeof(float) * (size_t)awq_free_channels(group);
    if (awq_mean_abs(quantizer, search->index, search->record->mean_abs, err) ||
        !(search->m = awq_allocate(bytes, "mean|x|", err)) ||
        !(search->s = awq_allocate(bytes, "scales", err)) ||
        !(search->raw = awq_allocate(2 * bytes, "scales", err)))
        return err->status;
    awq_tie_channels(group, search->record->mean_abs, search->m);
    awq_smooth_means(search->m, awq_free_channels(group), quantizer->recipe->smooth);
    float *all;
    if (quantizer->recipe->duo == AWQ_DUO_OFF || is_skipped(search)) return AWQ_OK;
    if (!(search->w = awq_allocate(bytes, "mean weights", err)) ||
        !(all = awq_allocate((size_t)group->channels * sizeof *all, "mean weights", err)))
        return err->status;
    awq_status status = awq_mean_weight(quantizer, search->index, all, err);
    if (!status) awq_tie_channels(group, all, search->w);
    free(all);
    return status;
}

static awq_status allocate_record(awq_group_record *record, int64_t channels, int candidates,
                                  awq_error *err)
{
    size_t count = (size_t)candidates;
    record->channels = channels;
    if (!(record->mean_abs = awq_allocate((size_t)channels * sizeof(float), "mean|x|", err)) ||
        !(record->scales = awq_allocate((size_t)channels * sizeof(float), "scales", err)) ||
        !(record->alpha = awq_allocate(count * sizeof(double), "alphas", err)) ||
        !(record->duo = awq_allocate(count, "rules", err)) ||
        !(record->loss = awq_allocate(count * sizeof(double), "losses", err)))
        return err->status;
    return AWQ_OK;
}

static awq_status prepare(group_search *search, awq_error *err)
{
    const awq_recipe *recipe = search->quantizer->recipe;
    int64_t channels = search->group->channels;
    size_t most = AWQ_MAX_CANDIDATES + (size_t)recipe->refine;
    search->joint = recipe->clip == AWQ_CLIP_JOINT;
    search->candidates = awq_allocate(most * sizeof *search->candidates, "the candidates", err);
    if (!search->candidates) return err->status;
    bool skipped = is_skipped(search);
    search->module = recipe->objective == AWQ_OBJECTIVE_MODULE && !skipped &&
                     awq_module_has(search->quantizer->spec, search->index);
    /* what is skipped is rounded plainly, for its loss */
    search->count = awq_candidates_list(skipped ? 0 : (int)recipe->alpha_steps,
                                        skipped ? AWQ_DUO_OFF : recipe->duo, search->candidates);
    if (allocate_record(search->record, channels, search->count + recipe->refine, err))
        return err->status;
    if (load_means(search, err)) return err->status;
    return search->module ? awq_module_loss_begin(search->quantizer, search->index, err) : AWQ_OK;
}

/* The candidate's scales, to record->scales and the device. */
static void set_scales(group_search *search, int candidate)
{
    awq_quantizer *quantizer = search->quantizer;
    awq_candidate_scales(&search->candidates[candidate], search->m, search->w,
                         awq_free_channels(search->group), search->raw, search->s);
    awq_group_record *record = search->record;
    for (int64_t i = 0; i < record->channels; i++)
        record->scales[i] = search->s[awq_free_channel(search->group, i)];
    quantizer->be->upload(quantizer->device, quantizer->columns, record->scales,
                          (size_t)record->channels * sizeof *record->scales);
}

/* trace(D G D^T) of one consumer at the scales on the device. */
static awq_status consumer_error(group_search *search, int linear, bool clipped, double *error,
                                 awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    double flops = (double)awq_extent_elements(extent) * (double)extent.in;
    awq_trial_error(quantizer, linear, clipped, &flops);
    const float *gram = awq_statistics_gram(quantizer->statistics, linear);
    if (quantizer->be->quadratic_form(quantizer->device, quantizer->d, gram, extent, error, err))
        return err->status;
    return awq_quantizer_step(quantizer, AWQ_PHASE_SEARCH, flops, err);
}

/* Mean squared error of an output, from the sum of the consumers' squared errors. */
static double mean_error(const group_search *search, double sum)
{
    const awq_layer_spec *spec = search->quantizer->spec;
    int64_t outputs = 0;
    for (int i = 0; i < search->group->count; i++)
        outputs += spec->linear[awq_group_reader(spec, search->group, i)].out;
    return search->tokens ? sum / ((double)search->tokens * (double)outputs) : 0;
}

/* Plain rounding of each consumer: what the record compares with, and the proof that weights and
 * activations are sound. The identity's scales are on the device. */
static awq_status measure_rounding(group_search *search, double *loss, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    double sum = 0;
    for (int i = 0; i < search->group->count; i++) {
        int linear = awq_group_reader(quantizer->spec, search->group, i);
        double error;
        if (awq_quantizer_keeps(quantizer, linear)) continue;
        if (consumer_error(search, linear, false, &error, err)) return err->status;
        if (!isfinite(error)) return awq_blame_nonfinite(quantizer, linear, err);
        quantizer->out->record.linear[linear].loss_rounding = error;
        sum += error;
    }
    *loss = mean_error(search, sum);
    return AWQ_OK;
}

/* The linear objective at the scales on the device. */
static awq_status measure_linears(group_search *search, double *loss, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    double sum = 0;
    for (int i = 0; i < search->group->count; i++) {
        int linear = awq_group_reader(quantizer->spec, search->group, i);
        bool clipped = search->joint && awq_is_clipped(quantizer, linear);
        double error;
        if (awq_quantizer_keeps(quantizer, linear)) continue;
        if (consumer_error(search, linear, clipped, &error, err)) return err->status;
        sum += error;
    }
    *loss = mean_error(search, sum);
    return AWQ_OK;
}

/* The objective at the candidate's scales, which are on the device. */
static awq_status measure_loss(group_search *search, int candidate, double *loss, awq_error *err)
{
    if (candidate == 0 && measure_rounding(search, loss, err)) return err->status;
    if (!search->module && candidate == 0 && !search->joint) return AWQ_OK; /* plain rounding */
    if (!search->module) return measure_linears(search, loss, err);
    if (awq_module_loss_measure(search->quantizer, search->index, search->joint, loss, err))
        return err->status;
    if (candidate > 0 || isfinite(*loss)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "scale group '%s': the output of its module is not finite on the calibration "
                    "tokens: the model overflows in the compute type",
                    search->record->name);
}

static awq_status try_candidate(group_search *search, int candidate, awq_error *err)
{
    awq_group_record *record = search->record;
    double loss;
    set_scales(search, candidate);
    if (measure_loss(search, candidate, &loss, err)) return err->status;
    record->alpha[candidate] = search->candidates[candidate].alpha;
    record->duo[candidate] = search->candidates[candidate].duo;
    record->loss[candidate] = loss;
    return AWQ_OK;
}

/* -1: no loss is finite. */
static int choose(const double *loss, int count)
{
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < count; i++) {
        if (!(loss[i] < least)) continue;
        least = loss[i];
        best = i;
    }
    return best;
}

/* Of the alphas beside `best` under the same rule, the one of less loss; -1: there is none. */
static int better_neighbour(const group_search *search, int best)
{
    const double *loss = search->record->loss;
    int found = -1;
    for (int i = best - 1; best >= 0 && i <= best + 1; i += 2) {
        if (i < 0 || i >= search->count || !isfinite(loss[i])) continue;
        if (search->candidates[i].duo != search->candidates[best].duo) continue;
        if (found < 0 || loss[i] < loss[found]) found = i;
    }
    return found;
}

/* Tries alphas between the best of the grid and its better neighbour. */
static awq_status refine_alpha(group_search *search, awq_error *err)
{
    int best = choose(search->record->loss, search->count);
    int neighbour = better_neighbour(search, best);
    if (neighbour < 0) return AWQ_OK;
    const awq_candidate *found = &search->candidates[best];
    awq_refine refine = awq_refine_between(found->alpha, search->candidates[neighbour].alpha);
    for (int i = 0; i < search->quantizer->recipe->refine; i++) {
        search->candidates[search->count] = (awq_candidate){awq_refine_next(&refine), found->duo};
        if (try_candidate(search, search->count, err)) return err->status;
        awq_refine_tell(&refine, search->record->loss[search->count++]);
    }
    return AWQ_OK;
}

static awq_status run(group_search *search, awq_error *err)
{
    awq_group_record *record = search->record;
    if (prepare(search, err)) return err->status;
    for (int i = 0; i < search->count; i++)
        if (try_candidate(search, i, err)) return err->status;
    if (refine_alpha(search, err)) return err->status;
    bool skipped = is_skipped(search);
    int chosen = choose(record->loss, search->count);
    record->candidates = skipped ? 0 : search->count;
    record->chosen = skipped ? -1 : chosen;
    if (chosen < 0)
        AWQ_LOG(AWQ_LOG_INFO, "no candidate is finite, identity kept",
                AWQ_WHOLE("layer", search->quantizer->decoder->index),
                AWQ_TEXT("group", record->name));
    set_scales(search, chosen < 0 ? 0 : chosen);
    return AWQ_OK;
}

awq_status awq_search_group(awq_quantizer *quantizer, int group, awq_error *err)
{
    group_search search = {.quantizer = quantizer,
                           .index = group,
                           .group = &quantizer->spec->group[group],
                           .tokens = awq_statistics_tokens(quantizer->statistics, group),
                           .record = &quantizer->out->record.group[group]};
    search.record->tokens = search.tokens;
    awq_status status = run(&search, err);
    free(search.candidates);
    free(search.m);
    free(search.w);
    free(search.s);
    free(search.raw);
    return status;
}
