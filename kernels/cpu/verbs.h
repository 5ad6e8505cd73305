/* SPDX-License-Identifier: MIT
 * kernels/cpu/verbs.h - the CPU's verbs: norm_cpu and so on. kernels/backend.h says what they
 * do. */
#ifndef AWQ_KERNELS_CPU_VERBS_H
#define AWQ_KERNELS_CPU_VERBS_H

#include "kernels/cpu/device.h"
#include "kernels/verbs.h"

#define DECLARE(verb) AWQ_DECLARE_VERB(verb, verb##_cpu)
AWQ_VERB_LIST(DECLARE)
#undef DECLARE

#endif
