/* SPDX-License-Identifier: MIT
 * kernels/cpu/rows.c - some rows of a matrix out of it, and back, with a weight each; some columns
 * likewise:
 *   y[i] = weight[i] x[rows[i]],  sum[rows[i]] += weight[i] x[i],
 *   y[r, i] = x[r, at(i)],  y[r, at(i)] = x[r, i]
 * Moves 8, 12, 8 and 8 bytes an element. */
#include <string.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { ROWS_BLOCK = 16 };

typedef struct rows_job {
    float *to;
    const float *from;
    const int32_t *rows; /* NULL: all in turn */
    const float *weight; /* NULL: ones */
    int64_t count, cols;
    bool adds;
} rows_job;

AWQ_VECTORIZE static void add_weighted(float *restrict sum, const float *restrict x, float weight,
                                       int64_t count)
{
    for (int64_t i = 0; i < count; i++) sum[i] += weight * x[i];
}

AWQ_VECTORIZE static void weigh_values(float *y, const float *x, float weight, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) y[i] = weight * x[i];
}

static void rows_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const rows_job *job = context;
    int64_t begin = block * ROWS_BLOCK, end = cpu_min(begin + ROWS_BLOCK, job->count);
    for (int64_t i = begin; i < end; i++) {
        int64_t row = job->rows ? job->rows[i] : i, cols = job->cols;
        float weight = job->weight ? job->weight[i] : 1.0f;
        if (job->adds)
            add_weighted(job->to + row * cols, job->from + i * cols, weight, cols);
        else if (job->weight)
            weigh_values(job->to + i * cols, job->from + row * cols, weight, cols);
        else
            memmove(job->to + i * cols, job->from + row * cols, (size_t)cols * sizeof *job->to);
    }
}

void gather_rows_cpu(awq_device *device, void *y, const void *x, const int32_t *rows,
                     const float *weight, int64_t count, int64_t cols)
{
    rows_job job = {y, x, rows, weight, count, cols, false};
    cpu_run(device, cpu_blocks(count, ROWS_BLOCK), rows_block, &job);
}

void scatter_add_cpu(awq_device *device, float *sum, const float *x, const int32_t *rows,
                     const float *weight, int64_t count, int64_t cols)
{
    rows_job job = {sum, x, rows, weight, count, cols, true};
    cpu_run(device, cpu_blocks(count, ROWS_BLOCK), rows_block, &job);
}

/* ---- columns ---- */

/* Where the runs are on one side: floats from row to row, and from run to run. */
typedef struct columns_side {
    int64_t row, run;
} columns_side;

typedef struct columns_job {
    float *to;
    const float *from;
    int64_t rows, count, times;
    columns_side there, here;
} columns_job;

static void columns_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const columns_job *job = context;
    int64_t begin = block * ROWS_BLOCK, end = cpu_min(begin + ROWS_BLOCK, job->rows);
    for (int64_t row = begin; row < end; row++) {
        float *to = job->to + row * job->there.row;
        const float *from = job->from + row * job->here.row;
        for (int64_t run = 0; run < job->times; run++)
            memcpy(to + run * job->there.run, from + run * job->here.run,
                   (size_t)job->count * sizeof *to);
    }
}

void take_columns_cpu(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                      const awq_runs *runs)
{
    columns_side all = {cols, runs->period}, taken = {runs->count * runs->times, runs->count};
    columns_job job = {y,  (const float *)x + runs->first, rows, runs->count, runs->times, taken,
                       all};
    cpu_run(device, cpu_blocks(rows, ROWS_BLOCK), columns_block, &job);
}

void put_columns_cpu(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                     const awq_runs *runs, bool repeated)
{
    columns_side all = {cols, runs->period}, given = {runs->count * runs->times, runs->count};
    if (repeated) given = (columns_side){runs->count, 0};
    columns_job job = {(float *)y + runs->first, x, rows, runs->count, runs->times, all, given};
    cpu_run(device, cpu_blocks(rows, ROWS_BLOCK), columns_block, &job);
}
