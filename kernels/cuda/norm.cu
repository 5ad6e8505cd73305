/* SPDX-License-Identifier: MIT
 * kernels/cuda/norm.cu - y = (x - m) / sqrt(mean of (x - m)^2 + eps) * w + b, row by row, or added
 * to a float32 sum; m is 0 or the row's mean.
 *
 * A block a row of hidden states, a warp a row of a head. Sums in float64, so that a NaN or
 * infinity is never lost; m in two floats. Moves 6 bytes an element (4 read again, from L2, once or
 * twice), 12 if it adds. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { NORM_THREADS = 256, NORM_HEADS = NORM_THREADS / WARP };

/* Weights and biases [period, cols], either may be NULL, and the rest of awq_norm_shape. */
typedef struct norm_weights {
    const float *w, *b;
    int64_t rows, cols, period;
    float eps;
    bool centered;
} norm_weights;

/* (x - high - low) * scale is what is left of a row to be weighted. */
typedef struct norm_row {
    float high, low, scale;
} norm_row;

/* Whoever shares a row: a block or a warp, each thread from `first` on every `step`-th column. */
typedef struct norm_team {
    int first, step;
    bool block;
} norm_team;

__device__ static inline double team_sum(double x, norm_team team)
{
    return team.block ? block_sum(x) : warp_sum(x);
}

template <typename T>
__device__ static inline norm_row measure_row(const T *row, const norm_weights &weights,
                                              norm_team team)
{
    double mean = 0, square = 0, cols = static_cast<double>(weights.cols);
    if (weights.centered) {
        for (int64_t c = team.first; c < weights.cols; c += team.step)
            mean += static_cast<double>(widen(row[c]));
        mean = team_sum(mean, team) / cols;
    }
    for (int64_t c = team.first; c < weights.cols; c += team.step) {
        double apart = static_cast<double>(widen(row[c])) - mean;
        square += apart * apart;
    }
    square = team_sum(square, team) / cols;
    norm_row measured;
    measured.high = static_cast<float>(mean);
    measured.low = static_cast<float>(mean - static_cast<double>(measured.high));
    measured.scale = static_cast<float>(1.0 / sqrt(square + static_cast<double>(weights.eps)));
    return measured;
}

/* `own`: column c of the row's weights. */
__device__ static inline float normalized(float x, norm_row row, const norm_weights &weights,
                                          int64_t own)
{
    float value = (x - row.high - row.low) * row.scale;
    if (weights.w) value *= weights.w[own];
    if (weights.b) value += weights.b[own];
    return value;
}

template <typename T> __global__ static void norm_kernel(T *y, const float *x, norm_weights weights)
{
    int64_t cols = weights.cols, at = blockIdx.x * cols, own = blockIdx.x % weights.period * cols;
    norm_team team = {static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), true};
    norm_row row = measure_row(x + at, weights, team);
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        y[at + c] = narrow<T>(normalized(x[at + c], row, weights, own + c));
}

__global__ static void norm_add_kernel(float *sum, const float *x, norm_weights weights)
{
    int64_t cols = weights.cols, at = blockIdx.x * cols, own = blockIdx.x % weights.period * cols;
    norm_team team = {static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), true};
    norm_row row = measure_row(x + at, weights, team);
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        sum[at + c] += normalized(x[at + c], row, weights, own + c);
}

template <typename T> __global__ static void norm_heads_kernel(T *x, norm_weights weights)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * NORM_HEADS + threadIdx.x / WARP;
    if (row >= weights.rows) return; /* the whole warp */
    int64_t cols = weights.cols, own = row % weights.period * cols;
    T *head = x + row * cols;
    norm_team team = {static_cast<int>(threadIdx.x % WARP), WARP, false};
    norm_row measured = measure_row(head, weights, team);
    for (int64_t c = team.first; c < cols; c += WARP)
        head[c] = narrow<T>(normalized(widen(head[c]), measured, weights, own + c));
}

static norm_weights weights_of(const float *w, const float *b, const awq_norm_shape *shape)
{
    return {w, b, shape->rows, shape->cols, shape->period, shape->eps, shape->centered};
}

template <typename T>
static void launch_norm(cuda_device *self, void *y, const float *x, norm_weights weights)
{
    CUDA_LAUNCH(self, "norm", (norm_kernel<T>), static_cast<unsigned>(weights.rows), NORM_THREADS,
                static_cast<T *>(y), x, weights);
}

template <typename T> static void launch_heads(cuda_device *self, void *x, norm_weights weights)
{
    CUDA_LAUNCH(self, "norm_heads", (norm_heads_kernel<T>),
                static_cast<unsigned>(cuda_blocks(weights.rows, NORM_HEADS)), NORM_THREADS,
                static_cast<T *>(x), weights);
}

void norm_cuda(awq_device *device, void *y, const float *x, const float *w, const float *b,
               const awq_norm_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    if (self && shape->rows) AWQ_BY_COMPUTE(self, launch_norm, y, x, weights_of(w, b, shape));
}

void norm_add_cuda(awq_device *device, float *sum, const float *x, const float *w, const float *b,
                   const awq_norm_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "norm_add", norm_add_kernel, static_cast<unsigned>(shape->rows),
                    NORM_THREADS, sum, x, weights_of(w, b, shape));
}

void norm_heads_cuda(awq_device *device, void *x, const float *w, const float *b,
                     const awq_norm_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    if (self && shape->rows) AWQ_BY_COMPUTE(self, launch_heads, x, weights_of(w, b, shape));
}
