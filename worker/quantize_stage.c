/* SPDX-License-Identifier: MIT
 * One stage of a quantization: load its layers, let all tiles flow through them, then search and
 * publish layer by layer (docs/design.md 3.4 and 3.5). */
#include <stdlib.h>
#include <string.h>

#include "io/core/clock.h"
#include "io/core/log.h"
#include "jobs/options/skip.h"
#include "jobs/run/run_directory.h"
#include "layers/fold/fold_check.h"
#include "layers/quantize/cost.h"
#include "layers/quantize/quantize.h"
#include "worker/hidden.h"
#include "worker/needs.h"
#include "worker/record.h"
#include "worker/when.h"

typedef struct stage_run {
    awq_worker *worker;
    const awq_stage *stage;
    const awq_stage *next; /* NULL: nobody waits for the output */
    int64_t index;
    const bool *done; /* by layer */
    const awq_model *model;
    awq_device *device;
    awq_decoder *decoders;      /* [count] */
    awq_statistics *statistics; /* [count]; empty where the layer is done */
    double (*seconds)[AWQ_PHASES];
    awq_layer_when *when; /* [count] */
    float **kept;  /* [count]: the first sequences before each layer that is searched, as many as
                      awq_needs_kept_sequences says; device */
    float *hidden; /* the tile, device */
    uint8_t *mask; /* device; NULL: all tokens count */
    awq_scratch *scratch;
} stage_run;

static bool is_searched(const stage_run *run, int64_t i)
{
    return !run->done[run->stage->first + i];
}

/* ---- prepare ---- */

static awq_status alloc_hosts(stage_run *run, awq_error *err)
{
    size_t count = (size_t)run->stage->count;
    run->decoders = calloc(count, sizeof *run->decoders);
    run->statistics = calloc(count, sizeof *run->statistics);
    run->seconds = calloc(count, sizeof *run->seconds);
    run->when = calloc(count, sizeof *run->when);
    run->kept = calloc(count, sizeof *run->kept);
    if (run->decoders && run->statistics && run->seconds && run->when && run->kept) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a stage of %zu layers", count);
}

static int64_t kept_sequences(const awq_worker *worker)
{
    return awq_needs_kept_sequences(&worker->job.options, &worker->tokens);
}

/* Floats in the hidden states of that many sequences. */
static int64_t sequences_floats(const stage_run *run, int64_t sequences)
{
    return sequences * run->worker->tokens.length * run->model->residual;
}

static awq_status alloc_tile(stage_run *run, awq_error *err)
{
    awq_worker *worker = run->worker;
    const awq_backend *backend = run->device->backend;
    int64_t rows = worker->tile_sequences * worker->tokens.length;
    size_t bytes = awq_hidden_count(worker, 0) * sizeof(float);
    size_t kept_bytes = (size_t)sequences_floats(run, kept_sequences(worker)) * sizeof(float);
    awq_tile_size size = awq_checked_tile(worker->tile_sequences, worker->tokens.length);
    if (awq_scratch_create(run->device, run->model, &size, &run->scratch, err) ||
        backend->alloc(run->device, bytes, "hidden states", (void **)&run->hidden, err))
        return err->status;
    if (worker->tokens.mask &&
        backend->alloc(run->device, (size_t)rows, "token mask", (void **)&run->mask, err))
        return err->status;
    for (int64_t i = 0; i < run->stage->count; i++)
        if (is_searched(run, i) && backend->alloc(run->device, kept_bytes, "kept hidden states",
                                                  (void **)&run->kept[i], err))
            return err->status;
    return AWQ_OK;
}

/* Weights that are not here yet: the reader may be at work on them. */
static awq_status take_layer(stage_run *run, int64_t i, awq_error *err)
{
    int64_t layer = run->stage->first + i;
    awq_read read;
    awq_worker_progress(run->worker, run->index, layer, -1, AWQ_PHASE_READ, 0);
    if (awq_reader_take(run->worker->reader, layer, &read, err)) return err->status;
    run->decoders[i] = read.decoder;
    run->seconds[i][AWQ_PHASE_READ] = read.end - read.begin;
    run->when[i].begin[AWQ_SPAN_READ] = read.begin;
    run->when[i].end[AWQ_SPAN_READ] = read.end;
    awq_worker_resume(run->worker);
    return AWQ_OK;
}

