/* SPDX-License-Identifier: MIT
 * kernels/cpu/rope.c - rotary embedding, in place on d = rope_dim channels of each head of
 * x [rows, heads, head_dim], from `first` on: a pair (a, b), x[j] and x[j + d/2] or x[2j] and
 * x[2j + 1], becomes (a cos - b sin, b cos + a sin). Moves 8 bytes an element. */
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { ROPE_BLOCK_ROWS = 8 };

typedef struct rope_job {
    float *x;
    const float *cos, *sin;
    int64_t rows;
    awq_rope_shape shape;
} rope_job;

AWQ_VECTORIZE static void rotate(float *restrict a, float *restrict b, const float *restrict cos,
                                 const float *restrict sin, int64_t half)
{
    for (int64_t j = 0; j < half; j++) {
        float first = a[j], second = b[j];
        a[j] = first * cos[j] - second * sin[j];
        b[j] = second * cos[j] + first * sin[j];
    }
}

AWQ_VECTORIZE static void rotate_pairs(float *restrict x, const float *restrict cos,
                                       const float *restrict sin, int64_t half)
{
    for (int64_t j = 0; j < half; j++) {
        float first = x[2 * j], second = x[2 * j + 1];
        x[2 * j] = first * cos[j] - second * sin[j];
        x[2 * j + 1] = second * cos[j] + first * sin[j];
    }
}

static void rope_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const rope_job *job = context;
    const awq_rope_shape *shape = &job->shape;
    int64_t half = shape->rope_dim / 2;
    int64_t begin = block * ROPE_BLOCK_ROWS, end = cpu_min(begin + ROPE_BLOCK_ROWS, job->rows);
    for (int64_t row = begin; row < end; row++) {
        int64_t angle = row % shape->length * half;
        for (int64_t head = 0; head < shape->heads; head++) {
            float *x = job->x + (row * shape->heads + head) * shape->head_dim + shape->first;
            if (shape->interleaved)
                rotate_pairs(x, job->cos + angle, job->sin + angle, half);
            else
                rotate(x, x + half, job->cos + angle, job->sin + angle, half);
        }
    }
}

void rope_cpu(awq_device *device, void *x, const float *cos, const float *sin, int64_t rows,
              const awq_rope_shape *shape)
{
    rope_job job = {x, cos, sin, rows, *shape};
    cpu_run(device, cpu_blocks(rows, ROPE_BLOCK_ROWS), rope_block, &job);
}
