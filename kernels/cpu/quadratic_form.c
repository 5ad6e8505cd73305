/* SPDX-License-Identifier: MIT
 * kernels/cpu/quadratic_form.c - d G d^T of each row d, with G's upper triangle only.
 *
 * With G symmetric, d G d^T = sum over column blocks j of (2 d[0:j] G[0:j, j] + d[j] G[j, j]) d[j].
 * rows in (in + COLS) flops by sgemm instead of 2 rows in in. A block is (row block, column block):
 * a row's sum over it goes to its own place in float64, and the places are added in order. */
#include <stdlib.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/verbs.h"
#include "kernels/gram.h"

enum { FORM_ROWS = 512, FORM_COLS = 256 };

typedef struct form_job {
    awq_device *device;
    const float *d, *gram;
    int64_t rows, in, column_blocks;
    double *part; /* [rows, column blocks] */
} form_job;

static void form_block(void *context, int64_t block, int thread)
{
    const form_job *job = context;
    int64_t in = job->in, last = job->column_blocks - 1;
    int64_t j = last - block % job->column_blocks; /* long ones first */
    int64_t row = block / job->column_blocks * FORM_ROWS;
    int64_t rows = cpu_min(FORM_ROWS, job->rows - row);
    int64_t col = j * FORM_COLS, cols = cpu_min(FORM_COLS, in - col);
    const float *d = job->d + row * in, *gram = job->gram + awq_gram_index(in, 0, col);
    int64_t stride = awq_gram_width(in, col);
    float *e = cpu_scratch(job->device, thread);
    if (col)
        cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)col,
                       2.0f, d, (int)in, gram, (int)stride, 0.0f, e, (int)cols);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)cols, 1.0f,
                   d + col, (int)in, gram + col * stride, (int)stride, col ? 1.0f : 0.0f, e,
                   (int)cols);
    for (int64_t r = 0; r < rows; r++)
        job->part[(row + r) * job->column_blocks + j] =
            cpu_dot(e + r * cols, d + r * in + col, cols);
}

/* Nothing: quadratic_form reads the Gram matrix itself. */
void prepare_form_cpu(awq_device *device, void *form, const float *gram, int64_t in)
{
    (void)device, (void)form, (void)gram, (void)in;
}

void quadratic_form_cpu(awq_device *device, double *sum, const void *d, const float *gram,
                        const void *form, int64_t rows, int64_t in)
{
    (void)form;
    form_job job = {device, d, gram, rows, in, cpu_blocks(in, FORM_COLS), NULL};
    size_t parts = (size_t)(rows * job.column_blocks);
    if (!cpu_reserve(device, sizeof(float) * FORM_ROWS * FORM_COLS, "quadratic_form")) return;
    job.part = malloc(parts * sizeof *job.part + 1);
    if (!job.part) {
        cpu_lack(device, parts * sizeof *job.part, "quadratic_form");
        return;
    }
    cpu_run(device, cpu_blocks(rows, FORM_ROWS) * job.column_blocks, form_block, &job);
    for (int64_t r = 0; r < rows; r++) {
        sum[r] = 0;
        for (int64_t j = 0; j < job.column_blocks; j++)
            sum[r] += job.part[r * job.column_blocks + j];
    }
    free(job.part);
}
