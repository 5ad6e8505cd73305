/* SPDX-License-Identifier: MIT
 * kernels/cpu/convolve.c - a causal convolution of each channel along its sequence, then SiLU, in
 * place: x[t] = silu(sum over j of w[j] x[t - taps + 1 + j]).
 *
 * A block is (sequence, CHANNELS channels). It goes from the last token to the first, so that what
 * a token needs has not been overwritten. 2 taps flops and 8 bytes an element. */
#include "kernels/cpu/exp.h"
#include "kernels/cpu/verbs.h"

enum { CHANNELS = 256 };

typedef struct convolve_job {
    float *x;
    const float *w;
    int64_t length, channels, taps;
} convolve_job;

AWQ_VECTORIZE static void add_tap(float *restrict sum, const float *restrict w,
                                  const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++) sum[c] += w[c] * x[c];
}

AWQ_VECTORIZE static void store_silu(float *restrict y, const float *restrict x, int64_t count)
{
    for (int64_t c = 0; c < count; c++) y[c] = x[c] / (1.0f + exp_float(-x[c]));
}

static void convolve_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const convolve_job *job = context;
    int64_t blocks = cpu_blocks(job->channels, CHANNELS), taps = job->taps;
    int64_t first = block % blocks * CHANNELS, count = cpu_min(CHANNELS, job->channels - first);
    float *x = job->x + block / blocks * job->length * job->channels + first;
    float w[AWQ_MAX_TAPS][CHANNELS];
    for (int64_t c = 0; c < count; c++)
        for (int64_t j = 0; j < taps; j++) w[j][c] = job->w[(first + c) * taps + j];
    for (int64_t t = job->length - 1; t >= 0; t--) {
        float sum[CHANNELS] = {0};
        for (int64_t j = t < taps - 1 ? taps - 1 - t : 0; j < taps; j++)
            add_tap(sum, w[j], x + (t - taps + 1 + j) * job->channels, count);
        store_silu(x + t * job->channels, sum, count);
    }
}

void convolve_cpu(awq_device *device, void *x, const float *w, int64_t sequences, int64_t length,
                  int64_t channels, int64_t taps)
{
    convolve_job job = {x, w, length, channels, taps};
    cpu_run(device, sequences * cpu_blocks(channels, CHANNELS), convolve_block, &job);
}
