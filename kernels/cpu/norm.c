/* SPDX-License-Identifier: MIT
 * kernels/cpu/norm.c - y = (x - m) / sqrt(mean of (x - m)^2 + eps) * w + b, row by row, or added to
 * y; m is 0 or the row's mean.
 *
 * Sums in float64; m in two floats, so that a mean much larger than what is left costs nothing.
 * Moves 8 bytes an element, 12 if it adds. A NaN or infinity in a row makes the whole row NaN or 0
 * and NaN: it is never lost. */
#include <math.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { NORM_BLOCK_ELEMENTS = 1 << 14 };

typedef struct norm_job {
    float *y;
    const float *x, *w, *b;
    awq_norm_shape shape;
    int64_t block_rows;
    bool adds;
} norm_job;

/* y = (x - high - low) * scale is what is left of a row to be weighted. */
typedef struct norm_row {
    float high, low, scale;
} norm_row;

AWQ_VECTORIZE static double row_sum(const float *x, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)x[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)x[i];
    return lanes_sum(lane);
}

AWQ_VECTORIZE static double row_deviation(const float *x, double mean, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) {
            double apart = (double)x[i + l] - mean;
            lane[l] += apart * apart;
        }
    for (int l = 0; i < count; i++, l++) lane[l] += ((double)x[i] - mean) * ((double)x[i] - mean);
    return lanes_sum(lane);
}

static norm_row measure_row(const float *x, const awq_norm_shape *shape)
{
    double cols = (double)shape->cols, mean = 0, square;
    if (shape->centered) {
        mean = row_sum(x, shape->cols) / cols;
        square = row_deviation(x, mean, shape->cols) / cols;
    } else {
        square = cpu_dot(x, x, shape->cols) / cols;
    }
    float high = (float)mean;
    return (norm_row){high, (float)(mean - (double)high),
                      (float)(1.0 / sqrt(square + (double)shape->eps))};
}

/* The compiler makes a loop of each combination. */
AWQ_VECTORIZE static void normalize_row(float *y, const float *x, const float *restrict w,
                                        const float *restrict b, norm_row row, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) {
        float value = (x[i] - row.high - row.low) * row.scale;
        if (w) value *= w[i];
        if (b) value += b[i];
        y[i] = value;
    }
}

AWQ_VECTORIZE static void add_normalized_row(float *restrict y, const float *restrict x,
                                             const float *restrict w, const float *restrict b,
                                             norm_row row, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float value = (x[i] - row.high - row.low) * row.scale;
        if (w) value *= w[i];
        if (b) value += b[i];
        y[i] += value;
    }
}

static void norm_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const norm_job *job = context;
    int64_t cols = job->shape.cols, begin = block * job->block_rows;
    int64_t end = cpu_min(begin + job->block_rows, job->shape.rows);
    for (int64_t row = begin; row < end; row++) {
        const float *x = job->x + row * cols;
        int64_t own = row % job->shape.period * cols;
        const float *w = job->w ? job->w + own : NULL, *b = job->b ? job->b + own : NULL;
        norm_row measured = measure_row(x, &job->shape);
        if (job->adds)
            add_normalized_row(job->y + row * cols, x, w, b, measured, cols);
        else
            normalize_row(job->y + row * cols, x, w, b, measured, cols);
    }
}

static void run_norm(awq_device *device, norm_job job)
{
    job.block_rows = 1 + NORM_BLOCK_ELEMENTS / job.shape.cols;
    cpu_run(device, cpu_blocks(job.shape.rows, job.block_rows), norm_block, &job);
}

void norm_cpu(awq_device *device, void *y, const float *x, const float *w, const float *b,
              const awq_norm_shape *shape)
{
    run_norm(device, (norm_job){.y = y, .x = x, .w = w, .b = b, .shape = *shape});
}

void norm_add_cpu(awq_device *device, float *sum, const float *x, const float *w, const float *b,
                  const awq_norm_shape *shape)
{
    run_norm(device, (norm_job){.y = sum, .x = x, .w = w, .b = b, .shape = *shape, .adds = true});
}

void norm_heads_cpu(awq_device *device, void *x, const float *w, const float *b,
                    const awq_norm_shape *shape)
{
    run_norm(device, (norm_job){.y = x, .x = x, .w = w, .b = b, .shape = *shape});
}