static awq_status prepare(stage_run *run, awq_error *err)
{
    if (awq_worker_check(run->worker, err) || alloc_hosts(run, err) || alloc_tile(run, err))
        return err->status;
    for (int64_t i = 0; i < run->stage->count; i++)
        if (is_searched(run, i) &&
            awq_statistics_init(run->device, run->model, run->stage->first + i, &run->statistics[i],
                                err))
            return awq_error_wrap(err, "layer %lld", (long long)(run->stage->first + i));
    return AWQ_OK;
}

static void release(stage_run *run)
{
    const awq_backend *backend = run->device->backend;
    for (int64_t i = 0; run->decoders && i < run->stage->count; i++)
        awq_reader_give_back(run->worker->reader, &run->decoders[i]);
    for (int64_t i = 0; run->statistics && i < run->stage->count; i++)
        awq_statistics_release(run->device, &run->statistics[i]);
    for (int64_t i = 0; run->kept && i < run->stage->count; i++)
        backend->release(run->device, run->kept[i]);
    backend->release(run->device, run->hidden);
    backend->release(run->device, run->mask);
    awq_scratch_free(run->scratch);
    free(run->decoders);
    free(run->statistics);
    free(run->seconds);
    free(run->when);
    free(run->kept);
}

/* ---- flow ---- */

/* What of this tile is among the kept sequences, before layer i. */
static void keep(stage_run *run, int64_t tile, int64_t i)
{
    int64_t first = tile * run->worker->tile_sequences, left = kept_sequences(run->worker) - first;
    int64_t count = awq_worker_tile_sequences(run->worker, tile);
    if (!run->kept[i] || left <= 0) return;
    if (count > left) count = left;
    run->device->backend->copy(run->device, run->kept[i] + sequences_floats(run, first),
                               run->hidden, (size_t)sequences_floats(run, count) * sizeof(float));
}

static awq_status flow_layer(stage_run *run, int64_t i, int64_t tile, awq_error *err)
{
    awq_worker *worker = run->worker;
    int64_t layer = run->stage->first + i;
    int64_t sequences = awq_worker_tile_sequences(worker, tile);
    int64_t tokens = sequences * worker->tokens.length;
    awq_statistics *statistics = is_searched(run, i) ? &run->statistics[i] : NULL;
    keep(run, tile, i);
    if (awq_worker_check(worker, err) || (!run->decoders[i].arena && take_layer(run, i, err)))
        return err->status;
    awq_span_begin(&run->when[i], AWQ_SPAN_FLOW);
    if (awq_decoder_forward(run->device, run->model, &run->decoders[i], run->scratch, run->hidden,
                            sequences, statistics, run->mask, run->seconds[i], err))
        return awq_error_wrap(err, "layer %lld", (long long)layer);
    awq_span_end(&run->when[i], AWQ_SPAN_FLOW);
    double flops = awq_work_forward(run->model, tokens, worker->tokens.length);
    if (statistics) flops += awq_work_gram(run->model, tokens);
    awq_worker_progress(worker, run->index, layer, tile, AWQ_PHASE_FORWARD, flops);
    return AWQ_OK;
}

static awq_status flow_tile(stage_run *run, awq_source *source, int64_t tile, awq_error *err)
{
    awq_worker *worker = run->worker;
    int64_t rows = awq_worker_tile_sequences(worker, tile) * worker->tokens.length;
    if (awq_source_read(source, tile, &run->hidden, err)) return err->status;
    awq_worker_resume(worker);
    if (run->mask)
        run->device->backend->upload(run->device, run->mask,
                                     worker->tokens.mask +
                                         tile * worker->tile_sequences * worker->tokens.length,
                                     (size_t)rows);
    for (int64_t i = 0; i < run->stage->count; i++)
        if (flow_layer(run, i, tile, err)) return err->status;
    awq_worker_count_tile(worker);
    return run->next ? awq_hidden_send(worker, run->next, tile, &run->hidden, err) : AWQ_OK;
}

