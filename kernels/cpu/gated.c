/* SPDX-License-Identifier: MIT
 * kernels/cpu/gated.c - y = act(gate) * up, or act(gate) alone. Moves 12 or 8 bytes an element.
 *
 * 0.5 x (1 + tanh(t)) is x / (1 + exp(-2t)): without the difference that loses bits where x is
 * below 0; by erf likewise (erf.h). A limit that there is none of is infinite, which changes no
 * bit. */
#include <math.h>

#include "kernels/cpu/erf.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/verbs.h"

enum { GATED_BLOCK = 1 << 14 };

/* NaN fails these tests and passes. */
AWQ_INLINE float at_most(float x, float limit)
{
    return x > limit ? limit : x;
}

AWQ_INLINE float within(float x, float limit)
{
    return at_most(x < -limit ? -limit : x, limit);
}

AWQ_INLINE float logistic(float x)
{
    return 1.0f / (1.0f + exp_float(-x));
}

AWQ_INLINE float silu(float x)
{
    return x / (1.0f + exp_float(-x));
}

AWQ_INLINE float gelu_tanh(float x) /* 2 sqrt(2/pi) (x + 0.044715 x^3) */
{
    return x / (1.0f + exp_float(-(1.5957691216f * (x + 0.044715f * x * x * x))));
}

AWQ_INLINE float squared_relu(float x)
{
    float positive = x < 0 ? 0 : x;
    return positive * positive;
}

AWQ_INLINE float steep_silu(float x)
{
    return x / (1.0f + exp_float(-(1.702f * x)));
}

/* The loops of one activation: GATE and UP are what becomes of gate[i] and up[i]. */
#define GATED(name, GATE, UP)                                                                      \
    AWQ_VECTORIZE static void name(float *y, const float *gate, int64_t count, float limit)        \
    {                                                                                              \
        (void)limit;                                                                               \
        AWQ_SAME_OR_APART                                                                          \
        for (int64_t i = 0; i < count; i++) y[i] = GATE;                                           \
    }                                                                                              \
    AWQ_VECTORIZE static void name##_mul(float *y, const float *gate, const float *up,             \
                                         int64_t count, float limit)                               \
    {                                                                                              \
        (void)limit;                                                                               \
        AWQ_SAME_OR_APART                                                                          \
        for (int64_t i = 0; i < count; i++) y[i] = GATE * (UP);                                    \
    }

GATED(gated_silu, silu(at_most(gate[i], limit)), within(up[i], limit))
GATED(gated_gelu_tanh, gelu_tanh(gate[i]), up[i])
GATED(gated_gelu, gelu_erf(gate[i]), up[i])
GATED(gated_relu2, squared_relu(gate[i]), up[i])
GATED(gated_sigmoid, logistic(gate[i]), up[i])
GATED(gated_clamp, within(gate[i], limit), up[i])
GATED(gated_swiglu_oai, steep_silu(at_most(gate[i], limit)), within(up[i], limit) + 1.0f)

typedef struct gated_loops {
    void (*alone)(float *y, const float *gate, int64_t count, float limit);
    void (*times)(float *y, const float *gate, const float *up, int64_t count, float limit);
} gated_loops;

static const gated_loops loops_of[] = {
    [AWQ_SILU] = {gated_silu, gated_silu_mul},
    [AWQ_GELU_TANH] = {gated_gelu_tanh, gated_gelu_tanh_mul},
    [AWQ_GELU] = {gated_gelu, gated_gelu_mul},
    [AWQ_RELU2] = {gated_relu2, gated_relu2_mul},
    [AWQ_SIGMOID] = {gated_sigmoid, gated_sigmoid_mul},
    [AWQ_CLAMP] = {gated_clamp, gated_clamp_mul},
    [AWQ_SWIGLU_OAI] = {gated_swiglu_oai, gated_swiglu_oai_mul},
};

typedef struct gated_job {
    float *y;
    const float *gate, *up;
    int64_t count;
    awq_activation act;
    float limit;
} gated_job;

static void gated_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const gated_job *job = context;
    const gated_loops *loops = &loops_of[job->act];
    int64_t begin = block * GATED_BLOCK, count = cpu_min(GATED_BLOCK, job->count - begin);
    if (job->up)
        loops->times(job->y + begin, job->gate + begin, job->up + begin, count, job->limit);
    else
        loops->alone(job->y + begin, job->gate + begin, count, job->limit);
}

void gated_cpu(awq_device *device, void *y, const void *gate, const void *up, size_t count,
               awq_activation act, float limit)
{
    gated_job job = {y, gate, up, (int64_t)count, act, limit > 0 ? limit : INFINITY};
    cpu_run(device, cpu_blocks(job.count, GATED_BLOCK), gated_block, &job);
}
