/* SPDX-License-Identifier: MIT */
#include "layers/search/channel_means.h"

#include <stdlib.h>

#include "layers/forward/extent.h"

awq_status awq_mean_abs(awq_quantizer *quantizer, int group, float *mean_abs, awq_error *err)
{
    int64_t channels = quantizer->spec->group[group].channels;
    size_t bytes = (size_t)channels * sizeof(double);
    double *sum = awq_allocate(bytes, "mean|x|", err);
    if (!sum) return err->status;
    awq_status status = quantizer->be->download(
        quantizer->device, sum, awq_quantizer_abs_sum(quantizer, group), bytes, err);
    int64_t tokens = awq_statistics_tokens(quantizer->statistics, group);
    for (int64_t i = 0; !status && i < channels; i++)
        mean_abs[i] = tokens ? (float)(sum[i] / (double)tokens) : 0;
    free(sum);
    return status;
}

void awq_tie_channels(const awq_group_spec *group, const float *from, float *to)
{
    int64_t count = awq_free_channels(group);
    for (int64_t i = 0; i < count; i++) to[i] = 0;
    for (int64_t i = 0; i < group->channels; i++) to[awq_free_channel(group, i)] += from[i];
    for (int64_t i = 0; i < count; i++) to[i] /= (float)group->repeat;
}

void awq_smooth_means(float *m, int64_t channels, double smooth)
{
    double sum = 0;
    for (int64_t i = 0; i < channels; i++) sum += (double)m[i];
    for (int64_t i = 0; i < channels; i++)
        m[i] = (float)((1 - smooth) * (double)m[i] + smooth * sum / (double)channels);
}

awq_status awq_mean_weight(awq_quantizer *quantizer, int index, float *w, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    const awq_group_spec *group = &spec->group[index];
    int64_t rows = 0;
    size_t bytes = (size_t)group->channels * sizeof(double);
    double *sum = awq_allocate(bytes, "the mean weights", err), *on_device = quantizer->sums;
    if (!sum) return err->status;
    quantizer->be->zero(quantizer->device, on_device, bytes);
    for (int i = 0; i < group->count; i++) {
        int linear = awq_group_reader(spec, group, i);
        if (awq_quantizer_keeps(quantizer, linear)) continue;
        quantizer->be->relative_sum(quantizer->device, on_device,
                                    quantizer->decoder->weight[linear],
                                    awq_linear_extent(&spec->linear[linear]),
                                    awq_quantizer_grid(quantizer, linear).group_size);
        rows += spec->linear[linear].out;
    }
    awq_status status = quantizer->be->download(quantizer->device, sum, on_device, bytes, err);
    for (int64_t i = 0; !status && i < group->channels; i++) w[i] = (float)(sum[i] / (double)rows);
    free(sum);
    return status;
}
