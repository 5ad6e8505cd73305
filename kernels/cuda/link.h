/* SPDX-License-Identifier: MIT
 * kernels/cuda/link.h - the GPU's links. Private to this folder. */
#ifndef AWQ_KERNELS_CUDA_LINK_H
#define AWQ_KERNELS_CUDA_LINK_H

#include "kernels/link.h"

#ifdef AWQ_HAVE_NCCL
extern const awq_links awq_links_cuda;
#define AWQ_LINKS_CUDA &awq_links_cuda
#else
#define AWQ_LINKS_CUDA NULL
#endif

#endif
