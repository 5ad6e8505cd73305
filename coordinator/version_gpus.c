/* SPDX-License-Identifier: MIT */
#include "coordinator/version_gpus.h"

#include <stdio.h>
#include <string.h>

enum { MOST_GPUS = 16 };

/* The least compute capability, times ten, of the kernels that serve AWQ checkpoints in vLLM. */
static const struct serving_kernel {
    const char *name;
    int capability;
} kernels[] = {{"GEMM", 75}, {"Marlin", 80}};

static json_t *serving_kernels(const awq_gpu *gpu)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (10 * gpu->major + gpu->minor >= kernels[i].capability)
            json_array_append_new(names, json_string(kernels[i].name));
    return names;
}

static json_t *describe(const awq_gpu *gpu)
{
    char capability[32];
    snprintf(capability, sizeof capability, "%d.%d", gpu->major, gpu->minor);
    return json_pack("{s:s, s:s, s:I, s:o}", "name", gpu->name, "compute_capability", capability,
                     "memory_bytes", (json_int_t)gpu->memory_bytes, "awq_kernels",
                     serving_kernels(gpu));
}

void awq_version_add_gpus(json_t *versions, const awq_worker_half *half)
{
    awq_gpu gpus[MOST_GPUS];
    awq_error err;
    int count = half->gpus(gpus, MOST_GPUS, &err);
    json_t *list = json_array();
    for (int i = 0; i < count && i < MOST_GPUS; i++)
        json_array_append_new(list, describe(&gpus[i]));
    json_object_set_new(versions, "driver", count ? json_string(gpus[0].driver) : json_null());
    json_object_set_new(versions, "GPUs", list);
    if (!count) json_object_set_new(versions, "no_GPU", json_string(err.text));
}

static void print_gpu(size_t index, const json_t *gpu)
{
    const json_t *names = json_object_get(gpu, "awq_kernels");
    double memory = (double)json_integer_value(json_object_get(gpu, "memory_bytes"));
    printf("GPU %-5zu %s, compute capability %s, %.1f GB; AWQ kernels:", index,
           json_string_value(json_object_get(gpu, "name")),
           json_string_value(json_object_get(gpu, "compute_capability")), memory / 1e9);
    size_t i;
    const json_t *name;
    json_array_foreach(names, i, name) printf("%s %s", i ? "," : "", json_string_value(name));
    puts(json_array_size(names) ? "" : " none");
}

bool awq_version_is_gpus(const char *name, const json_t *value)
{
    return json_is_array(value) || !strcmp(name, "driver") || !strcmp(name, "no_GPU");
}

void awq_version_print_gpus(const json_t *versions)
{
    size_t i;
    const json_t *gpu, *driver = json_object_get(versions, "driver");
    if (json_is_string(driver)) printf("driver    CUDA %s\n", json_string_value(driver));
    json_array_foreach(json_object_get(versions, "GPUs"), i, gpu) print_gpu(i, gpu);
    const json_t *none = json_object_get(versions, "no_GPU");
    if (none) printf("GPU       none: %s\n", json_string_value(none));
}
