/* SPDX-License-Identifier: MIT
 * layers/forward/forward.c - the forward pass of a decoder layer (docs/awq.md 4), in halves:
 *   hidden += attention(norm(hidden))
 *   hidden += mlps(norm(hidden))
 * What a half puts out may go through a norm of its own before it is added. Of a layer in parts the
 * first has the first half, and each adds its experts' share of the second. */
#include "layers/forward/forward.h"

#include <assert.h>

#include "io/core/clock.h"
#include "layers/forward/extent.h"

/* Books the time since the last call; device failures stick and are reported at the end. */
static void lap(forward_pass *pass, awq_phase phase)
{
    if (!pass->seconds) return;
    awq_error later;
    pass->be->sync(pass->device, &later);
    awq_clock_lap(&pass->mark, &pass->seconds[phase]);
}

void awq_forward_gather(forward_pass *pass, int group, const forward_rows *rows)
{
    awq_statistics *statistics = pass->statistics;
    if (!statistics || pass->spec->group[group].expert >= 0) return;
    int64_t channels = pass->spec->group[group].channels;
    lap(pass, AWQ_PHASE_FORWARD);
    pass->be->abs_sum(pass->device, statistics->abs_sum[group], rows->x, rows->mask, rows->count,
                      channels);
    pass->be->gram(pass->device, statistics->gram[group], rows->x, rows->mask, rows->count,
                   channels);
    lap(pass, AWQ_PHASE_GRAM);
}

void awq_forward_linear(const forward_pass *pass, const awq_rows *part, void *y,
                        const forward_rows *rows)
{
    const awq_linear_spec *linear = &pass->spec->linear[part->linear];
    const char *weight = pass->decoder->weight[part->linear];
    const float *bias = pass->decoder->bias[part->linear];
    assert(part->times == 1);
    size_t skipped = (size_t)(part->first * linear->in) * pass->be->compute_bytes;
    pass->be->linear(pass->device, y, rows->x, weight + skipped, bias ? bias + part->first : NULL,
                     rows->count, (awq_extent){part->count, linear->in});
}

void awq_forward_linear_add(const forward_pass *pass, int linear, float *sum,
                            const forward_rows *rows)
{
    pass->be->linear_add(pass->device, sum, rows->x, pass->decoder->weight[linear],
                         pass->decoder->bias[linear], pass->spec->linear[linear].scale, rows->count,
                         awq_linear_extent(&pass->spec->linear[linear]));
}

/* Its input through the norm and into the statistics, then attention or MLPs. */
static awq_status run_inner_half(forward_pass *pass, awq_half which, awq_error *err)
{
    const awq_half_spec *half = &pass->spec->half[which];
    forward_rows rows = {pass->scratch->normed, pass->mask, pass->rows};
    awq_norm_shape shape = {pass->rows, pass->model->hidden, 1, pass->model->norm_eps, false};
    pass->be->norm(pass->device, pass->scratch->normed, pass->hidden,
                   pass->decoder->norm[half->norm], NULL, &shape);
    awq_forward_gather(pass, half->group, &rows);
    if (which == AWQ_HALF_MLP) return awq_forward_mlps(pass, &rows, err);
    awq_forward_attention(pass, &rows);
    return AWQ_OK;
}

static awq_status run_half(forward_pass *pass, awq_half which, awq_error *err)
{
    int norm = pass->spec->half[which].out_norm;
    if (norm < 0) return run_inner_half(pass, which, err);
    float *sum = pass->sum, *branch = pass->scratch->branch;
    int64_t hidden = pass->model->hidden;
    pass->be->zero(pass->device, branch, (size_t)(pass->rows * hidden) * sizeof *branch);
    pass->sum = branch;
    awq_status status = run_inner_half(pass, which, err);
    pass->sum = sum;
    awq_norm_shape shape = {pass->rows, hidden, 1, pass->model->norm_eps, false};
    if (!status)
        pass->be->norm_add(pass->device, sum, branch, pass->decoder->norm[norm], NULL, &shape);
    return status;
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
    if (pass->rows <= pass->scratch->size.rows) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "a tile of %lld rows, scratch for %lld",
                    (long long)pass->rows, (long long)pass->scratch->size.rows);
}

forward_pass awq_forward_begin(const awq_forward *what, const float *hidden, float *sum)
{
    return (forward_pass){.device = what->device,
                          .be = what->device->backend,
                          .model = what->model,
                          .spec = what->decoder->spec,
                          .decoder = what->decoder,
                          .scratch = what->scratch,
                          .hidden = hidden,
                          .sum = sum,
                          .sequences = what->sequences,
                          .rows = what->sequences * what->scratch->size.length};
}

awq_status awq_decoder_half(const awq_forward *what, awq_half half, const float *hidden, float *sum,
                            awq_error *err)
{
    forward_pass pass = awq_forward_begin(what, hidden, sum);
    return check_rows(&pass, err) ? err->status : run_half(&pass, half, err);
}

/* The halves, or what of them is in this part. */
static awq_status run_halves(forward_pass *pass, float *middle, awq_error *err)
{
    size_t elements = (size_t)(pass->rows * pass->model->residual);
    bool first = !pass->decoder->part.index;
    if (first && run_half(pass, AWQ_HALF_ATTENTION, err)) return err->status;
    if (middle && first) pass->be->copy(pass->device, middle, pass->sum, elements * sizeof *middle);
    if (middle) pass->hidden = middle;
    return run_half(pass, AWQ_HALF_MLP, err);
}

awq_status awq_decoder_forward(const awq_forward *what, float *hidden, awq_error *err)
{
    forward_pass pass = awq_forward_begin(what, hidden, hidden);
    pass.statistics = what->statistics;
    pass.mask = what->mask;
    pass.seconds = what->seconds;
    pass.mark = awq_clock_seconds();
    int64_t tokens = 0;
    if (check_rows(&pass, err) || (pass.statistics && count_tokens(&pass, &tokens, err)) ||
        run_halves(&pass, what->middle, err))
        return err->status;
    lap(&pass, AWQ_PHASE_FORWARD);
    if (pass.statistics) pass.statistics->tokens += tokens;
    return pass.seconds ? pass.be->sync(pass.device, err) : AWQ_OK;
}
