/* SPDX-License-Identifier: MIT
 * kernels/cpu/delta.c - the gated delta rule, token by token: S *= e^g, u = beta (v - S^T k),
 * S += k u^T, y = S^T q, with a state S [key_dim, value_dim] for each head of each sequence.
 *
 * A block is (sequence, head). Columns of S have nothing to do with each other, so SLICE of them go
 * through TOKENS tokens before the next ones do: of 128 rows they are 16 KB, which stay in the
 * first cache. 7 key_dim value_dim flops a token and head.
 *
 * The chunked form, products of a chunk's tokens among each other and a triangular system, is for
 * tensor cores: no fewer flops, and other sums than the definition's. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/verbs.h"

enum { TOKENS = 64, SLICE = 2 * AWQ_LANES };

typedef struct delta_job {
    awq_device *device;
    float *y;
    const float *q, *k, *v, *b, *a;
    int64_t length, slices;
    awq_delta_shape shape;
} delta_job;

/* A head's next tokens, and its state, in a thread's scratch. */
typedef struct delta_chunk {
    float *state;         /* [slices, key_dim, SLICE] */
    float *q, *k;         /* [TOKENS, key_dim], normalized */
    float *beta, *shrink; /* [TOKENS]; shrink is e^g */
    int64_t count;        /* of tokens */
    int64_t key_dim;
} delta_chunk;

/* log(1 + e^x), by atanh's series: no library's logarithm decides a bit. */
static float softplus(float x)
{
    double z = (double)exp_float(x > 0 ? -x : x), t = z / (2 + z), sum = 0;
    for (int i = 17; i > 0; i -= 2) sum = sum * (t * t) + 1.0 / (double)i;
    return (x > 0 ? x : 0) + (float)(2 * t * sum);
}

AWQ_VECTORIZE static void scale_head(float *restrict y, const float *restrict x, float factor,
                                     int64_t count)
{
    for (int64_t i = 0; i < count; i++) y[i] = factor * x[i];
}

static void normalize_head(float *y, const float *x, double scale, int64_t count)
{
    scale_head(y, x, (float)(scale / sqrt(cpu_dot(x, x, count) + 1e-6)), count);
}

/* The tokens from `row` on. */
static void prepare_chunk(const delta_job *job, delta_chunk *chunk, int64_t row, int64_t head)
{
    const awq_delta_shape *shape = &job->shape;
    int64_t d = shape->key_dim, key_head = head / (shape->heads / shape->key_heads);
    float rate = -exp_float(shape->decay[head]);
    for (int64_t t = 0; t < chunk->count; t++) {
        int64_t key = ((row + t) * shape->key_heads + key_head) * d;
        int64_t gate = (row + t) * shape->heads + head;
        normalize_head(chunk->q + t * d, job->q + key, 1 / sqrt((double)d), d);
        normalize_head(chunk->k + t * d, job->k + key, 1, d);
        chunk->beta[t] = 1.0f / (1.0f + exp_float(-job->b[gate]));
        chunk->shrink[t] = exp_float(rate * softplus(job->a[gate] + shape->step[head]));
    }
}

/* One token, of one slice: v becomes y. */
AWQ_VECTORIZE static void delta_step(float *restrict state, float *restrict v,
                                     const delta_chunk *chunk, int64_t token)
{
    int64_t rows = chunk->key_dim;
    const float *restrict q = chunk->q + token * rows, *restrict k = chunk->k + token * rows;
    float beta = chunk->beta[token], shrink = chunk->shrink[token], u[SLICE], sum[SLICE] = {0};
    for (int64_t i = 0; i < rows; i++)
        for (int c = 0; c < SLICE; c++) {
            float value = state[i * SLICE + c] * shrink;
            state[i * SLICE + c] = value;
            sum[c] += value * k[i];
        }
    for (int c = 0; c < SLICE; c++) {
        u[c] = beta * (v[c] - sum[c]);
        sum[c] = 0;
    }
    for (int64_t i = 0; i < rows; i++)
        for (int c = 0; c < SLICE; c++) {
            float value = state[i * SLICE + c] + k[i] * u[c];
            state[i * SLICE + c] = value;
            sum[c] += value * q[i];
        }
    for (int c = 0; c < SLICE; c++) v[c] = sum[c];
}

/* The chunk's tokens, whose first is at v and y, of one slice; `width` of its columns are there. */
static void run_slice(const delta_job *job, const delta_chunk *chunk, float *state, int64_t at,
                      int64_t width)
{
    int64_t stride = job->shape.heads * job->shape.value_dim;
    for (int64_t t = 0; t < chunk->count; t++) {
        float columns[SLICE] = {0};
        memcpy(columns, job->v + at + t * stride, (size_t)width * sizeof *columns);
        delta_step(state, columns, chunk, t);
        memcpy(job->y + at + t * stride, columns, (size_t)width * sizeof *columns);
    }
}

static delta_chunk chunk_at(const delta_job *job, float *scratch)
{
    int64_t d = job->shape.key_dim;
    delta_chunk chunk = {.state = scratch, .key_dim = d};
    chunk.q = chunk.state + job->slices * d * SLICE;
    chunk.k = chunk.q + TOKENS * d;
    chunk.beta = chunk.k + TOKENS * d;
    chunk.shrink = chunk.beta + TOKENS;
    return chunk;
}

static void delta_block(void *context, int64_t block, int thread)
{
    const delta_job *job = context;
    const awq_delta_shape *shape = &job->shape;
    int64_t head = block % shape->heads, begin = block / shape->heads * job->length;
    int64_t size = shape->key_dim * SLICE;
    delta_chunk chunk = chunk_at(job, cpu_scratch(job->device, thread));
    memset(chunk.state, 0, (size_t)(job->slices * size) * sizeof(float));
    for (int64_t first = 0; first < job->length; first += TOKENS) {
        int64_t at = ((begin + first) * shape->heads + head) * shape->value_dim;
        chunk.count = cpu_min(TOKENS, job->length - first);
        prepare_chunk(job, &chunk, begin + first, head);
        for (int64_t slice = 0; slice < job->slices; slice++)
            run_slice(job, &chunk, chunk.state + slice * size, at + slice * SLICE,
                      cpu_min(SLICE, shape->value_dim - slice * SLICE));
    }
}

void gated_delta_cpu(awq_device *device, void *y, const void *q, const void *k, const void *v,
                     const void *b, const void *a, int64_t sequences, int64_t length,
                     const awq_delta_shape *shape)
{
    int64_t slices = cpu_blocks(shape->value_dim, SLICE);
    int64_t floats = slices * shape->key_dim * SLICE + 2 * TOKENS * (shape->key_dim + 1);
    delta_job job = {device, y, q, k, v, b, a, length, slices, *shape};
    if (!cpu_reserve(device, (size_t)floats * sizeof(float), "gated_delta")) return;
    cpu_run(device, sequences * shape->heads, delta_block, &job);
}
