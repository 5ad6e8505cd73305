/* SPDX-License-Identifier: MIT
 * tests/gpu/probe.cu - what the CUDA backend takes for granted and documentation does not settle,
 * asked of the first GPU; then the GPU's rates. Products go through the backend as it opens itself,
 * so that their math mode is the program's. One line an answer; the exit status is 1 if one is
 * wrong. Takes 3 GiB of the GPU's memory, allocated plainly. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/device.cuh"

extern "C" {
#include "kernels/backend_list.h"
}

static int failures;

static void answer(bool right, const char *question, const char *said)
{
    printf("%-4s %s: %s\n", right ? "ok" : "BAD", question, said);
    failures += !right;
}

static void must(bool well, const char *what, const char *why)
{
    if (well) return;
    fprintf(stderr, "probe: %s: %s\n", what, why);
    exit(1);
}

static void must_cuda(cudaError_t error, const char *what)
{
    must(error == cudaSuccess, what, cudaGetErrorString(error));
}

static void *device_memory(size_t bytes)
{
    void *memory = NULL;
    must_cuda(cudaMalloc(&memory, bytes), "memory on the GPU");
    return memory;
}

/* ---- the runtime ---- */

static void ask_pools(int index)
{
    int pools = 0;
    must_cuda(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, index), "attributes");
    answer(pools == 1, "memory pools are supported", pools ? "yes" : "no");
}

/* The backend does not do it; whether it could is not documented. */
static void ask_free_of_null(cudaStream_t stream)
{
    cudaError_t said = cudaFreeAsync(NULL, stream), left = cudaGetLastError();
    printf("info cudaFreeAsync(NULL): %s, and %s is left behind\n", cudaGetErrorName(said),
           cudaGetErrorName(left));
}

/* Links poll events, and clear what that may leave behind. */
static void ask_query(cudaStream_t stream, char *memory, size_t bytes)
{
    cudaEvent_t event;
    must_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
    for (int i = 0; i < 32; i++)
        must_cuda(cudaMemcpyAsync(memory, memory + bytes, bytes, cudaMemcpyDeviceToDevice, stream),
                  "a copy");
    must_cuda(cudaEventRecord(event, stream), "an event");
    cudaError_t said = cudaEventQuery(event), left = cudaGetLastError();
    printf("info cudaEventQuery before work is done: %s, and %s is left behind\n",
           cudaGetErrorName(said), cudaGetErrorName(left));
    must_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    must_cuda(cudaEventDestroy(event), "an event");
}

/* ---- products ---- */

static float wide(uint16_t stored)
{
    uint32_t bits = static_cast<uint32_t>(stored) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* bfloat16 of either sign, 0.5 to 2: products are exact in float32. */
static void fill(uint16_t *to, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t z = (static_cast<uint32_t>(i) * 2654435761u) ^ seed;
        z = (z ^ z >> 15) * 2246822519u;
        z ^= z >> 13;
        to[i] = static_cast<uint16_t>((z & 0x8000) | (0x3f00 + (z & 0xff)));
    }
}

static void *random_matrix(awq_device *device, uint16_t *host, size_t count, uint32_t seed)
{
    void *to = device_memory(count * sizeof *host);
    fill(host, count, seed);
    device->backend->upload(device, to, host, count * sizeof *host);
    return to;
}

/* y [m, n] = x [m, k] w^T beside the same sums in float64, a part of them. The worst error, in
 * halves of the last of bfloat16's 8 digits, less what float32 may lose on the way: at most 1 where
 * a sum is rounded once, several where the parts of a split sum are added in 16 bits. */
static double worst_error(const uint16_t *x, const uint16_t *w, const uint16_t *y, int64_t n,
                          int64_t k)
{
    enum { ROWS = 8, COLUMNS = 128 };
    double worst = 0;
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        const uint16_t *row = x + i / COLUMNS * k, *column = w + i % COLUMNS * k;
        double sum = 0, sizes = 0;
        int exponent;
        for (int64_t c = 0; c < k; c++) {
            double product = static_cast<double>(wide(row[c])) * wide(column[c]);
            sum += product;
            sizes += fabs(product);
        }
        frexp(sum, &exponent);
        double error = fabs(wide(y[i / COLUMNS * n + i % COLUMNS]) - sum) - ldexp(sizes, -21);
        worst = fmax(worst, error / ldexp(1, exponent - 9));
    }
    return worst;
}

