/* SPDX-License-Identifier: MIT
 * layers/fold.c - who absorbs 1/s (docs/awq.md 1, 2.7): a norm, whose weight is rounded to its
 * stored type first, and its consumers' scale taken from that; or the rows of v and up. */
#include <math.h>

#include "layers/channel_means.h"
#include "layers/extent.h"

/* n' = n / s in the type that the norm is stored in; s becomes n / n', so that the product is
 * exact. A channel where that cannot be keeps n and s = 1. */
static void fold_norm(const float *original, awq_dtype dtype, float *folded, float *s,
                      int64_t channels)
{
    for (int64_t i = 0; i < channels; i++) {
        float quotient = original[i] / s[i];
        unsigned char stored[sizeof(float)];
        awq_narrow(stored, &quotient, dtype, 1);
        awq_widen(&folded[i], stored, dtype, 1);
        s[i] = original[i] / folded[i];
        if (isfinite(folded[i]) && isfinite(s[i]) && s[i] > 0) continue;
        folded[i] = original[i];
        s[i] = 1;
    }
}

static awq_status plan_norm(awq_quantizer *quantizer, awq_norm norm, float *s, awq_error *err)
{
    float *device = quantizer->decoder->norm[norm];
    int64_t count = awq_norm_elements(quantizer->model, norm);
    float *original = awq_vector_download(quantizer->device, device, count, err);
    float *folded = original ? awq_vector_download(quantizer->device, device, count, err) : NULL;
    quantizer->original_norm[norm] = original;
    quantizer->out->norm[norm] = folded;
    if (!folded) return err->status;
    if (s) fold_norm(original, quantizer->decoder->norm_dtype[norm], folded, s, count);
    quantizer->be->upload(quantizer->device, device, folded, (size_t)count * sizeof *folded);
    return AWQ_OK;
}

/* What the rows of v (for o) or up (for down) are divided by: the scale of the channel they feed.
 */
static awq_status plan_rows(awq_quantizer *quantizer, awq_linear producer, awq_error *err)
{
    awq_group group = awq_linear_feeds(quantizer->model, producer);
    if (group < 0) return AWQ_OK;
    const awq_group_record *record = &quantizer->out->record.group[group];
    int64_t rows = awq_free_channels(quantizer->model, group);
    float *divisors = awq_allocate((size_t)rows * sizeof *divisors, "row divisors", err);
    if (!divisors) return err->status;
    quantizer->row_divisors[producer] = divisors;
    for (int64_t i = 0; i < record->channels; i++)
        divisors[awq_free_channel(quantizer->model, group, i)] = record->scales[i];
    return AWQ_OK;
}

/* The bias as it will be written, and on the device. */
static awq_status plan_bias(awq_quantizer *quantizer, awq_linear linear, awq_error *err)
{
    float *device = quantizer->decoder->bias[linear];
    const float *divisors = quantizer->row_divisors[linear];
    if (!device) return AWQ_OK;
    int64_t count = awq_linear_extent(quantizer->model, linear).out;
    float *original = awq_vector_download(quantizer->device, device, count, err);
    float *folded = original ? awq_vector_download(quantizer->device, device, count, err) : NULL;
    quantizer->original_bias[linear] = original;
    quantizer->out->linear[linear].bias = folded;
    if (!folded) return err->status;
    for (int64_t i = 0; divisors && i < count; i++) folded[i] = original[i] / divisors[i];
    quantizer->be->upload(quantizer->device, device, folded, (size_t)count * sizeof *folded);
    return AWQ_OK;
}

awq_status awq_fold_plan(awq_quantizer *quantizer, awq_error *err)
{
    awq_group_record *group = quantizer->out->record.group;
    float *scales[AWQ_NORMS] = {[AWQ_INPUT_NORM] = group[AWQ_GROUP_QKV].scales,
                                [AWQ_POST_NORM] = group[AWQ_GROUP_GATE_UP].scales};
    for (int norm = 0; norm < AWQ_NORMS; norm++)
        if (quantizer->decoder->norm[norm] &&
            plan_norm(quantizer, (awq_norm)norm, scales[norm], err))
            return err->status;
    for (awq_linear linear = 0; linear < awq_model_linears(quantizer->model); linear++)
        if (awq_layer_has(quantizer->model, quantizer->decoder->index, linear) &&
            (plan_rows(quantizer, linear, err) || plan_bias(quantizer, linear, err)))
            return err->status;
    return quantizer->be->sync(quantizer->device, err);
}
