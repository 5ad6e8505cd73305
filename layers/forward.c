/* SPDX-License-Identifier: MIT
 * layers/forward.c - the forward pass of a decoder layer (docs/awq.md 4):
 *   hidden += o(attention(rope(q, k), v)),  q, k, v = linears of rmsnorm(hidden)
 *   hidden += down(silu(gate) * up),        gate, up = linears of rmsnorm(hidden)
 * The second line of a sparse layer is in experts.c. */
#include "layers/forward.h"

#include <math.h>

#include "io/clock.h"
#include "layers/extent.h"

/* Books the time since the last call; device failures stick and are reported at the end. */
static void lap(forward_pass *pass, awq_phase phase)
{
    if (!pass->seconds) return;
    awq_error later;
    pass->be->sync(pass->device, &later);
    awq_clock_lap(&pass->mark, &pass->seconds[phase]);
}

void awq_forward_gather(forward_pass *pass, awq_group group, const forward_rows *rows)
{
    awq_statistics *statistics = pass->statistics;
    if (!statistics) return;
    int64_t channels = awq_group_channels(pass->model, group);
    lap(pass, AWQ_PHASE_FORWARD);
    pass->be->abs_sum(pass->device, statistics->abs_sum[group], rows->x, rows->mask, rows->count,
                      channels);
    pass->be->gram(pass->device, statistics->gram[group], rows->x, rows->mask, rows->count,
                   channels);
    lap(pass, AWQ_PHASE_GRAM);
}

void awq_forward_gram(forward_pass *pass, float *gram, const forward_rows *rows, int64_t channels)
{
    lap(pass, AWQ_PHASE_FORWARD);
    pass->be->gram(pass->device, gram, rows->x, rows->mask, rows->count, channels);
    lap(pass, AWQ_PHASE_GRAM);
}

void awq_forward_linear(const forward_pass *pass, awq_linear which, void *y,
                        const forward_rows *rows)
{
    pass->be->linear(pass->device, y, rows->x, pass->decoder->weight[which],
                     pass->decoder->bias[which], rows->count,
                     awq_linear_extent(pass->model, which));
}

void awq_forward_linear_add(const forward_pass *pass, awq_linear which, float *sum,
                            const forward_rows *rows)
{
    pass->be->linear_add(pass->device, sum, rows->x, pass->decoder->weight[which],
                         pass->decoder->bias[which], rows->count,
                         awq_linear_extent(pass->model, which));
}

/* What the norms and the attention put out. */
static forward_rows normed_rows(const forward_pass *pass)
{
    return (forward_rows){pass->scratch->normed, pass->mask, pass->rows};
}

static void normalize(const forward_pass *pass, awq_norm norm, void *y)
{
    pass->be->rmsnorm(pass->device, y, pass->hidden, pass->decoder->norm[norm], pass->rows,
                      pass->model->hidden, pass->model->norm_eps);
}

/* q_norm or k_norm where the model has them, then positions. */
static void turn_heads(const forward_pass *pass, void *x, int64_t heads, awq_norm norm)
{
    int64_t head_dim = pass->model->head_dim;
    if (pass->decoder->norm[norm])
        pass->be->rmsnorm_heads(pass->device, x, pass->decoder->norm[norm], pass->rows * heads,
                                head_dim, pass->model->norm_eps);
    awq_rope_shape shape = {heads, head_dim, head_dim, pass->scratch->length};
    pass->be->rope(pass->device, x, pass->scratch->cos, pass->scratch->sin, pass->rows, &shape);
}

static void attention_half(forward_pass *pass)
{
    const awq_model *model = pass->model;
    awq_scratch *scratch = pass->scratch;
    forward_rows rows = normed_rows(pass);
    normalize(pass, AWQ_INPUT_NORM, scratch->normed);
    awq_forward_gather(pass, AWQ_GROUP_QKV, &rows);
    awq_forward_linear(pass, AWQ_Q, scratch->q, &rows);
    awq_forward_linear(pass, AWQ_K, scratch->k, &rows);
    awq_forward_linear(pass, AWQ_V, scratch->v, &rows);
    turn_heads(pass, scratch->q, model->heads, AWQ_Q_NORM);
    turn_heads(pass, scratch->k, model->kv_heads, AWQ_K_NORM);
    awq_attention_shape shape = {.heads = model->heads,
                                 .kv_heads = model->kv_heads,
                                 .head_dim = model->head_dim,
                                 .scale = (float)(1 / sqrt((double)model->head_dim))};
    pass->be->attention(pass->device, scratch->normed, scratch->q, scratch->k, scratch->v,
                        pass->sequences, scratch->length, &shape);
    awq_forward_gather(pass, AWQ_GROUP_O, &rows);
    awq_forward_linear_add(pass, AWQ_O, pass->sum, &rows);
}