static void ask_product(awq_device *device, int64_t m, int64_t n, int64_t k)
{
    const size_t counts[] = {static_cast<size_t>(m * k), static_cast<size_t>(n * k),
                             static_cast<size_t>(m * n)};
    uint16_t *host[3];
    void *on_device[3];
    awq_error err;
    awq_extent extent = {n, k};
    char question[96], said[64];
    for (int i = 0; i < 3; i++) {
        host[i] = static_cast<uint16_t *>(malloc(counts[i] * sizeof *host[i]));
        must(host[i], "memory", "there is none");
        on_device[i] = random_matrix(device, host[i], counts[i], static_cast<uint32_t>(i));
    }
    device->backend->linear(device, on_device[2], on_device[0], on_device[1], NULL, m, extent);
    awq_status status =
        device->backend->download(device, host[2], on_device[2], counts[2] * sizeof *host[2], &err);
    must(!status, "a product", err.text);
    double worst = worst_error(host[0], host[1], host[2], n, k);
    snprintf(question, sizeof question, "bfloat16 %d x %d x %d is rounded once",
             static_cast<int>(m), static_cast<int>(n), static_cast<int>(k));
    snprintf(said, sizeof said, "at most %.3f halves of the last place off", worst);
    answer(worst <= 1, question, said);
    for (int i = 0; i < 3; i++) {
        must_cuda(cudaFree(on_device[i]), "freeing");
        free(host[i]);
    }
}

/* ---- rates ---- */

typedef struct job {
    awq_device *device;
    cudaStream_t stream;
    char *memory, *pinned; /* 2 GiB of random numbers; 64 MiB */
} job;

enum { SIDE = 8192, PINNED_BYTES = 64 << 20, REPEATS = 5 };
static const size_t HALF = 1 << 30, MATRIX = sizeof(uint16_t) * SIDE * SIDE;

static void copy_on_device(const job *j)
{
    must_cuda(
        cudaMemcpyAsync(j->memory, j->memory + HALF, HALF, cudaMemcpyDeviceToDevice, j->stream),
        "a copy");
}

static void copy_to_pinned(const job *j)
{
    must_cuda(
        cudaMemcpyAsync(j->pinned, j->memory, PINNED_BYTES, cudaMemcpyDeviceToHost, j->stream),
        "a copy");
}

static void multiply(const job *j)
{
    awq_extent extent = {SIDE, SIDE};
    j->device->backend->linear(j->device, j->memory, j->memory + HALF, j->memory + HALF + MATRIX,
                               NULL, SIDE, extent);
}

/* The best of several; one is `amount`, in billions or trillions of what the unit counts. */
static void print_rate(const job *j, const char *what, void (*run)(const job *), double amount,
                       const char *unit)
{
    cudaEvent_t begin, end;
    awq_error err;
    float least = INFINITY, took;
    must_cuda(cudaEventCreate(&begin), "an event");
    must_cuda(cudaEventCreate(&end), "an event");
    for (int i = 0; i <= REPEATS; i++) { /* the first one loads what it needs */
        must_cuda(cudaEventRecord(begin, j->stream), "an event");
        run(j);
        must_cuda(cudaEventRecord(end, j->stream), "an event");
        must(!j->device->backend->sync(j->device, &err), what, err.text);
        must_cuda(cudaEventElapsedTime(&took, begin, end), "an event");
        if (i) least = fminf(least, took);
    }
    printf("rate %s: %.0f %s\n", what, amount / (1e-3 * static_cast<double>(least)), unit);
    must_cuda(cudaEventDestroy(begin), "an event");
    must_cuda(cudaEventDestroy(end), "an event");
}

static void open_job(job *j)
{
    awq_error err;
    awq_device_options options = {};
    void *pinned = NULL;
    const awq_backend *backend = awq_backend_find("cuda");
    must(backend, "opening", "this build has no CUDA backend");
    options.compute = AWQ_BF16;
    must(!backend->open(&options, &j->device, &err), "opening", err.text);
    j->stream = reinterpret_cast<cuda_device *>(j->device)->stream;
    must_cuda(cudaMallocHost(&pinned, PINNED_BYTES), "pinned memory");
    j->pinned = static_cast<char *>(pinned);
    j->memory = static_cast<char *>(device_memory(2 * HALF));
    fill(reinterpret_cast<uint16_t *>(j->pinned), PINNED_BYTES / sizeof(uint16_t), 3);
    for (size_t at = 0; at < 2 * HALF; at += PINNED_BYTES)
        must_cuda(cudaMemcpyAsync(j->memory + at, j->pinned, PINNED_BYTES, cudaMemcpyHostToDevice,
                                  j->stream),
                  "a copy");
    must_cuda(cudaStreamSynchronize(j->stream), "waiting for the stream");
    puts(j->device->name);
}

int main(void)
{
    job j = {};
    open_job(&j);
    ask_pools(0);
    ask_free_of_null(j.stream);
    ask_query(j.stream, j.memory, HALF);
    ask_product(j.device, 64, 1024, 28672);
    ask_product(j.device, 512, 1024, 8192);
    print_rate(&j, "copy on the device, read and written", copy_on_device, 2e-9 * HALF, "GB/s");
    print_rate(&j, "device to pinned memory", copy_to_pinned, 1e-9 * PINNED_BYTES, "GB/s");
    print_rate(&j, "bfloat16 8192^3", multiply, 2e-12 * SIDE * SIDE * SIDE, "TFLOP/s");
    must_cuda(cudaFreeHost(j.pinned), "freeing");
    must_cuda(cudaFree(j.memory), "freeing");
    must_cuda(cudaGetLastError(), "the last error");
    j.device->backend->close(j.device);
    printf("probe: %d wrong answers\n", failures);
    return failures ? 1 : 0;
}
