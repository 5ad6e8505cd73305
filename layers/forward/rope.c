/* SPDX-License-Identifier: MIT */
#include "layers/forward/rope.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* Llama 3's scaling: long waves are stretched, short ones kept, those between interpolated. */
static double llama3_frequency(const awq_rope *rope, double inverse)
{
    double wavelength = 2 * pi / inverse, old = rope->original_positions;
    if (wavelength > old / rope->low_freq_factor) return inverse / rope->factor;
    if (wavelength < old / rope->high_freq_factor) return inverse;
    double t = (old / wavelength - rope->low_freq_factor) /
               (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - t) * inverse / rope->factor + t * inverse;
}

static double yarn_frequency(const awq_rope *rope, double inverse, double j)
{
    double t = (j - rope->ramp_begin) / (rope->ramp_end - rope->ramp_begin);
    t = fmin(fmax(t, 0), 1);
    return t * inverse / rope->factor + (1 - t) * inverse;
}

/* The base grows so that the longest wave spans the sequence. */
static double dynamic_theta(const awq_rope *rope, double length)
{
    double dim = (double)rope->dim;
    double grown = fmax(length, rope->original_positions) / rope->original_positions;
    return rope->theta * pow(rope->factor * grown - (rope->factor - 1), dim / (dim - 2));
}

static bool is_long(const awq_rope *rope, int64_t length)
{
    return (double)length > rope->original_positions;
}

double awq_rope_frequency(const awq_rope *rope, int64_t length, int64_t j)
{
    double theta =
        rope->type == AWQ_ROPE_DYNAMIC ? dynamic_theta(rope, (double)length) : rope->theta;
    double inverse = pow(theta, -2.0 * (double)j / (double)rope->dim);
    switch (rope->type) {
    case AWQ_ROPE_LINEAR:
        return inverse / rope->factor;
    case AWQ_ROPE_LLAMA3:
        return llama3_frequency(rope, inverse);
    case AWQ_ROPE_LONGROPE:
        return inverse / (is_long(rope, length) ? rope->long_factor[j] : rope->short_factor[j]);
    case AWQ_ROPE_YARN:
        return yarn_frequency(rope, inverse, (double)j);
    case AWQ_ROPE_PROPORTIONAL:
        return j < rope->turning ? inverse / rope->factor : 0;
    case AWQ_ROPE_STILL:
        return 0;
    case AWQ_ROPE_DEFAULT:
    case AWQ_ROPE_DYNAMIC:
        break;
    }
    return inverse;
}

static double attention_factor(const awq_rope *rope, int64_t length)
{
    if (rope->type == AWQ_ROPE_LONGROPE && is_long(rope, length))
        return rope->long_attention_factor;
    bool has = rope->type == AWQ_ROPE_LONGROPE || rope->type == AWQ_ROPE_YARN;
    return has ? rope->attention_factor : 1;
}

static double growth(const awq_rope *rope, double position)
{
    if (!(rope->growth > 0)) return 1;
    return 1 + rope->growth * log1p(floor((position + rope->growth_offset) / rope->growth_span));
}

void awq_rope_table(const awq_rope *rope, int64_t length, float *cos_table, float *sin_table)
{
    int64_t half = rope->dim / 2;
    double scale = attention_factor(rope, length);
    for (int64_t j = 0; j < half; j++) {
        double frequency = awq_rope_frequency(rope, length, j);
        for (int64_t position = 0; position < length; position++) {
            double factor = scale * growth(rope, (double)position);
            cos_table[position * half + j] = (float)(factor * cos((double)position * frequency));
            sin_table[position * half + j] = (float)(factor * sin((double)position * frequency));
        }
    }
}
