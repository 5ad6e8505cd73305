/* SPDX-License-Identifier: MIT
 * kernels/cuda/experts.cu - which experts a row of hidden states goes to, with what weight: a warp
 * a row, which reads its logits active + 2 times, from the cache; and sigmoid. Sums run in the
 * warp's tree, the chosen weights' one after the other. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { EXPERT_THREADS = 256, EXPERT_ROWS = EXPERT_THREADS / WARP, MOST_GROUPS = 64 };

/* What a row's experts are chosen by. */
typedef struct expert_scores {
    const float *logits, *correction; /* NULL: none */
    float largest;
    double total;    /* 0: the logits themselves count */
    uint64_t groups; /* that take part, a bit each */
    int width;       /* of a group */
    bool sigmoid;
} expert_scores;

__device__ static inline float sigmoid_of(float logit)
{
    return 1.0f / (1.0f + expf(-logit));
}

__device__ static inline float score_of(const expert_scores &scores, int expert)
{
    float logit = scores.logits[expert];
    if (scores.total == 0) return logit;
    if (!(scores.groups >> expert / scores.width & 1)) return -INFINITY;
    float score =
        scores.sigmoid
            ? sigmoid_of(logit)
            : static_cast<float>(static_cast<double>(expf(logit - scores.largest)) / scores.total);
    return scores.correction ? score + scores.correction[expert] : score;
}

/* An expert and its score; -1 is none. */
typedef struct candidate {
    int expert;
    float score;
} candidate;

/* Of two the one of the larger score, of equals the lower. */
__device__ static inline candidate better(candidate one, candidate other)
{
    if (one.expert < 0) return other;
    if (other.expert < 0) return one;
    if (one.score > other.score) return one;
    if (other.score > one.score) return other;
    return one.expert < other.expert ? one : other; /* or a NaN */
}

__device__ static inline bool is_taken(const int32_t *taken, int64_t count, int expert)
{
    for (int64_t i = 0; i < count; i++)
        if (taken[i] == expert) return true;
    return false;
}

/* The best of the warp's candidates, in every lane. */
__device__ static inline candidate warp_best(candidate best)
{
    for (int width = WARP / 2; width; width /= 2) {
        candidate other = {__shfl_xor_sync(ALL_LANES, best.expert, width),
                           __shfl_xor_sync(ALL_LANES, best.score, width)};
        best = better(best, other);
    }
    return best;
}

/* The largest logit and the sum of e^(logit - largest). */
__device__ static inline double sum_exp(const float *logits, int experts, float *largest)
{
    int lane = threadIdx.x % WARP;
    int32_t key = INT32_MIN;
    double total = 0;
    for (int e = lane; e < experts; e += WARP) {
        int32_t bits = ordered_bits(__float_as_int(logits[e]));
        key = bits > key ? bits : key;
    }
    *largest = __int_as_float(ordered_bits(warp_max(key)));
    for (int e = lane; e < experts; e += WARP)
        total += static_cast<double>(expf(logits[e] - *largest));
    return warp_sum(total);
}

/* The sum of a group's `best` largest scores, largest first. */
__device__ static inline float group_sum(const expert_scores &scores, int group, int64_t best)
{
    float sum = 0;
    candidate last = {-1, INFINITY};
    for (int64_t k = 0; k < best; k++) {
        candidate next = {-1, 0};
        for (int i = threadIdx.x % WARP; i < scores.width; i += WARP) {
            candidate own = {group * scores.width + i, 0};
            own.score = score_of(scores, own.expert);
            bool left = last.expert < 0 ||
                        (own.expert != last.expert && better(last, own).expert == last.expert);
            if (left) next = better(next, own);
        }
        last = warp_best(next);
        sum += last.score;
    }
    return sum;
}

/* The bits of the best groups. */
__device__ static inline uint64_t best_groups(const expert_scores &scores, float *sums,
                                              const awq_routing_rule &rule)
{
    int lane = threadIdx.x % WARP;
    uint64_t chosen = 0;
    for (int g = 0; g < rule.groups; g++) {
        float sum = group_sum(scores, g, rule.group_best);
        if (lane == 0) sums[g] = sum;
    }
    __syncwarp();
    for (int64_t k = 0; k < rule.active_groups; k++) {
        candidate best = {-1, 0};
        for (int g = lane; g < rule.groups; g += WARP) {
            candidate own = {g, sums[g]};
            if (!(chosen >> g & 1)) best = better(best, own);
        }
        chosen |= 1ull << warp_best(best).expert;
    }
    return chosen;
}

