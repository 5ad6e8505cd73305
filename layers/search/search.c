/* SPDX-License-Identifier: MIT
 * layers/search/search.c - choose the scales of one group (docs/awq.md 2.3, 2.5): the candidate of
 * the least output error of all consumers over the calibration tokens, from their input's Gram
 * matrix. Strictly smaller wins, so ties go to the earlier candidate and NaN never wins. Alphas
 * between two of the grid (--refine) are candidates like the others, tried last. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/log.h"
#include "layers/forward/extent.h"
#include "layers/search/channel_means.h"
#include "layers/search/losses.h"
#include "layers/search/module_loss.h"
#include "layers/search/work.h"

/* No one can absorb scales, or all that read the input are kept in full precision, or no
 * calibration token went there, or channels are tied and --o-proj skip: the scales stay 1. */
static bool is_skipped(const awq_group_search *search)
{
    return search->group->producer.by == AWQ_BY_NO_ONE || !search->tokens ||
           awq_quantizer_keeps_group(search->quantizer, search->index) ||
           (search->group->repeat > 1 && search->quantizer->recipe->o_proj == AWQ_O_PROJ_SKIP);
}

/* *out [free channels] = the logarithms of what is of each channel, taken together where they are
 * tied; owned by the caller. */
static awq_status take_logarithms(const awq_group_search *search, const float *channels,
                                  double smooth, double **out, awq_error *err)
{
    int64_t count = awq_free_channels(search->group);
    float *free_ones = awq_allocate((size_t)count * sizeof *free_ones, "means", err);
    if (!free_ones) return err->status;
    awq_tie_channels(search->group, channels, free_ones);
    if (smooth > 0) awq_smooth_means(free_ones, count, smooth);
    *out = awq_allocate((size_t)count * sizeof **out, "means", err);
    for (int64_t i = 0; *out && i < count; i++) (*out)[i] = log((double)free_ones[i]);
    free(free_ones);
    return *out ? AWQ_OK : err->status;
}

/* Of mean|x| and, with duo, of the mean relative weight. */
static awq_status load_means(awq_group_search *search, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    size_t count = (size_t)awq_free_channels(search->group);
    if (awq_mean_abs(quantizer, search->index, search->record->mean_abs, err) ||
        !(search->s = awq_allocate(count * sizeof *search->s, "scales", err)) ||
        !(search->raw = awq_allocate(count * sizeof *search->raw, "scales", err)) ||
        take_logarithms(search, search->record->mean_abs, quantizer->recipe->smooth, &search->log_m,
                        err))
        return err->status;
    if (quantizer->recipe->duo == AWQ_DUO_OFF || is_skipped(search)) return AWQ_OK;
    float *w = awq_allocate((size_t)search->group->channels * sizeof *w, "mean weights", err);
    if (!w) return err->status;
    awq_status status = awq_mean_weight(quantizer, search->index, w, err);
    if (!status) status = take_logarithms(search, w, 0, &search->log_w, err);
    free(w);
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
        !(record->loss = awq_allocate(count * sizeof(double), "losses", err)) ||
        !(record->measured = awq_allocate(count * sizeof(double), "losses", err)))
        return err->status;
    for (size_t i = 0; i < count; i++) record->measured[i] = 1;
    return AWQ_OK;
}

static int64_t rows_of(const awq_group_search *search)
{
    int64_t rows = 0;
    for (int i = 0; i < search->group->count; i++)
        rows += search->quantizer->spec
                    ->linear[awq_group_reader(search->quantizer->spec, search->group, i)]
                    .out;
    return rows;
}

static awq_status allocate(awq_group_search *search, awq_error *err)
{
    int64_t channels = search->group->channels;
    size_t most = (size_t)search->most, readers = (size_t)search->group->count;
    if (allocate_record(search->record, channels, search->most, err) ||
        !(search->scales = awq_allocate(most * (size_t)channels * sizeof(float), "scales", err)))
        return err->status;
    search->errors = calloc(most * readers + 1, sizeof(double));
    search->identity = calloc((size_t)rows_of(search) + 1, sizeof(double));
    if (!search->errors || !search->identity)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the losses of candidates");
    return AWQ_OK;
}

static awq_status prepare(awq_group_search *search, awq_error *err)
{
    const awq_recipe *recipe = search->quantizer->recipe;
    const awq_layer_spec *spec = search->quantizer->spec;
    size_t listed = AWQ_MAX_CANDIDATES + (size_t)recipe->refine;
    search->joint = recipe->clip == AWQ_CLIP_JOINT;
    search->mixed = awq_search_is_mixed(spec, search->index);
    search->candidates = awq_allocate(listed * sizeof *search->candidates, "the candidates", err);
    if (!search->candidates) return err->status;
    bool skipped = is_skipped(search);
    search->module = recipe->objective == AWQ_OBJECTIVE_MODULE && !skipped &&
                     awq_module_has(spec, search->index);
    /* what is skipped is rounded plainly, for its loss */
    search->count = awq_candidates_list(skipped ? 0 : (int)recipe->alpha_steps,
                                        skipped ? AWQ_DUO_OFF : recipe->duo, search->candidates);
    search->most = search->count + (int)recipe->refine;
    if (allocate(search, err) || load_means(search, err)) return err->status;
    return search->module ? awq_module_loss_begin(search->quantizer, search->index, err) : AWQ_OK;
}

/* ---- losses ---- */

/* The candidate's scales to the device and to the record. */
static void set_scales(const awq_group_search *search, int candidate)
{
    int64_t channels = search->group->channels;
    size_t bytes = (size_t)channels * sizeof *search->scales;
    const float *scales = search->scales + candidate * channels;
    awq_quantizer *quantizer = search->quantizer;
    quantizer->be->upload(quantizer->device, quantizer->columns, scales, bytes);
    memcpy(search->record->scales, scales, bytes);
}

