/* SPDX-License-Identifier: MIT */
#include "tests/unit/kernels/reference.h"

#include <math.h>

#include "kernels/gram.h"
#include "tests/unit/kernels/bench.h"

reference_group reference_quantizer(const float *w, const awq_grid *grid)
{
    float mx = 0, mn = 0, levels = (float)((1 << grid->bits) - 1);
    for (int64_t i = 0; i < grid->group_size; i++) {
        mx = fmaxf(mx, w[i]);
        mn = fminf(mn, w[i]);
    }
    float exact = grid->zero_point ? (mx - mn) / levels
                                   : fmaxf(mx, -mn) / (float)((1 << (grid->bits - 1)) - 1);
    if (exact < 0x1p-14f) exact = ldexpf(ceilf(ldexpf(exact, 24)), -24);
    if (mx == mn) exact = 0x1p-14f;
    reference_group group = {.half = awq_f16_from_float(exact)};
    group.scale = awq_float_from_f16(group.half);
    group.zero = grid->zero_point ? fminf(fmaxf(-rintf(mn / group.scale), 0), levels)
                                  : (float)(1 << (grid->bits - 1));
    return group;
}

float reference_code(float w, reference_group group, const awq_grid *grid)
{
    float levels = (float)((1 << grid->bits) - 1);
    return fminf(fmaxf(rintf(w / group.scale) + group.zero, 0), levels);
}

float reference_value(float w, reference_group group, const awq_grid *grid)
{
    return (reference_code(w, group, grid) - group.zero) * group.scale;
}

void reference_cut(float *w, int64_t count, awq_clip_shape shape, int above, int below)
{
    float mx = 0, mn = 0;
    for (int64_t i = 0; i < count; i++) {
        mx = fmaxf(mx, w[i]);
        mn = fminf(mn, w[i]);
    }
    float magnitude = fmaxf(mx, -mn);
    if (shape == AWQ_CLIP_SYMMETRIC) {
        below = above;
        mx = magnitude;
        mn = -magnitude;
    }
    float high = mx * (1.0f - (float)above / 20.0f), low = mn * (1.0f - (float)below / 20.0f);
    for (int64_t i = 0; i < count; i++) w[i] = fminf(fmaxf(w[i], low), high);
}

/* x^T x over the rows that count, full. */
double *reference_gram(const float *x, const uint8_t *mask, int64_t rows, int64_t cols)
{
    double *gram = host_doubles(cols * cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; (!mask || mask[r]) && i < cols; i++)
            for (int64_t j = 0; j < cols; j++)
                gram[i * cols + j] += (double)x[r * cols + i] * (double)x[r * cols + j];
    return gram;
}

float *random_gram(int64_t cols)
{
    int64_t rows = 24;
    const double *gram = reference_gram(host_random(rows * cols, 1), NULL, rows, cols);
    float *narrow = host_array((size_t)(cols * cols) * sizeof *narrow);
    for (int64_t i = 0; i < cols * cols; i++) narrow[i] = (float)gram[i];
    return narrow;
}

float *device_gram(const float *gram, int64_t cols)
{
    int64_t count = awq_gram_elements(cols);
    float *stored = host_array((size_t)count * sizeof *stored);
    for (int64_t i = 0; i < cols; i++)
        for (int64_t j = i / AWQ_GRAM_BLOCK * AWQ_GRAM_BLOCK; j < cols; j++)
            stored[awq_gram_index(cols, i, j)] = gram[i * cols + j];
    return device_floats(stored, count);
}

float *fetch_gram(const float *on_device, int64_t cols)
{
    const float *stored = fetch_floats(on_device, awq_gram_elements(cols));
    float *gram = host_array((size_t)(cols * cols) * sizeof *gram);
    for (int64_t i = 0; i < cols; i++)
        for (int64_t j = 0; j < cols; j++) gram[i * cols + j] = awq_gram_at(stored, cols, i, j);
    return gram;
}

/* Scales around 1, away from 0. */
float *random_scales(int64_t count)
{
    float *s = host_random(count, 1);
    for (int64_t i = 0; i < count; i++) s[i] = 0.2f + 3 * s[i] * s[i];
    return s;
}
