/* SPDX-License-Identifier: MIT
 * kernels/cuda/staging.cuh - copies through the pinned slots, for who holds their lock. */
#ifndef AWQ_KERNELS_CUDA_STAGING_CUH
#define AWQ_KERNELS_CUDA_STAGING_CUH

#include "kernels/cuda/device.cuh"

/* As cuda_send and cuda_fetch. */
void cuda_send_locked(cuda_device *self, const char *verb, void *to, const void *host,
                      size_t bytes);
awq_status cuda_fetch_locked(cuda_device *self, const char *verb, void *host, const void *from,
                             size_t bytes, awq_error *err);

#endif
