/* SPDX-License-Identifier: MIT */
#include "worker/flow/stage.h"

#include <stdlib.h>

#include "layers/fold/fold_check.h"
#include "layers/forward/head.h"
#include "layers/forward/states.h"
#include "layers/quantize/cost.h"
#include "layers/quantize/quantize.h"
#include "worker/flow/hidden.h"
#include "worker/flow/parts.h"
#include "worker/flow/reader.h"
#include "worker/needs.h"
#include "worker/results/check_layer.h"
#include "worker/results/publisher.h"
#include "worker/results/when.h"

/* A layer of the stage. */
typedef struct stage_layer {
    int64_t index;
    bool searched;
    awq_decoder decoder[AWQ_MODELS];
    awq_statistics statistics; /* of a searched one, like the rest */
    float *kept;               /* the first sequences before it, told.kept_sequences; device */
    double seconds[AWQ_PHASES];
    awq_layer_when when;
} stage_layer;

typedef struct stage_run {
    awq_worker *worker;
    const awq_told *told;
    awq_device *device;
    const awq_stage *stage;
    const awq_stage *next; /* NULL: nobody waits for the output */
    int64_t index;
    stage_layer *layers;       /* [stage->count] */
    float *hidden[AWQ_MODELS]; /* the tile, device; of a part of a layer the sum so far, and what
                                  the MLPs read */
    uint8_t *mask;             /* device; NULL: all tokens count */
    awq_head *head[AWQ_MODELS];
    awq_scratch *scratch;
} stage_run;

/* ---- prepare ---- */

static awq_status alloc_floats(const stage_run *run, size_t bytes, const char *what, float **out,
                               awq_error *err)
{
    return run->device->backend->alloc(run->device, bytes, what, (void **)out, err);
}

/* For all layers: one tile's hidden states and activations; where they are scored, the heads. */
static awq_status prepare_tile(stage_run *run, awq_error *err)
{
    const awq_worker *worker = run->worker;
    awq_tile most = awq_tile_of(run->told, 0, 0);
    awq_tile_size size = {.rows = most.rows, .length = run->told->tokens.length};
    if (worker->purpose->gathers) size = awq_checked_tile(most.sequences, size.length);
    if (awq_scratch_create(run->device, awq_worker_model(worker, 0), &size, &run->scratch, err))
        return err->status;
    bool whole = awq_layer_part_is_whole(run->stage->part);
    for (int m = 0; m < (whole ? run->told->models : AWQ_MODELS); m++)
        if (alloc_floats(run, most.bytes, "hidden states", &run->hidden[m], err) ||
            (worker->purpose->scores && !run->next &&
             awq_head_load(run->device, worker->has.checkpoint[m], &run->head[m], err)))
            return err->status;
    if (!worker->purpose->gathers || !run->told->tokens.mask) return AWQ_OK;
    return run->device->backend->alloc(run->device, (size_t)most.rows, "token mask",
                                       (void **)&run->mask, err);
}

/* Statistics of the layers that are searched. What experts read is in memory as far as the plan has
 * counted it there, and in the run directory beyond. */
static awq_status prepare_statistics(stage_run *run, awq_error *err)
{
    const awq_told *told = run->told;
    const awq_model *model = awq_worker_model(run->worker, 0);
    size_t kept = (size_t)(told->kept_sequences * told->tokens.length * told->hidden);
    int64_t in_memory = awq_needs_inputs_layers(&told->job.options, model, &told->tokens,
                                                run->device->backend->compute_bytes);
    for (stage_layer *layer = run->layers; layer < run->layers + run->stage->count; layer++) {
        awq_routed_room room = {.rows = told->tokens.sequences * told->tokens.length};
        if (!layer->searched) continue;
        bool sparse = awq_model_layer(model, layer->index)->mlps.routing.experts;
        if (sparse && in_memory-- <= 0) room.directory = told->job.run_directory;
        if (!run->stage->part.index &&
            alloc_floats(run, kept * sizeof(float), "kept hidden states", &layer->kept, err))
            return err->status;
        if (awq_statistics_init(run->device, model, layer->index, run->stage->part, &room,
                                &layer->statistics, err))
            return awq_error_wrap(err, "layer %lld", (long long)layer->index);
    }
    return AWQ_OK;
}

