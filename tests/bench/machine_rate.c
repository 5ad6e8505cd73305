/* SPDX-License-Identifier: MIT
 * machine_rate THREADS FILE [BACKEND [SIDE]] - what this machine can do, as "name value" lines:
 *
 *   gemm   GFLOP/s: of OpenBLAS's sgemm, 2048 x 2048 x 2048, with THREADS threads; with a BACKEND
 *          other than "cpu" of its own product of bfloat16 summed in float32, which is the vendor's
 *          library's, SIDE (8192) to the third, on its first device
 *   read   GB/s of read() from FILE (in the page cache) into new memory, THREADS threads
 *   write  GB/s of a file written beside FILE and fsynced
 *
 * Each is the best of several tries: what the machine does when nobody disturbs. */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/core/clock.h"
#include "kernels/backend_list.h"
#include "kernels/cpu/blas.h"

enum { SIDE = 2048, MAX_THREADS = 256, PIECE = 8 << 20 };

static const double gemm_seconds = 1, read_bytes_most = 1e9, write_bytes = 128 << 20;

static void *must_allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, bytes);
    if (!memory) {
        fprintf(stderr, "machine_rate: no memory\n");
        exit(1);
    }
    memset(memory, 1, bytes);
    return memory;
}

static void must(awq_status status, const awq_error *err)
{
    if (!status) return;
    fprintf(stderr, "machine_rate: %s\n", err->text);
    exit(1);
}

static float *random_matrix(void)
{
    float *matrix = must_allocate(sizeof(float) * SIDE * SIDE);
    uint32_t state = 1;
    for (int i = 0; i < SIDE * SIDE; i++)
        matrix[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f;
    return matrix;
}

static double gemm_rate(int threads)
{
    float *a = random_matrix(), *b = random_matrix(), *c = random_matrix();
    double least = 1e9, begin = awq_clock_seconds();
    awq_error err;
    must(cpu_blas_load(0, NULL, &err), &err);
    cpu_blas.set_threads(threads);
    for (int i = 0; i < 4 || awq_clock_seconds() - begin < gemm_seconds; i++) {
        double start = awq_clock_seconds();
        cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, a, SIDE, b,
                       SIDE, 0, c, SIDE);
        double seconds = awq_clock_seconds() - start;
        if (i && seconds < least) least = seconds;
    }
    free(a);
    free(b);
    free(c);
    return 2e-9 * SIDE * (double)SIDE * SIDE / least;
}

/* ---- a device ---- */

