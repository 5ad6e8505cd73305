/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/bench.h - a device under test, and arrays on their way to it and back.
 *
 * Inputs of the compute type are rounded to it on the host too, so that a reference sees what the
 * device sees. Every array lives until bench_clear. */
#ifndef AWQ_TESTS_KERNELS_BENCH_H
#define AWQ_TESTS_KERNELS_BENCH_H

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "kernels/backend.h"

#define must(call)                                                                                 \
    do {                                                                                           \
        if (call) fail_msg("%s", err.text);                                                        \
    } while (0)

enum { BENCH_ARRAYS = 64 };

typedef struct bench {
    const awq_backend *be;
    awq_device *device;
    awq_dtype compute; /* F32 on the CPU */
    void *host[BENCH_ARRAYS], *on_device[BENCH_ARRAYS];
    int hosts, on_devices;
    uint64_t random;
} bench;

/* The bench that the running test is on, and its parts. */
extern bench under_test;
extern const awq_backend *be;
extern awq_device *device;

/* Runs the tests on every backend and compute type that opens here. Returns the failures. */
int bench_run(const char *name, const struct CMUnitTest *tests, size_t count);
#define BENCH_RUN(tests) bench_run(#tests, tests, sizeof(tests) / sizeof *(tests))

/* Opens and closes a bench outside bench_run. */
bool bench_open(bench *b, const awq_backend *backend, awq_dtype compute, int threads);
void bench_clear(bench *b);
void bench_close(bench *b);

/* Host arrays. */
void *host_array(size_t bytes);      /* zeroed */
double *host_doubles(int64_t count); /* zeroed */
float *host_random(int64_t count, float magnitude);
/* Random, rounded to the compute type. */
float *host_activations(int64_t count, float magnitude);

/* Device arrays. */
void *device_array(size_t bytes);
float *device_floats(const float *host, int64_t count);
void *device_compute(const float *host, int64_t count);
void *device_bytes(const void *host, size_t bytes);
size_t compute_bytes(int64_t count);
/* Copies back to new host arrays. */
float *fetch_floats(const float *array, int64_t count);
float *fetch_compute(const void *array, int64_t count);
void *fetch_bytes(const void *array, size_t bytes);

/* Largest |value - reference| over the largest |reference| is at most `tolerance`. */
void assert_close(const float *value, const double *reference, int64_t count, double tolerance);
/* What one product of n terms may be wrong by, relative to its size; 16-bit outputs included. */
double product_tolerance(int64_t terms);

#endif
