/* SPDX-License-Identifier: MIT
 * layers/fold/fold_proof.c - the layer that the folding check runs: folded, and most of it taken
 * back.
 *
 * Folded weights do not fit 16 bits. Rounding each is an error of 2^-9 of it in bfloat16, which
 * seven linears and a softmax made 1.2e-2 of the output of a layer of 64 channels: more than one
 * channel's wrong scale does. So of the scales s all is taken out again but a factor f, 1 and 2 (or
 * 1/2) in turn: consumers' columns are divided by s / f, and what producers give is multiplied by
 * it. Where both had s, weights are W f and what they read is x / f, which any type holds as
 * exactly as W and x, and each product and sum of the layer is what it was. But where producer and
 * consumer had different scales, the difference stays; and what reads x / f and is not a consumer
 * lacks the f. s / f is a consumer's, and one channel's for all that are tied to it.
 *
 * Norms and biases are float32: n' s / f is n / f but for the last bits, and where it is, n / f is
 * taken. The last bits would not stay small. An error e in front of a rounding to a type of
 * precision u is one of sqrt(e u) behind it, since it turns e / u of the roundings by u: three
 * roundings after 2^-24 of a norm's weights, a layer of 4,096 channels was off by 1.1e-3, all that
 * bfloat16 ever is. So the layer in 16 bits is the original to the bit (but for float16's
 * subnormal weights), and any fault is raised to some 1e-3 by the same law. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layers/fold/fold.h"
#include "layers/fold/fold_check.h"
#include "layers/forward/extent.h"

/* Every other f of a group. What is halved loses the last bit of float16's subnormals, what is
 * doubled nothing: where consumers read little, so that what makes it may be small, it is 1/2. */
static float group_factor(const awq_quantizer *quantizer, int index)
{
    const awq_group_record *record = &quantizer->out->record.group[index];
    double sum = 0;
    if (quantizer->spec->group[index].producer.by == AWQ_BY_NO_ONE) return 1; /* nor f is given */
    for (int64_t i = 0; i < record->channels; i++) sum += (double)record->mean_abs[i];
    return sum < 0x1p-6 * (double)record->channels ? 0.5f : 2.0f;
}

/* f of a free channel. */
static float factor_of(float every_other, int64_t free_channel)
{
    return free_channel % 2 ? every_other : 1.0f;
}

/* s / f [free], on the heap. */
static float *excess_scales(const awq_quantizer *quantizer, int index, awq_error *err)
{
    const awq_group_spec *group = &quantizer->spec->group[index];
    const awq_group_record *record = &quantizer->out->record.group[index];
    float every_other = group_factor(quantizer, index);
    int64_t count = awq_free_channels(group);
    float *excess = awq_allocate((size_t)count * sizeof *excess, "the folding check", err);
    if (!excess) return NULL;
    awq_free_values(group, record->scales, excess);
    for (int64_t i = 0; i < count; i++) excess[i] /= factor_of(every_other, i);
    return excess;
}

/* The excess of the channel whose scale each row of a linear absorbs, 1 where it absorbs none
 * [out], on the heap. */
static float *excess_rows(const awq_quantizer *quantizer, int linear, awq_error *err)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    float *excess = excess_scales(quantizer, spec->absorbs, err);
    float *rows =
        excess ? awq_allocate((size_t)spec->out * sizeof *rows, "the folding check", err) : NULL;
    if (rows) awq_row_values(quantizer->spec, linear, excess, rows);
    free(excess);
    return rows;
}

/* The excess of each of a group's channels, over `divisor` [channels] (NULL: 1), on the heap. */
static float *excess_columns(const awq_quantizer *quantizer, int index, const float *divisor,
                             awq_error *err)
{
    const awq_group_spec *group = &quantizer->spec->group[index];
    size_t bytes = (size_t)group->channels * sizeof(float);
    float *excess = excess_scales(quantizer, index, err);
    float *columns = excess ? awq_allocate(bytes, "the folding check", err) : NULL;
    for (int64_t i = 0; columns && i < group->channels; i++) {
        columns[i] = excess[awq_free_channel(group, i)];
        if (divisor) columns[i] /= divisor[i];
    }
    free(excess);
    return columns;
}

/* Frees the host's. */
static void upload(const awq_quantizer *quantizer, float *to, float *host, int64_t count)
{
    quantizer->be->upload(quantizer->device, to, host, (size_t)count * sizeof *host);
    free(host);
}

awq_status awq_fold_proof_linear(awq_quantizer *quantizer, int linear, awq_error *err)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    float *columns = excess_columns(quantizer, spec->group, NULL, err);
    if (!columns) return err->status;
    upload(quantizer, quantizer->excess_columns, columns, spec->in);
    if (spec->absorbs >= 0) {
        float *rows = excess_rows(quantizer, linear, err);
        if (!rows) return err->status;
        upload(quantizer, quantizer->excess_rows, rows, spec->out);
    }
    quantizer->be->unfold(quantizer->device, quantizer->decoder->weight[linear], quantizer->folded,
                          quantizer->excess_columns,
                          spec->absorbs >= 0 ? quantizer->excess_rows : NULL,
                          awq_linear_extent(spec));
    return AWQ_OK;
}

