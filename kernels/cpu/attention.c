/* SPDX-License-Identifier: MIT
 * kernels/cpu/attention.c - causal attention: y = softmax(cap(scale q k^T)) v, each sequence alone.
 *
 * A block is (sequence, head, QUERIES positions): scores against the keys from its first query's
 * window to its last query by sgemm into scratch, softmax of each row over its own window (and the
 * head's sink), the rest zero, then sgemm with v. A NaN or infinity in v reaches every query of its
 * block (0 times NaN): visible, never hidden. length^2 (head_dim + value_dim) flops a head and
 * sequence (half of the square, two products), with a window at most 2 length (window + QUERIES)
 * (head_dim + value_dim). */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/tanh.h"
#include "kernels/cpu/verbs.h"

enum { QUERIES = 256 };

typedef struct attention_job {
    awq_device *device;
    float *y;
    const float *q, *k, *v;
    int64_t length;
    awq_attention_shape shape;
} attention_job;

/* The first key that the query at a position attends to. */
static int64_t first_key(const awq_attention_shape *shape, int64_t position)
{
    if (!shape->window) return 0;
    if (shape->chunked) return position / shape->window * shape->window;
    return position >= shape->window ? position - shape->window + 1 : 0;
}

AWQ_VECTORIZE static void cap_scores(float *score, float softcap, int64_t count)
{
    for (int64_t i = 0; i < count; i++) score[i] = softcap_float(score[i], softcap);
}

/* One query's scores [keys] become its probabilities over the first `past`; zero after. sink NULL:
 * none. */
AWQ_VECTORIZE static void causal_softmax(float *score, int64_t past, int64_t keys,
                                         const float *sink)
{
    float largest = row_max(score, past);
    if (sink && *sink > largest) largest = *sink;
    for (int64_t i = 0; i < past; i++) score[i] = exp_float(score[i] - largest);
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= past; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)score[i + l];
    for (int l = 0; i < past; i++, l++) lane[l] += (double)score[i];
    double sum = lanes_sum(lane);
    if (sink) sum += (double)exp_float(*sink - largest);
    float inverse = (float)(1.0 / sum);
    for (i = 0; i < past; i++) score[i] *= inverse;
    memset(score + past, 0, (size_t)(keys - past) * sizeof *score);
}

/* The scores [count, keys] of the queries from position `first` on, against the keys from `begin`
 * on. */
static void soften(const awq_attention_shape *shape, int64_t head, float *scores, int64_t first,
                   int64_t count, int64_t begin)
{
    const float *sink = shape->sinks ? shape->sinks + head : NULL;
    int64_t keys = first + count - begin;
    for (int64_t i = 0; i < count; i++) {
        float *score = scores + i * keys;
        int64_t outside = first_key(shape, first + i) - begin, past = first + i + 1 - begin;
        memset(score, 0, (size_t)outside * sizeof *score);
        if (shape->softcap > 0) cap_scores(score + outside, shape->softcap, past - outside);
        causal_softmax(score + outside, past - outside, keys - outside, sink);
    }
}

static void attention_block(void *context, int64_t block, int thread)
{
    const attention_job *job = context;
    const awq_attention_shape *shape = &job->shape;
    float *scores = cpu_scratch(job->device, thread);
    int64_t blocks = cpu_blocks(job->length, QUERIES);
    int64_t d = shape->head_dim, width = shape->value_dim;
    int64_t first = block % blocks * QUERIES, count = cpu_min(QUERIES, job->length - first);
    int64_t head = block / blocks % shape->heads, row = block / blocks / shape->heads * job->length;
    int64_t kv_head = head / (shape->heads / shape->kv_heads), begin = first_key(shape, first);
    int64_t stride = shape->heads * d, k_stride = shape->kv_heads * d;
    int64_t y_stride = shape->heads * width, v_stride = shape->kv_heads * width;
    int64_t keys = first + count - begin;
    const float *q = job->q + (row + first) * stride + head * d;
    const float *k = job->k + (row + begin) * k_stride + kv_head * d;
    const float *v = job->v + (row + begin) * v_stride + kv_head * width;
    float *y = job->y + (row + first) * y_stride + head * width;

    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)count, (int)keys, (int)d,
                   shape->scale, q, (int)stride, k, (int)k_stride, 0.0f, scores, (int)keys);
    soften(shape, head, scores, first, count, begin);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)count, (int)width, (int)keys,
                   1.0f, scores, (int)keys, v, (int)v_stride, 0.0f, y, (int)y_stride);
}

void attention_cpu(awq_device *device, void *y, const void *q, const void *k, const void *v,
                   int64_t sequences, int64_t length, const awq_attention_shape *shape)
{
    attention_job job = {device, y, q, k, v, length, *shape};
    int64_t window = shape->window ? cpu_min(shape->window, length) : length;
    int64_t keys = cpu_min(window + QUERIES, length);
    size_t bytes = sizeof(float) * (size_t)(cpu_min(QUERIES, length) * keys);
    if (!cpu_reserve(device, bytes, "attention")) return;
    cpu_run(device, sequences * shape->heads * cpu_blocks(length, QUERIES), attention_block, &job);
}
