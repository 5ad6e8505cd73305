/* SPDX-License-Identifier: MIT
 * kernels/cuda/score.cu - what logits are worth: nll[r] = log sum_v e^x[v] - x[target], and
 * kl[r] = sum_v p log(p / q). A block a row, which it reads from the cache but for the first time.
 * Exponentials in float32, sums and logarithms in float64. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { SCORE_THREADS = 256 };

/* Whatever the maximum is, a NaN's own exponential is NaN, and so is the row's sum. */
__device__ static inline double log_sum_exp(const float *x, int64_t count)
{
    int32_t key = INT32_MIN;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        int32_t bits = ordered_bits(__float_as_int(x[i]));
        key = bits > key ? bits : key;
    }
    float largest = __int_as_float(ordered_bits(block_max(key)));
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x)
        sum += static_cast<double>(expf(x[i] - largest));
    return static_cast<double>(largest) + log(block_sum(sum));
}

__global__ static void nll_kernel(double *nll, const float *logits, const int32_t *target,
                                  int64_t vocab)
{
    const float *x = logits + blockIdx.x * vocab;
    double whole = log_sum_exp(x, vocab);
    if (threadIdx.x == 0) nll[blockIdx.x] = whole - static_cast<double>(x[target[blockIdx.x]]);
}

__global__ static void kl_kernel(double *kl, const float *p_logits, const float *q_logits,
                                 int64_t vocab)
{
    const float *p = p_logits + blockIdx.x * vocab, *q = q_logits + blockIdx.x * vocab;
    double p_log = log_sum_exp(p, vocab), q_log = log_sum_exp(q, vocab), sum = 0;
    for (int64_t i = threadIdx.x; i < vocab; i += blockDim.x) {
        double p_nat = static_cast<double>(p[i]) - p_log, q_nat = static_cast<double>(q[i]) - q_log;
        sum += static_cast<double>(expf(static_cast<float>(p_nat))) * (p_nat - q_nat);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) kl[blockIdx.x] = sum;
}

awq_status nll_cuda(awq_device *device, double *nll, const float *logits, const int32_t *target,
                    int64_t rows, int64_t vocab, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    size_t count = static_cast<size_t>(rows);
    char *scratch = cuda_reserve(
        self, "nll", cuda_aligned(count * sizeof *nll) + cuda_aligned(count * sizeof *target));
    if (!scratch) return cuda_status(self, err);
    double *result = cuda_carve<double>(&scratch, count);
    int32_t *wanted = cuda_carve<int32_t>(&scratch, count);
    cuda_send(self, "nll", wanted, target, count * sizeof *target);
    CUDA_LAUNCH(self, "nll", nll_kernel, static_cast<unsigned>(rows), SCORE_THREADS, result, logits,
                wanted, vocab);
    return cuda_fetch(self, "nll", nll, result, count * sizeof *nll, err);
}

awq_status kl_cuda(awq_device *device, double *kl, const float *p_logits, const float *q_logits,
                   int64_t rows, int64_t vocab, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    size_t count = static_cast<size_t>(rows);
    char *scratch = cuda_reserve(self, "kl", count * sizeof *kl);
    if (!scratch) return cuda_status(self, err);
    double *result = cuda_carve<double>(&scratch, count);
    CUDA_LAUNCH(self, "kl", kl_kernel, static_cast<unsigned>(rows), SCORE_THREADS, result, p_logits,
                q_logits, vocab);
    return cuda_fetch(self, "kl", kl, result, count * sizeof *kl, err);
}
