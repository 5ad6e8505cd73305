/* SPDX-License-Identifier: MIT
 * kernels/cpu/rmsnorm.c - y[r, c] = x[r, c] / sqrt(mean_c x[r, c]^2 + eps) * w[c], or added to y.
 *
 * Squares are summed in float64. Moves 8 bytes an element, 12 if it adds. A NaN or infinity in a
 * row makes the whole row NaN or 0 and NaN: it is never lost. */
#include <math.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { RMSNORM_BLOCK_ELEMENTS = 1 << 14 };

typedef struct rmsnorm_job {
    float *y;
    const float *x, *w;
    int64_t rows, cols, block_rows;
    float eps;
    bool adds;
} rmsnorm_job;

AWQ_VECTORIZE static void normalize_row(float *y, const float *x, const float *restrict w,
                                        float scale, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * scale * w[i];
}

AWQ_VECTORIZE static void add_normalized_row(float *restrict y, const float *restrict x,
                                             const float *restrict w, float scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++) y[i] += x[i] * scale * w[i];
}

static void rmsnorm_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const rmsnorm_job *job = context;
    int64_t begin = block * job->block_rows, end = cpu_min(begin + job->block_rows, job->rows);
    for (int64_t row = begin; row < end; row++) {
        const float *x = job->x + row * job->cols;
        float *y = job->y + row * job->cols;
        double mean = cpu_dot(x, x, job->cols) / (double)job->cols;
        float scale = (float)(1.0 / sqrt(mean + (double)job->eps));
        if (job->adds)
            add_normalized_row(y, x, job->w, scale, job->cols);
        else
            normalize_row(y, x, job->w, scale, job->cols);
    }
}

static void run_rmsnorm(awq_device *device, rmsnorm_job job)
{
    job.block_rows = 1 + RMSNORM_BLOCK_ELEMENTS / job.cols;
    cpu_run(device, cpu_blocks(job.rows, job.block_rows), rmsnorm_block, &job);
}

void rmsnorm_cpu(awq_device *device, void *y, const float *x, const float *w, int64_t rows,
                 int64_t cols, float eps)
{
    run_rmsnorm(device,
                (rmsnorm_job){.y = y, .x = x, .w = w, .rows = rows, .cols = cols, .eps = eps});
}

void rmsnorm_add_cpu(awq_device *device, float *sum, const float *x, const float *w, int64_t rows,
                     int64_t cols, float eps)
{
    rmsnorm_job job = {.y = sum, .x = x, .w = w, .rows = rows, .cols = cols, .eps = eps};
    job.adds = true;
    run_rmsnorm(device, job);
}

void rmsnorm_heads_cpu(awq_device *device, void *x, const float *w, int64_t rows, int64_t cols,
                       float eps)
{
    run_rmsnorm(device,
                (rmsnorm_job){.y = x, .x = x, .w = w, .rows = rows, .cols = cols, .eps = eps});
}