__global__ static void top_experts_kernel(int32_t *expert, const float *all,
                                          const float *correction, int64_t rows,
                                          awq_routing_rule rule)
{
    __shared__ float sums[EXPERT_ROWS][MOST_GROUPS];
    int64_t row = static_cast<int64_t>(blockIdx.x) * EXPERT_ROWS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    int lane = threadIdx.x % WARP, experts = static_cast<int>(rule.experts);
    int32_t *chosen = expert + row * rule.active;
    expert_scores scores = {all + row * experts, correction, 0, 0, ~0ull, experts, false};
    if (correction || rule.groups > 1) {
        scores.sigmoid = rule.score == AWQ_SCORE_SIGMOID;
        scores.total = scores.sigmoid ? 1 : sum_exp(scores.logits, experts, &scores.largest);
    }
    if (rule.groups > 1) {
        scores.width = experts / static_cast<int>(rule.groups);
        scores.groups = best_groups(scores, sums[threadIdx.x / WARP], rule);
    }
    for (int64_t k = 0; k < rule.active; k++) {
        candidate best = {-1, 0};
        for (int e = lane; e < experts; e += WARP) {
            candidate own = {e, score_of(scores, e)};
            if (!is_taken(chosen, k, e)) best = better(best, own);
        }
        best = warp_best(best);
        if (lane == 0) chosen[k] = best.expert;
        __syncwarp(); /* the other lanes see it */
    }
}

/* The softmax at the k-th of the given experts, over those whose logits are near its own, without
 * the ones before it. What is not a number is near. */
__device__ static inline float mix_sparsely(const float *logits, const int32_t *given, int64_t k,
                                            const awq_routing_rule &rule)
{
    float largest = logits[given[k]];
    double total = 0;
    for (int e = threadIdx.x % WARP; e < rule.experts; e += WARP) {
        float size = fabsf(logits[e]), factor = size < largest ? largest : size;
        bool far = (largest - logits[e]) / factor > 2 * rule.margin;
        if (!far && !is_taken(given, k, e)) total += static_cast<double>(expf(logits[e] - largest));
    }
    return static_cast<float>(1.0 / warp_sum(total));
}

/* A whole warp calls it. */
__device__ static inline float weight_of(const float *logits, const int32_t *given, int64_t k,
                                         float largest, double total, const awq_routing_rule &rule)
{
    float logit = logits[given[k]];
    if (rule.score == AWQ_SCORE_SPARSEMIXER) return mix_sparsely(logits, given, k, rule);
    if (rule.score == AWQ_SCORE_SIGMOID) return sigmoid_of(logit);
    return static_cast<float>(static_cast<double>(expf(logit - largest)) / total);
}

__global__ static void expert_weights_kernel(float *weights, const float *all,
                                             const int32_t *expert, const float *scale,
                                             int64_t rows, awq_routing_rule rule)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * EXPERT_ROWS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    const float *logits = all + row * rule.experts;
    const int32_t *given = expert + row * rule.active;
    float *weight = weights + row * rule.active, largest = 0, sum = 0;
    double total = 1;
    if (rule.score == AWQ_SCORE_SOFTMAX)
        total = sum_exp(logits, static_cast<int>(rule.experts), &largest);
    for (int64_t k = 0; k < rule.active; k++) {
        float own = weight_of(logits, given, k, largest, total, rule);
        if (threadIdx.x % WARP == 0) weight[k] = own;
        sum += own;
    }
    if (threadIdx.x % WARP) return;
    for (int64_t k = 0; k < rule.active; k++) {
        if (rule.normalized) weight[k] /= sum + 1e-20f;
        weight[k] *= rule.factor;
        if (scale) weight[k] *= scale[given[k]];
    }
}

__global__ static void sigmoid_kernel(float *y, const float *x, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride())
        y[i] = 1.0f / (1.0f + expf(-x[i]));
}

static unsigned row_blocks(int64_t rows)
{
    return static_cast<unsigned>(cuda_blocks(rows, EXPERT_ROWS));
}

void top_experts_cuda(awq_device *device, int32_t *expert, const float *logits,
                      const float *correction, int64_t rows, const awq_routing_rule *rule)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    if (rule->groups > MOST_GROUPS)
        cuda_refuse(self, "top_experts", "more than 64 groups; run with --backend cpu");
    else
        CUDA_LAUNCH(self, "top_experts", top_experts_kernel, row_blocks(rows), EXPERT_THREADS,
                    expert, logits, correction, rows, *rule);
}

void expert_weights_cuda(awq_device *device, float *weight, const float *logits,
                         const int32_t *expert, const float *scale, int64_t rows,
                         const awq_routing_rule *rule)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "expert_weights", expert_weights_kernel, row_blocks(rows), EXPERT_THREADS,
                    weight, logits, expert, scale, rows, *rule);
}

void sigmoid_cuda(awq_device *device, float *y, const float *x, size_t count)
{
    cuda_device *self = cuda_begin(device);
    int64_t elements = static_cast<int64_t>(count);
    if (self)
        CUDA_LAUNCH(self, "sigmoid", sigmoid_kernel, element_blocks(elements), ELEMENT_THREADS, y,
                    x, elements);
}
