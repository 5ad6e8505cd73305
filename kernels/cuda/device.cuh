/* SPDX-License-Identifier: MIT
 * kernels/cuda/device.cuh - a GPU as a device: its stream, cuBLAS, scratch memory, first error.
 *
 * All work goes down one stream, so that verbs see each other's results and sums their order. The
 * compute type is float16 or bfloat16, chosen when the device is opened; AWQ_BY_COMPUTE is the one
 * place that turns it into a template's argument. */
#ifndef AWQ_KERNELS_CUDA_DEVICE_CUH
#define AWQ_KERNELS_CUDA_DEVICE_CUH

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cuda/launch.cuh"

extern "C" {
#include "kernels/backend.h"
}

#include "kernels/cuda/blas.cuh"

/* A verb's larger arrays of scratch are cut to this many floats each: 128 MiB. No verb has more
 * than two of them. */
#ifndef AWQ_CUDA_SCRATCH_FLOATS /* the emulator has less, so that its small shapes are cut too */
#define AWQ_CUDA_SCRATCH_FLOATS (1 << 25)
#endif
enum { SCRATCH_FLOATS = AWQ_CUDA_SCRATCH_FLOATS };

/* Bytes of the one piece of a verb that may have more (awq_gpu_large_bytes). */
#ifndef AWQ_CUDA_LARGE_MOST /* likewise */
#define AWQ_CUDA_LARGE_MOST (1 << 30)
#endif

/* Bytes on their way: two pinned host slots, one of which is filled while the other is copied, and
 * room on the device for elements that have yet to be converted. */
enum { STAGING_SLOTS = 2 };
static const size_t STAGING_BYTES = 4 << 20;

typedef struct cuda_staging {
    char *host[STAGING_SLOTS];       /* pinned, STAGING_BYTES each */
    cudaEvent_t read[STAGING_SLOTS]; /* the slot's last copy is done */
    int slot;                        /* that uploads go to .. */
    size_t used;                     /* .. and what of it is on its way already */
    void *device;                    /* STAGING_BYTES */
} cuda_staging;

/* Copies to the host beside the work. */
typedef struct cuda_copies {
    cudaStream_t stream;
    cudaEvent_t begun, ended; /* what is copied is there; the last copy is done */
} cuda_copies;

/* Laps that the device has yet to come to, in their order. */
enum { LAPS = 256 };

typedef struct cuda_laps {
    cudaEvent_t event[LAPS + 1]; /* the first is where the first lap begins */
    double *seconds[LAPS];       /* of each lap; NULL: nobody's */
    int count;
    bool begun; /* there has been a lap */
} cuda_laps;

typedef struct cuda_device {
    awq_device base;
    int index;
    bool bf16; /* the compute type: bfloat16, or else float16 */
    cudaStream_t stream;
    const cuda_blas *blas;
    cublasHandle_t handle;
    void *workspace; /* cuBLAS's: its own would be allocated as it goes */
    cuda_staging staging;
    cuda_copies copies;
    cuda_laps laps;
    void *scratch;
    size_t scratch_bytes;
    pthread_mutex_t error_lock;
    bool failed;     /* atomic */
    awq_error error; /* the first failure; whole once `failed` is set */
} cuda_device;

/* How many GPUs there are; 0: *err says what is missing. */
int cuda_count_devices(awq_error *err);

/* The device, made current for this thread; NULL after a failure: the verb does nothing. */
cuda_device *cuda_begin(awq_device *device);

/* Whether a call went well; if not, the device has failed: "rmsnorm: an illegal ...". */
bool cuda_check(cuda_device *self, const char *verb, cudaError_t error);
bool cuda_check_blas(cuda_device *self, const char *verb, cublasStatus_t status);
/* The device has failed: a shape that the verb cannot do. */
void cuda_refuse(cuda_device *self, const char *verb, const char *why);

/* AWQ_OK, or the device's first error. */
awq_status cuda_status(const cuda_device *self, awq_error *err);

/* At least `bytes` of scratch; NULL (and the device has failed): no memory. Moves what was
 * reserved before: one reservation a verb, cut up by cuda_carve. */
char *cuda_reserve(cuda_device *self, const char *verb, size_t bytes);

/* The next `bytes` of a reservation; each piece begins on CUDA_ALIGN bytes. */
enum { CUDA_ALIGN = 256 };

static inline size_t cuda_aligned(size_t bytes)
{
    return (bytes + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
}

template <typename T> static inline T *cuda_carve(char **scratch, size_t count)
{
    T *piece = reinterpret_cast<T *>(*scratch);
    *scratch += cuda_aligned(count * sizeof(T));
    return piece;
}

/* Results of a verb that waits: device to host, through pinned memory. */
awq_status cuda_fetch(cuda_device *self, const char *verb, void *host, const void *from,
                      size_t bytes, awq_error *err);
/* Host to device in stream order; `host` has been read on return. */
void cuda_send(cuda_device *self, const char *verb, void *to, const void *host, size_t bytes);

/* Once the stream has been waited for: what laps took is booked (laps.cu). */
void cuda_book_laps(cuda_device *self);
void cuda_close_laps(cuda_device *self);

static inline int64_t cuda_blocks(int64_t count, int64_t block)
{
    return (count + block - 1) / block;
}

static inline int64_t cuda_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows of `floats` each that a piece of scratch holds, at least `least`; by the shape alone. */
static inline int64_t cuda_scratch_rows(int64_t floats, int64_t least)
{
    int64_t rows = SCRATCH_FLOATS / floats;
    return rows < least ? least : rows;
}

/* The same for the one piece of a verb that is the faster the more rows it has at a time; by the
 * shape and the kind of GPU. */
static inline int64_t cuda_large_rows(const cuda_device *self, int64_t floats, int64_t least)
{
    int64_t bytes = static_cast<int64_t>(awq_gpu_large_bytes(self->base.memory_bytes));
    int64_t rows =
        cuda_min(bytes, AWQ_CUDA_LARGE_MOST) / static_cast<int64_t>(sizeof(float)) / floats;
    return rows < least ? least : rows;
}

/* Launches and checks; does nothing for no blocks. */
#define CUDA_LAUNCH(self, verb, kernel, grid, block, ...)                                          \
    do {                                                                                           \
        const dim3 blocks_of_grid(grid);                                                           \
        if (!blocks_of_grid.x || !blocks_of_grid.y || !blocks_of_grid.z) break;                    \
        AWQ_LAUNCH(kernel, blocks_of_grid, block, (self)->stream, __VA_ARGS__);                    \
        cuda_check(self, verb, cudaGetLastError());                                                \
    } while (0)

/* launch<T>(self, ...) with T the compute type. */
#define AWQ_BY_COMPUTE(self, launch, ...)                                                          \
    ((self)->bf16 ? launch<__nv_bfloat16>(self, __VA_ARGS__) : launch<__half>(self, __VA_ARGS__))

#endif
