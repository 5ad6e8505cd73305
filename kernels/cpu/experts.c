/* SPDX-License-Identifier: MIT
 * kernels/cpu/experts.c - which experts a row of hidden states goes to, with what weight, and
 * sigmoid. Reads a row's logits, or what they count for, active + 2 times, from the cache. */
#include <math.h>

#include "kernels/cpu/softmax.h"
#include "kernels/cpu/verbs.h"

enum { EXPERTS_ROWS = 16, SIGMOID_BLOCK = 1 << 14 };

typedef struct experts_job {
    awq_device *device;
    int32_t *expert;      /* top_experts writes it */
    const int32_t *given; /* expert_weights reads it */
    float *weight;
    const float *logits, *correction, *scale;
    int64_t rows;
    awq_routing_rule rule;
} experts_job;

AWQ_VECTORIZE static double expert_sum_exp(const float *x, int64_t count, float *largest)
{
    *largest = row_max(x, count);
    return row_sum_exp(x, *largest, count);
}

static float sigmoid_of(float logit)
{
    return 1.0f / (1.0f + exp_float(-logit));
}

/* ---- the choice ---- */

static bool is_taken(const int32_t *taken, int64_t count, int64_t expert)
{
    for (int64_t i = 0; i < count; i++)
        if (taken[i] == expert) return true;
    return false;
}

/* The `count` largest of `values`, largest first, of equals the lower number. */
static void take_largest(int32_t *chosen, int64_t count, const float *value, int64_t values)
{
    for (int64_t k = 0; k < count; k++) {
        int64_t best = -1;
        for (int64_t e = 0; e < values; e++)
            if (!is_taken(chosen, k, e) && (best < 0 || value[e] > value[best])) best = e;
        chosen[k] = (int32_t)best;
    }
}

/* Scores and, where there is one, their correction. */
static void score_experts(const experts_job *job, const float *logits, float *score)
{
    int64_t experts = job->rule.experts;
    float largest = 0;
    double total = 1;
    bool softmax = job->rule.score == AWQ_SCORE_SOFTMAX;
    if (softmax) total = expert_sum_exp(logits, experts, &largest);
    for (int64_t e = 0; e < experts; e++)
        score[e] = softmax ? (float)((double)exp_float(logits[e] - largest) / total)
                           : sigmoid_of(logits[e]);
    for (int64_t e = 0; job->correction && e < experts; e++) score[e] += job->correction[e];
}

/* Leaves out experts that are not of the best groups. chosen: room for the groups and a
 * group's best; sums: for the groups. */
static void leave_groups(const awq_routing_rule *rule, float *score, float *sums, int32_t *chosen)
{
    int64_t width = rule->experts / rule->groups;
    for (int64_t g = 0; g < rule->groups; g++) {
        sums[g] = 0;
        take_largest(chosen, rule->group_best, score + g * width, width);
        for (int64_t k = 0; k < rule->group_best; k++) sums[g] += score[g * width + chosen[k]];
    }
    take_largest(chosen, rule->active_groups, sums, rule->groups);
    for (int64_t e = 0; e < rule->experts; e++)
        if (!is_taken(chosen, rule->active_groups, e / width)) score[e] = -INFINITY;
}

static bool has_groups(const awq_routing_rule *rule)
{
    return rule->groups > 1;
}

static void choose_row(const experts_job *job, int64_t row, int thread)
{
    const awq_routing_rule *rule = &job->rule;
    const float *logits = job->logits + row * rule->experts, *score = logits;
    if (job->correction || has_groups(rule)) {
        float *own = cpu_scratch(job->device, thread), *sums = own + rule->experts;
        score_experts(job, logits, own);
        if (has_groups(rule)) leave_groups(rule, own, sums, (int32_t *)(sums + rule->groups));
        score = own;
    }
    take_largest(job->expert + row * rule->active, rule->active, score, rule->experts);
}

/* ---- the weights ---- */

/* The softmax at the k-th of the given experts, over those whose logits are near its own, without
 * the ones before it. What is not a number is near. */
static float mix_sparsely(const awq_routing_rule *rule, const float *logits, const int32_t *given,
                          int64_t k)
{
    float largest = logits[given[k]];
    double total = 0;
    for (int64_t e = 0; e < rule->experts; e++) {
        float factor = fabsf(logits[e]) < largest ? largest : fabsf(logits[e]);
        if (is_taken(given, k, e) || (largest - logits[e]) / factor > 2 * rule->margin) continue;
        total += (double)exp_float(logits[e] - largest);
    }
    return (float)(1.0 / total);
}

static void weigh_row(const experts_job *job, int64_t row)
{
    const awq_routing_rule *rule = &job->rule;
    const float *logits = job->logits + row * rule->experts;
    const int32_t *given = job->given + row * rule->active;
    float *weight = job->weight + row * rule->active, largest = 0, sum = 0;
    double total = 1;
    if (rule->score == AWQ_SCORE_SOFTMAX) total = expert_sum_exp(logits, rule->experts, &largest);
    for (int64_t k = 0; k < rule->active; k++) {
        if (rule->score == AWQ_SCORE_SOFTMAX)
            weight[k] = (float)((double)exp_float(logits[given[k]] - largest) / total);
        else if (rule->score == AWQ_SCORE_SIGMOID)
            weight[k] = sigmoid_of(logits[given[k]]);
        else
            weight[k] = mix_sparsely(rule, logits, given, k);
        sum += weight[k];
    }
    for (int64_t k = 0; k < rule->active; k++) {
        if (rule->normalized) weight[k] /= sum + 1e-20f;
        weight[k] *= rule->factor;
        if (job->scale) weight[k] *= job->scale[given[k]];
    }
}

static void experts_block(void *context, int64_t block, int thread)
{
    const experts_job *job = context;
    int64_t begin = block * EXPERTS_ROWS, end = begin + EXPERTS_ROWS;
    for (int64_t row = begin; row < end && row < job->rows; row++)
        if (job->expert)
            choose_row(job, row, thread);
        else
            weigh_row(job, row);
}

void top_experts_cpu(awq_device *device, int32_t *expert, const float *logits,
                     const float *correction, int64_t rows, const awq_routing_rule *rule)
{
    experts_job job = {.device = device,
                       .expert = expert,
                       .logits = logits,
                       .correction = correction,
                       .rows = rows,
                       .rule = *rule};
    int64_t floats = rule->experts;
    if (has_groups(rule)) floats += 2 * rule->groups + rule->group_best;
    if (!cpu_reserve(device, (size_t)floats * sizeof(float), "top_experts")) return;
    cpu_run(device, cpu_blocks(rows, EXPERTS_ROWS), experts_block, &job);
}

void expert_weights_cpu(awq_device *device, float *weight, const float *logits,
                        const int32_t *expert, const float *scale, int64_t rows,
                        const awq_routing_rule *rule)
{
    experts_job job = {.given = expert,
                       .weight = weight,
                       .logits = logits,
                       .scale = scale,
                       .rows = rows,
                       .rule = *rule};
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
