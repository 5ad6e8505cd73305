/* SPDX-License-Identifier: MIT
 * awqrun version: this build, and the libraries that it runs with; or the families of models that
 * it quantizes. */
#include <hdf5.h>
#include <jansson.h>
#include <libdeflate.h>
#include <mpi.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <zlib.h>

#include "coordinator/commands/commands.h"
#include "io/families/traits.h"
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
    tell(versions, "libdeflate", LIBDEFLATE_VERSION_STRING);
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

/* ---- families ---- */

static json_t *also_json(const awq_traits *traits)
{
    json_t *list = json_array();
    for (int i = 0; i < traits->most_also && traits->also[i]; i++)
        json_array_append_new(list, json_string(traits->also[i]));
    return list;
}

static json_t *families_json(void)
{
    awq_traits traits;
    json_t *list = json_array();
    for (int i = 0; awq_traits_at(i, &traits); i++)
        json_array_append_new(list, json_pack("{s:s, s:o, s:b, s:s, s:s}", "model_type",
                                              traits.model_type, "also", also_json(&traits),
                                              "mixture", (int)traits.mixture, "traits", traits.text,
                                              "full_precision", traits.kept));
    return list;
}

static void print_families(void)
{
    awq_traits traits;
    for (int i = 0; awq_traits_at(i, &traits); i++) {
        printf("%-18s %-8s %s; in full precision: %s", traits.model_type,
               traits.mixture ? "mixture" : "dense", traits.text, traits.kept);
        for (int j = 0; j < traits.most_also && traits.also[j]; j++)
            printf("%s%s", j ? ", " : "; also ", traits.also[j]);
        puts("");
    }
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

static json_t *versions_json(void)
{
    json_t *versions = json_object();
    tell(versions, "awqrun", AWQ_VERSION);
    tell_libraries(versions);
    tell_backends(versions);
    add_gpus(versions);
    return versions;
}

int awq_command_version(const awq_call *call)
{
    const awq_options *options = call->options;
    json_t *result = options->models ? families_json() : versions_json();
    char *text = options->json ? json_dumps(result, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    else if (options->models)
        print_families();
    else
        print(result);
    free(text);
    json_decref(result);
    return AWQ_EXIT_DONE;
}