static awq_status prepare(stage_run *run, const bool *done, awq_error *err)
{
    size_t count = (size_t)run->stage->count;
    run->layers = calloc(count, sizeof *run->layers);
    if (!run->layers)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a stage of %zu layers", count);
    for (size_t i = 0; i < count; i++) {
        run->layers[i].index = run->stage->first + (int64_t)i;
        run->layers[i].searched = run->worker->purpose->gathers && !done[run->layers[i].index];
    }
    if (awq_worker_check(run->worker, err) || prepare_tile(run, err)) return err->status;
    return prepare_statistics(run, err);
}

static void release(stage_run *run)
{
    const awq_backend *backend = run->device->backend;
    awq_error told;
    (void)backend->sync(run->device, &told); /* after a failure: seconds are still to be booked */
    for (int64_t i = 0; run->layers && i < run->stage->count; i++) {
        stage_layer *layer = &run->layers[i];
        for (int m = 0; m < AWQ_MODELS; m++)
            awq_reader_give_back(run->worker->helpers.reader, &layer->decoder[m]);
        awq_statistics_release(run->device, &layer->statistics);
        backend->release(run->device, layer->kept);
    }
    for (int m = 0; m < AWQ_MODELS; m++) {
        backend->release(run->device, run->hidden[m]);
        awq_head_free(run->head[m]);
    }
    backend->release(run->device, run->mask);
    awq_scratch_free(run->scratch);
    free(run->layers);
}

/* ---- flow ---- */

/* Weights that are not here yet: the reader may be at work on them. */
static awq_status take_layer(stage_run *run, int m, stage_layer *layer, awq_error *err)
{
    awq_read read;
    awq_worker_progress(run->worker, run->index, layer->index, -1, AWQ_PHASE_READ, 0);
    if (awq_reader_take(run->worker->helpers.reader, m, layer->index, &read, err))
        return err->status;
    layer->decoder[m] = read.decoder;
    layer->seconds[AWQ_PHASE_READ] = read.end - read.begin;
    layer->when.begin[AWQ_SPAN_READ] = read.begin;
    layer->when.end[AWQ_SPAN_READ] = read.end;
    awq_worker_resume(run->worker);
    return AWQ_OK;
}

/* What of this tile is among the first sequences, for a layer that is searched. */
static void keep(const stage_run *run, const stage_layer *layer, const awq_tile *tile)
{
    int64_t left = run->told->kept_sequences - tile->first;
    int64_t floats = run->told->tokens.length * run->told->hidden; /* of a sequence */
    int64_t count = tile->sequences < left ? tile->sequences : left;
    if (!layer->kept || left <= 0) return;
    awq_states_take(run->device, awq_worker_model(run->worker, 0),
                    layer->kept + tile->first * floats, count * run->told->tokens.length,
                    run->hidden[0], tile->rows);
}

static awq_status flow_layer(stage_run *run, int m, stage_layer *layer, const awq_tile *tile,
                             awq_error *err)
{
    awq_worker *worker = run->worker;
    const awq_model *model = awq_worker_model(worker, m);
    awq_statistics *statistics = layer->searched ? &layer->statistics : NULL;
    bool whole = awq_layer_part_is_whole(run->stage->part);
    keep(run, layer, tile);
    if (awq_worker_check(worker, err) ||
        (!layer->decoder[m].arena && take_layer(run, m, layer, err)))
        return err->status;
    awq_span_begin(&layer->when, AWQ_SPAN_FLOW);
    awq_status status = awq_decoder_forward(
        &(awq_forward){.device = run->device,
                       .model = model,
                       .decoder = &layer->decoder[m],
                       .scratch = run->scratch,
                       .sequences = tile->sequences,
                       .statistics = statistics,
                       .mask = run->mask,
                       .middle = whole ? NULL : run->hidden[1],
                       .seconds = worker->purpose->gathers ? layer->seconds : NULL},
        run->hidden[m], err);
    if (status) return awq_error_wrap(err, "layer %lld", (long long)layer->index);
    if (layer == run->layers + run->stage->count - 1 && /* once a tile */
        run->device->backend->sync(run->device, err))
        return awq_error_wrap(err, "layers %lld to %lld", (long long)run->layers->index,
                              (long long)layer->index);
    awq_span_end(&layer->when, AWQ_SPAN_FLOW);
    double flops = awq_work_forward(model, tile->rows, run->told->tokens.length);
    if (statistics) flops += awq_work_gram(model, tile->rows);
    if (!whole) flops /= run->stage->part.count;
    awq_worker_progress(worker, run->index, layer->index, tile->number, AWQ_PHASE_FORWARD, flops);
    return AWQ_OK;
}

