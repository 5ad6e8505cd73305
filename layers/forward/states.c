/* SPDX-License-Identifier: MIT */
#include "layers/forward/states.h"

#include <math.h>
#include <stdlib.h>

#include "layers/forward/arena.h"
#include "layers/forward/tensor_load.h"

enum { EMBED_ROWS = 256 };

struct awq_embedding {
    awq_device *device;
    const awq_checkpoint *checkpoint;
    const awq_model *model; /* the checkpoint's */
    /* Where layers are given something beside hidden states: */
    void *projection; /* compute type [layers * width, hidden] */
    float *norm;      /* [width], divided by sqrt(2) as all of it is */
    void *x;          /* compute type [EMBED_ROWS, hidden] */
    float *projected; /* [EMBED_ROWS, width] */
    void *arena;
};

/* ---- some of a tile's rows ---- */

void awq_states_take(awq_device *device, const awq_model *model, float *to, int64_t rows,
                     const float *from, int64_t from_rows)
{
    const awq_backend *be = device->backend;
    be->copy(device, to, from, (size_t)(rows * model->hidden) * sizeof *to);
    for (int plane = 0; plane < model->planes; plane++)
        for (int64_t i = 0; i < model->plane[plane].count; i++)
            be->copy(device, to + awq_states_plane(model, rows, plane, i),
                     from + awq_states_plane(model, from_rows, plane, i),
                     (size_t)(rows * model->plane[plane].width) * sizeof *to);
}

/* ---- what is loaded ---- */

static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, awq_embedding *to)
{
    uint64_t hidden = (uint64_t)model->hidden, width = (uint64_t)model->inputs.width;
    if (!width) return;
    to->projection =
        awq_arena_take(arena, (uint64_t)model->layers * width * hidden * compute_bytes);
    to->norm = awq_arena_take(arena, width * sizeof *to->norm);
    to->x = awq_arena_take(arena, EMBED_ROWS * hidden * compute_bytes);
    to->projected = awq_arena_take(arena, EMBED_ROWS * width * sizeof *to->projected);
}

uint64_t awq_embedding_bytes(const awq_model *model, size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_embedding embedding;
    place(&measure, model, compute_bytes, &embedding);
    return measure.used;
}

