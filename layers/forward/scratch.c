/* SPDX-License-Identifier: MIT */
#include "layers/forward/scratch.h"

#include <stdlib.h>

#include "layers/forward/arena.h"
#include "layers/forward/rope.h"

/* The most of each that a layer of the model takes. */
typedef struct widths {
    int64_t normed, q, k, v, gates, latent, shared_k, delta, whole, mlp, experts, active;
    bool branch, apart;
} widths;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of rows of a linear, and of all of it where they are several runs; linear -1: 0. */
static int64_t width_of(const awq_layer_spec *spec, const awq_rows *rows, widths *most)
{
    if (rows->linear < 0) return 0;
    if (rows->times > 1) most->whole = larger(most->whole, spec->linear[rows->linear].out);
    return awq_rows_count(rows);
}

static void find_attention(const awq_layer_spec *spec, widths *most)
{
    const awq_attention_spec *attention = &spec->attention;
    int64_t own = width_of(spec, &attention->k, most), k = own;
    bool latent = attention->kind == AWQ_ATTENTION_LATENT;
    if (latent) k = attention->heads * attention->head_dim;
    most->q = larger(most->q, width_of(spec, &attention->q, most));
    most->k = larger(most->k, k);
    most->v = larger(most->v, width_of(spec, &attention->v, most));
    most->gates = larger(most->gates, width_of(spec, &attention->gate, most));
    most->normed = larger(most->normed, awq_attention_channels(spec));
    if (latent) most->normed = larger(most->normed, own);
    most->latent = larger(most->latent, width_of(spec, &attention->q_latent.rows, most));
    most->latent = larger(most->latent, width_of(spec, &attention->kv_latent.rows, most));
    most->shared_k = larger(most->shared_k, width_of(spec, &attention->shared_k, most));
    most->delta = larger(most->delta, width_of(spec, &attention->delta.beta, most));
    width_of(spec, &attention->delta.a, most);
}

static widths find_widths(const awq_model *model)
{
    widths most = {.normed = model->hidden, .mlp = larger(model->inputs.width, 1)};
    for (int kind = 0; kind < model->kinds; kind++) {
        const awq_layer_spec *spec = &model->kind[kind];
        find_attention(spec, &most);
        most.branch = most.branch || spec->parallel || spec->input.gate >= 0;
        most.apart = most.apart || spec->mlps.experts_out_norm >= 0;
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
    to->normed = awq_arena_take(arena, column * (uint64_t)most.normed);
    if (most.branch) to->branch = awq_arena_take(arena, sizeof *to->branch * hidden);
    if (most.apart) to->apart = awq_arena_take(arena, sizeof *to->apart * hidden);
    to->q = awq_arena_take(arena, column * (uint64_t)most.q);
    to->k = awq_arena_take(arena, column * (uint64_t)most.k);
    to->v = awq_arena_take(arena, column * (uint64_t)most.v);
    if (most.gates) to->gates = awq_arena_take(arena, column * (uint64_t)most.gates);
    if (most.latent) to->latent = awq_arena_take(arena, column * (uint64_t)most.latent);
    if (most.shared_k) to->shared_k = awq_arena_take(arena, column * (uint64_t)most.shared_k);
    if (most.delta) to->beta = awq_arena_take(arena, column * (uint64_t)most.delta);
    if (most.delta) to->a = awq_arena_take(arena, column * (uint64_t)most.delta);
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