/* Nothing is published, or scored, by a model whose embedding or head is damaged. */
static awq_status check_ends(const stage_run *run, awq_error *err)
{
    const awq_worker *worker = run->worker;
    const awq_stage *stage = run->stage;
    bool last = stage->first + stage->count == awq_worker_model(worker, 0)->layers &&
                awq_layer_part_is_last(stage->part);
    bool looked_at = (!stage->first && !stage->part.index) || (last && !worker->purpose->scores);
    return looked_at ? awq_reader_check_ends(worker->helpers.reader, err) : AWQ_OK;
}

static awq_status score(stage_run *run, const awq_tile *tile, awq_error *err)
{
    const awq_tokens *all = &run->told->tokens;
    awq_scored_tokens tokens = {.ids = all->ids + tile->row,
                                .mask = all->mask ? all->mask + tile->row : NULL,
                                .sequences = tile->sequences,
                                .length = all->length};
    awq_score result = {0};
    if (awq_head_score(run->head[0], run->hidden[0], run->head[1], run->hidden[1], &tokens, &result,
                       err))
        return err->status;
    awq_worker_tell(run->worker,
                    awq_letter_write(AWQ_LETTER_SCORE, tile->number, 0, &result, sizeof result));
    return AWQ_OK;
}

static awq_status flow_tile(stage_run *run, awq_source *source, const awq_tile *tile,
                            awq_error *err)
{
    awq_worker *worker = run->worker;
    bool scores = worker->purpose->scores;
    if (awq_source_read(source, tile, run->hidden, err)) return err->status;
    awq_worker_resume(worker);
    if (run->mask)
        run->device->backend->upload(run->device, run->mask, run->told->tokens.mask + tile->row,
                                     (size_t)tile->rows);
    for (int m = 0; m < run->told->models; m++)
        for (int64_t i = 0; i < run->stage->count; i++)
            if (flow_layer(run, m, &run->layers[i], tile, err)) return err->status;
    if (scores && !tile->number && check_ends(run, err)) return err->status;
    awq_worker_count(worker, 1, 0);
    if (run->next) return awq_hidden_send(worker, run->next, tile, run->hidden, err);
    return scores ? score(run, tile, err) : AWQ_OK;
}

static awq_status flow(stage_run *run, awq_error *err)
{
    awq_source source;
    awq_status status = awq_source_open(run->worker, run->stage, &source, err);
    for (int64_t number = 0; !status && number < run->told->tiles; number++) {
        awq_tile tile = awq_tile_of(run->told, run->stage->first, number);
        status = flow_tile(run, &source, &tile, err);
    }
    awq_source_close(&source);
    if (!status && !run->worker->purpose->scores) status = check_ends(run, err);
    return status;
}

/* ---- search ---- */

/* The context of a watch. */
typedef struct watched_layer {
    const stage_run *run;
    stage_layer *layer;
} watched_layer;

