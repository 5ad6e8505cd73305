/* SPDX-License-Identifier: MIT
 * kernels/cpu/gram.c - gram += x^T x, upper triangle by whole blocks.
 *
 * rows cols (cols + BLOCK) flops by sgemm with beta = 1. With a mask, the block's two panels are
 * copied to scratch with zeros for the rows that do not count. */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/triangle.h"
#include "kernels/cpu/verbs.h"
#include "kernels/gram.h"

enum { GRAM_BLOCK = 256, MIRROR_BLOCK = 64 };

typedef struct gram_job {
    awq_device *device;
    float *gram;
    const float *x;
    const uint8_t *mask;
    int64_t rows, cols;
} gram_job;

typedef struct panel {
    const float *x;
    int64_t stride;
} panel;

/* Columns [first, first + count) of x; the rows masked out are zero. */
static panel masked_panel(const gram_job *job, int64_t first, int64_t count, float *scratch)
{
    if (!job->mask) return (panel){job->x + first, job->cols};
    for (int64_t row = 0; row < job->rows; row++) {
        float *to = scratch + row * count;
        if (job->mask[row])
            memcpy(to, job->x + row * job->cols + first, (size_t)count * sizeof *to);
        else
            memset(to, 0, (size_t)count * sizeof *to);
    }
    return (panel){scratch, count};
}

static void gram_block(void *context, int64_t block, int thread)
{
    const gram_job *job = context;
    int64_t i, j;
    triangle_position(block, &i, &j);
    int64_t top = i * GRAM_BLOCK, height = cpu_min(GRAM_BLOCK, job->cols - top);
    int64_t left = j * GRAM_BLOCK, width = cpu_min(GRAM_BLOCK, job->cols - left);
    float *scratch = job->mask ? cpu_scratch(job->device, thread) : NULL;
    panel a = masked_panel(job, top, height, scratch);
    panel b =
        i == j ? a : masked_panel(job, left, width, scratch ? scratch + job->rows * height : NULL);
    cpu_blas.sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)height, (int)width, (int)job->rows,
                   1.0f, a.x, (int)a.stride, b.x, (int)b.stride, 1.0f,
                   job->gram + awq_gram_index(job->cols, top, left),
                   (int)awq_gram_width(job->cols, left));
}

void gram_cpu(awq_device *device, float *gram, const void *x, const uint8_t *mask, int64_t rows,
              int64_t cols)
{
    gram_job job = {device, gram, x, mask, rows, cols};
    size_t bytes = 2 * sizeof(float) * (size_t)(rows * cpu_min(GRAM_BLOCK, cols));
    if (mask && !cpu_reserve(device, bytes, "gram")) return;
    cpu_run(device, triangle_blocks(cpu_blocks(cols, GRAM_BLOCK)), gram_block, &job);
}

/* Some rows of a block on the diagonal. */
static void mirror_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const gram_job *job = context;
    int64_t n = job->cols, first = block * MIRROR_BLOCK, last = cpu_min(first + MIRROR_BLOCK, n);
    int64_t left = first / AWQ_GRAM_BLOCK * AWQ_GRAM_BLOCK, width = awq_gram_width(n, first);
    float *square = job->gram + awq_gram_index(n, left, left);
    for (int64_t i = first - left; i < last - left; i++)
        for (int64_t j = 0; j < i; j++) square[i * width + j] = square[j * width + i];
}

void gram_finish_cpu(awq_device *device, float *gram, int64_t cols)
{
    gram_job job = {.gram = gram, .cols = cols};
    cpu_run(device, cpu_blocks(cols, MIRROR_BLOCK), mirror_block, &job);
}
