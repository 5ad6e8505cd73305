/* SPDX-License-Identifier: MIT
 * kernels/cpu/abs_sum.c - sum[c] += sum over the rows that count of |x[r, c]|, in float64, in row
 * order. Reads 4 bytes an element. */
#include <math.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { ABS_SUM_COLS = 256 };

typedef struct abs_sum_job {
    double *sum;
    const float *x;
    const uint8_t *mask;
    int64_t rows, cols;
} abs_sum_job;

AWQ_VECTORIZE static void add_magnitudes(double *restrict sum, const float *restrict x,
                                         int64_t count)
{
    for (int64_t i = 0; i < count; i++) sum[i] += (double)fabsf(x[i]);
}

static void abs_sum_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const abs_sum_job *job = context;
    int64_t first = block * ABS_SUM_COLS, count = cpu_min(ABS_SUM_COLS, job->cols - first);
    double sum[ABS_SUM_COLS] = {0};
    for (int64_t row = 0; row < job->rows; row++)
        if (!job->mask || job->mask[row])
            add_magnitudes(sum, job->x + row * job->cols + first, count);
    for (int64_t i = 0; i < count; i++) job->sum[first + i] += sum[i];
}

void abs_sum_cpu(awq_device *device, double *sum, const void *x, const uint8_t *mask, int64_t rows,
                 int64_t cols)
{
    abs_sum_job job = {sum, x, mask, rows, cols};
    cpu_run(device, cpu_blocks(cols, ABS_SUM_COLS), abs_sum_block, &job);
}
