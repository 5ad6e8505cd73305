/* SPDX-License-Identifier: MIT
 * kernels/cpu/linear.c - y[rows, out] = x[rows, in] w[out, in]^T (+ bias), and the same, times
 * a scale, added to the residual.
 *
 * 2 rows out in flops by single-threaded sgemm on blocks of the output that depend on the shape
 * alone; the summed dimension is never split. */
#include "kernels/cpu/blas.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { LINEAR_ROWS = 512, LINEAR_COLS = 512 };

typedef struct linear_job {
    float *y;
    const float *x, *w, *bias;
    int64_t rows, out, in;
    float scale;
    float beta; /* 0: y = , 1: y += */
} linear_job;

AWQ_VECTORIZE static void add_row(float *restrict y, const float *restrict bias, float scale,
                                  int64_t count)
{
    for (int64_t i = 0; i < count; i++) y[i] += scale * bias[i];
}

static void linear_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const linear_job *job = context;
    int64_t blocks = cpu_blocks(job->out, LINEAR_COLS);
    int64_t row = block / blocks * LINEAR_ROWS, rows = cpu_min(LINEAR_ROWS, job->rows - row);
    int64_t col = block % blocks * LINEAR_COLS, cols = cpu_min(LINEAR_COLS, job->out - col);
    float *y = job->y + row * job->out + col;
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)cols, (int)job->in,
                   job->scale, job->x + row * job->in, (int)job->in, job->w + col * job->in,
                   (int)job->in, job->beta, y, (int)job->out);
    if (!job->bias) return;
    for (int64_t r = 0; r < rows; r++) add_row(y + r * job->out, job->bias + col, job->scale, cols);
}

static void run_linear(awq_device *device, linear_job job)
{
    int64_t blocks = cpu_blocks(job.rows, LINEAR_ROWS) * cpu_blocks(job.out, LINEAR_COLS);
    cpu_run(device, blocks, linear_block, &job);
}

void linear_cpu(awq_device *device, void *y, const void *x, const void *w, const float *bias,
                int64_t rows, awq_extent extent)
{
    run_linear(device, (linear_job){y, x, w, bias, rows, extent.out, extent.in, 1.0f, 0.0f});
}

void linear_add_cpu(awq_device *device, float *sum, const void *x, const void *w, const float *bias,
                    float scale, int64_t rows, awq_extent extent)
{
    run_linear(device, (linear_job){sum, x, w, bias, rows, extent.out, extent.in, scale, 1.0f});
}
