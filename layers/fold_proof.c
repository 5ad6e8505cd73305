/* SPDX-License-Identifier: MIT
 * layers/fold_proof.c - the layer that the folding check runs: folded, and most of it taken back.
 *
 * Folded weights do not fit 16 bits. Rounding each is an error of 2^-9 of it in bfloat16, which
 * seven linears and a softmax made 1.2e-2 of the output of a layer of 64 channels: more than one
 * channel's wrong scale does. So of the scales s all is taken out again but a factor f, 1 and 2 in
 * turn: consumers' columns are divided by s / f, and what producers give is multiplied by it.
 * Where both had s, weights are W f and what they read is x / f, which any type holds as exactly as
 * W and x, and each product and sum of the layer is what it was. But where producer and consumer
 * had different scales, the difference stays; and what reads x / f and is not a consumer lacks the
 * f. s / f is a consumer's, and one channel's for all that are tied to it.
 *
 * Norms and biases are float32: n' s / f is n / f but for the last bits, and where it is, n / f is
 * taken. The last bits would not stay small. An error e in front of a rounding to a type of
 * precision u is one of sqrt(e u) behind it, since it turns e / u of the roundings by u: three
 * roundings after 2^-24 of a norm's weights, a layer of 4,096 channels was off by 1.1e-3, all that
 * bfloat16 ever is. So the layer in 16 bits is the original to the bit (but for float16's
 * subnormal weights), and any fault is raised to some 1e-3 by the same law. */
#include <math.h>
#include <stdlib.h>

#include "layers/channel_means.h"
#include "layers/extent.h"

/* f of a free channel. */
static float factor_of(int64_t free_channel)
{
    return free_channel % 2 ? 2.0f : 1.0f;
}

/* s / f [free], on the heap. */
static float *excess_scales(const awq_quantizer *quantizer, awq_group group, awq_error *err)
{
    const awq_group_record *record = &quantizer->out->record.group[group];
    int64_t count = awq_free_channels(quantizer->model, group);
    float *excess = awq_allocate((size_t)count * sizeof *excess, "the folding check", err);
    for (int64_t i = 0; excess && i < record->channels; i++) {
        int64_t channel = awq_free_channel(quantizer->model, group, i);
        excess[channel] = record->scales[i] / factor_of(channel);
    }
    return excess;
}

/* To quantizer->columns: what a consumer's columns are divided by. */
static awq_status upload_columns(awq_quantizer *quantizer, awq_group group, awq_error *err)
{
    int64_t channels = quantizer->out->record.group[group].channels;
    size_t bytes = (size_t)channels * sizeof(float);
    float *excess = excess_scales(quantizer, group, err);
    float *columns = excess ? awq_allocate(bytes, "the folding check", err) : NULL;
    for (int64_t i = 0; columns && i < channels; i++)
        columns[i] = excess[awq_free_channel(quantizer->model, group, i)];
    if (columns) quantizer->be->upload(quantizer->device, quantizer->columns, columns, bytes);
    free(columns);
    free(excess);
    return columns ? AWQ_OK : err->status;
}

awq_status awq_fold_proof_linear(awq_quantizer *quantizer, awq_linear linear, awq_error *err)
{
    const awq_model *model = quantizer->model;
    awq_group fed = awq_linear_feeds(model, linear);
    awq_extent extent = awq_linear_extent(model, linear);
    if (upload_columns(quantizer, awq_linear_group(model, linear), err)) return err->status;
    if (fed >= 0) {
        float *rows = excess_scales(quantizer, fed, err);
        if (!rows) return err->status;
        quantizer->be->upload(quantizer->device, quantizer->rows, rows,
                              (size_t)extent.out * sizeof *rows);
        free(rows);
    }
    quantizer->be->unfold(quantizer->device, quantizer->decoder->weight[linear], quantizer->folded,
                          quantizer->columns, fed >= 0 ? quantizer->rows : NULL, extent);
    return AWQ_OK;
}

/* folded * excess, or the original / f if the last bits alone tell them apart: two roundings of
 * 2^-24 lead from one to the other, and twice that is allowed. */
static float unfolded_value(float folded, float excess, float original, float factor)
{
    float value = folded * excess, exact = original / factor;
    return fabsf(value - exact) <= 4 * 0x1p-24f * fabsf(exact) ? exact : value;
}

/* to = folded * (s / f), the folded norm's or bias's place on the device. */
static awq_status place_vector(awq_quantizer *quantizer, float *to, const float *folded,
                               const float *original, awq_group group, awq_error *err)
{
    if (!to) return AWQ_OK;
    int64_t count = awq_free_channels(quantizer->model, group);
    float *vector = excess_scales(quantizer, group, err);
    if (!vector) return err->status;
    for (int64_t i = 0; i < count; i++)
        vector[i] = unfolded_value(folded[i], vector[i], original[i], factor_of(i));
    quantizer->be->upload(quantizer->device, to, vector, (size_t)count * sizeof *vector);
    free(vector);
    return AWQ_OK;
}

