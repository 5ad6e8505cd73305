/* SPDX-License-Identifier: MIT
 * kernels/cpu/relative_sum.c - sum[c] += sum over rows of |w[r, c]| / (max|w| of its group + 1e-6),
 * in float64, in row order. Reads 4 bytes an element, and again from the cache. */
#include <math.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

typedef struct relative_job {
    double *sum;
    const float *w;
    int64_t rows, cols, group_size;
} relative_job;

AWQ_VECTORIZE static void add_relative(double *restrict sum, const float *restrict w,
                                       double divisor, int64_t count)
{
    for (int64_t i = 0; i < count; i++) sum[i] += fabs((double)w[i]) / divisor;
}

/* All rows of a group of columns. */
static void relative_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const relative_job *job = context;
    int64_t first = block * job->group_size;
    for (int64_t row = 0; row < job->rows; row++) {
        const float *w = job->w + row * job->cols + first;
        float largest = 0;
        for (int64_t i = 0; i < job->group_size; i++) largest = fmaxf(largest, fabsf(w[i]));
        add_relative(job->sum + first, w, (double)largest + 1e-6, job->group_size);
    }
}

void relative_sum_cpu(awq_device *device, double *sum, const void *w, awq_extent extent,
                      int64_t group_size)
{
    relative_job job = {sum, w, extent.out, extent.in, group_size};
    cpu_run(device, extent.in / group_size, relative_block, &job);
}
