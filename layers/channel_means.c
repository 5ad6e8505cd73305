/* SPDX-License-Identifier: MIT */
#include "layers/channel_means.h"

#include <math.h>
#include <stdlib.h>

#include "layers/extent.h"

enum { WEIGHT_ROWS = 64 }; /* that come to the host at a time */

int64_t awq_free_channels(const awq_model *model, awq_group group)
{
    if (group == AWQ_GROUP_O) return model->kv_heads * model->head_dim;
    return awq_group_channels(model, group);
}

int64_t awq_free_channel(const awq_model *model, awq_group group, int64_t channel)
{
    if (group != AWQ_GROUP_O) return channel;
    int64_t head = channel / model->head_dim, repeat = model->heads / model->kv_heads;
    return head / repeat * model->head_dim + channel % model->head_dim;
}

awq_status awq_mean_abs(awq_quantizer *quantizer, awq_group group, float *mean_abs, awq_error *err)
{
    int64_t channels = awq_group_channels(quantizer->model, group);
    size_t bytes = (size_t)channels * sizeof(double);
    double *sum = awq_allocate(bytes, "mean|x|", err);
    if (!sum) return err->status;
    awq_status status = quantizer->be->download(quantizer->device, sum,
                                                quantizer->statistics->abs_sum[group], bytes, err);
    int64_t tokens = awq_statistics_tokens(quantizer->statistics, quantizer->model, group);
    for (int64_t i = 0; !status && i < channels; i++)
        mean_abs[i] = tokens ? (float)(sum[i] / (double)tokens) : 0;
    free(sum);
    return status;
}

void awq_tie_channels(const awq_model *model, awq_group group, const float *from, float *to)
{
    int64_t channels = awq_group_channels(model, group), count = awq_free_channels(model, group);
    float repeat = (float)(channels / count);
    for (int64_t i = 0; i < count; i++) to[i] = 0;
    for (int64_t i = 0; i < channels; i++) to[awq_free_channel(model, group, i)] += from[i];
    for (int64_t i = 0; i < count; i++) to[i] /= repeat;
}

void awq_smooth_means(float *m, int64_t channels, double smooth)
{
    double sum = 0;
    for (int64_t i = 0; i < channels; i++) sum += (double)m[i];
    for (int64_t i = 0; i < channels; i++)
        m[i] = (float)((1 - smooth) * (double)m[i] + smooth * sum / (double)channels);
}

/* sum [in] += |w| / (max|w| of its group + 1e-6), row after row. */
static void add_relative(const float *w, int64_t rows, int64_t in, int64_t group_size, double *sum)
{
    for (int64_t first = 0; first < rows * in; first += group_size) {
        float largest = 0;
        for (int64_t i = first; i < first + group_size; i++) largest = fmaxf(largest, fabsf(w[i]));
        for (int64_t i = first; i < first + group_size; i++)
            sum[i % in] += fabs((double)w[i]) / ((double)largest + 1e-6);
    }
}

/* Adds one consumer's rows to sum; host has room for WEIGHT_ROWS of them. */
static awq_status add_consumer(awq_quantizer *quantizer, awq_linear linear, float *host,
                               double *sum, awq_error *err)
{
    const awq_backend *be = quantizer->be;
    awq_extent extent = awq_linear_extent(quantizer->model, linear);
    int64_t group_size = awq_quantizer_grid(quantizer, linear).group_size;
    for (int64_t row = 0; row < extent.out; row += WEIGHT_ROWS) {
        int64_t rows = extent.out - row < WEIGHT_ROWS ? extent.out - row : WEIGHT_ROWS;
        size_t elements = (size_t)(rows * extent.in);
        const char *w = quantizer->decoder->weight[linear];
        w += (size_t)(row * extent.in) * be->compute_bytes;
        be->fold(quantizer->device, quantizer->folded, w, NULL, NULL,
                 (awq_extent){rows, extent.in});
        if (be->download(quantizer->device, host, quantizer->folded, elements * sizeof *host, err))
            return err->status;
        add_relative(host, rows, extent.in, group_size, sum);
    }
    return AWQ_OK;
}

awq_status awq_mean_weight(awq_quantizer *quantizer, awq_group group, float *w, awq_error *err)
{
    int64_t channels = awq_group_channels(quantizer->model, group), rows = 0;
    const awq_model *model = quantizer->model;
    int64_t layer = quantizer->decoder->index;
    float *host = malloc((size_t)(WEIGHT_ROWS * channels) * sizeof *host);
    double *sum = calloc((size_t)channels, sizeof *sum);
    awq_status status = AWQ_OK;
    if (!host || !sum) status = awq_fail(err, AWQ_ERR_MEMORY, "no memory for the mean weights");
    for (awq_linear linear = 0; !status && linear < awq_model_linears(model); linear++) {
        if (!awq_group_has(model, layer, group, linear) || awq_quantizer_skips(quantizer, linear))
            continue;
        status = add_consumer(quantizer, linear, host, sum, err);
        rows += awq_linear_extent(model, linear).out;
    }
    for (int64_t i = 0; !status && i < channels; i++) w[i] = (float)(sum[i] / (double)rows);
    free(sum);
    free(host);
    return status;
}
