/* SPDX-License-Identifier: MIT
 * kernels/cuda/clip_cuts.cuh - which cuts of a group's range the clip search tries, and how small
 * groups are searched. */
#ifndef AWQ_KERNELS_CUDA_CLIP_CUTS_CUH
#define AWQ_KERNELS_CUDA_CLIP_CUTS_CUH

#include "kernels/cuda/device.cuh"

/* The ends that a sweep moves; an asymmetric clip has all three, a symmetric one the first. */
enum { SWEEP_BOTH, SWEEP_ABOVE, SWEEP_BELOW, SWEEPS };

/* Steps, 0 .. AWQ_CLIP_STEPS - 1. */
typedef struct clip_cut {
    int above, below;
} clip_cut;

static inline int clip_sweeps(awq_clip_shape shape)
{
    return shape == AWQ_CLIP_ASYMMETRIC ? SWEEPS : 1;
}

/* `best`: so far; a sweep reads the end that it does not move. */
__device__ static inline clip_cut cut_tried(clip_cut best, int sweep, int step)
{
    clip_cut tried = {sweep == SWEEP_BELOW ? best.above : step,
                      sweep == SWEEP_ABOVE ? best.below : step};
    return tried;
}

/* clip_search's arguments, and as its result says; groups of at most CLIP_GROUP weights. */
enum { CLIP_GROUP = 128 };
void clip_groups(cuda_device *self, const awq_clip *clip, const float *folded, const float *gram,
                 const float *s, awq_extent extent, const awq_grid *grid);

#endif
