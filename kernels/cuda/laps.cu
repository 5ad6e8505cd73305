/* SPDX-License-Identifier: MIT
 * kernels/cuda/laps.cu - what the device's work took, by events in its stream: nobody waits for
 * them, they are looked at when the stream has been waited for anyway. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* Whether the index-th event is there. */
static bool make_event(cuda_device *self, int index)
{
    cudaEvent_t *event = &self->laps.event[index];
    return *event || cuda_check(self, "lap", cudaEventCreate(event));
}

/* All laps so far have been passed. The last one is where the next begins. */
void cuda_book_laps(cuda_device *self)
{
    cuda_laps *laps = &self->laps;
    for (int i = 0; i < laps->count; i++) {
        float milliseconds = 0;
        if (!cuda_check(self, "lap",
                        cudaEventElapsedTime(&milliseconds, laps->event[i], laps->event[i + 1])))
            return;
        if (laps->seconds[i]) *laps->seconds[i] += 1e-3 * static_cast<double>(milliseconds);
    }
    cudaEvent_t last = laps->event[laps->count];
    laps->event[laps->count] = laps->event[0];
    laps->event[0] = last;
    laps->count = 0;
}

/* The first lap of all has no beginning, and is nobody's. */
void lap_cuda(awq_device *device, double *seconds)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    cuda_laps *laps = &self->laps;
    if (laps->count == LAPS) {
        if (!cuda_check(self, "lap", cudaEventSynchronize(laps->event[LAPS]))) return;
        cuda_book_laps(self);
    }
    int index = laps->begun ? laps->count + 1 : 0;
    if (!make_event(self, index) ||
        !cuda_check(self, "lap", cudaEventRecord(laps->event[index], self->stream)))
        return;
    if (laps->begun) laps->seconds[laps->count++] = seconds;
    laps->begun = true;
}

void cuda_close_laps(cuda_device *self)
{
    for (int i = 0; i <= LAPS; i++)
        if (self->laps.event[i]) cudaEventDestroy(self->laps.event[i]);
}
