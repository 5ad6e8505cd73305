/* SPDX-License-Identifier: MIT
 * layers/search/search.c - choose the scales of one group (docs/awq.md 2.3, 2.5): for each
 * candidate, the exact output error of all consumers over the calibration tokens, from their
 * input's Gram matrix. Strictly smaller wins, so ties go to the smaller alpha and NaN never wins.
 * Alphas between two of the grid (--refine) are candidates like the others, tried last.
 *
 * Consumer after consumer goes through all candidates, as many at a time as fit the work space; the
 * errors of all are kept, and added up at the end in the consumers' order. So what one expert is
 * measured by is made once for all its consumers and candidates, and the scales of its own down are
 * searched while that is there. Of a layer in parts each measures the readers that it has, all get
 * all errors, and each adds them up and chooses as a whole layer would. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    int most;         /* that there may be */
    bool module;      /* candidates are scored by a module's output */
    bool joint;       /* consumers are clipped in each candidate */
    float *m, *w, *s; /* [free channels]; w NULL without duo */
    double *raw;      /* likewise: work space */
    float *scales;    /* [most, channels] of the candidates */
    double *errors;   /* [readers, most] sums of squares; of what is kept in full precision 0 */
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
    size_t listed = AWQ_MAX_CANDIDATES + (size_t)recipe->refine;
    search->joint = recipe->clip == AWQ_CLIP_JOINT;
    search->candidates = awq_allocate(listed * sizeof *search->candidates, "the candidates", err);
    if (!search->candidates) return err->status;
    bool skipped = is_skipped(search);
    search->module = recipe->objective == AWQ_OBJECTIVE_MODULE && !skipped &&
                     awq_module_has(search->quantizer->spec, search->index);
    /* what is skipped is rounded plainly, for its loss */
    search->count = awq_candidates_list(skipped ? 0 : (int)recipe->alpha_steps,
                                        skipped ? AWQ_DUO_OFF : recipe->duo, search->candidates);
    search->most = search->count + (int)recipe->refine;
    size_t most = (size_t)search->most, readers = (size_t)search->group->count;
    if (allocate_record(search->record, channels, search->most, err) ||
        !(search->scales = awq_allocate(most * (size_t)channels * sizeof(float), "scales", err)) ||
        !(search->errors = calloc(most * readers, sizeof(double))))
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the losses of candidates");
    if (load_means(search, err)) return err->status;
    return search->module ? awq_module_loss_begin(search->quantizer, search->index, err) : AWQ_OK;
}

/* ---- losses ---- */

static void make_scales(group_search *search, int candidate)
{
    int64_t channels = search->group->channels;
    float *scales = search->scales + candidate * channels;
    awq_candidate_scales(&search->candidates[candidate], search->m, search->w,
                         awq_free_channels(search->group), search->raw, search->s);
    for (int64_t i = 0; i < channels; i++)
        scales[i] = search->s[awq_free_channel(search->group, i)];
}

/* The candidate's scales to the device, and, with a record, there. */
static void set_scales(const group_search *search, int candidate, awq_group_record *record)
{
    int64_t channels = search->group->channels;
    size_t bytes = (size_t)channels * sizeof *search->scales;
    const float *scales = search->scales + candidate * channels;
    awq_quantizer *quantizer = search->quantizer;
    quantizer->be->upload(quantizer->device, quantizer->columns, scales, bytes);
    if (record) memcpy(record->scales, scales, bytes);
}

/* errors [count] = trace(D G D^T) of a consumer at the scales of as many candidates from `first`
 * on, whose D fit the work space together. */
static awq_status measure_some(group_search *search, int linear, bool clipped, int first, int count,
                               double *errors, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    size_t bytes = (size_t)awq_extent_elements(extent) * quantizer->be->compute_bytes;
    double flops = (double)count * (double)awq_extent_elements(extent) * (double)extent.in;
    for (int i = 0; i < count; i++) {
        set_scales(search, first + i, NULL);
        awq_trial_error(quantizer, linear, clipped, (char *)quantizer->d + (size_t)i * bytes,
                        &flops);
    }
    const float *gram = awq_quantizer_gram(quantizer, linear);
    if (quantizer->be->quadratic_form(quantizer->device, quantizer->d, gram, extent, count, errors,
                                      err))
        return err->status;
    return awq_quantizer_step(quantizer, AWQ_PHASE_SEARCH, flops, err);
}

/* Plain rounding of a consumer: what the record compares with, and the proof that weights and
 * activations are sound. */
static awq_status measure_rounding(group_search *search, int linear, awq_error *err)
{
    double *error = &search->quantizer->out->record.linear[linear].loss_rounding;
    if (measure_some(search, linear, false, 0, 1, error, err)) return err->status;
    return isfinite(*error) ? AWQ_OK : awq_blame_nonfinite(search->quantizer, linear, err);
}