static awq_status flow(stage_run *run, awq_error *err)
{
    awq_source source;
    if (awq_source_open(run->worker, run->stage, &source, err)) return err->status;
    awq_status status = AWQ_OK;
    for (int64_t tile = 0; !status && tile < run->worker->tiles_in_job; tile++)
        status = flow_tile(run, &source, tile, err);
    awq_source_close(&source);
    return status;
}

/* Nothing is published of a model whose embedding or head is damaged. */
static awq_status check_ends(const stage_run *run, awq_error *err)
{
    bool last = run->stage->first + run->stage->count == run->model->layers;
    return !run->stage->first || last ? awq_reader_check_ends(run->worker->reader, err) : AWQ_OK;
}

/* ---- search and publish ---- */

/* The context of a watch: which layer is searched, and when. */
typedef struct watched_layer {
    const stage_run *run;
    int64_t layer;
    awq_layer_when *when;
} watched_layer;

static bool watch_step(void *context, awq_phase phase, double flops)
{
    const watched_layer *watched = context;
    const stage_run *run = watched->run;
    awq_worker_progress(run->worker, run->index, watched->layer, -1, phase, flops);
    if (phase == AWQ_PHASE_SEARCH) {
        awq_span_end(watched->when, AWQ_SPAN_SEARCH);
    } else { /* clip and pack take turns, linear by linear, once the search is over */
        watched->when->begin[AWQ_SPAN_PACK] = watched->when->end[AWQ_SPAN_SEARCH];
        awq_span_end(watched->when, AWQ_SPAN_PACK);
    }
    return !atomic_load(&run->worker->stop);
}

static awq_status publish_layer(stage_run *run, int64_t layer, awq_quantized_layer *result,
                                awq_error *err)
{
    awq_worker *worker = run->worker;
    awq_worker_progress(worker, run->index, layer, -1, AWQ_PHASE_WRITE, 0);
    return worker->job.command == AWQ_COMMAND_VERIFY
               ? awq_verify_made_again(worker, result, err)
               : awq_publisher_put(worker->publisher, result, err);
}

static awq_status search_layer(stage_run *run, int64_t i, awq_error *err)
{
    awq_worker *worker = run->worker;
    int64_t layer = run->stage->first + i;
    watched_layer watched = {run, layer, &run->when[i]};
    awq_quantize_watch watch = {watch_step, &watched};
    awq_kept_tokens kept = {.input = run->kept[i],
                            .sequences = kept_sequences(worker),
                            .length = worker->tokens.length,
                            .mask = worker->tokens.mask};
    awq_quantized_layer result;
    awq_quantized_layer_init(&result);
    awq_span_begin(watched.when, AWQ_SPAN_SEARCH);
    if (awq_worker_check(worker, err)) return err->status;
    awq_status status = awq_quantize_layer(
        run->device, run->model, &run->decoders[i], &run->statistics[i], run->scratch,
        worker->result_memory, &kept, &worker->job.options.recipe, &watch, &result, err);
    awq_reader_give_back(worker->reader, &run->decoders[i]);
    awq_statistics_release(run->device, &run->statistics[i]);
    if (!status) {
        result.record.layer = layer;
        for (int phase = 0; phase < AWQ_PHASES; phase++)
            result.record.seconds[phase] += run->seconds[i][phase];
        awq_layer_when_set_worker(watched.when, awq_worker_number(worker));
        result.record.when = *watched.when;
        status = publish_layer(run, layer, &result, err);
    }
    awq_quantized_layer_release(&result);
    return status ? awq_error_wrap(err, "layer %lld", (long long)layer) : AWQ_OK;
}

awq_status awq_quantize_stage(awq_worker *worker, const awq_stage *stages, int64_t index,
                              const bool *done, awq_error *err)
{
    const awq_stage *stage = &stages[index];
    stage_run run = {.worker = worker,
                     .stage = stage,
                     .next = stage->sends_on ? stage + 1 : NULL,
                     .index = index,
                     .done = done,
                     .model = awq_checkpoint_model(worker->checkpoint[0]),
                     .device = worker->device};
    awq_status status = prepare(&run, err);
    if (!status) status = flow(&run, err);
    if (!status) status = check_ends(&run, err);
    for (int64_t i = 0; !status && i < stage->count; i++)
        if (is_searched(&run, i)) status = search_layer(&run, i, err);
    if (!status) awq_worker_count_stage(worker);
    release(&run);
    return status;
}
