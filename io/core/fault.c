/* SPDX-License-Identifier: MIT */
#include "io/core/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long hits; /* of the one point that AWQ_FAULT names */

void awq_fault_point(const char *name)
{
    const char *fault = getenv("AWQ_FAULT");
    if (!fault) return;
    size_t length = strcspn(fault, ":");
    if (length != strlen(name) || strncmp(fault, name, length) != 0) return;
    long nth = fault[length] ? strtol(fault + length + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&hits, 1) + 1 == nth) raise(SIGKILL);
}
