/* SPDX-License-Identifier: MIT
 * kernels/cpu/argmax.c - the likeliest token of each row of logits: the first of the largest. Reads
 * a row three times, from the cache. */
#include "kernels/cpu/softmax.h"
#include "kernels/cpu/verbs.h"

typedef struct argmax_job {
    int32_t *index;
    const float *x;
    int64_t vocab;
} argmax_job;

AWQ_VECTORIZE static bool holds_nan(const float *x, int64_t count)
{
    int32_t found = 0;
    for (int64_t i = 0; i < count; i++) found |= x[i] != x[i];
    return found != 0;
}

AWQ_VECTORIZE static float largest_of(const float *x, int64_t count)
{
    return row_max(x, count);
}

static void argmax_row(void *context, int64_t row, int thread)
{
    (void)thread;
    const argmax_job *job = context;
    const float *x = job->x + row * job->vocab;
    int64_t i = 0;
    job->index[row] = -1;
    if (holds_nan(x, job->vocab)) return;
    float largest = largest_of(x, job->vocab); /* 0 of zeros of both signs: equal to either */
    while (x[i] != largest) i++;
    job->index[row] = (int32_t)i;
}

awq_status argmax_cpu(awq_device *device, int32_t *index, const float *logits, int64_t rows,
                      int64_t vocab, awq_error *err)
{
    argmax_job job = {index, logits, vocab};
    cpu_run(device, rows, argmax_row, &job);
    return cpu_status(device, err);
}
