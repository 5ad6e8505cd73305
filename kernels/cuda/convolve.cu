/* SPDX-License-Identifier: MIT
 * kernels/cuda/convolve.cu - a causal convolution of each channel along its sequence, then SiLU, in
 * place: x[t] = silu(sum over j of w[j] x[t - taps + 1 + j]).
 *
 * A thread a channel of a sequence, neighbours' channels next to each other. It goes from the last
 * token to the first, so that what a token needs has not been overwritten; all of it but one
 * element it has read before, and finds in the cache. Moves 4 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

typedef struct convolve_shape {
    int64_t sequences, length, channels, taps;
} convolve_shape;

template <typename T>
__global__ static void convolve_kernel(T *all, const float *w, convolve_shape shape)
{
    int64_t channels = shape.channels, taps = shape.taps;
    for (int64_t i = grid_thread(); i < shape.sequences * channels; i += grid_stride()) {
        int64_t channel = i % channels;
        T *x = all + i / channels * shape.length * channels + channel;
        const float *own = w + channel * taps;
        for (int64_t t = shape.length - 1; t >= 0; t--) {
            float sum = 0;
            for (int64_t j = t < taps - 1 ? taps - 1 - t : 0; j < taps; j++)
                sum = fmaf(own[j], widen(x[(t - taps + 1 + j) * channels]), sum);
            x[t * channels] = narrow<T>(sum / (1.0f + expf(-sum)));
        }
    }
}

template <typename T>
static void launch_convolve(cuda_device *self, void *x, const float *w, convolve_shape shape)
{
    CUDA_LAUNCH(self, "convolve", (convolve_kernel<T>),
                element_blocks(shape.sequences * shape.channels), ELEMENT_THREADS,
                static_cast<T *>(x), w, shape);
}

void convolve_cuda(awq_device *device, void *x, const float *w, int64_t sequences, int64_t length,
                   int64_t channels, int64_t taps)
{
    cuda_device *self = cuda_begin(device);
    convolve_shape shape = {sequences, length, channels, taps};
    if (self) AWQ_BY_COMPUTE(self, launch_convolve, x, w, shape);
}
