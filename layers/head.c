/* SPDX-License-Identifier: MIT */
#include "layers/head.h"

#include <stdlib.h>

#include "layers/arena.h"
#include "layers/decoder_load.h"

enum { EMBED_ROWS = 256, HEAD_ROWS = 128 };

struct awq_head {
    awq_device *device;
    const awq_model *model; /* the checkpoint's */
    float *norm;            /* [hidden] */
    void *weight;           /* compute type [vocab, hidden] */
    void *normed;           /* compute type [HEAD_ROWS, hidden] */
    float *logits;          /* [HEAD_ROWS, vocab] */
    void *arena;
};

awq_status awq_embed(awq_device *device, const awq_checkpoint *checkpoint, const int32_t *ids,
                     int64_t rows, float *hidden, awq_error *err)
{
    const awq_tensor *table = awq_checkpoint_find(checkpoint, AWQ_EMBEDDING_NAME);
    size_t width = (size_t)awq_checkpoint_model(checkpoint)->hidden;
    size_t row_bytes = width * awq_dtype_bytes(table->dtype);
    float *host = malloc(EMBED_ROWS * width * sizeof *host);
    if (!host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for embedding rows");
    for (int64_t row = 0; row < rows; row += EMBED_ROWS) {
        int64_t count = rows - row < EMBED_ROWS ? rows - row : EMBED_ROWS;
        for (int64_t i = 0; i < count; i++)
            awq_widen(host + (size_t)i * width,
                      (const char *)table->data + (size_t)ids[row + i] * row_bytes, table->dtype,
                      width);
        device->backend->upload(device, hidden + (size_t)row * width, host,
                                (size_t)count * width * sizeof *host);
    }
    free(host);
    return device->backend->sync(device, err);
}

static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, awq_head *to)
{
    uint64_t hidden = (uint64_t)model->hidden, vocab = (uint64_t)model->vocab;
    to->norm = awq_arena_take(arena, hidden * sizeof(float));
    to->weight = awq_arena_take(arena, vocab * hidden * compute_bytes);
    to->normed = awq_arena_take(arena, HEAD_ROWS * hidden * compute_bytes);
    to->logits = awq_arena_take(arena, HEAD_ROWS * vocab * sizeof(float));
}

uint64_t awq_head_bytes(const awq_model *model, size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_head head;
    place(&measure, model, compute_bytes, &head);
    return measure.used;
}

static awq_status load(awq_head *head, const awq_checkpoint *checkpoint, awq_error *err)
{
    const awq_backend *be = head->device->backend;
    uint64_t bytes = awq_head_bytes(head->model, be->compute_bytes);
    if (be->alloc(head->device, bytes, "the head", &head->arena, err)) return err->status;
    place(&(awq_arena){.base = head->arena}, head->model, be->compute_bytes, head);
    const awq_tensor *norm = awq_checkpoint_find(checkpoint, AWQ_FINAL_NORM_NAME);
    if (awq_vector_load(head->device, norm, head->norm, err)) return err->status;
    return awq_matrix_load(head->device, awq_checkpoint_head(checkpoint), head->weight, err);
}

awq_status awq_head_load(awq_device *device, const awq_checkpoint *checkpoint, awq_head **out,
                         awq_error *err)
{
    awq_head *head = calloc(1, sizeof *head);
    if (!head) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the head's record");
    head->device = device;
    head->model = awq_checkpoint_model(checkpoint);
    if (load(head, checkpoint, err)) {
        awq_head_free(head);
        return err->status;
    }
    *out = head;
    return AWQ_OK;
}

void awq_head_free(awq_head *head)
{
    if (!head) return;
    head->device->backend->release(head->device, head->arena);
    free(head);
}

/* head->logits of at most HEAD_ROWS rows. */
static void compute_logits(awq_head *head, const float *hidden, int64_t rows)
{
    const awq_backend *be = head->device->backend;
    const awq_model *model = head->model;
    be->rmsnorm(head->device, head->normed, hidden, head->norm, rows, model->hidden,
                model->norm_eps);
    be->zero(head->device, head->logits, (size_t)(rows * model->vocab) * sizeof(float));
    be->linear_add(head->device, head->logits, head->normed, head->weight, NULL, rows,
                   (awq_extent){model->vocab, model->hidden});
}

awq_status awq_head_logits(awq_head *head, const float *hidden_row, float *logits, awq_error *err)
{
    compute_logits(head, hidden_row, 1);
    return head->device->backend->download(head->device, logits, head->logits,
                                           (size_t)head->model->vocab * sizeof *logits, err);
}

void awq_score_add(awq_score *sum, const awq_score *part)
{
    sum->nll += part->nll;
    sum->other_nll += part->other_nll;
    sum->kl += part->kl;
    sum->predicted += part->predicted;
    sum->compared += part->compared;
}

/* Adds to *sum the nll of `rows` rows of head->logits, each with its own target. */
static awq_status add_nll(awq_head *head, const int32_t *target, int64_t rows, double *sum,
                          awq_error *err)
{
    double nll[HEAD_ROWS];
    if (rows && head->device->backend->nll(head->device, nll, head->logits, target, rows,
                                           head->model->vocab, err))
        return err->status;
    for (int64_t i = 0; i < rows; i++) *sum += nll[i];
    return AWQ_OK;
}

static awq_status add_kl(awq_head *other, const awq_head *head, int64_t rows, double *sum,
                         awq_error *err)
{
    double kl[HEAD_ROWS];
    if (head->device->backend->kl(head->device, kl, other->logits, head->logits, rows,
                                  head->model->vocab, err))
        return err->status;
    for (int64_t i = 0; i < rows; i++) *sum += kl[i];
    return AWQ_OK;
}

/* `rows` rows of one sequence, the first `predicted` of which have a next token to predict. */
static awq_status score_block(awq_head *head, const float *hidden, awq_head *other,
                              const float *other_hidden, const int32_t *ids, int64_t rows,
                              int64_t predicted, awq_score *score, awq_error *err)
{
    compute_logits(head, hidden, rows);
    if (add_nll(head, ids + 1, predicted, &score->nll, err)) return err->status;
    score->predicted += predicted;
    if (!other) return AWQ_OK;
    compute_logits(other, other_hidden, rows);
    if (add_nll(other, ids + 1, predicted, &score->other_nll, err) ||
        add_kl(other, head, rows, &score->kl, err))
        return err->status;
    score->compared += rows;
    return AWQ_OK;
}

awq_status awq_head_score(awq_head *head, const float *hidden, awq_head *other,
                          const float *other_hidden, const int32_t *ids, int64_t sequences,
                          int64_t length, awq_score *score, awq_error *err)
{
    int64_t width = head->model->hidden;
    awq_score all = {0};
    for (int64_t sequence = 0; sequence < sequences; sequence++) {
        awq_score part = {0};
        for (int64_t position = 0; position < length; position += HEAD_ROWS) {
            int64_t left = length - position, rows = left < HEAD_ROWS ? left : HEAD_ROWS;
            int64_t row = sequence * length + position, predicted = rows - (rows == left);
            if (score_block(head, hidden + row * width, other,
                            other ? other_hidden + row * width : NULL, ids + row, rows, predicted,
                            &part, err))
                return err->status;
        }
        awq_score_add(&all, &part);
    }
    awq_score_add(score, &all);
    return AWQ_OK;
}