/* Mean squared error of an output. */
static double linear_loss(const awq_group_search *search, int candidate)
{
    const awq_layer_spec *spec = search->quantizer->spec;
    int64_t outputs = 0;
    double sum = 0;
    for (int i = 0; i < search->group->count; i++) {
        outputs += spec->linear[awq_group_reader(spec, search->group, i)].out;
        sum += search->errors[(int64_t)i * search->most + candidate];
    }
    return search->tokens ? sum / ((double)search->tokens * (double)outputs) : 0;
}

static awq_status module_loss(awq_group_search *search, int candidate, double *loss, awq_error *err)
{
    set_scales(search, candidate);
    if (awq_module_loss_measure(search->quantizer, search->index, search->joint, loss, err))
        return err->status;
    if (candidate > 0 || isfinite(*loss)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "scale group '%s': the output of its module is not finite on the calibration "
                    "tokens: the model overflows in the compute type",
                    search->record->name);
}

/* The candidates from `first` to `end`, into the record. */
static awq_status try_candidates(awq_group_search *search, int first, int end, awq_error *err)
{
    awq_group_record *record = search->record;
    search->first = first;
    search->end = end;
    if (awq_search_measure(search, err)) return err->status;
    for (int i = search->mixed || search->module ? first : 0; i < end; i++) {
        record->alpha[i] = search->candidates[i].alpha;
        record->duo[i] = search->candidates[i].duo;
        record->loss[i] = linear_loss(search, i);
        if (!search->module) continue;
        if (module_loss(search, i, &record->loss[i], err)) return err->status;
        record->measured[i] = 1;
    }
    return AWQ_OK;
}

/* ---- the choice ---- */

/* Of a race one that is measured on all rows: estimates only say that others are worse. -1: no loss
 * is finite. */
static int choose(const awq_group_search *search)
{
    const awq_group_record *record = search->record;
    int best = -1;
    double least = INFINITY;
    for (int i = 0; i < search->count; i++) {
        if (!(record->loss[i] < least) || (!search->mixed && record->measured[i] < 1)) continue;
        least = record->loss[i];
        best = i;
    }
    return best;
}

/* Of the alphas beside `best` under the same rule, the one of less loss; -1: there is none. */
static int better_neighbour(const awq_group_search *search, int best)
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
static awq_status refine_alpha(awq_group_search *search, awq_error *err)
{
    int best = choose(search), neighbour = better_neighbour(search, best);
    if (neighbour < 0) return AWQ_OK;
    const awq_candidate *found = &search->candidates[best];
    awq_refine refine = awq_refine_between(found->alpha, search->candidates[neighbour].alpha);
    for (int i = 0; i < search->quantizer->recipe->refine; i++) {
        search->candidates[search->count] = (awq_candidate){awq_refine_next(&refine), found->duo};
        if (try_candidates(search, search->count, search->count + 1, err)) return err->status;
        awq_refine_tell(&refine, search->record->loss[search->count++]);
    }
    return AWQ_OK;
}

/* ---- all of it ---- */

/* What the plan has for it: the rest is told at its end. A module tells its own. */
static void plan(awq_group_search *search)
{
    awq_quantizer *quantizer = search->quantizer;
    const awq_layer_spec *spec = quantizer->spec;
    quantizer->planned = 0;
    for (int i = 0; i < search->group->count; i++) {
        int linear = awq_group_reader(spec, search->group, i);
        awq_extent extent = awq_linear_extent(&spec->linear[linear]);
        if (!quantizer->decoder->weight[linear] || awq_quantizer_keeps(quantizer, linear)) continue;
        quantizer->planned += search->module
                                  ? (double)awq_extent_elements(extent) * (double)extent.in
                                  : awq_search_flops(quantizer->recipe, spec, linear);
    }
}

static awq_status try_all(awq_group_search *search, awq_error *err)
{
    if (try_candidates(search, 0, search->count, err) || refine_alpha(search, err))
        return err->status;
    return awq_quantizer_spend(search->quantizer, search->quantizer->planned, err);
}

static awq_status run(awq_group_search *search, awq_error *err)
{
    awq_group_record *record = search->record;
    if (prepare(search, err)) return err->status;
    plan(search);
    if (try_all(search, err)) return err->status;
    bool skipped = is_skipped(search);
    int chosen = choose(search);
    record->candidates = skipped ? 0 : search->count;
    record->chosen = skipped ? -1 : chosen;
    if (chosen < 0)
        AWQ_LOG(AWQ_LOG_INFO, "no candidate is finite, identity kept",
                AWQ_WHOLE("layer", search->quantizer->decoder->index),
                AWQ_TEXT("group", record->name));
    set_scales(search, chosen < 0 ? 0 : chosen);
    if (!awq_quantizer_shares(search->quantizer, search->index)) return AWQ_OK;
    return awq_exchange_agree(search->quantizer->exchange, search->quantizer->decoder->part.count,
                              record->scales, (size_t)record->channels, err);
}

awq_status awq_search_group(awq_quantizer *quantizer, int group, awq_error *err)
{
    awq_group_search search = {.quantizer = quantizer,
                               .index = group,
                               .group = &quantizer->spec->group[group],
                               .tokens = awq_statistics_tokens(quantizer->statistics, group),
                               .record = &quantizer->out->record.group[group]};
    search.record->tokens = search.tokens;
    awq_status status = run(&search, err);
    free(search.candidates);
    free(search.log_m);
    free(search.log_w);
    free(search.s);
    free(search.raw);
    free(search.scales);
    free(search.errors);
    free(search.identity);
    awq_batch_close(&search.batch);
    awq_race_close(&search.race);
    return status;
}
