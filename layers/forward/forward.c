/* SPDX-License-Identifier: MIT
 * layers/forward/forward.c - the forward pass of a decoder layer (docs/awq.md 4), in halves:
 *   hidden += attention(norm(hidden))
 *   hidden += mlps(norm(hidden))
 * What a half puts out may go through a norm of its own before it is added. Of a layer in parts the
 * first has the first half, and each adds its experts' share of the second. Behind the halves a
 * layer may add what it makes of a plane that came with the hidden states, and multiply all by a
 * scalar. */
#include "layers/forward/forward.h"

#include "layers/forward/extent.h"
#include "layers/forward/states.h"

/* Books the device's time since the last call. */
static void lap(const forward_pass *pass, awq_phase phase)
{
    if (pass->seconds) pass->be->lap(pass->device, &pass->seconds[phase]);
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

const float *awq_forward_vector(const forward_pass *pass, int vector)
{
    return vector < 0 ? NULL : pass->decoder->vector[vector];
}

/* Rows first .. first + count of a linear, times the input. */
static void run_rows(const forward_pass *pass, int index, int64_t first, int64_t count, void *y,
                     const forward_rows *rows)
{
    const awq_linear_spec *linear = &pass->spec->linear[index];
    const char *weight = pass->decoder->weight[index];
    const float *bias = pass->decoder->bias[index];
    size_t skipped = (size_t)(first * linear->in) * pass->be->compute_bytes;
    pass->be->linear(pass->device, y, rows->x, weight + skipped, bias ? bias + first : NULL,
                     rows->count, (awq_extent){count, linear->in});
}

void awq_forward_linear(forward_pass *pass, const awq_rows *part, void *y, const forward_rows *rows)
{
    awq_runs runs = {part->first, part->count, part->period, part->times};
    int64_t all = pass->spec->linear[part->linear].out;
    if (part->times == 1) {
        run_rows(pass, part->linear, part->first, part->count, y, rows);
        return;
    }
    if (pass->whole != part->linear) /* or it is there from the part before */
        run_rows(pass, part->linear, 0, all, pass->scratch->whole, rows);
    pass->whole = part->linear;
    pass->be->take_columns(pass->device, y, pass->scratch->whole, rows->count, all, &runs);
}

void awq_forward_linear_add(const forward_pass *pass, int linear, float *sum,
                            const forward_rows *rows)
{
    pass->be->linear_add(pass->device, sum, rows->x, pass->decoder->weight[linear],
                         pass->decoder->bias[linear], pass->spec->linear[linear].scale, rows->count,
                         awq_linear_extent(&pass->spec->linear[linear]));
}

static awq_norm_shape shape_of(const forward_pass *pass, const awq_norm_spec *norm)
{
    return (awq_norm_shape){pass->rows, norm->cols, 1, norm->eps, norm->centered};
}

void awq_forward_norm(const forward_pass *pass, int norm)
{
    void *normed = pass->scratch->normed;
    if (norm < 0) {
        pass->be->narrow(pass->device, normed, pass->hidden,
                         (size_t)(pass->rows * pass->model->hidden));
        return;
    }
    const awq_norm_spec *spec = &pass->spec->norm[norm];
    awq_norm_shape shape = shape_of(pass, spec);
    pass->be->norm(pass->device, normed, pass->hidden, awq_forward_vector(pass, spec->weight),
                   awq_forward_vector(pass, spec->bias), &shape);
}

void awq_forward_norm_add(const forward_pass *pass, int norm, float *sum, const float *x)
{
    const awq_norm_spec *spec = &pass->spec->norm[norm];
    awq_norm_shape shape = shape_of(pass, spec);
    pass->be->norm_add(pass->device, sum, x, awq_forward_vector(pass, spec->weight),
                       awq_forward_vector(pass, spec->bias), &shape);
}

/* A group of both halves is gathered by the first. */
static bool is_gathered(const forward_pass *pass, awq_half which)
{
    const awq_half_spec *half = pass->spec->half;
    return which == AWQ_HALF_MLP && half[AWQ_HALF_MLP].group == half[AWQ_HALF_ATTENTION].group;
}

/* Its input through the norm and into the statistics, then attention or MLPs. */
static awq_status run_inner_half(forward_pass *pass, awq_half which, awq_error *err)
{
    const awq_half_spec *half = &pass->spec->half[which];
    forward_rows rows = {pass->scratch->normed, pass->mask, pass->rows};
    pass->whole = -1;
    awq_forward_norm(pass, half->norm);
    if (!is_gathered(pass, which)) awq_forward_gather(pass, half->group, &rows);
    if (which == AWQ_HALF_MLP) return awq_forward_mlps(pass, &rows, err);
    awq_forward_attention(pass, &rows);
    return AWQ_OK;
}

static awq_status run_half(forward_pass *pass, awq_half which, awq_error *err)
{
    int norm = pass->spec->half[which].out_norm;
    if (norm < 0) return run_inner_half(pass, which, err);
    float *sum = pass->sum, *branch = pass->scratch->branch;
    pass->be->zero(pass->device, branch,
                   (size_t)(pass->rows * pass->model->hidden) * sizeof *branch);
    pass->sum = branch;
    awq_status status = run_inner_half(pass, which, err);
    pass->sum = sum;
    if (!status) awq_forward_norm_add(pass, norm, sum, branch);
    return status;
}

/* ---- behind the halves ---- */

/* What the layer makes of its plane, added. */
static void add_input(forward_pass *pass)
{
    const awq_layer_input_spec *input = &pass->spec->input;
    const awq_scratch *scratch = pass->scratch;
    size_t hidden = (size_t)(pass->rows * pass->model->hidden);
    size_t count = (size_t)(pass->rows * pass->model->inputs.width);
    size_t plane =
        awq_states_plane(pass->model, pass->rows, pass->model->inputs.plane, pass->decoder->index);
    forward_rows rows = {scratch->normed, pass->mask, pass->rows};
    forward_rows inner = {scratch->gate, pass->mask, pass->rows};
    awq_rows gate = {input->gate, 0, pass->model->inputs.width, pass->model->inputs.width, 1};
    pass->be->narrow(pass->device, scratch->normed, pass->sum, hidden);
    awq_forward_gather(pass, pass->spec->linear[input->gate].group, &rows);
    awq_forward_linear(pass, &gate, scratch->gate, &rows);
    pass->be->narrow(pass->device, scratch->up, pass->states + plane, count);
    pass->be->gated(pass->device, scratch->gate, scratch->gate, scratch->up, count,
                    pass->spec->mlps.activation, 0);
    awq_forward_gather(pass, pass->spec->linear[input->projection].group, &inner);
    pass->be->zero(pass->device, scratch->branch, hidden * sizeof *scratch->branch);
    awq_forward_linear_add(pass, input->projection, scratch->branch, &inner);
    awq_forward_norm_add(pass, input->out_norm, pass->sum, scratch->branch);
}

static void run_last(forward_pass *pass)
{
    if (pass->spec->input.gate >= 0) add_input(pass);
    if (pass->spec->scalar >= 0)
        pass->be->scale(pass->device, pass->sum, pass->decoder->scalar,
                        (size_t)(pass->rows * pass->model->hidden));
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
                          .states = hidden,
                          .whole = -1,
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
    size_t elements = (size_t)(pass->rows * pass->model->hidden);
    bool first = !pass->decoder->part.index;
    if (pass->spec->parallel) { /* the second reads what the first has not added to */
        float *original = pass->scratch->branch;
        pass->be->copy(pass->device, original, pass->hidden, elements * sizeof *original);
        pass->hidden = original;
    }
    if (first && run_half(pass, AWQ_HALF_ATTENTION, err)) return err->status;
    if (middle && first) pass->be->copy(pass->device, middle, pass->sum, elements * sizeof *middle);
    if (middle) pass->hidden = middle;
    if (run_half(pass, AWQ_HALF_MLP, err)) return err->status;
    run_last(pass);
    return AWQ_OK;
}

awq_status awq_decoder_forward(const awq_forward *what, float *hidden, awq_error *err)
{
    forward_pass pass = awq_forward_begin(what, hidden, hidden);
    pass.given = hidden;
    pass.statistics = what->statistics;
    pass.mask = what->mask;
    pass.seconds = what->seconds;
    if (pass.seconds) pass.be->lap(pass.device, NULL);
    int64_t tokens = 0;
    if (check_rows(&pass, err) || (pass.statistics && count_tokens(&pass, &tokens, err)) ||
        run_halves(&pass, what->middle, err))
        return err->status;
    lap(&pass, AWQ_PHASE_FORWARD);
    if (pass.statistics) pass.statistics->tokens += tokens;
    return AWQ_OK;
}
