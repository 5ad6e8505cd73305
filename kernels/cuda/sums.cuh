/* SPDX-License-Identifier: MIT
 * kernels/cuda/sums.cuh - the sum of float64 parts on the device, in an order that their number
 * fixes, to the host. */
#ifndef AWQ_KERNELS_CUDA_SUMS_CUH
#define AWQ_KERNELS_CUDA_SUMS_CUH

#include "kernels/cuda/device.cuh"

/* Waits. Destroys part[0]. */
awq_status cuda_sum(cuda_device *self, const char *verb, double *part, int64_t count, double *sum,
                    awq_error *err);

#endif
