/* SPDX-License-Identifier: MIT
 * kernels/cpu/rows.c - some rows of a matrix out of it, and back with a weight each:
 *   y[i] = x[rows[i]],  sum[rows[i]] += weight[i] x[i]
 * Moves 8 and 12 bytes an element. */
#include <string.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { ROWS_BLOCK = 16 };

typedef struct rows_job {
    float *to;
    const float *from;
    const int32_t *rows; /* NULL: all in turn */
    const float *weight; /* NULL: a copy out */
    int64_t count, cols;
} rows_job;

AWQ_VECTORIZE static void add_weighted(float *restrict sum, const float *restrict x, float weight,
                                       int64_t count)
{
    for (int64_t i = 0; i < count; i++) sum[i] += weight * x[i];
}

static void rows_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const rows_job *job = context;
    int64_t begin = block * ROWS_BLOCK, end = cpu_min(begin + ROWS_BLOCK, job->count);
    for (int64_t i = begin; i < end; i++) {
        int64_t row = job->rows ? job->rows[i] : i;
        if (job->weight)
            add_weighted(job->to + row * job->cols, job->from + i * job->cols, job->weight[i],
                         job->cols);
        else
            memcpy(job->to + i * job->cols, job->from + row * job->cols,
                   (size_t)job->cols * sizeof *job->to);
    }
}

void gather_rows_cpu(awq_device *device, void *y, const void *x, const int32_t *rows, int64_t count,
                     int64_t cols)
{
    rows_job job = {y, x, rows, NULL, count, cols};
    cpu_run(device, cpu_blocks(count, ROWS_BLOCK), rows_block, &job);
}

void scatter_add_cpu(awq_device *device, float *sum, const float *x, const int32_t *rows,
                     const float *weight, int64_t count, int64_t cols)
{
    rows_job job = {sum, x, rows, weight, count, cols};
    cpu_run(device, cpu_blocks(count, ROWS_BLOCK), rows_block, &job);
}
