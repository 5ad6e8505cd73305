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

double awq_rope_frequency(const awq_rope *rope, int64_t rope_dim, int64_t length, int64_t j)
{
    double inverse = pow(rope->theta, -2.0 * (double)j / (double)rope_dim);
    switch (rope->type) {
    case AWQ_ROPE_LINEAR:
        return inverse / rope->factor;
    case AWQ_ROPE_LLAMA3:
        return llama3_frequency(rope, inverse);
    case AWQ_ROPE_LONGROPE:
        return inverse / ((double)length > rope->original_positions ? rope->long_factor[j]
                                                                    : rope->short_factor[j]);
    case AWQ_ROPE_DEFAULT:
        break;
    }
    return inverse;
}

void awq_rope_table(const awq_rope *rope, int64_t rope_dim, int64_t length, float *cos_table,
                    float *sin_table)
{
    int64_t half = rope_dim / 2;
    double factor = rope->type == AWQ_ROPE_LONGROPE ? rope->attention_factor : 1;
    for (int64_t j = 0; j < half; j++) {
        double frequency = awq_rope_frequency(rope, rope_dim, length, j);
        for (int64_t position = 0; position < length; position++) {
            cos_table[position * half + j] = (float)(factor * cos((double)position * frequency));
            sin_table[position * half + j] = (float)(factor * sin((double)position * frequency));
        }
    }
}
