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

#include "coordinator/commands.h"
#include "coordinator/version_gpus.h"

static void tell(json_t *versions, const char *name, const char *version)
{
    json_object_set_new(versions, name, json_string(version));
}

static void tell_mpi(json_t *versions)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    tell(versions, "MPI", text);
}

static void tell_hdf5(json_t *versions)
{
    char text[64];
    unsigned major, minor, patch;
    H5get_libversion(&major, &minor, &patch);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, patch);
    tell(versions, "HDF5", text);
}

static void tell_pcre2(json_t *versions)
{
    char text[64]; /* "10.42 2022-12-11" */
    if (pcre2_config(PCRE2_CONFIG_VERSION, NULL) > (int)sizeof text) return;
    pcre2_config(PCRE2_CONFIG_VERSION, text);
    tell(versions, "PCRE2", text);
}

/* "OpenBLAS 0.3.21 ...": a name, and what is said of it. */
static void tell_backends(json_t *versions, const awq_worker_half *half)
{
    const char *text;
    char name[32];
    for (int i = 0; (text = half->library(i)); i++) {
        size_t length = strcspn(text, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, text);
        tell(versions, name, text + length + (text[length] == ' '));
    }
    static const char *const of_gpus[] = {"CUDA", "NCCL", NULL};
    for (int i = 0; of_gpus[i]; i++)
        if (!json_object_get(versions, of_gpus[i]))
            json_object_set_new(versions, of_gpus[i], json_null());
}

static void print(const json_t *versions)
{
    const char *name;
    json_t *version;
    json_object_foreach((json_t *)(uintptr_t)versions, name, version)
    {
        if (awq_version_is_gpus(name, version)) continue;
        const char *text = json_is_null(version) ? "not in this build" : json_string_value(version);
        printf("%-*s %s\n", strcmp(name, "awqrun") ? 9 : 1, name, text);
    }
    awq_version_print_gpus(versions);
}

int awq_command_version(const awq_call *call)
{
    json_t *versions = json_object();
    tell(versions, "awqrun", AWQ_VERSION);
    tell_mpi(versions);
    tell_hdf5(versions);
    tell(versions, "zlib", zlibVersion());
    tell(versions, "jansson", jansson_version_str());
    tell_pcre2(versions);
    tell(versions, "utf8proc", utf8proc_version());
    tell_backends(versions, call->half);
    awq_version_add_gpus(versions, call->half);
    char *text = call->options->json ? json_dumps(versions, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    else
        print(versions);
    free(text);
    json_decref(versions);
    return AWQ_EXIT_DONE;
}
