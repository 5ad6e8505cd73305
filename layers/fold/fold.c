/* SPDX-License-Identifier: MIT
 * layers/fold/fold.c - who absorbs 1/s (docs/awq.md 1, 2.7): a norm, whose weight is rounded to its
 * stored type first, and its consumers' scale taken from that; or rows of a linear. */
#include "layers/fold/fold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- who absorbs what ---- */

void awq_free_values(const awq_group_spec *group, const float *values, float *of_free)
{
    for (int64_t i = 0; i < group->channels; i++) of_free[awq_free_channel(group, i)] = values[i];
}

bool awq_row_values(const awq_layer_spec *spec, int linear, const float *of_free, float *rows)
{
    int absorbs = spec->linear[linear].absorbs;
    for (int64_t i = 0; i < spec->linear[linear].out; i++) rows[i] = 1;
    if (absorbs < 0) return false;
    const awq_group_spec *group = &spec->group[absorbs];
    for (int64_t i = 0; i < awq_free_channels(group); i++)
        rows[awq_rows_at(&group->producer.rows, i)] = of_free[i];
    return true;
}

/* ---- folding ---- */

/* A norm's channel: the weight that is stored, what it multiplies by before and after folding, and
 * the scale that its consumers get. */
typedef struct channel {
    float stored, original, folded, s;
} channel;

/* n' = n / s, as far as the type that the norm is stored in can say it; s becomes n / n', so that
 * the product is exact. false: that cannot be. */
static bool fold_by(channel *c, float s, bool offset, awq_dtype dtype)
{
    unsigned char stored[sizeof(float)];
    float multiplier = c->original / s, weight = offset ? multiplier - 1 : multiplier;
    awq_narrow(stored, &weight, dtype, 1);
    awq_widen(&c->stored, stored, dtype, 1);
    c->folded = offset ? 1 + c->stored : c->stored;
    c->s = c->original / c->folded;
    return isfinite(c->folded) && isfinite(c->s) && c->s > 0;
}

static bool are_ones(const float *s, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (s[i] != 1) return false;
    return true;
}

/* The weight of a norm, which settles its readers' scales: one of each head's channels those of all
 * heads. */
static void fold_weight(awq_quantizer *quantizer, int vector, float *s, float *stored)
{
    const awq_vector_spec *spec = &quantizer->spec->vector[vector];
    const float *original = quantizer->original_vector[vector];
    float *folded = quantizer->folded_vector[vector];
    awq_dtype dtype = quantizer->decoder->vector_dtype[vector];
    for (int64_t i = 0; i < spec->width; i++) {
        channel c = {.original = original[i], .s = s[i]};
        if (!fold_by(&c, s[i], spec->offset, dtype) && !fold_by(&c, 1, spec->offset, dtype)) {
            c.folded = c.original; /* 0: it keeps n, and s = 1 */
            c.s = 1;
        }
        stored[i] = c.stored;
        folded[i] = c.folded;
        s[i] = c.s;
    }
    const awq_group_spec *group = &quantizer->spec->group[spec->absorbs];
    for (int64_t i = 0; i < group->channels; i++) s[i] = s[awq_free_channel(group, i)];
}

/* Its bias, once they are. */
static void fold_norm_bias(awq_quantizer *quantizer, int vector, const float *s, float *stored)
{
    float *folded = quantizer->folded_vector[vector];
    for (int64_t i = 0; i < quantizer->spec->vector[vector].width; i++)
        stored[i] = folded[i] = quantizer->original_vector[vector][i] / s[i];
}

/* On the heap. */
static float *copy_of(const float *values, int64_t count, awq_error *err)
{
    size_t bytes = (size_t)count * sizeof *values;
    float *copy = awq_allocate(bytes, "a vector", err);
    if (copy) memcpy(copy, values, bytes);
    return copy;
}

static awq_status plan_vector(awq_quantizer *quantizer, int vector, bool is_weight, awq_error *err)
{
    const awq_vector_spec *spec = vector < 0 ? NULL : &quantizer->spec->vector[vector];
    if (!spec || spec->absorbs < 0) return AWQ_OK;
    float *device = quantizer->decoder->vector[vector];
    size_t bytes = (size_t)spec->width * sizeof *device;
    float *s = quantizer->out->record.group[spec->absorbs].scales;
    if (!s) return AWQ_OK; /* its readers are another part's, and so is the norm */
    float *original = awq_vector_download(quantizer->device, device, spec->width, err);
    float *folded = original ? copy_of(original, spec->width, err) : NULL;
    quantizer->original_vector[vector] = original;
    quantizer->folded_vector[vector] = folded;
    if (!folded) return err->status;
    if (are_ones(s, spec->width)) return AWQ_OK; /* it stays as it is, bit for bit */
    float *stored = quantizer->out->vector[vector] = awq_allocate(bytes, "a norm", err);
    if (!stored) return err->status;
    if (is_weight)
        fold_weight(quantizer, vector, s, stored);
    else
        fold_norm_bias(quantizer, vector, s, stored);
    quantizer->be->upload(quantizer->device, device, folded, bytes);
    return AWQ_OK;
}

/* What the rows of a producer are divided by: the scale of the channel that they feed. */
static awq_status plan_rows(awq_quantizer *quantizer, int linear, awq_error *err)
{
    const awq_linear_spec *spec = &quantizer->spec->linear[linear];
    if (spec->absorbs < 0 || !quantizer->decoder->weight[linear]) return AWQ_OK;
    const awq_group_spec *group = &quantizer->spec->group[spec->absorbs];
    size_t free_bytes = (size_t)awq_free_channels(group) * sizeof(float);
    float *divisors = awq_allocate((size_t)spec->out * sizeof *divisors, "row divisors", err);
    float *of_free = divisors ? awq_allocate(free_bytes, "row divisors", err) : NULL;
    quantizer->row_divisors[linear] = divisors;
    if (!of_free) return err->status;
    awq_free_values(group, quantizer->out->record.group[spec->absorbs].scales, of_free);
    awq_row_values(quantizer->spec, linear, of_free, divisors);
    free(of_free);
    return AWQ_OK;
}

/* The bias as it will be written, and on the device. */
static awq_status plan_bias(awq_quantizer *quantizer, int linear, awq_error *err)
{
    float *device = quantizer->decoder->bias[linear];
    const float *divisors = quantizer->row_divisors[linear];
    if (!device) return AWQ_OK;
    int64_t count = quantizer->spec->linear[linear].out;
    float *original = awq_vector_download(quantizer->device, device, count, err);
    float *folded = original ? copy_of(original, count, err) : NULL;
    quantizer->original_bias[linear] = original;
    quantizer->out->linear[linear].bias = folded;
    if (!folded) return err->status;
    for (int64_t i = 0; divisors && i < count; i++) folded[i] = original[i] / divisors[i];
    quantizer->be->upload(quantizer->device, device, folded, (size_t)count * sizeof *folded);
    return AWQ_OK;
}

awq_status awq_fold_plan(awq_quantizer *quantizer, awq_error *err)
{
    for (int i = 0; i < quantizer->spec->norms; i++) {
        const awq_norm_spec *norm = &quantizer->spec->norm[i];
        if (plan_vector(quantizer, norm->weight, true, err) ||
            plan_vector(quantizer, norm->bias, false, err))
            return err->status;
    }
    for (int linear = 0; linear < quantizer->spec->linears; linear++)
        if (plan_rows(quantizer, linear, err) || plan_bias(quantizer, linear, err))
            return err->status;
    return AWQ_OK;
}
