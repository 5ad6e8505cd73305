/* SPDX-License-Identifier: MIT
 * awqrun version: this build, and the libraries that it runs with. */
#include <hdf5.h>
#include <jansson.h>
#include <mpi.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <zlib.h>

#include "coordinator/commands/commands.h"
#include "worker/worker.h"

static void tell(json_t *versions, const char *name, const char *version)
{
    json_object_set_new(versions, name, json_string(version));
}

static void tell_libraries(json_t *versions)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    unsigned major, minor, patch;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    tell(versions, "MPI", text);
    H5get_libversion(&major, &minor, &patch);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, patch);
    tell(versions, "HDF5", text);
    tell(versions, "zlib", zlibVersion());
    tell(versions, "jansson", jansson_version_str());
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) <= (int)sizeof text) { /* "10.42 2022-12-11" */
        pcre2_config(PCRE2_CONFIG_VERSION, text);
        tell(versions, "PCRE2", text);
    }
    tell(versions, "utf8proc", utf8proc_version());
}

/* "OpenBLAS 0.3.21 ...": a name, and what is said of it. */
static void tell_backends(json_t *versions)
{
    const char *text;
    char name[32];
    for (int i = 0; (text = awq_worker_library(i)); i++) {
        size_t length = strcspn(text, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, text);
        tell(versions, name, text + length + (text[length] == ' '));
    }
    static const char *const of_gpus[] = {"CUDA", "NCCL", NULL};
    for (int i = 0; of_gpus[i]; i++)
        if (!json_object_get(versions, of_gpus[i]))
            json_object_set_new(versions, of_gpus[i], json_null());
}

/* ---- this machine's GPUs ---- */

enum { MOST_GPUS = 16 };

/* The least compute capability, times ten, of the kernels that serve AWQ checkpoints in vLLM. */
static const struct serving_kernel {
    const char *name;
    int capability;
} kernels[] = {{"GEMM", 75}, {"Marlin", 80}};

/* Adds "driver" (null: none), "GPUs" and, where there are none, "no_GPU": why. */
static void add_gpus(json_t *versions)
{
    awq_device_facts gpus[MOST_GPUS];
    awq_error err;
    int count = awq_worker_gpus(gpus, MOST_GPUS, &err);
    json_t *list = json_array();
    for (int g = 0; g < count && g < MOST_GPUS; g++) {
        const awq_device_facts *gpu = &gpus[g];
        char capability[32];
        json_t *names = json_array();
        for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
            if (10 * gpu->major + gpu->minor >= kernels[i].capability)
                json_array_append_new(names, json_string(kernels[i].name));
        snprintf(capability, sizeof capability, "%d.%d", gpu->major, gpu->minor);
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:o}", "name", gpu->name,
                                              "compute_capability", capability, "memory_bytes",
                                              (json_int_t)gpu->memory_bytes, "awq_kernels", names));
    }
    json_object_set_new(versions, "driver", count ? json_string(gpus[0].driver) : json_null());
    json_object_set_new(versions, "GPUs", list);
    if (!count) json_object_set_new(versions, "no_GPU", json_string(err.text));
}

/* The driver's version and a line for each GPU, or one that says why there is none. */
static void print_gpus(const json_t *versions)
{
    size_t i, j;
    const json_t *gpu, *name, *driver = json_object_get(versions, "driver");
    if (json_is_string(driver)) printf("driver    CUDA %s\n", json_string_value(driver));
    json_array_foreach(json_object_get(versions, "GPUs"), i, gpu)
    {
        const json_t *names = json_object_get(gpu, "awq_kernels");
        double memory = (double)json_integer_value(json_object_get(gpu, "memory_bytes"));
        printf("GPU %-5zu %s, compute capability %s, %.1f GB; AWQ kernels:", i,
               json_string_value(json_object_get(gpu, "name")),
               json_string_value(json_object_get(gpu, "compute_capability")), memory / 1e9);
        json_array_foreach(names, j, name) printf("%s %s", j ? "," : "", json_string_value(name));
        puts(json_array_size(names) ? "" : " none");
    }
    const json_t *none = json_object_get(versions, "no_GPU");
    if (none) printf("GPU       none: %s\n", json_string_value(none));
}

/* ---- the whole ---- */

static void print(const json_t *versions)
{
    const char *name;
    json_t *version;
    json_object_foreach((json_t *)(uintptr_t)versions, name, version)
    {
        if (json_is_array(version) || !strcmp(name, "driver") || !strcmp(name, "no_GPU")) continue;
        const char *text = json_is_null(version) ? "not in this build" : json_string_value(version);
        printf("%-*s %s\n", strcmp(name, "awqrun") ? 9 : 1, name, text);
    }
    print_gpus(versions);
}

int awq_command_version(const awq_call *call)
{
    json_t *versions = json_object();
    tell(versions, "awqrun", AWQ_VERSION);
    tell_libraries(versions);
    tell_backends(versions);
    add_gpus(versions);
    char *text = call->options->json ? json_dumps(versions, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    else
        print(versions);
    free(text);
    json_decref(versions);
    return AWQ_EXIT_DONE;
}
