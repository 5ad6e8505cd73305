/* SPDX-License-Identifier: MIT
 * One stage of an evaluation: tiles flow through its layers, of one model or of two side by side;
 * the last stage scores them. */
#include <stdlib.h>

#include "layers/forward/decoder.h"
#include "layers/forward/head.h"
#include "layers/quantize/cost.h"
#include "worker/hidden.h"

typedef struct eval_run {
    awq_worker *worker;
    const awq_stage *stage;
    const awq_stage *next; /* NULL: this is the last stage */
    int64_t index;
    awq_decoder *decoders; /* [models][count] */
    float *hidden[AWQ_MODELS];
    awq_head *head[AWQ_MODELS];
    awq_scratch *scratch;
} eval_run;

static awq_status prepare_model(eval_run *run, int m, awq_error *err)
{
    awq_worker *worker = run->worker;
    awq_device *device = worker->device;
    if (device->backend->alloc(device, awq_hidden_count(worker, 0) * sizeof(float), "hidden states",
                               (void **)&run->hidden[m], err))
        return err->status;
    return run->next ? AWQ_OK : awq_head_load(device, worker->checkpoint[m], &run->head[m], err);
}

static awq_status prepare(eval_run *run, awq_error *err)
{
    awq_worker *worker = run->worker;
    size_t decoders = (size_t)(worker->models * run->stage->count);
    run->decoders = calloc(decoders, sizeof *run->decoders);
    if (!run->decoders)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a stage of %zu layers", decoders);
    awq_tile_size size = {.rows = worker->tile_sequences * worker->tokens.length,
                          .length = worker->tokens.length};
    if (awq_scratch_create(worker->device, awq_checkpoint_model(worker->checkpoint[0]), &size,
                           &run->scratch, err))
        return err->status;
    for (int m = 0; m < worker->models; m++)
        if (prepare_model(run, m, err)) return err->status;
    return AWQ_OK;
}

static void release(eval_run *run)
{
    awq_device *device = run->worker->device;
    for (int64_t i = 0; run->decoders && i < run->worker->models * run->stage->count; i++)
        awq_reader_give_back(run->worker->reader, &run->decoders[i]);
    for (int m = 0; m < AWQ_MODELS; m++) {
        device->backend->release(device, run->hidden[m]);
        awq_head_free(run->head[m]);
    }
    awq_scratch_free(run->scratch);
    free(run->decoders);
}

static awq_status score_tile(eval_run *run, int64_t tile, awq_error *err)
{
    awq_worker *worker = run->worker;
    int64_t first = tile * worker->tile_sequences * worker->tokens.length;
    awq_scored_tokens tokens = {.ids = worker->tokens.ids + first,
                                .mask = worker->tokens.mask ? worker->tokens.mask + first : NULL,
                                .sequences = awq_worker_tile_sequences(worker, tile),
                                .length = worker->tokens.length};
    awq_score score = {0};
    if (awq_head_score(run->head[0], run->hidden[0], run->head[1], run->hidden[1], &tokens, &score,
                       err))
        return err->status;
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_write(AWQ_LETTER_SCORE, tile, 0, &score, sizeof score));
    return AWQ_OK;
}

static awq_status take_layer(eval_run *run, int64_t layer, awq_decoder *out, awq_error *err)
{
    awq_read read;
    awq_worker_progress(run->worker, run->index, layer, -1, AWQ_PHASE_READ, 0);
    if (awq_reader_take(run->worker->reader, layer, &read, err)) return err->status;
    *out = read.decoder;
    awq_worker_resume(run->worker);
    return AWQ_OK;
}

static awq_status flow_layer(eval_run *run, int m, int64_t i, int64_t tile, awq_error *err)
{
    awq_worker *worker = run->worker;
    int64_t layer = run->stage->first + i;
    int64_t sequences = awq_worker_tile_sequences(worker, tile);
    const awq_model *model = awq_checkpoint_model(worker->checkpoint[m]);
    awq_decoder *decoder = &run->decoders[m * run->stage->count + i];
    if (awq_worker_check(worker, err) || (!decoder->arena && take_layer(run, layer, decoder, err)))
        return err->status;
    if (awq_decoder_forward(worker->device, model, decoder, run->scratch, run->hidden[m], sequences,
                            NULL, NULL, NULL, err))
        return awq_error_wrap(err, "layer %lld", (long long)layer);
    awq_worker_progress(
        worker, run->index, layer, tile, AWQ_PHASE_FORWARD,
        awq_work_forward(model, sequences * worker->tokens.length, worker->tokens.length));
    return AWQ_OK;
}

static awq_status flow_tile(eval_run *run, awq_source *source, int64_t tile, awq_error *err)
{
    if (awq_source_read(source, tile, run->hidden, err)) return err->status;
    awq_worker_resume(run->worker);
    for (int m = 0; m < run->worker->models; m++)
        for (int64_t i = 0; i < run->stage->count; i++)
            if (flow_layer(run, m, i, tile, err)) return err->status;
    if (!tile && !run->stage->first && awq_reader_check_ends(run->worker->reader, err))
        return err->status; /* before anything is scored */
    awq_worker_count_tile(run->worker);
    return run->next ? awq_hidden_send(run->worker, run->next, tile, run->hidden, err)
                     : score_tile(run, tile, err);
}

static awq_status flow(eval_run *run, awq_error *err)
{
    awq_source source;
    if (awq_source_open(run->worker, run->stage, &source, err)) return err->status;
    awq_status status = AWQ_OK;
    for (int64_t tile = 0; !status && tile < run->worker->tiles_in_job; tile++)
        status = flow_tile(run, &source, tile, err);
    awq_source_close(&source);
    return status;
}

awq_status awq_eval_stage(awq_worker *worker, const awq_stage *stages, int64_t index,
                          awq_error *err)
{
    const awq_stage *stage = &stages[index];
    eval_run run = {.worker = worker,
                    .stage = stage,
                    .next = stage->sends_on ? stage + 1 : NULL,
                    .index = index};
    awq_status status = prepare(&run, err);
    if (!status) status = flow(&run, err);
    if (!status) awq_worker_count_stage(worker);
    release(&run);
    return status;
}