/* folded * excess, or the original / f if the last bits alone tell them apart: two roundings of
 * 2^-24 lead from one to the other, and twice that is allowed. */
static float unfolded_value(float folded, float excess, float original, float factor)
{
    float value = folded * excess, exact = original / factor;
    return fabsf(value - exact) <= 4 * 0x1p-24f * fabsf(exact) ? exact : value;
}

/* A folded norm or bias on its way to what the check runs. */
typedef struct folded_vector {
    float *place; /* device */
    const float *folded, *original;
    int64_t count;
    const awq_rows *rows; /* those that absorbed something; NULL: all */
} folded_vector;

/* place = folded * (s / f). */
static awq_status place_vector(awq_quantizer *quantizer, const folded_vector *vector, int group,
                               awq_error *err)
{
    int64_t channels = awq_free_channels(&quantizer->spec->group[group]);
    size_t bytes = (size_t)vector->count * sizeof(float);
    float *excess = excess_scales(quantizer, group, err);
    float *host = excess ? awq_allocate(bytes, "the folding check", err) : NULL;
    float every_other = group_factor(quantizer, group);
    if (host) memcpy(host, vector->folded, bytes);
    for (int64_t i = 0; host && i < channels; i++) {
        int64_t at = vector->rows ? awq_rows_at(vector->rows, i) : i;
        host[at] = unfolded_value(vector->folded[at], excess[i], vector->original[at],
                                  factor_of(every_other, i));
    }
    free(excess);
    if (!host) return err->status;
    upload(quantizer, vector->place, host, vector->count);
    return AWQ_OK;
}

awq_status awq_fold_proof_vectors(awq_quantizer *quantizer, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    for (int i = 0; i < spec->vectors; i++) {
        folded_vector vector = {quantizer->decoder->vector[i], quantizer->folded_vector[i],
                                quantizer->original_vector[i], spec->vector[i].width, NULL};
        if (vector.original && place_vector(quantizer, &vector, spec->vector[i].absorbs, err))
            return err->status;
    }
    for (int i = 0; i < spec->linears; i++) {
        const awq_linear_spec *linear = &spec->linear[i];
        if (linear->absorbs < 0 || !quantizer->original_bias[i]) continue;
        folded_vector vector = {quantizer->decoder->bias[i], quantizer->out->linear[i].bias,
                                quantizer->original_bias[i], linear->out,
                                &spec->group[linear->absorbs].producer.rows};
        if (place_vector(quantizer, &vector, linear->absorbs, err)) return err->status;
    }
    return AWQ_OK;
}

/* ---- without a group's scales ---- */

/* weight = weight * columns / rows, of which one may be NULL. Frees the one that is given. */
static awq_status scale_weight(awq_quantizer *quantizer, int linear, float *columns, float *rows,
                               awq_error *err)
{
    awq_extent extent = awq_linear_extent(&quantizer->spec->linear[linear]);
    const awq_backend *be = quantizer->be;
    void *weight = quantizer->decoder->weight[linear];
    if (columns) upload(quantizer, quantizer->excess_columns, columns, extent.in);
    if (rows) upload(quantizer, quantizer->excess_rows, rows, extent.out);
    be->fold(quantizer->device, quantizer->folded, weight,
             columns ? quantizer->excess_columns : NULL, rows ? quantizer->excess_rows : NULL,
             extent);
    be->narrow(quantizer->device, weight, quantizer->folded, (size_t)awq_extent_elements(extent));
    return be->sync(quantizer->device, err);
}

/* Of a linear of which rows are the group's producer. */
static awq_status unfold_rows(awq_quantizer *quantizer, int linear, awq_error *err)
{
    int64_t count = quantizer->spec->linear[linear].out;
    float *rows = excess_rows(quantizer, linear, err);
    if (!rows) return err->status;
    for (int64_t i = 0; i < count; i++) rows[i] /= quantizer->row_divisors[linear][i];
    if (quantizer->decoder->bias[linear])
        quantizer->be->upload(quantizer->device, quantizer->decoder->bias[linear],
                              quantizer->original_bias[linear], (size_t)count * sizeof(float));
    return scale_weight(quantizer, linear, NULL, rows, err);
}

awq_status awq_fold_proof_unfold(awq_quantizer *quantizer, int index, awq_error *err)
{
    const awq_group_spec *group = &quantizer->spec->group[index];
    const awq_producer *producer = &group->producer;
    for (int i = 0; i < group->count; i++) {
        float *columns =
            excess_columns(quantizer, index, quantizer->out->record.group[index].scales, err);
        int linear = awq_group_reader(quantizer->spec, group, i);
        if (!columns || scale_weight(quantizer, linear, columns, NULL, err)) return err->status;
    }
    if (producer->by == AWQ_BY_ROWS) return unfold_rows(quantizer, producer->rows.linear, err);
    for (int i = 0; i < quantizer->spec->vectors; i++)
        if (quantizer->spec->vector[i].absorbs == index)
            quantizer->be->upload(quantizer->device, quantizer->decoder->vector[i],
                                  quantizer->original_vector[i],
                                  (size_t)quantizer->spec->vector[i].width * sizeof(float));
    return AWQ_OK;
}
