/* SPDX-License-Identifier: MIT
 * kernels/cpu/fold.c - folded[o, i] = w[o, i] * columns[i] / rows[o], and back. Moves 8 bytes an
 * element.
 */
#include <string.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

typedef struct fold_job {
    float *to;
    const float *from, *columns, *rows;
    int64_t in;
} fold_job;

AWQ_VECTORIZE static void multiply_row(float *restrict folded, const float *restrict w,
                                       const float *restrict columns, int64_t count)
{
    for (int64_t i = 0; i < count; i++) folded[i] = w[i] * columns[i];
}

AWQ_VECTORIZE static void divide_row(float *folded, float divisor, int64_t count)
{
    for (int64_t i = 0; i < count; i++) folded[i] /= divisor;
}

static void fold_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const fold_job *job = context;
    float *folded = job->to + row * job->in;
    const float *w = job->from + row * job->in;
    if (job->columns)
        multiply_row(folded, w, job->columns, job->in);
    else
        memcpy(folded, w, (size_t)job->in * sizeof *w);
    if (job->rows) divide_row(folded, job->rows[row], job->in);
}

void fold_cpu(awq_device *device, float *folded, const void *w, const float *columns,
              const float *rows, awq_extent extent)
{
    fold_job job = {folded, w, columns, rows, extent.in};
    cpu_run(device, extent.out, fold_block, &job);
}

/* ---- back ---- */

AWQ_VECTORIZE static void divide_columns(float *restrict w, const float *restrict folded,
                                         const float *restrict columns, int64_t count)
{
    for (int64_t i = 0; i < count; i++) w[i] = folded[i] / columns[i];
}

AWQ_VECTORIZE static void multiply_all(float *w, float factor, int64_t count)
{
    for (int64_t i = 0; i < count; i++) w[i] *= factor;
}

static void unfold_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const fold_job *job = context;
    float *w = job->to + row * job->in;
    const float *folded = job->from + row * job->in;
    if (job->columns)
        divide_columns(w, folded, job->columns, job->in);
    else
        memcpy(w, folded, (size_t)job->in * sizeof *w);
    if (job->rows) multiply_all(w, job->rows[row], job->in);
}

void unfold_cpu(awq_device *device, void *w, const float *folded, const float *columns,
                const float *rows, awq_extent extent)
{
    fold_job job = {w, folded, columns, rows, extent.in};
    cpu_run(device, extent.out, unfold_block, &job);
}
