/* SPDX-License-Identifier: MIT
 * layers/search/losses.c - what candidates cost.
 *
 * Consumers that are measured by one Gram matrix are a batch. Most groups are one batch, of which
 * the candidates race (race.h): the winner is measured on all rows, the others as far as was needed
 * to tell. In a mixture each expert that reads the input is a batch, and what it is measured by is
 * made once: all candidates are measured on the same share of its rows, and the scales of its own
 * down are searched while it is there; the errors of all are added up in the experts' order. Of a
 * layer in parts each measures the experts that it has, all get all errors, and each chooses as a
 * whole layer would. */
#include "layers/search/losses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/search/work.h"

/* ---- scales ---- */

static void make_scales(awq_group_search *search, int candidate)
{
    int64_t channels = search->group->channels;
    float *scales = search->scales + candidate * channels;
    awq_candidate_scales(&search->candidates[candidate], search->log_m, search->log_w,
                         awq_free_channels(search->group), search->raw, search->s);
    for (int64_t i = 0; i < channels; i++)
        scales[i] = search->s[awq_free_channel(search->group, i)];
}

/* Those that are tried now. */
static void make_all_scales(void *context)
{
    awq_group_search *search = context;
    for (int i = search->first; i < search->end; i++) make_scales(search, i);
}

static bool is_clipped(const awq_batch *batch)
{
    for (int i = 0; i < batch->count; i++)
        if (awq_is_clipped(batch->quantizer, batch->linear[i])) return true;
    return false;
}

/* The identity's scales are on the device. */
static awq_status blame(awq_quantizer *quantizer, int linear, awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    awq_grid grid = awq_quantizer_grid(quantizer, linear);
    quantizer->be->rounding_error(quantizer->device, quantizer->d,
                                  quantizer->decoder->weight[linear], quantizer->scales, 1, extent,
                                  &grid);
    return awq_blame_nonfinite(quantizer, linear, err);
}

/* Plain rounding: what the record compares with, and the proof that weights and activations are
 * sound. */
static awq_status record_rounding(const awq_batch *batch, const double *loss, awq_error *err)
{
    awq_layer_record *record = &batch->quantizer->out->record;
    for (int i = 0; i < batch->count; i++) {
        double *sum = &record->linear[batch->linear[i]].loss_rounding;
        *sum = 0;
        for (int64_t r = batch->first[i]; r < batch->first[i + 1]; r++) *sum += loss[r];
        if (!isfinite(*sum)) return blame(batch->quantizer, batch->linear[i], err);
    }
    return AWQ_OK;
}

/* Measures the identity on all rows, and with a clip that is joint once more, clipped. */
static awq_status measure_identity(awq_group_search *search, const awq_batch *batch, awq_race *race,
                                   awq_error *err)
{
    const int identity = 0;
    awq_trials trials = {.scales = search->scales,
                         .candidate = &identity,
                         .count = 1,
                         .rows = batch->rows,
                         .meanwhile = search->mixed ? NULL : make_all_scales,
                         .context = search};
    for (int64_t i = 0; i < search->group->channels; i++) search->scales[i] = 1;
    if (awq_measure_rows(batch, &trials, race->loss, err) ||
        record_rounding(batch, race->loss, err))
        return err->status;
    trials.clipped = true;
    trials.meanwhile = NULL;
    if (search->joint && is_clipped(batch) && awq_measure_rows(batch, &trials, race->loss, err))
        return err->status;
    race->measured[identity] = AWQ_RACE_LEVELS;
    race->running[identity] = true;
    return AWQ_OK;
}

/* Those that run on to a level. */
static awq_status measure_to(awq_group_search *search, const awq_batch *batch, awq_race *race,
                             int level, awq_error *err)
{
    int *running = awq_allocate((size_t)race->most * sizeof *running, "the candidates", err);
    if (!running) return err->status;
    int count = 0;
    for (int i = 0; i < race->most; i++)
        if (race->running[i] && race->measured[i] < AWQ_RACE_LEVELS) running[count++] = i;
    awq_trials trials = {.scales = search->scales,
                         .candidate = running,
                         .count = count,
                         .row = race->picked,
                         .rows = awq_race_pick(race, race->level, level),
                         .clipped = search->joint};
    awq_status status = awq_measure_rows(batch, &trials, race->loss, err);
    for (int i = 0; i < count; i++) race->measured[running[i]] = level;
    race->level = level;
    free(running);
    return status;
}

static int first_level(const awq_group_search *search, const awq_race *race)
{
    if (search->quantizer->recipe->search == AWQ_SEARCH_EXHAUSTIVE) return AWQ_RACE_LEVELS;
    return awq_race_first_level(race->rows, search->mixed ? AWQ_RACE_MIXED : 0);
}

static void enter(awq_group_search *search, awq_race *race)
{
    for (int i = search->first > 1 ? search->first : 1; i < search->end; i++)
        race->running[i] = true;
    race->level = -1;
}

