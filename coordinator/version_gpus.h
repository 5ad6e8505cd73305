/* SPDX-License-Identifier: MIT
 * coordinator/version_gpus.h - the part of `awqrun version` that is about this machine's GPUs. */
#ifndef AWQ_COORDINATOR_VERSION_GPUS_H
#define AWQ_COORDINATOR_VERSION_GPUS_H

#include <jansson.h>

#include "coordinator/crew.h"

/* Adds "driver" (null: none), "GPUs" and, where there are none, "no_GPU": why. */
void awq_version_add_gpus(json_t *versions, const awq_worker_half *half);
/* Whether an entry is one of those, and not a library's version. */
bool awq_version_is_gpus(const char *name, const json_t *value);
/* The driver's version and a line for each GPU, or one that says why there is none. */
void awq_version_print_gpus(const json_t *versions);

#endif
