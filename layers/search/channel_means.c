/* SPDX-License-Identifier: MIT */
#include "layers/search/channel_means.h"

#include <stdlib.h>
#include <string.h>

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

/* sum [channels] += those of the consumers that are here, reader after reader. */
static awq_status add_weights(awq_quantizer *quantizer, const awq_group_spec *group, double *sum,
                              awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    size_t bytes = (size_t)group->channels * sizeof *sum;
    quantizer->be->upload(quantizer->device, quantizer->sums, sum, bytes);
    for (int i = 0; i < group->count; i++) {
        int linear = awq_group_reader(spec, group, i);
        if (awq_quantizer_keeps(quantizer, linear) || !quantizer->decoder->weight[linear]) continue;
        quantizer->be->relative_sum(quantizer->device, quantizer->sums,
                                    quantizer->decoder->weight[linear],
                                    awq_linear_extent(&spec->linear[linear]),
                                    awq_quantizer_grid(quantizer, linear).group_size);
    }
    return quantizer->be->download(quantizer->device, sum, quantizer->sums, bytes, err);
}

/* The same of all parts: the running sums go through them in their order, which is the readers',
 * and from the last one to all. */
static awq_status add_weights_of_parts(awq_quantizer *quantizer, const awq_group_spec *group,
                                       double *sum, awq_error *err)
{
    const awq_exchange *exchange = quantizer->exchange;
    size_t channels = (size_t)group->channels, bytes = channels * sizeof *sum;
    if (exchange->take(exchange->context, sum, bytes, err) ||
        add_weights(quantizer, group, sum, err) ||
        exchange->give(exchange->context, sum, bytes, err))
        return err->status;
    if (!awq_layer_part_is_last(quantizer->decoder->part)) memset(sum, 0, bytes);
    return exchange->add_up(exchange->context, sum, channels, err);
}

awq_status awq_mean_weight(awq_quantizer *quantizer, int index, float *w, awq_error *err)
{
    const awq_layer_spec *spec = quantizer->spec;
    const awq_group_spec *group = &spec->group[index];
    int64_t rows = 0;
    size_t bytes = (size_t)group->channels * sizeof(double);
    double *sum = awq_allocate(bytes, "the mean weights", err);
    if (!sum) return err->status;
    memset(sum, 0, bytes);
    for (int i = 0; i < group->count; i++) {
        int linear = awq_group_reader(spec, group, i);
        if (!awq_quantizer_keeps(quantizer, linear)) rows += spec->linear[linear].out;
    }
    awq_status status = awq_quantizer_shares(quantizer, index)
                            ? add_weights_of_parts(quantizer, group, sum, err)
                            : add_weights(quantizer, group, sum, err);
    for (int64_t i = 0; !status && i < group->channels; i++) w[i] = (float)(sum[i] / (double)rows);
    free(sum);
    return status;
}
