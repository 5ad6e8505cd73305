/* SPDX-License-Identifier: MIT */
#include "layers/forward/head.h"

#include <stdlib.h>

#include "layers/forward/arena.h"
#include "layers/forward/tensor_load.h"

enum { HEAD_ROWS = 128 };

struct awq_head {
    awq_device *device;
    const awq_model *model; /* the checkpoint's */
    float *norm;            /* [hidden] */
    float *norm_bias;       /* [hidden]; NULL: none */
    void *weight;           /* compute type [vocab, hidden] */
    float *bias;            /* [vocab]; NULL: none */
    void *normed;           /* compute type [HEAD_ROWS, hidden] */
    float *logits;          /* [HEAD_ROWS, vocab] */
    void *arena;
};

static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, awq_head *to)
{
    uint64_t hidden = (uint64_t)model->hidden, vocab = (uint64_t)model->vocab;
    to->norm = awq_arena_take(arena, hidden * sizeof(float));
    if (model->final_norm.bias) to->norm_bias = awq_arena_take(arena, hidden * sizeof(float));
    to->weight = awq_arena_take(arena, vocab * hidden * compute_bytes);
    if (model->head_bias) to->bias = awq_arena_take(arena, vocab * sizeof(float));
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
    const awq_tensor *norm = awq_checkpoint_end(checkpoint, AWQ_FINAL_NORM);
    if (awq_vector_load(head->device, norm, head->model->final_norm.offset, head->norm, err))
        return err->status;
    if (head->norm_bias &&
        awq_vector_load(head->device, awq_checkpoint_end(checkpoint, AWQ_FINAL_NORM_BIAS), 0,
                        head->norm_bias, err))
        return err->status;
    if (head->bias && awq_vector_load(head->device, awq_checkpoint_end(checkpoint, AWQ_HEAD_BIAS),
                                      0, head->bias, err))
        return err->status;
    return awq_matrix_load(head->device, awq_checkpoint_end(checkpoint, AWQ_HEAD), head->weight,
                           err);
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
    awq_norm_shape shape = {rows, model->hidden, 1, model->norm_eps, model->final_norm.centered};
    be->norm(head->device, head->normed, hidden, head->norm, head->norm_bias, &shape);
    be->zero(head->device, head->logits, (size_t)(rows * model->vocab) * sizeof(float));
    be->linear_add(head->device, head->logits, head->normed, head->weight, head->bias,
                   model->logits_scale, rows, (awq_extent){model->vocab, model->hidden});
    if (model->final_softcap > 0)
        be->softcap(head->device, head->logits, model->final_softcap,
                    (size_t)(rows * model->vocab));
}

awq_status awq_head_logits(awq_head *head, const float *hidden_row, float *logits, awq_error *err)
{
    compute_logits(head, hidden_row, 1);
    return head->device->backend->download(head->device, logits, head->logits,
                                           (size_t)head->model->vocab * sizeof *logits, err);
}

/* What one block's rows score, each for itself. */
typedef struct block_scores {
    double nll[HEAD_ROWS], other_nll[HEAD_ROWS], kl[HEAD_ROWS];
    int32_t top[HEAD_ROWS], other_top[HEAD_ROWS];
} block_scores;

/* Consecutive rows of one sequence. */
typedef struct block {
    int64_t row;       /* of the first among the tokens */
    int64_t position;  /* of the first in its sequence */
    int64_t rows;      /* at most HEAD_ROWS */
    int64_t predicted; /* of them, those with a next token: all but the sequence's last */
} block;

static awq_status measure_nll(awq_head *head, const float *hidden, const int32_t *ids,
                              const block *b, double *nll, awq_error *err)
{
    compute_logits(head, hidden + b->row * head->model->hidden, b->rows);
    if (!b->predicted) return AWQ_OK;
    return head->device->backend->nll(head->device, nll, head->logits, ids + b->row + 1,
                                      b->predicted, head->model->vocab, err);
}

/* With the logits of both models computed. */
static awq_status compare(const awq_head *head, const awq_head *other, const block *b,
                          block_scores *scores, awq_error *err)
{
    const awq_backend *be = head->device->backend;
    int64_t vocab = head->model->vocab;
    if (be->kl(head->device, scores->kl, other->logits, head->logits, b->rows, vocab, err) ||
        be->argmax(head->device, scores->top, head->logits, b->rows, vocab, err) ||
        be->argmax(head->device, scores->other_top, other->logits, b->rows, vocab, err))
        return err->status;
    return AWQ_OK;
}

static bool counts(const awq_scored_tokens *tokens, const block *b, int64_t i)
{
    int64_t told = b->row + i + (i < b->predicted); /* the token that it predicts, or its own */
    return !tokens->mask || tokens->mask[told];
}

static bool any_counts(const awq_scored_tokens *tokens, const block *b)
{
    for (int64_t i = 0; i < b->rows; i++)
        if (counts(tokens, b, i)) return true;
    return false;
}

static void add_block(const awq_scored_tokens *tokens, const block *b, const block_scores *scores,
                      bool compared, awq_score *score)
{
    for (int64_t i = 0; i < b->rows; i++) {
        if (!counts(tokens, b, i)) continue;
        int quarter = awq_score_quarter(b->position + i, tokens->length);
        awq_score_part *sum = &score->quarter[quarter];
        if (i < b->predicted) {
            sum->nll += scores->nll[i];
            sum->other_nll += compared ? scores->other_nll[i] : 0;
            sum->predicted++;
        }
        if (!compared) continue;
        sum->kl += scores->kl[i];
        sum->compared++;
        sum->agreed += scores->top[i] >= 0 && scores->top[i] == scores->other_top[i];
    }
}

static awq_status score_block(awq_head *head, const float *hidden, awq_head *other,
                              const float *other_hidden, const awq_scored_tokens *tokens,
                              const block *b, awq_score *score, awq_error *err)
{
    block_scores scores;
    if (!any_counts(tokens, b)) return AWQ_OK;
    if (measure_nll(head, hidden, tokens->ids, b, scores.nll, err)) return err->status;
    if (other && (measure_nll(other, other_hidden, tokens->ids, b, scores.other_nll, err) ||
                  compare(head, other, b, &scores, err)))
        return err->status;
    add_block(tokens, b, &scores, other != NULL, score);
    return AWQ_OK;
}

awq_status awq_head_score(awq_head *head, const float *hidden, awq_head *other,
                          const float *other_hidden, const awq_scored_tokens *tokens,
                          awq_score *score, awq_error *err)
{
    awq_score all = {0};
    for (int64_t sequence = 0; sequence < tokens->sequences; sequence++) {
        awq_score part = {0};
        for (int64_t position = 0; position < tokens->length; position += HEAD_ROWS) {
            int64_t left = tokens->length - position, rows = left < HEAD_ROWS ? left : HEAD_ROWS;
            block b = {.row = sequence * tokens->length + position,
                       .position = position,
                       .rows = rows,
                       .predicted = rows - (rows == left)};
            if (score_block(head, hidden, other, other_hidden, tokens, &b, &part, err))
                return err->status;
        }
        awq_score_add(&all, &part);
    }
    awq_score_add(score, &all);
    return AWQ_OK;
}
