/* SPDX-License-Identifier: MIT */
#include "layers/scratch.h"

#include <stdlib.h>

#include "layers/arena.h"
#include "layers/quantize.h"
#include "layers/rope.h"

static uint64_t table_bytes(const awq_model *model, int64_t length)
{
    return sizeof(float) * (uint64_t)(length * (model->head_dim / 2));
}

/* The widest MLP of the model's layers. */
static int64_t widest(const awq_model *model)
{
    int64_t most = 1, layer[2];
    int sorts = awq_model_sorts(model, layer);
    for (int sort = 0; sort < sorts; sort++)
        for (int mlp = 0; mlp < awq_model_mlps(model); mlp++) {
            int64_t channels = awq_mlp_intermediate(model, mlp);
            if (awq_layer_has(model, layer[sort], awq_mlp_linear(mlp, AWQ_UP)) && channels > most)
                most = channels;
        }
    return most;
}

static void place_routing(awq_arena *arena, const awq_model *model, size_t compute_bytes,
                          int64_t rows, awq_routing *to)
{
    uint64_t hidden = (uint64_t)(rows * model->hidden);
    uint64_t choices = (uint64_t)(rows * model->experts.active);
    if (!model->experts.count) return;
    to->logits = awq_arena_take(arena, sizeof(float) * (uint64_t)(rows * model->experts.count));
    to->expert = awq_arena_take(arena, sizeof *to->expert * choices);
    to->weight = awq_arena_take(arena, sizeof *to->weight * choices);
    to->row = awq_arena_take(arena, sizeof *to->row * choices);
    to->sorted_weight = awq_arena_take(arena, sizeof *to->sorted_weight * choices);
    to->mask = awq_arena_take(arena, choices);
    to->x = awq_arena_take(arena, compute_bytes * hidden);
    to->out = awq_arena_take(arena, sizeof *to->out * hidden);
    to->shared_weight = awq_arena_take(arena, sizeof *to->shared_weight * (uint64_t)rows);
}

static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, awq_scratch *to)
{
    uint64_t column = compute_bytes * (uint64_t)to->rows, intermediate = (uint64_t)widest(model);
    uint64_t q = (uint64_t)(model->heads * model->head_dim), hidden = (uint64_t)model->hidden;
    uint64_t kv = (uint64_t)(model->kv_heads * model->head_dim);
    to->normed = awq_arena_take(arena, column * (hidden > q ? hidden : q));
    to->q = awq_arena_take(arena, column * q);
    to->k = awq_arena_take(arena, column * kv);
    to->v = awq_arena_take(arena, column * kv);
    to->gate = awq_arena_take(arena, column * intermediate);
    to->up = awq_arena_take(arena, column * intermediate);
    to->trial_rows = awq_fold_check_sequences(to->rows / to->length, to->length) * to->length;
    to->trial = awq_arena_take(arena, sizeof(float) * (uint64_t)to->trial_rows * hidden);
    to->untouched = awq_arena_take(arena, sizeof(float) * (uint64_t)to->trial_rows * hidden);
    to->cos = awq_arena_take(arena, table_bytes(model, to->length));
    to->sin = awq_arena_take(arena, table_bytes(model, to->length));
    place_routing(arena, model, compute_bytes, to->rows, &to->routing);
}

/* The host's lists, which are cut from one piece as the device's are. */
static void place_lists(awq_arena *arena, const awq_model *model, int64_t rows,
                        awq_routing_lists *to)
{
    uint64_t choices = (uint64_t)(rows * model->experts.active);
    uint64_t experts = (uint64_t)model->experts.count;
    awq_arena_take(arena, sizeof *to); /* itself */
    to->expert = awq_arena_take(arena, sizeof *to->expert * choices);
    to->weight = awq_arena_take(arena, sizeof *to->weight * choices);
    to->mask = awq_arena_take(arena, (uint64_t)rows);
    to->first = awq_arena_take(arena, sizeof *to->first * (experts + 1));
    to->next = awq_arena_take(arena, sizeof *to->next * experts);
    to->row = awq_arena_take(arena, sizeof *to->row * choices);
    to->sorted_weight = awq_arena_take(arena, sizeof *to->sorted_weight * choices);
    to->sorted_mask = awq_arena_take(arena, choices);
}

static awq_status create_lists(awq_scratch *scratch, const awq_model *model, awq_error *err)
{
    awq_arena measure = {0};
    awq_routing_lists lists;
    if (!model->experts.count) return AWQ_OK;
    place_lists(&measure, model, scratch->rows, &lists);
    scratch->routing.host = calloc(1, measure.used);
    if (!scratch->routing.host)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the lists of experts' rows");
    place_lists(&(awq_arena){.base = (char *)scratch->routing.host}, model, scratch->rows,
                scratch->routing.host);
    return AWQ_OK;
}

uint64_t awq_scratch_bytes(const awq_model *model, int64_t rows, int64_t length,
                           size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_scratch scratch = {.rows = rows, .length = length};
    place(&measure, model, compute_bytes, &scratch);
    return measure.used;
}

static awq_status upload_table(awq_scratch *scratch, const awq_model *model, awq_error *err)
{
    const awq_backend *be = scratch->device->backend;
    size_t bytes = table_bytes(model, scratch->length);
    float *host = malloc(2 * bytes + 1);
    if (!host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the rotary embedding's table");
    float *sine = host + bytes / sizeof *host;
    awq_rope_table(&model->rope, model->head_dim, scratch->length, host, sine);
    be->upload(scratch->device, scratch->cos, host, bytes);
    be->upload(scratch->device, scratch->sin, sine, bytes);
    awq_status status = be->sync(scratch->device, err);
    free(host);
    return status;
}

awq_status awq_scratch_create(awq_device *device, const awq_model *model, int64_t rows,
                              int64_t length, awq_scratch **out, awq_error *err)
{
    const awq_backend *be = device->backend;
    awq_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the activations' record");
    *scratch = (awq_scratch){.device = device, .rows = rows, .length = length};
    uint64_t bytes = awq_scratch_bytes(model, rows, length, be->compute_bytes);
    if (be->alloc(device, bytes, "the activations of a tile", &scratch->arena, err)) goto fail;
    place(&(awq_arena){.base = scratch->arena}, model, be->compute_bytes, scratch);
    if (create_lists(scratch, model, err) || upload_table(scratch, model, err)) goto fail;
    *out = scratch;
    return AWQ_OK;
fail:
    awq_scratch_free(scratch);
    return err->status;
}

void awq_scratch_free(awq_scratch *scratch)
{
    if (!scratch) return;
    scratch->device->backend->release(scratch->device, scratch->arena);
    free(scratch->routing.host);
    free(scratch);
}
