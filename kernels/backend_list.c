/* SPDX-License-Identifier: MIT */
#include "kernels/backend_list.h"

#include <string.h>

#define AWQ_BACKEND_ENTRY(backend) &backend,
static const awq_backend *const backends[] = {AWQ_BACKEND_LIST(AWQ_BACKEND_ENTRY) NULL};
#undef AWQ_BACKEND_ENTRY

const awq_backend *const *awq_backends(void)
{
    return backends;
}

const awq_backend *awq_backend_find(const char *name)
{
    for (const awq_backend *const *backend = backends; *backend; backend++)
        if (!strcmp(name, (*backend)->name)) return *backend;
    return NULL;
}
