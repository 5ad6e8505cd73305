/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernels/backend.h"

cpu_blas_table cpu_blas;
static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;
static char warning[256];

/* One for each level, so that few processors differ: OpenBLAS's other cores of a level (Zen,
 * Cooperlake) are no faster. Then those that it may have been made for or told to run. */
enum { CHOICES = 2 };
static const struct core {
    const char *name;
    int level;
} cores[] = {{"SkylakeX", CPU_AVX512},
             {"Haswell", CPU_AVX2},
             {"Cooperlake", CPU_AVX512},
             {"SapphireRapids", CPU_AVX512},
             {"Zen", CPU_AVX2}};

static int level_of(const char *name)
{
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (!strcasecmp(name, cores[i].name)) return cores[i].level;
    return CPU_BASE;
}

int awq_processor(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return CPU_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CPU_AVX2;
#endif
    return CPU_BASE;
}

const char *cpu_blas_choose(int level, const char *earlier)
{
    const char *space = earlier ? strrchr(earlier, ' ') : NULL;
    for (int i = 0; space && i < CHOICES; i++)
        if (!strcmp(space + 1, cores[i].name) && cores[i].level <= level) return cores[i].name;
    for (int i = 0; i < CHOICES; i++)
        if (cores[i].level <= level) return cores[i].name;
    return "";
}

/* The loader's path first, then where it was when this was built. */
static void *open_library(awq_error *err)
{
    static const char *const names[] = {"libopenblas.so.0",
                                        AWQ_OPENBLAS_FOLDER "/libopenblas.so.0"};
    for (int i = 0; i < 2; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    awq_fail(err, AWQ_ERR_DEVICE,
             "cannot load '%s'; install OpenBLAS (Debian: libopenblas0), or add its folder to "
             "LD_LIBRARY_PATH",
             names[0]);
    return NULL;
}

/* "0.3.21" of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH .." */
void cpu_blas_version(char *out, size_t bytes)
{
    const char *config = cpu_blas.config(), *space = strchr(config, ' ');
    const char *version = space ? space + 1 : config;
    snprintf(out, bytes, "%.*s", (int)strcspn(version, " "), version);
}

static void compare_with_processor(const char *chosen, const char *of_user)
{
    int here = awq_processor(), runs = level_of(cpu_blas.core());
    const char *why = "it has no better ones";
    if (runs >= here) return;
    if (of_user)
        why = "OPENBLAS_CORETYPE is set";
    else if (runs == level_of(chosen))
        why = "another worker's processor cannot, or the job was begun with them";
    snprintf(warning, sizeof warning,
             "OpenBLAS runs its %s kernels, and this processor can run those of %s: %s",
             cpu_blas.core(), cpu_blas_choose(here, NULL), why);
}

/* OpenBLAS reads its environment when it is loaded, and has no other way to be told. This is once,
 * before anything is computed; a later try of a load that failed knows whose value it finds. */
static awq_status load(const char *chosen, awq_error *err)
{
    static bool ours;
    const char *of_user = ours ? NULL : getenv("OPENBLAS_CORETYPE");
    if (of_user && !*of_user) of_user = NULL;
    ours = !of_user;
    if (!of_user && *chosen) setenv("OPENBLAS_CORETYPE", chosen, 1);
    void *library = open_library(err);
    if (!library) return err->status;
    bool whole = true;
#define LINK(member, function)                                                                     \
    cpu_blas.member = (__typeof__(cpu_blas.member))dlsym(library, #function);                      \
    whole = whole && cpu_blas.member;
    CPU_BLAS_LIST(LINK)
#undef LINK
    if (!whole)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "libopenblas lacks a function; install OpenBLAS 0.3 with CBLAS");
    cpu_blas.set_threads(1);
    compare_with_processor(chosen, of_user);
    return AWQ_OK;
}

awq_status cpu_blas_load(int level, const char *earlier, awq_error *err)
{
    pthread_mutex_lock(&load_lock);
    awq_status status = AWQ_OK;
    if (!loaded) status = load(cpu_blas_choose(level ? level : awq_processor(), earlier), err);
    loaded = status == AWQ_OK;
    pthread_mutex_unlock(&load_lock);
    return status;
}

const char *cpu_blas_warning(void)
{
    return warning;
}