void awq_forward_mlp(forward_pass *pass, int mlp, const forward_rows *rows)
{
    awq_scratch *scratch = pass->scratch;
    forward_rows inner = {scratch->gate, rows->mask, rows->count};
    awq_forward_linear(pass, awq_mlp_linear(mlp, AWQ_GATE), scratch->gate, rows);
    awq_forward_linear(pass, awq_mlp_linear(mlp, AWQ_UP), scratch->up, rows);
    pass->be->gated(pass->device, scratch->gate, scratch->gate, scratch->up,
                    (size_t)(rows->count * awq_mlp_intermediate(pass->model, mlp)), AWQ_SILU);
    awq_forward_gather(pass, awq_mlp_down_group(mlp), &inner);
}

static awq_status mlp_half(forward_pass *pass, awq_error *err)
{
    forward_rows rows = normed_rows(pass), inner = rows;
    normalize(pass, AWQ_POST_NORM, pass->scratch->normed);
    awq_forward_gather(pass, AWQ_GROUP_GATE_UP, &rows);
    if (pass->model->sparse[pass->decoder->index]) return awq_forward_experts(pass, &rows, err);
    awq_forward_mlp(pass, 0, &rows);
    inner.x = pass->scratch->gate;
    awq_forward_linear_add(pass, AWQ_DOWN, pass->sum, &inner);
    return AWQ_OK;
}

/* Rows whose mask is not 0. */
static awq_status count_tokens(const forward_pass *pass, int64_t *tokens, awq_error *err)
{
    uint8_t part[4096];
    *tokens = pass->mask ? 0 : pass->rows;
    for (int64_t row = 0; pass->mask && row < pass->rows; row += (int64_t)sizeof part) {
        int64_t left = pass->rows - row,
                count = left < (int64_t)sizeof part ? left : (int64_t)sizeof part;
        if (pass->be->download(pass->device, part, pass->mask + row, (size_t)count, err))
            return err->status;
        for (int64_t i = 0; i < count; i++) *tokens += part[i] != 0;
    }
    return AWQ_OK;
}

static awq_status check_rows(const forward_pass *pass, awq_error *err)
{
    if (pass->rows <= pass->scratch->rows) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "a tile of %lld rows, scratch for %lld",
                    (long long)pass->rows, (long long)pass->scratch->rows);
}

awq_status awq_decoder_half(awq_device *device, const awq_model *model, const awq_decoder *decoder,
                            awq_scratch *scratch, awq_half half, const float *hidden, float *sum,
                            int64_t sequences, awq_error *err)
{
    forward_pass pass = {.device = device,
                         .be = device->backend,
                         .model = model,
                         .decoder = decoder,
                         .scratch = scratch,
                         .hidden = hidden,
                         .sum = sum,
                         .sequences = sequences,
                         .rows = sequences * scratch->length};
    if (check_rows(&pass, err)) return err->status;
    if (half == AWQ_HALF_MLP) return mlp_half(&pass, err);
    attention_half(&pass);
    return AWQ_OK;
}

awq_status awq_decoder_forward(awq_device *device, const awq_model *model,
                               const awq_decoder *decoder, awq_scratch *scratch, float *hidden,
                               int64_t sequences, awq_statistics *statistics, const uint8_t *mask,
                               double *seconds, awq_error *err)
{
    forward_pass pass = {device,
                         device->backend,
                         model,
                         decoder,
                         scratch,
                         hidden,
                         hidden,
                         sequences,
                         sequences * scratch->length,
                         statistics,
                         mask,
                         seconds,
                         awq_clock_seconds()};
    if (check_rows(&pass, err)) return err->status;
    int64_t tokens = 0;
    if (statistics && count_tokens(&pass, &tokens, err)) return err->status;
    attention_half(&pass);
    if (mlp_half(&pass, err)) return err->status;
    lap(&pass, AWQ_PHASE_FORWARD);
    if (statistics) statistics->tokens += tokens;
    return seconds ? pass.be->sync(device, err) : AWQ_OK;
}