awq_status awq_fold_proof_vectors(awq_quantizer *quantizer, awq_error *err)
{
    awq_decoder *decoder = quantizer->decoder;
    const awq_quantized_layer *out = quantizer->out;
    if (place_vector(quantizer, decoder->norm[AWQ_INPUT_NORM], out->norm[AWQ_INPUT_NORM],
                     quantizer->original_norm[AWQ_INPUT_NORM], AWQ_GROUP_QKV, err) ||
        place_vector(quantizer, decoder->norm[AWQ_POST_NORM], out->norm[AWQ_POST_NORM],
                     quantizer->original_norm[AWQ_POST_NORM], AWQ_GROUP_GATE_UP, err))
        return err->status;
    for (awq_linear linear = 0; linear < awq_model_linears(quantizer->model); linear++) {
        awq_group fed = awq_linear_feeds(quantizer->model, linear);
        if (fed >= 0 && place_vector(quantizer, decoder->bias[linear], out->linear[linear].bias,
                                     quantizer->original_bias[linear], fed, err))
            return err->status;
    }
    return AWQ_OK;
}

/* ---- without a group's scales ---- */

/* weight = weight * columns / rows, of which one may be NULL. Frees the one that is given. */
static awq_status scale_weight(awq_quantizer *quantizer, awq_linear linear, float *columns,
                               float *rows, awq_error *err)
{
    awq_extent extent = awq_linear_extent(quantizer->model, linear);
    const awq_backend *be = quantizer->be;
    void *weight = quantizer->decoder->weight[linear];
    if (columns)
        be->upload(quantizer->device, quantizer->columns, columns,
                   (size_t)extent.in * sizeof *columns);
    else
        be->upload(quantizer->device, quantizer->rows, rows, (size_t)extent.out * sizeof *rows);
    be->fold(quantizer->device, quantizer->folded, weight, columns ? quantizer->columns : NULL,
             columns ? NULL : quantizer->rows, extent);
    be->narrow(quantizer->device, weight, quantizer->folded, (size_t)awq_extent_elements(extent));
    free(columns ? columns : rows);
    return be->sync(quantizer->device, err);
}

static awq_status unfold_columns(awq_quantizer *quantizer, awq_linear linear, awq_group group,
                                 awq_error *err)
{
    const awq_group_record *record = &quantizer->out->record.group[group];
    float *excess = excess_scales(quantizer, group, err);
    float *columns =
        excess ? awq_allocate((size_t)record->channels * sizeof *columns, "the folding check", err)
               : NULL;
    for (int64_t i = 0; columns && i < record->channels; i++)
        columns[i] = excess[awq_free_channel(quantizer->model, group, i)] / record->scales[i];
    free(excess);
    return columns ? scale_weight(quantizer, linear, columns, NULL, err) : err->status;
}

/* Of the group's producer, if that is a linear. */
static awq_status unfold_rows(awq_quantizer *quantizer, awq_linear linear, awq_group group,
                              awq_error *err)
{
    int64_t count = awq_free_channels(quantizer->model, group);
    float *rows = excess_scales(quantizer, group, err);
    if (!rows) return err->status;
    for (int64_t i = 0; i < count; i++) rows[i] /= quantizer->row_divisors[linear][i];
    if (quantizer->decoder->bias[linear])
        quantizer->be->upload(quantizer->device, quantizer->decoder->bias[linear],
                              quantizer->original_bias[linear], (size_t)count * sizeof(float));
    return scale_weight(quantizer, linear, NULL, rows, err);
}

static void unfold_norm(awq_quantizer *quantizer, awq_norm norm)
{
    size_t bytes = (size_t)awq_norm_elements(quantizer->model, norm) * sizeof(float);
    quantizer->be->upload(quantizer->device, quantizer->decoder->norm[norm],
                          quantizer->original_norm[norm], bytes);
}

/* What absorbed a group's scales gets them back. */
static awq_status unfold_producer(awq_quantizer *quantizer, awq_group group, awq_error *err)
{
    const awq_model *model = quantizer->model;
    if (group == AWQ_GROUP_QKV) unfold_norm(quantizer, AWQ_INPUT_NORM);
    if (group == AWQ_GROUP_GATE_UP) unfold_norm(quantizer, AWQ_POST_NORM);
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_layer_has(model, quantizer->decoder->index, linear) &&
            awq_linear_feeds(model, linear) == group)
            return unfold_rows(quantizer, linear, group, err);
    return AWQ_OK;
}

awq_status awq_fold_proof_unfold(awq_quantizer *quantizer, awq_group group, awq_error *err)
{
    const awq_model *model = quantizer->model;
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_group_has(model, quantizer->decoder->index, group, linear) &&
            unfold_columns(quantizer, linear, group, err))
            return err->status;
    return unfold_producer(quantizer, group, err);
}
