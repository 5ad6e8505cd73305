/* SPDX-License-Identifier: MIT */
#include "tests/unit/kernels/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bench under_test;
const awq_backend *be;
awq_device *device;

bool bench_open(bench *b, const awq_backend *backend, awq_dtype compute, int threads)
{
    awq_error err;
    awq_device_options options = {.threads = threads, .compute = compute};
    *b = (bench){.be = backend, .compute = compute, .random = 1};
    return backend->open(&options, &b->device, &err) == AWQ_OK;
}

void bench_clear(bench *b)
{
    while (b->hosts) free(b->host[--b->hosts]);
    while (b->on_devices) b->be->release(b->device, b->on_device[--b->on_devices]);
    b->random = 1;
}

void bench_close(bench *b)
{
    bench_clear(b);
    b->be->close(b->device);
}

static int clear_bench(void **state)
{
    (void)state;
    bench_clear(&under_test);
    return 0;
}

static int run_on(const awq_backend *backend, awq_dtype compute, const char *name,
                  const struct CMUnitTest *tests, size_t count)
{
    struct CMUnitTest copy[64];
    char title[128];
    if (!bench_open(&under_test, backend, compute, 2)) {
        print_message("%s does not open here: skipped\n", backend->name);
        return 0;
    }
    be = backend;
    device = under_test.device;
    memcpy(copy, tests, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) copy[i].teardown_func = clear_bench;
    snprintf(title, sizeof title, "%s on %s, %s", name, backend->name, awq_dtype_name(compute));
    print_message("%s\n", title);
    int failures = _cmocka_run_group_tests(title, copy, count, NULL, NULL);
    bench_close(&under_test);
    return failures;
}

int bench_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
    int failures = 0;
    for (const awq_backend *const *backend = awq_backends(); *backend; backend++) {
        if ((*backend)->compute_bytes == 4) {
            failures += run_on(*backend, AWQ_F32, name, tests, count);
            continue;
        }
        failures += run_on(*backend, AWQ_F16, name, tests, count);
        failures += run_on(*backend, AWQ_BF16, name, tests, count);
    }
    return failures;
}

void *host_array(size_t bytes)
{
    assert_true(under_test.hosts < BENCH_ARRAYS);
    void *array = calloc(1, bytes + 1);
    assert_non_null(array);
    return under_test.host[under_test.hosts++] = array;
}

double *host_doubles(int64_t count)
{
    return host_array((size_t)count * sizeof(double));
}

/* xorshift64*, to (-1, 1). */
static float next_random(void)
{
    uint64_t x = under_test.random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    under_test.random = x;
    return (float)((double)(x * 0x2545f4914f6cdd1du >> 11) * 0x1p-52 - 1);
}

float *host_random(int64_t count, float magnitude)
{
    float *array = host_array((size_t)count * sizeof *array);
    for (int64_t i = 0; i < count; i++) array[i] = magnitude * next_random();
    return array;
}

float *host_activations(int64_t count, float magnitude)
{
    float *array = host_random(count, magnitude);
    void *narrow = host_array((size_t)count * sizeof(float));
    awq_narrow(narrow, array, under_test.compute, (size_t)count);
    awq_widen(array, narrow, under_test.compute, (size_t)count);
    return array;
}

size_t compute_bytes(int64_t count)
{
    return (size_t)count * under_test.be->compute_bytes;
}

void *device_array(size_t bytes)
{
    awq_error err;
    void *array;
    assert_true(under_test.on_devices < BENCH_ARRAYS);
    must(under_test.be->alloc(under_test.device, bytes, "a test", &array, &err));
    return under_test.on_device[under_test.on_devices++] = array;
}

void *device_bytes(const void *host, size_t bytes)
{
    void *array = device_array(bytes);
    under_test.be->upload(under_test.device, array, host, bytes);
    return array;
}

float *device_floats(const float *host, int64_t count)
{
    return device_bytes(host, (size_t)count * sizeof *host);
}

void *device_compute(const float *host, int64_t count)
{
    void *array = device_array(compute_bytes(count));
    under_test.be->load(under_test.device, array, host, AWQ_F32, (size_t)count);
    return array;
}

void *fetch_bytes(const void *array, size_t bytes)
{
    awq_error err;
    void *host = host_array(bytes);
    must(under_test.be->download(under_test.device, host, array, bytes, &err));
    return host;
}

float *fetch_floats(const float *array, int64_t count)
{
    return fetch_bytes(array, (size_t)count * sizeof *array);
}

float *fetch_compute(const void *array, int64_t count)
{
    float *host = host_array((size_t)count * sizeof *host);
    awq_widen(host, fetch_bytes(array, compute_bytes(count)), under_test.compute, (size_t)count);
    return host;
}

void assert_close(const float *value, const double *reference, int64_t count, double tolerance)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(reference[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)value[i] - reference[i]) <= tolerance * largest))
            fail_msg("element %lld of %lld is %.9g, should be %.9g within %.3g", (long long)i,
                     (long long)count, (double)value[i], reference[i], tolerance * largest);
}

double product_tolerance(int64_t terms)
{
    double result = under_test.compute == AWQ_F32   ? 0x1p-24
                    : under_test.compute == AWQ_F16 ? 0x1p-11
                                                    : 0x1p-8;
    return result + (double)terms * 0x1p-24;
}
