/* SPDX-License-Identifier: MIT
 * kernels/cpu/backend.c - the CPU's table. */
#include "kernels/backend_list.h"
#include "kernels/cpu/verbs.h"

#define MEMBER(verb) .verb = verb##_cpu,
const awq_backend awq_backend_cpu = {
    .name = "cpu", .compute_bytes = sizeof(float), AWQ_VERB_LIST(MEMBER)};
#undef MEMBER
