/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/library.cuh"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 4096 };

/* The first that matches lib/python3.N/site-packages/nvidia/PACKAGE/lib/NAME. */
static void *open_in_python(const char *environment, const char *name)
{
    char pattern[PATH_BYTES];
    glob_t found = {};
    void *library = NULL;
    const char *prefix = getenv(environment);
    if (!prefix) return NULL;
    int length = snprintf(pattern, sizeof pattern, "%s/lib/python3*/site-packages/nvidia/*/lib/%s",
                          prefix, name);
    if (length < PATH_BYTES && !glob(pattern, 0, NULL, &found))
        library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
    globfree(&found);
    return library;
}

void *cuda_open_library(const char *name, const char *folder)
{
    char path[PATH_BYTES];
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library && snprintf(path, sizeof path, "%s/%s", folder, name) < PATH_BYTES)
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) library = open_in_python("VIRTUAL_ENV", name);
    if (!library) library = open_in_python("CONDA_PREFIX", name);
    return library;
}
