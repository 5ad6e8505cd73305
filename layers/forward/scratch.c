/* SPDX-License-Identifier: MIT */
#include "layers/forward/scratch.h"

#include <stdlib.h>

#include "layers/forward/arena.h"
#include "layers/forward/rope.h"

/* The most of each that a layer of the model takes. */
typedef struct widths {
    int64_t q, kv, gates, whole, mlp, experts, active;
    bool branch;
} widths;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static widths find_widths(const awq_model *model)
{
    widths most = {.mlp = 1};
    for (int kind = 0; kind < model->kinds; kind++) {
        const awq_layer_spec *spec = &model->kind[kind];
        const awq_attention_spec *attention = &spec->attention;
        most.q = larger(most.q, attention->heads * attention->head_dim);
        most.kv = larger(most.kv, attention->kv_heads * attention->head_dim);
        if (attention->gate.linear >= 0) most.gates = most.q;
        if (attention->q.times > 1)
            most.whole = larger(most.whole, spec->linear[attention->q.linear].out);
        most.branch = most.branch || spec->parallel;
        most.mlp = larger(most.mlp, larger(spec->mlps.intermediate, spec->mlps.shared));
        most.experts = larger(most.experts, spec->mlps.routing.experts);
        most.active = larger(most.active, spec->mlps.routing.active);
        for (int half = 0; half < AWQ_HALVES; half++)
            most.branch = most.branch || spec->half[half].out_norm >= 0;
    }
    return most;
}

static size_t table_bytes(const awq_rope *rope, int64_t length)
{
    return sizeof(float) * (size_t)(length * (rope->dim / 2));
}

static void place_routing(awq_arena *arena, const widths *most, uint64_t hidden,
                          size_t compute_bytes, int64_t rows, awq_routing *to)
{
    uint64_t choices = (uint64_t)(rows * most->active);
    if (!most->experts) return;
    to->logits = awq_arena_take(arena, sizeof(float) * (uint64_t)(rows * most->experts));
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
    widths most = find_widths(model);
    int64_t rows = to->size.rows, length = to->size.length;
    uint64_t column = compute_bytes * (uint64_t)rows, hidden = (uint64_t)(rows * model->hidden);
    uint64_t checked = sizeof(float) * (uint64_t)(to->size.checked * model->residual);
    to->normed = awq_arena_take(arena, column * (uint64_t)larger(model->hidden, most.q));
    if (most.branch) to->branch = awq_arena_take(arena, sizeof *to->branch * hidden);
    to->q = awq_arena_take(arena, column * (uint64_t)most.q);
    to->k = awq_arena_take(arena, column * (uint64_t)most.kv);
    to->v = awq_arena_take(arena, column * (uint64_t)most.kv);
    if (most.gates) to->gates = awq_arena_take(arena, column * (uint64_t)most.gates);
    if (most.whole) to->whole = awq_arena_take(arena, column * (uint64_t)most.whole);
    to->gate = awq_arena_take(arena, column * (uint64_t)most.mlp);
    to->up = awq_arena_take(arena, column * (uint64_t)most.mlp);
    to->trial = awq_arena_take(arena, checked);
    to->untouched = awq_arena_take(arena, checked);
    for (int i = 0; i < model->ropes; i++) {
        to->cos[i] = awq_arena_take(arena, table_bytes(&model->rope[i], length));
        to->sin[i] = awq_arena_take(arena, table_bytes(&model->rope[i], length));
    }
    place_routing(arena, &most, hidden, compute_bytes, rows, &to->routing);
}

/* The host's lists, which are cut from one piece as the device's are. */
static void place_lists(awq_arena *arena, const widths *most, int64_t rows, size_t row_bytes,
                        awq_routing_lists *to)
{
    uint64_t choices = (uint64_t)(rows * most->active), experts = (uint64_t)most->experts;
    awq_arena_take(arena, sizeof *to); /* itself */
    to->expert = awq_arena_take(arena, sizeof *to->expert * choices);
    to->weight = awq_arena_take(arena, sizeof *to->weight * choices);
    to->mask = awq_arena_take(arena, (uint64_t)rows);
    to->first = awq_arena_take(arena, sizeof *to->first * (experts + 1));
    to->next = awq_arena_take(arena, sizeof *to->next * experts);
    to->row = awq_arena_take(arena, sizeof *to->row * choices);
    to->sorted_weight = awq_arena_take(arena, sizeof *to->sorted_weight * choices);
    to->sorted_mask = awq_arena_take(arena, choices);
    to->x = awq_arena_take(arena, (uint64_t)rows * row_bytes);
}

static awq_status create_lists(awq_scratch *scratch, const widths *most, int64_t hidden,
                               awq_error *err)
{
    awq_arena measure = {0};
    awq_routing_lists lists;
    size_t row = (size_t)hidden * scratch->device->backend->compute_bytes;
    if (!most->experts) return AWQ_OK;
    place_lists(&measure, most, scratch->size.rows, row, &lists);
    scratch->routing.host = calloc(1, measure.used);
    if (!scratch->routing.host)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the lists of experts' rows");
    place_lists(&(awq_arena){.base = (char *)scratch->routing.host}, most, scratch->size.rows, row,
                scratch->routing.host);
    return AWQ_OK;
}

uint64_t awq_scratch_bytes(const awq_model *model, const awq_tile_size *size, size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_scratch scratch = {.size = *size};
    place(&measure, model, compute_bytes, &scratch);
    return measure.used;
}

static awq_status upload_table(awq_scratch *scratch, const awq_rope *rope, int index,
                               awq_error *err)
{
    const awq_backend *be = scratch->device->backend;
    size_t bytes = table_bytes(rope, scratch->size.length);
    float *host = malloc(2 * bytes + 1);
    if (!host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the rotary embedding's table");
    float *sine = host + bytes / sizeof *host;
    awq_rope_table(rope, scratch->size.length, host, sine);
    be->upload(scratch->device, scratch->cos[index], host, bytes);
    be->upload(scratch->device, scratch->sin[index], sine, bytes);
    awq_status status = be->sync(scratch->device, err);
    free(host);
    return status;
}

awq_status awq_scratch_create(awq_device *device, const awq_model *model, const awq_tile_size *size,
                              awq_scratch **out, awq_error *err)
{
    const awq_backend *be = device->backend;
    widths most = find_widths(model);
    awq_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the activations' record");
    *scratch = (awq_scratch){.device = device, .size = *size};
    uint64_t bytes = awq_scratch_bytes(model, size, be->compute_bytes);
    if (be->alloc(device, bytes, "the activations of a tile", &scratch->arena, err)) goto fail;
    place(&(awq_arena){.base = scratch->arena}, model, be->compute_bytes, scratch);
    if (create_lists(scratch, &most, model->hidden, err)) goto fail;
    for (int i = 0; i < model->ropes; i++)
        if (upload_table(scratch, &model->rope[i], i, err)) goto fail;
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
