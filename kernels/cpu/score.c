/* SPDX-License-Identifier: MIT
 * kernels/cpu/score.c - what logits are worth: nll[r] = log sum_v e^x[v] - x[target], and
 * kl[r] = sum_v p log(p / q). Exponentials in float32, sums and logarithms in float64. */
#include <math.h>

#include "kernels/cpu/softmax.h"
#include "kernels/cpu/verbs.h"

typedef struct score_job {
    double *score;
    const float *p, *q; /* q NULL: nll of p */
    const int32_t *target;
    int64_t vocab;
} score_job;

AWQ_VECTORIZE static double log_sum_exp(const float *x, int64_t count)
{
    float largest = row_max(x, count);
    return (double)largest + log(row_sum_exp(x, largest, count));
}

/* p log(p / q) of one token; a logarithm is its row's log_sum_exp. */
AWQ_INLINE double divergence_term(float p, float q, double p_log, double q_log)
{
    double p_nat = (double)p - p_log, q_nat = (double)q - q_log;
    return (double)exp_float((float)p_nat) * (p_nat - q_nat);
}

AWQ_VECTORIZE static double divergence(const float *p, const float *q, double p_log, double q_log,
                                       int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++)
            lane[l] += divergence_term(p[i + l], q[i + l], p_log, q_log);
    for (int l = 0; i < count; i++, l++) lane[l] += divergence_term(p[i], q[i], p_log, q_log);
    return lanes_sum(lane);
}

static void score_row(void *context, int64_t row, int thread)
{
    (void)thread;
    const score_job *job = context;
    const float *p = job->p + row * job->vocab;
    double p_log = log_sum_exp(p, job->vocab);
    if (job->q) {
        const float *q = job->q + row * job->vocab;
        double q_log = log_sum_exp(q, job->vocab);
        job->score[row] = divergence(p, q, p_log, q_log, job->vocab);
    } else {
        job->score[row] = p_log - (double)p[job->target[row]];
    }
}

awq_status nll_cpu(awq_device *device, double *nll, const float *logits, const int32_t *target,
                   int64_t rows, int64_t vocab, awq_error *err)
{
    score_job job = {nll, logits, NULL, target, vocab};
    cpu_run(device, rows, score_row, &job);
    return cpu_status(device, err);
}

awq_status kl_cpu(awq_device *device, double *kl, const float *p_logits, const float *q_logits,
                  int64_t rows, int64_t vocab, awq_error *err)
{
    score_job job = {kl, p_logits, q_logits, NULL, vocab};
    cpu_run(device, rows, score_row, &job);
    return cpu_status(device, err);
}