static bool watch_step(void *context, awq_phase phase, double flops)
{
    const watched_layer *watched = context;
    awq_worker *worker = watched->run->worker;
    awq_layer_when *when = &watched->layer->when;
    awq_worker_progress(worker, watched->run->index, watched->layer->index, -1, phase, flops);
    if (phase == AWQ_PHASE_GRAM) return awq_lanes_order(worker->lanes) != AWQ_STOP; /* in both */
    if (phase == AWQ_PHASE_SEARCH) {
        awq_span_end(when, AWQ_SPAN_SEARCH);
    } else { /* clip and pack take turns, linear by linear, once the search is over */
        when->begin[AWQ_SPAN_PACK] = when->end[AWQ_SPAN_SEARCH];
        awq_span_end(when, AWQ_SPAN_PACK);
    }
    return awq_lanes_order(worker->lanes) != AWQ_STOP;
}

/* A searched layer becomes durable, or is compared with the one of a checkpoint. */
static awq_status finish_layer(stage_run *run, stage_layer *layer, awq_quantized_layer *result,
                               awq_error *err)
{
    awq_worker *worker = run->worker;
    awq_layer_record *record = &result->record;
    record->layer = layer->index;
    for (int phase = 0; phase < AWQ_PHASES; phase++)
        record->seconds[phase] += layer->seconds[phase];
    awq_layer_when_set_worker(&layer->when, awq_worker_number(worker));
    record->when = layer->when;
    awq_worker_progress(worker, run->index, layer->index, -1, AWQ_PHASE_WRITE, 0);
    awq_layer_part part = result->part;
    int to = awq_layer_part_is_whole(part) ? 0 : awq_parts_rank(run->stage, part.count - 1);
    return worker->purpose->compares
               ? awq_verify_reproduced(worker, result, err)
               : awq_publisher_put(worker->helpers.publisher, result, to, err);
}

static awq_status search_layer(stage_run *run, stage_layer *layer, awq_error *err)
{
    awq_worker *worker = run->worker;
    const awq_told *told = run->told;
    watched_layer watched = {run, layer};
    awq_quantize_watch watch = {watch_step, &watched};
    awq_kept_tokens kept = {.input = layer->kept,
                            .sequences = told->kept_sequences,
                            .length = told->tokens.length,
                            .tile_sequences = told->tile_sequences,
                            .mask = told->tokens.mask};
    awq_quantized_layer result;
    awq_parts parts;
    bool whole = awq_layer_part_is_whole(run->stage->part);
    if (awq_worker_check(worker, err) ||
        (!whole && awq_parts_agree(worker, run->stage, &parts, err)))
        return err->status;
    awq_quantized_layer_init(&result);
    awq_span_begin(&layer->when, AWQ_SPAN_SEARCH);
    awq_status status =
        awq_quantize_layer(&(awq_layer_input){.device = run->device,
                                              .model = awq_worker_model(worker, 0),
                                              .decoder = &layer->decoder[0],
                                              .statistics = &layer->statistics,
                                              .scratch = run->scratch,
                                              .memory = worker->has.results,
                                              .kept = &kept,
                                              .recipe = &told->job.options.recipe,
                                              .watch = &watch,
                                              .exchange = whole ? NULL : &parts.exchange},
                           &result, err);
    awq_reader_give_back(worker->helpers.reader, &layer->decoder[0]);
    awq_statistics_release(run->device, &layer->statistics);
    if (!status) status = finish_layer(run, layer, &result, err);
    awq_quantized_layer_release(&result);
    return status ? awq_error_wrap(err, "layer %lld", (long long)layer->index) : AWQ_OK;
}

awq_status awq_stage_run(awq_worker *worker, const awq_stage *stages, int64_t index,
                         const bool *done, awq_error *err)
{
    const awq_stage *stage = &stages[index];
    stage_run run = {.worker = worker,
                     .told = &worker->told,
                     .device = worker->has.device,
                     .stage = stage,
                     .next = stage->sends_on ? stage + 1 : NULL,
                     .index = index};
    awq_status status = prepare(&run, done, err);
    if (!status) status = flow(&run, err);
    for (int64_t i = 0; !status && i < stage->count; i++)
        if (run.layers[i].searched) status = search_layer(&run, &run.layers[i], err);
    if (!status) awq_worker_count(worker, 0, 1);
    release(&run);
    return status;
}