/* The candidates that are tried now, of a group that is one batch. */
static awq_status race(awq_group_search *search, awq_error *err)
{
    awq_race *race = &search->race;
    const awq_batch *batch = &search->batch;
    if (!batch->rows) { /* all is kept in full precision */
        make_all_scales(search);
        return AWQ_OK;
    }
    if (!search->first && (measure_identity(search, batch, race, err) || awq_race_order(race, err)))
        return err->status;
    if (search->first) make_all_scales(search);
    if (search->module) return AWQ_OK;
    enter(search, race);
    int level = first_level(search, race);
    for (; level >= 0 && search->end > 1; level = awq_race_judge(race))
        if (measure_to(search, batch, race, level, err)) return err->status;
    int winner = awq_race_winner(race);
    for (int i = 0; i < search->end; i++) {
        search->errors[i] =
            winner < 0 ? awq_race_sum(race, i) : awq_race_sum_beside(race, i, winner);
        search->record->measured[i] = awq_race_share(race->rows, race->measured[i]);
    }
    return AWQ_OK;
}

/* The same of one batch of several: no candidate is out before all batches are measured. `reader`:
 * the batch's first; `row`: its first row in the group. */
static awq_status measure_share(awq_group_search *search, const awq_batch *batch, int reader,
                                int64_t row, awq_error *err)
{
    awq_race race;
    double *errors = search->errors + (int64_t)reader * search->most;
    size_t bytes = (size_t)batch->rows * sizeof *race.loss;
    if (!batch->rows) return AWQ_OK;
    if (awq_race_open(&race, batch->rows, search->most, err)) return err->status;
    awq_status status = AWQ_OK;
    if (!search->first) {
        status = measure_identity(search, batch, &race, err);
        memcpy(search->identity + row, race.loss, bytes);
    } else {
        memcpy(race.loss, search->identity + row, bytes);
    }
    race.measured[0] = AWQ_RACE_LEVELS;
    enter(search, &race);
    if (!status) status = awq_race_order(&race, err);
    if (!status && search->end > 1)
        status = measure_to(search, batch, &race, first_level(search, &race), err);
    for (int i = search->first; !status && i < search->end; i++) errors[i] = awq_race_sum(&race, i);
    awq_race_close(&race);
    return status;
}

/* The group of an expert's down, while the expert is held. */
static awq_status search_down(awq_group_search *search, int expert, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    double planned = quantizer->planned;
    int down = quantizer->spec->mlps.mlp[expert].down;
    awq_status status = awq_search_group(quantizer, quantizer->spec->linear[down].group, err);
    quantizer->planned = planned;
    return status;
}

/* The readers from `reader` on that are measured by what it is, as a batch, without those that are
 * kept in full precision, or elsewhere; returns the first reader of the next. */
static int fill_batch(const awq_group_search *search, int reader, awq_batch *batch)
{
    awq_quantizer *quantizer = search->quantizer;
    const awq_layer_spec *spec = quantizer->spec;
    int expert = spec->linear[awq_group_reader(spec, search->group, reader)].expert, next = reader;
    for (; next < search->group->count; next++) {
        int linear = awq_group_reader(spec, search->group, next);
        if (spec->linear[linear].expert != expert) break;
        if (quantizer->decoder->weight[linear] && !awq_quantizer_keeps(quantizer, linear))
            awq_batch_add(batch, linear);
    }
    return next;
}

/* An expert's readers, or those of none, and the first time round the expert's own group. */
static awq_status measure_expert(awq_group_search *search, const awq_batch *batch, int reader,
                                 int64_t row, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    int linear = awq_group_reader(quantizer->spec, search->group, reader);
    int expert = quantizer->spec->linear[linear].expert;
    if (!quantizer->decoder->weight[linear]) return AWQ_OK; /* it is elsewhere */
    if (awq_quantizer_hold(quantizer, expert, err)) return err->status;
    if (!search->first && expert != AWQ_NOBODY && search_down(search, expert, err))
        return err->status;
    return measure_share(search, batch, reader, row, err);
}

static awq_status measure_experts(awq_group_search *search, awq_error *err)
{
    awq_quantizer *quantizer = search->quantizer;
    int64_t row = 0;
    make_all_scales(search);
    for (int reader = 0, next; reader < search->group->count; reader = next) {
        awq_batch batch;
        if (awq_batch_open(&batch, quantizer, search->group->count, err)) return err->status;
        next = fill_batch(search, reader, &batch);
        awq_status status = measure_expert(search, &batch, reader, row, err);
        row += batch.rows;
        awq_batch_close(&batch);
        if (status) return status;
    }
    for (int i = search->first; i < search->end; i++)
        search->record->measured[i] =
            i ? awq_search_share(quantizer->recipe, quantizer->spec, search->index) : 1;
    if (!awq_quantizer_shares(quantizer, search->index)) return AWQ_OK;
    return awq_exchange_columns(quantizer->exchange,
                                &(awq_columns){.of = search->errors,
                                               .rows = (size_t)search->group->count,
                                               .stride = (size_t)search->most,
                                               .first = (size_t)search->first,
                                               .count = (size_t)(search->end - search->first)},
                                err);
}

/* ---- one batch, or several ---- */

static awq_status open_race(awq_group_search *search, awq_error *err)
{
    if (awq_batch_open(&search->batch, search->quantizer, search->group->count, err))
        return err->status;
    fill_batch(search, 0, &search->batch);
    return awq_race_open(&search->race, search->batch.rows, search->most, err);
}

awq_status awq_search_measure(awq_group_search *search, awq_error *err)
{
    if (search->mixed) return measure_experts(search, err);
    if (!search->first && open_race(search, err)) return err->status;
    return race(search, err);
}
