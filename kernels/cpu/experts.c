/* SPDX-License-Identifier: MIT
 * kernels/cpu/experts.c - which experts a row of hidden states goes to, with what weight, and
 * sigmoid. Reads a row's logits top + 2 times, from the cache. */
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/verbs.h"

enum { EXPERTS_ROWS = 16, SIGMOID_BLOCK = 1 << 14 };

typedef struct experts_job {
    int32_t *expert;      /* top_experts writes it */
    const int32_t *given; /* expert_weights reads it */
    float *weight;
    const float *logits;
    int64_t rows, experts, top;
    bool normalized;
} experts_job;

static bool is_taken(const int32_t *taken, int64_t count, int64_t expert)
{
    for (int64_t i = 0; i < count; i++)
        if (taken[i] == expert) return true;
    return false;
}

static void choose_row(const experts_job *job, int64_t row)
{
    const float *logits = job->logits + row * job->experts;
    int32_t *chosen = job->expert + row * job->top;
    for (int64_t k = 0; k < job->top; k++) {
        int64_t best = -1;
        for (int64_t e = 0; e < job->experts; e++)
            if (!is_taken(chosen, k, e) && (best < 0 || logits[e] > logits[best])) best = e;
        chosen[k] = (int32_t)best;
    }
}

AWQ_VECTORIZE static double expert_sum_exp(const float *x, int64_t count, float *largest)
{
    *largest = row_max(x, count);
    return row_sum_exp(x, *largest, count);
}

static void weigh_row(const experts_job *job, int64_t row)
{
    const float *logits = job->logits + row * job->experts;
    const int32_t *given = job->given + row * job->top;
    float *weight = job->weight + row * job->top, largest, sum = 0;
    double total = expert_sum_exp(logits, job->experts, &largest);
    for (int64_t k = 0; k < job->top; k++) {
        weight[k] = (float)((double)exp_float(logits[given[k]] - largest) / total);
        sum += weight[k];
    }
    for (int64_t k = 0; job->normalized && k < job->top; k++) weight[k] /= sum;
}

static void experts_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const experts_job *job = context;
    int64_t begin = block * EXPERTS_ROWS, end = begin + EXPERTS_ROWS;
    for (int64_t row = begin; row < end && row < job->rows; row++)
        if (job->expert)
            choose_row(job, row);
        else
            weigh_row(job, row);
}

void top_experts_cpu(awq_device *device, int32_t *expert, const float *logits, int64_t rows,
                     int64_t experts, int64_t top)
{
    experts_job job = {
        .expert = expert, .logits = logits, .rows = rows, .experts = experts, .top = top};
    cpu_run(device, cpu_blocks(rows, EXPERTS_ROWS), experts_block, &job);
}

void expert_weights_cpu(awq_device *device, float *weight, const float *logits,
                        const int32_t *expert, int64_t rows, int64_t experts, int64_t top,
                        bool normalized)
{
    experts_job job = {NULL, expert, weight, logits, rows, experts, top, normalized};
    cpu_run(device, cpu_blocks(rows, EXPERTS_ROWS), experts_block, &job);
}

/* ---- sigmoid ---- */

typedef struct sigmoid_job {
    float *y;
    const float *x;
    int64_t count;
} sigmoid_job;

AWQ_VECTORIZE static void sigmoid(float *y, const float *x, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) y[i] = 1.0f / (1.0f + exp_float(-x[i]));
}

static void sigmoid_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const sigmoid_job *job = context;
    int64_t begin = block * SIGMOID_BLOCK;
    sigmoid(job->y + begin, job->x + begin, cpu_min(SIGMOID_BLOCK, job->count - begin));
}

void sigmoid_cpu(awq_device *device, float *y, const float *x, size_t count)
{
    sigmoid_job job = {y, x, (int64_t)count};
    cpu_run(device, cpu_blocks(job.count, SIGMOID_BLOCK), sigmoid_block, &job);
}
