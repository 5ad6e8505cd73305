/* SPDX-License-Identifier: MIT
 * kernels/backend_list.h - which backends this build has. The only #ifdef of its kind. */
#ifndef AWQ_KERNELS_BACKEND_LIST_H
#define AWQ_KERNELS_BACKEND_LIST_H

#include "kernels/backend.h"

extern const awq_backend awq_backend_cpu;

/* Best first. */
#ifdef AWQ_HAVE_CUDA
extern const awq_backend awq_backend_cuda;
#define AWQ_BACKEND_LIST(X) X(awq_backend_cuda) X(awq_backend_cpu)
#else
#define AWQ_BACKEND_LIST(X) X(awq_backend_cpu)
#endif

#endif
