/* SPDX-License-Identifier: MIT
 * kernels/cpu/attention.c - causal attention: y = softmax(q k^T / sqrt(d)) v, each sequence alone.
 *
 * A block is (sequence, head, QUERIES positions): scores against all keys up to its last query by
 * sgemm into scratch, softmax of each row over its own past, the rest zero, then sgemm with v.
 * A NaN or infinity in v reaches every query of its block (0 times NaN): visible, never hidden.
 * 2 length^2 d flops a head and sequence (half of the square, two products). */
#include <math.h>
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/verbs.h"

enum { QUERIES = 256 };

typedef struct attention_job {
    awq_device *device;
    float *y;
    const float *q, *k, *v;
    int64_t length, heads, kv_heads, head_dim;
} attention_job;

/* One query's scores [keys] become its probabilities over the first `past`; zero after. */
AWQ_VECTORIZE static void causal_softmax(float *score, int64_t past, int64_t keys)
{
    float largest = row_max(score, past);
    for (int64_t i = 0; i < past; i++) score[i] = exp_float(score[i] - largest);
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= past; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)score[i + l];
    for (int l = 0; i < past; i++, l++) lane[l] += (double)score[i];
    float inverse = (float)(1.0 / lanes_sum(lane));
    for (i = 0; i < past; i++) score[i] *= inverse;
    memset(score + past, 0, (size_t)(keys - past) * sizeof *score);
}

static void attention_block(void *context, int64_t block, int thread)
{
    const attention_job *job = context;
    float *scores = cpu_scratch(job->device, thread);
    int64_t blocks = cpu_blocks(job->length, QUERIES), d = job->head_dim;
    int64_t first = block % blocks * QUERIES, count = cpu_min(QUERIES, job->length - first);
    int64_t head = block / blocks % job->heads, row = block / blocks / job->heads * job->length;
    int64_t kv_head = head / (job->heads / job->kv_heads), keys = first + count;
    int64_t stride = job->heads * d, kv_stride = job->kv_heads * d;
    const float *q = job->q + (row + first) * stride + head * d;
    const float *k = job->k + row * kv_stride + kv_head * d;
    const float *v = job->v + row * kv_stride + kv_head * d;
    float *y = job->y + (row + first) * stride + head * d;

    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)keys, (int)d,
                   (float)(1.0 / sqrt((double)d)), q, (int)stride, k, (int)kv_stride, 0.0f, scores,
                   (int)keys);
    for (int64_t i = 0; i < count; i++) causal_softmax(scores + i * keys, first + i + 1, keys);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)count, (int)d, (int)keys, 1.0f,
                   scores, (int)keys, v, (int)kv_stride, 0.0f, y, (int)stride);
}

void attention_cpu(awq_device *device, void *y, const void *q, const void *k, const void *v,
                   int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads,
                   int64_t head_dim)
{
    attention_job job = {device, y, q, k, v, length, heads, kv_heads, head_dim};
    size_t bytes = sizeof(float) * (size_t)(cpu_min(QUERIES, length) * length);
    if (!cpu_reserve(device, bytes, "attention")) return;
    cpu_run(device, sequences * heads * cpu_blocks(length, QUERIES), attention_block, &job);
}