/* The norm's weight, divided. */
static awq_status load_norm(const awq_embedding *embedding, awq_error *err)
{
    const awq_tensor *norm = awq_checkpoint_end(embedding->checkpoint, AWQ_INPUTS_NORM);
    size_t width = (size_t)embedding->model->inputs.width, bytes = width * sizeof(float);
    if (awq_tensor_check_finite(norm, err)) return err->status;
    float *host = malloc(bytes);
    if (!host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the norm of layers' inputs");
    awq_widen(host, norm->data, norm->dtype, width);
    for (size_t i = 0; i < width; i++) host[i] *= sqrtf(0.5f);
    embedding->device->backend->upload(embedding->device, embedding->norm, host, bytes);
    free(host);
    return AWQ_OK;
}

static awq_status load(awq_embedding *embedding, awq_error *err)
{
    const awq_backend *be = embedding->device->backend;
    uint64_t bytes = awq_embedding_bytes(embedding->model, be->compute_bytes);
    if (!bytes) return AWQ_OK;
    if (be->alloc(embedding->device, bytes, "what makes layers' inputs", &embedding->arena, err))
        return err->status;
    place(&(awq_arena){.base = embedding->arena}, embedding->model, be->compute_bytes, embedding);
    if (load_norm(embedding, err)) return err->status;
    return awq_matrix_load(embedding->device,
                           awq_checkpoint_end(embedding->checkpoint, AWQ_INPUTS_PROJECTION),
                           embedding->projection, err);
}

awq_status awq_embedding_load(awq_device *device, const awq_checkpoint *checkpoint,
                              awq_embedding **out, awq_error *err)
{
    awq_embedding *embedding = calloc(1, sizeof *embedding);
    if (!embedding) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the embedding's record");
    embedding->device = device;
    embedding->checkpoint = checkpoint;
    embedding->model = awq_checkpoint_model(checkpoint);
    if (load(embedding, err)) {
        awq_embedding_free(embedding);
        return err->status;
    }
    *out = embedding;
    return AWQ_OK;
}

void awq_embedding_free(awq_embedding *embedding)
{
    if (!embedding) return;
    embedding->device->backend->release(embedding->device, embedding->arena);
    free(embedding);
}

/* ---- rows of tables ---- */

/* Some rows of a tile. */
typedef struct row_block {
    const int32_t *ids;
    int64_t rows;
    float *host; /* room for them */
} row_block;

/* to (device) [rows, width] = `width` columns of the table's rows of ids, from `first` on, times
 * scale. */
static void look_up(const awq_embedding *embedding, const awq_tensor *table, const row_block *block,
                    int64_t first, int64_t width, float scale, float *to)
{
    size_t element = awq_dtype_bytes(table->dtype), count = (size_t)(block->rows * width);
    for (int64_t i = 0; i < block->rows; i++)
        awq_widen(block->host + i * width,
                  (const char *)table->data +
                      (size_t)(block->ids[i] * table->shape[1] + first) * element,
                  table->dtype, (size_t)width);
    for (size_t i = 0; scale != 1 && i < count; i++) block->host[i] *= scale;
    embedding->device->backend->upload(embedding->device, to, block->host, count * sizeof *to);
}

/* What each layer is given of the block's rows, from `row` on, of a tile of tile_rows. */
static void make_inputs(const awq_embedding *embedding, const row_block *block, int64_t row,
                        int64_t tile_rows, float *states)
{
    awq_device *device = embedding->device;
    const awq_backend *be = device->backend;
    const awq_model *model = embedding->model;
    const awq_tensor *table = awq_checkpoint_end(embedding->checkpoint, AWQ_INPUTS_TABLE);
    int64_t width = model->inputs.width;
    awq_extent extent = {width, model->hidden};
    awq_norm_shape shape = {block->rows, width, 1, model->norm_eps, false};
    float scale = (float)(1 / sqrt((double)model->hidden));
    be->narrow(device, embedding->x, states + row * model->hidden,
               (size_t)(block->rows * model->hidden));
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const char *weight = embedding->projection;
        float *to =
            states + awq_states_plane(model, tile_rows, model->inputs.plane, layer) + row * width;
        weight += (size_t)(layer * width * model->hidden) * be->compute_bytes;
        look_up(embedding, table, block, layer * width, width, model->inputs.scale * sqrtf(0.5f),
                to);
        be->zero(device, embedding->projected,
                 (size_t)(block->rows * width) * sizeof *embedding->projected);
        be->linear_add(device, embedding->projected, embedding->x, weight, NULL, scale, block->rows,
                       extent);
        be->norm_add(device, to, embedding->projected, embedding->norm, NULL, &shape);
    }
}

awq_status awq_embed(const awq_embedding *embedding, const int32_t *ids, int64_t rows,
                     float *states, awq_error *err)
{
    const awq_backend *be = embedding->device->backend;
    const awq_model *model = embedding->model;
    const awq_tensor *table = awq_checkpoint_end(embedding->checkpoint, AWQ_EMBEDDING);
    int64_t hidden = model->hidden, width = model->inputs.width;
    size_t most = (size_t)(hidden > width ? hidden : width);
    row_block block = {.host = malloc(EMBED_ROWS * most * sizeof *block.host)};
    if (!block.host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for embedding rows");
    be->zero(embedding->device, states + rows * hidden,
             (size_t)(rows * (model->residual - hidden)) * sizeof *states);
    for (int64_t row = 0; row < rows; row += EMBED_ROWS) {
        block.ids = ids + row;
        block.rows = rows - row < EMBED_ROWS ? rows - row : EMBED_ROWS;
        look_up(embedding, table, &block, 0, hidden, model->embedding_scale, states + row * hidden);
        if (width) make_inputs(embedding, &block, row, rows, states);
    }
    free(block.host);
    return be->sync(embedding->device, err);
}
