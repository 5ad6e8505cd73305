/* SPDX-License-Identifier: MIT
 * machine_rate THREADS FILE - what this machine can do, as "name value" lines:
 *
 *   gemm   GFLOP/s of OpenBLAS's sgemm, 2048 x 2048 x 2048, with THREADS threads
 *   read   GB/s of read() from FILE (in the page cache) into new memory, THREADS threads
 *   write  GB/s of a file written beside FILE and fsynced
 *
 * Each is the best of several tries: what the machine does when nobody disturbs. */
#include <cblas.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"

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
    openblas_set_num_threads(threads);
    for (int i = 0; i < 4 || awq_clock_seconds() - begin < gemm_seconds; i++) {
        double start = awq_clock_seconds();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, a, SIDE, b, SIDE,
                    0, c, SIDE);
        double seconds = awq_clock_seconds() - start;
        if (i && seconds < least) least = seconds;
    }
    free(a);
    free(b);
    free(c);
    return 2e-9 * SIDE * (double)SIDE * SIDE / least;
}

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
    int threads = argc == 3 ? atoi(argv[1]) : 0;
    if (threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "usage: machine_rate THREADS FILE\n");
        return 2;
    }
    printf("gemm %.4g\n", gemm_rate(threads));
    printf("read %.4g\n", read_rate(argv[2], threads));
    printf("write %.4g\n", write_rate(argv[2]));
    return 0;
}
