/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/backends.c - stands in for kernels/backend_list.c: a build whose only backend
 * is the emulated one. */
#include <stddef.h>

#include "kernels/backend_list.h"

static const awq_backend *const backends[] = {&awq_backend_cuda, NULL};

const awq_backend *const *awq_backends(void)
{
    return backends;
}
