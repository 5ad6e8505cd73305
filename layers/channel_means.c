/* SPDX-License-Identifier: MIT */
#include "layers/channel_means.h"

#include <stdlib.h>

#include "layers/extent.h"

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

awq_status awq_mean_weight(awq_quantizer *quantizer, awq_group group, float *w, awq_error *err)
{
    int64_t channels = awq_group_channels(quantizer->model, group), rows = 0;
    const awq_model *model = quantizer->model;
    int64_t layer = quantizer->decoder->index;
    size_t bytes = (size_t)channels * sizeof(double);
    double *sum = awq_allocate(bytes, "the mean weights", err), *on_device = quantizer->d;
    if (!sum) return err->status;
    quantizer->be->zero(quantizer->device, on_device, bytes);
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        if (!awq_group_has(model, layer, group, linear) || awq_quantizer_skips(quantizer, linear))
            continue;
        quantizer->be->relative_sum(
            quantizer->device, on_device, quantizer->decoder->weight[linear],
            awq_linear_extent(model, linear), awq_quantizer_grid(quantizer, linear).group_size);
        rows += awq_linear_extent(model, linear).out;
    }
    awq_status status = quantizer->be->download(quantizer->device, sum, on_device, bytes, err);
    for (int64_t i = 0; !status && i < channels; i++) w[i] = (float)(sum[i] / (double)rows);
    free(sum);
    return status;
}
