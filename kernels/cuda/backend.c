/* SPDX-License-Identifier: MIT
 * kernels/cuda/backend.c - the GPU's table. */
#include "kernels/backend_list.h"
#include "kernels/cuda/verbs.h"

#define MEMBER(verb) .verb = verb##_cuda,
const awq_backend awq_backend_cuda = {.name = "cuda",
                                      .compute_bytes = 2,
                                      .links = AWQ_LINKS_CUDA,
                                      MEMBER(survey) AWQ_VERB_LIST(MEMBER)};
#undef MEMBER
