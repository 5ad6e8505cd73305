/* SPDX-License-Identifier: MIT
 * kernels/cpu/gram.c - gram += x^T x, upper triangle by whole blocks.
 *
 * rows cols (cols + BLOCK) flops by sgemm with beta = 1. With a mask, the block's two panels are
 * copied to scratch with zeros for the rows that do not count. */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/triangle.h"
#include "kernels/cpu/verbs.h"

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
                   job->gram + top * job->cols + left, (int)job->cols);
}

void gram_cpu(awq_device *device, float *gram, const void *x, const uint8_t *mask, int64_t rows,
              int64_t cols)
{
    gram_job job = {device, gram, x, mask, rows, cols};
    size_t bytes = 2 * sizeof(float) * (size_t)(rows * cpu_min(GRAM_BLOCK, cols));
    if (mask && !cpu_reserve(device, bytes, "gram")) return;
    cpu_run(device, triangle_blocks(cpu_blocks(cols, GRAM_BLOCK)), gram_block, &job);
}

static void mirror_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const gram_job *job = context;
    int64_t n = job->cols, first = block * MIRROR_BLOCK, last = cpu_min(first + MIRROR_BLOCK, n);
    for (int64_t left = 0; left < last; left += MIRROR_BLOCK)
        for (int64_t i = first; i < last; i++)
            for (int64_t j = left; j < cpu_min(left + MIRROR_BLOCK, i); j++)
                job->gram[i * n + j] = job->gram[j * n + i];
}

void gram_finish_cpu(awq_device *device, float *gram, int64_t cols)
{
    gram_job job = {.gram = gram, .cols = cols};
    cpu_run(device, cpu_blocks(cols, MIRROR_BLOCK), mirror_block, &job);
}
