/* SPDX-License-Identifier: MIT
 * kernels/cpu/quadratic_form.c - sum over rows of d G d^T, with G's upper triangle only.
 *
 * With G symmetric, d G d^T = sum over column blocks j of (2 d[0:j] G[0:j, j] + d[j] G[j, j]) d[j].
 * out in (in + COLS) flops by sgemm instead of 2 out in in. A block is (row block, column block):
 * its sum goes to its own place in float64, and the places are added in order. */
#include <stdlib.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/verbs.h"
#include "kernels/gram.h"

enum { FORM_ROWS = 512, FORM_COLS = 256 };

typedef struct form_job {
    awq_device *device;
    const float *d, *gram;
    awq_extent extent;
    int64_t row_blocks, column_blocks; /* of one d */
    double *partial;                   /* [count, row blocks, column blocks] */
} form_job;

static void form_block(void *context, int64_t block, int thread)
{
    const form_job *job = context;
    int64_t in = job->extent.in, last = job->column_blocks - 1;
    int64_t j = last - block % job->column_blocks; /* long ones first */
    int64_t row_block = block / job->column_blocks;
    int64_t which = row_block / job->row_blocks, row = row_block % job->row_blocks * FORM_ROWS;
    int64_t rows = cpu_min(FORM_ROWS, job->extent.out - row);
    int64_t col = j * FORM_COLS, cols = cpu_min(FORM_COLS, in - col);
    const float *d = job->d + (which * job->extent.out + row) * in,
                *gram = job->gram + awq_gram_index(in, 0, col);
    int64_t stride = awq_gram_width(in, col);
    float *e = cpu_scratch(job->device, thread);
    if (col)
        cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)col,
                       2.0f, d, (int)in, gram, (int)stride, 0.0f, e, (int)cols);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)cols, 1.0f,
                   d + col, (int)in, gram + col * stride, (int)stride, col ? 1.0f : 0.0f, e,
                   (int)cols);
    double sum = 0;
    for (int64_t r = 0; r < rows; r++) sum += cpu_dot(e + r * cols, d + r * in + col, cols);
    job->partial[row_block * job->column_blocks + j] = sum;
}

awq_status quadratic_form_cpu(awq_device *device, const void *d, const float *gram,
                              awq_extent extent, int64_t count, double *sum, awq_error *err)
{
    form_job job = {device,
                    d,
                    gram,
                    extent,
                    cpu_blocks(extent.out, FORM_ROWS),
                    cpu_blocks(extent.in, FORM_COLS),
                    NULL};
    int64_t each = job.row_blocks * job.column_blocks, blocks = count * each;
    cpu_reserve(device, sizeof(float) * FORM_ROWS * FORM_COLS, "quadratic_form");
    if (cpu_status(device, err)) return err->status;
    job.partial = malloc((size_t)blocks * sizeof *job.partial);
    if (!job.partial)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %lld sums", (long long)blocks);
    cpu_run(device, blocks, form_block, &job);
    for (int64_t i = 0; i < blocks; i++)
        sum[i / each] = job.partial[i] + (i % each ? sum[i / each] : 0);
    free(job.partial);
    return AWQ_OK;
}
