/* SPDX-License-Identifier: MIT
 * kernels/cuda/verbs.h - the GPU's verbs: norm_cuda and so on, and its links. kernels/backend.h
 * says what they do. C and CUDA C++ both include this. */
#ifndef AWQ_KERNELS_CUDA_VERBS_H
#define AWQ_KERNELS_CUDA_VERBS_H

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/backend_list.h"
#include "kernels/verbs.h"

#define DECLARE(verb) AWQ_DECLARE_VERB(verb, verb##_cuda)
AWQ_VERB_LIST(DECLARE)
DECLARE(survey)
#undef DECLARE

#ifdef AWQ_HAVE_NCCL
extern const awq_links awq_links_cuda;
#define AWQ_LINKS_CUDA &awq_links_cuda
#else
#define AWQ_LINKS_CUDA NULL
#endif

#ifdef __cplusplus
}
#endif

#endif