/* The errors of a reader at the candidates from `first` to `end`. */
static awq_status measure_reader(group_search *search, int reader, int first, int end,
                                 awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    int linear = awq_group_reader(quantizer->spec, search->group, reader);
    double *errors = search->errors + (int64_t)reader * search->most;
    bool clipped = search->joint && awq_is_clipped(quantizer, linear);
    if (awq_quantizer_keeps(quantizer, linear)) return AWQ_OK;
    if (!first && measure_rounding(search, linear, err)) return err->status;
    if (search->module) return AWQ_OK;
    if (!first && !clipped) /* the identity is plain rounding */
        errors[first++] = quantizer->out->record.linear[linear].loss_rounding;
    int room = awq_quantizer_trials(quantizer, linear);
    for (int count; first < end; first += count) {
        count = end - first < room ? end - first : room;
        if (measure_some(search, linear, clipped, first, count, errors + first, err))
            return err->status;
    }
    return AWQ_OK;
}

/* The group of an expert's down, while the expert is held. */
static awq_status search_down(group_search *search, int expert, awq_error *err)
{
    const awq_layer_spec *spec = search->quantizer->spec;
    int down = spec->mlps.mlp[expert].down;
    return awq_search_group(search->quantizer, spec->linear[down].group, err);
}

/* All readers that are here, those of an expert in a row: linears are in that order. The first time
 * round, the experts' own groups are searched along. */
static awq_status measure_readers(group_search *search, int first, int end, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    const awq_layer_spec *spec = quantizer->spec;
    int held = AWQ_NOBODY;
    for (int i = 0; i < search->group->count; i++) {
        int linear = awq_group_reader(spec, search->group, i);
        int expert = spec->linear[linear].expert;
        if (!quantizer->decoder->weight[linear]) continue;
        if (awq_quantizer_hold(quantizer, expert, err)) return err->status;
        bool entered =
            expert != held && expert != AWQ_NOBODY && search->group->expert == AWQ_NOBODY;
        held = expert;
        if (!first && entered && search_down(search, expert, err)) return err->status;
        if (measure_reader(search, i, first, end, err)) return err->status;
    }
    if (!awq_quantizer_shares(quantizer, search->index)) return AWQ_OK;
    return awq_exchange_columns(quantizer->exchange,
                                &(awq_columns){.of = search->errors,
                                               .rows = (size_t)search->group->count,
                                               .stride = (size_t)search->most,
                                               .first = (size_t)first,
                                               .count = (size_t)(end - first)},
                                err);
}

/* Mean squared error of an output. */
static double linear_loss(const group_search *search, int candidate)
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

static awq_status module_loss(group_search *search, int candidate, double *loss, awq_error *err)
{
    set_scales(search, candidate, search->record);
    if (awq_module_loss_measure(search->quantizer, search->index, search->joint, loss, err))
        return err->status;
    if (candidate > 0 || isfinite(*loss)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "scale group '%s': the output of its module is not finite on the calibration "
                    "tokens: the model overflows in the compute type",
                    search->record->name);
}

/* The candidates from `first` to `end`, into the record. */
static awq_status try_candidates(group_search *search, int first, int end, awq_error *err)
{
    awq_group_record *record = search->record;
    for (int i = first; i < end; i++) make_scales(search, i);
    if (measure_readers(search, first, end, err)) return err->status;
    for (int i = first; i < end; i++) {
        record->alpha[i] = search->candidates[i].alpha;
        record->duo[i] = search->candidates[i].duo;
        record->loss[i] = linear_loss(search, i);
        if (search->module && module_loss(search, i, &record->loss[i], err)) return err->status;
    }
    return AWQ_OK;
}

/* ---- the choice ---- */

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
        if (try_candidates(search, search->count, search->count + 1, err)) return err->status;
        awq_refine_tell(&refine, search->record->loss[search->count++]);
    }
    return AWQ_OK;
}

static awq_status run(group_search *search, awq_error *err)
{
    awq_group_record *record = search->record;
    if (prepare(search, err)) return err->status;
    if (try_candidates(search, 0, search->count, err) || refine_alpha(search, err))
        return err->status;
    bool skipped = is_skipped(search);
    int chosen = choose(record->loss, search->count);
    record->candidates = skipped ? 0 : search->count;
    record->chosen = skipped ? -1 : chosen;
    if (chosen < 0)
        AWQ_LOG(AWQ_LOG_INFO, "no candidate is finite, identity kept",
                AWQ_WHOLE("layer", search->quantizer->decoder->index),
                AWQ_TEXT("group", record->name));
    set_scales(search, chosen < 0 ? 0 : chosen, record);
    if (!awq_quantizer_shares(search->quantizer, search->index)) return AWQ_OK;
    return awq_exchange_agree(search->quantizer->exchange, search->quantizer->decoder->part.count,
                              record->scales, (size_t)record->channels, err);
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
    free(search.scales);
    free(search.errors);
    return status;
}
