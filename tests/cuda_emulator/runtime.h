/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/runtime.h - what the emulator's sources share: streams, memory, checks.
 *
 * By default, work runs when it is enqueued. With AWQ_EMULATOR_STREAMS=late it runs as late as CUDA
 * allows, when something waits for it: a wait that is missing shows as a wrong result. */
#ifndef AWQ_TESTS_CUDA_EMULATOR_RUNTIME_H
#define AWQ_TESTS_CUDA_EMULATOR_RUNTIME_H

#include <functional>
#include <mutex>

#include "tests/cuda_emulator/counts.h"
#include "tests/cuda_emulator/cuda_emulator.h"

namespace emulator
{

/* Held by every entry point: two threads may drive one device. */
extern std::recursive_mutex device_mutex;
using device_lock = std::lock_guard<std::recursive_mutex>;

/* Reports a stream that is not alive. What the legacy stream (NULL) gets runs at once. */
void enqueue(cudaStream_t stream, std::function<void()> work);
/* What a stream, or all, have left; of the legacy stream nothing is ever left. */
void run_all(cudaStream_t stream);
void run_everything();

/* Reports bytes that are not wholly within one device array. `what` is the caller. */
void check_device_range(const char *what, const void *array, size_t bytes);

/* Reports a device array whose surroundings were written to. */
void check_guards();

/* Reports copies to shared memory that the kernel has not waited for. */
void check_copies();

/* Runs every thread of every block, in the order of AWQ_EMULATOR_ORDER. */
void run_grid(const char *kernel, dim3 grid, dim3 block, const std::function<void()> &thread);

/* What is counted instead of done (counts.h). */
struct counted_only {
    emulator_count *now; /* the running verb's; NULL: work is done */
    emulator_fill *fill;
};
extern counted_only counting;

/* One piece of work for a stream that is counted only: what is waited for may be it. */
void count_work(cudaStream_t stream);
/* The host waits for all that a stream has; counts it if there is anything new. */
void count_wait(cudaStream_t stream);

/* An environment variable that is one of `names` (NULL-terminated, the first is the default): its
 * index; reports another value. */
int choice(const char *variable, const char *const *names);

} // namespace emulator

#endif