static void *device_matrix(awq_device *device, int64_t side, float magnitude)
{
    awq_error err;
    void *to;
    uint32_t state = 1;
    float *row = must_allocate(sizeof(float) * (size_t)side);
    size_t bytes = (size_t)side * device->backend->compute_bytes;
    must(device->backend->alloc(device, bytes * (size_t)side, "a matrix", &to, &err), &err);
    for (int64_t r = 0; r < side; r++) {
        for (int64_t i = 0; i < side; i++)
            row[i] = magnitude *
                     ((float)((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f);
        device->backend->load(device, (char *)to + bytes * (size_t)r, row, AWQ_F32, (size_t)side);
    }
    free(row);
    return to;
}

/* Several products between two waits: a launch takes time of its own. */
static double time_products(awq_device *device, void *c, const void *a, const void *b, int64_t side)
{
    enum { PRODUCTS = 8 };
    awq_error err;
    awq_extent extent = {side, side};
    must(device->backend->sync(device, &err), &err);
    double start = awq_clock_seconds();
    for (int i = 0; i < PRODUCTS; i++) device->backend->linear(device, c, a, b, NULL, side, extent);
    must(device->backend->sync(device, &err), &err);
    return (awq_clock_seconds() - start) / PRODUCTS;
}

static double device_gemm_rate(const char *name, int64_t side)
{
    awq_error err;
    awq_device *device;
    awq_device_options options = {.threads = 1, .compute = AWQ_BF16};
    const awq_backend *backend = awq_backend_find(name);
    if (!backend) {
        fprintf(stderr, "machine_rate: this build has no backend '%s'\n", name);
        exit(1);
    }
    must(backend->open(&options, &device, &err), &err);
    void *a = device_matrix(device, side, 1), *b = device_matrix(device, side, 1);
    void *c = device_matrix(device, side, 0);
    double least = 1e9, begin = awq_clock_seconds();
    for (int i = 0; i < 3 || awq_clock_seconds() - begin < gemm_seconds; i++) {
        double seconds = time_products(device, c, a, b, side);
        if (i && seconds < least) least = seconds;
    }
    backend->release(device, a);
    backend->release(device, b);
    backend->release(device, c);
    backend->close(device);
    return 2e-9 * (double)side * (double)side * (double)side / least;
}

/* ---- files ---- */

typedef struct reader {
    pthread_t id;
    int file;
    off_t first, end;
} reader;

static void *read_all(void *argument)
{
    const reader *self = argument;
    char *memory = malloc((size_t)(self->end - self->first) + PIECE);
    bool ok = memory != NULL;
    for (off_t at = self->first; ok && at < self->end; at += PIECE) {
        size_t bytes = self->end - at < PIECE ? (size_t)(self->end - at) : PIECE;
        ok = pread(self->file, memory + (at - self->first), bytes, at) == (ssize_t)bytes;
    }
    if (!ok) {
        perror("machine_rate: pread");
        exit(1);
    }
    free(memory);
    return NULL;
}

/* Every thread reads its own part. */
static double read_once(int file, off_t bytes, int threads, reader *readers)
{
    double start = awq_clock_seconds();
    for (int i = 0; i < threads; i++) {
        readers[i].file = file;
        readers[i].first = bytes / threads * i;
        readers[i].end = bytes / threads * (i + 1);
        if (pthread_create(&readers[i].id, NULL, read_all, &readers[i])) exit(1);
    }
    for (int i = 0; i < threads; i++) pthread_join(readers[i].id, NULL);
    return awq_clock_seconds() - start;
}

static double read_rate(const char *path, int threads)
{
    static reader readers[MAX_THREADS];
    double least = 1e9;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    off_t bytes = file < 0 ? 0 : lseek(file, 0, SEEK_END);
    if (bytes <= 0) {
        perror(path);
        exit(1);
    }
    if ((double)bytes > read_bytes_most) bytes = (off_t)read_bytes_most;
    for (int i = 0; i < 5; i++) { /* the first one fills the page cache */
        double seconds = read_once(file, bytes, threads, readers);
        if (seconds < least) least = seconds;
    }
    close(file);
    return 1e-9 * (double)bytes / least;
}

static double write_once(const char *path, const char *piece)
{
    double start = awq_clock_seconds();
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = file >= 0;
    for (double done = 0; ok && done < write_bytes; done += PIECE)
        ok = write(file, piece, PIECE) == PIECE;
    ok = ok && !fsync(file);
    if (!ok) perror("machine_rate: write");
    if (file >= 0) close(file);
    unlink(path);
    if (!ok) exit(1);
    return awq_clock_seconds() - start;
}

static double write_rate(const char *beside)
{
    char path[4096];
    char *piece = must_allocate(PIECE);
    double least = 1e9;
    snprintf(path, sizeof path, "%s.rate", beside);
    for (int i = 0; i < 3; i++) {
        double seconds = write_once(path, piece);
        if (seconds < least) least = seconds;
    }
    free(piece);
    return 1e-9 * write_bytes / least;
}

int main(int argc, char **argv)
{
    bool right = argc >= 3 && argc <= 5;
    int threads = right ? atoi(argv[1]) : 0;
    long long side = argc == 5 ? atoll(argv[4]) : 8192;
    if (threads < 1 || threads > MAX_THREADS || side < 8 || side > 32768) {
        fprintf(stderr, "usage: machine_rate THREADS FILE [BACKEND [SIDE]]\n");
        return 2;
    }
    bool on_cpu = argc == 3 || !strcmp(argv[3], "cpu");
    printf("gemm %.4g\n", on_cpu ? gemm_rate(threads) : device_gemm_rate(argv[3], side));
    printf("read %.4g\n", read_rate(argv[2], threads));
    printf("write %.4g\n", write_rate(argv[2]));
    return 0;
}
