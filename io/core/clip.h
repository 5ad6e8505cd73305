/* SPDX-License-Identifier: MIT
 * io/core/clip.h - how the range of a group of weights may be cut (docs/awq.md 2.8). */
#ifndef AWQ_IO_CORE_CLIP_H
#define AWQ_IO_CORE_CLIP_H

/* Which ends of a group's range [-below, above] a clip shrinks, by steps of 1/20: symmetric: to
 * M_j = max|w| (1 - j/20), both; asymmetric: to above (1 - j/20) and below (1 - k/20), each its
 * own. */
typedef enum awq_clip_shape { AWQ_CLIP_SYMMETRIC, AWQ_CLIP_ASYMMETRIC } awq_clip_shape;

enum {
    AWQ_CLIP_STEPS = 10, /* j, k = 0 .. 9 */
    AWQ_CLIP_SHAPES = 2, /* ends that may be cut apart */
    AWQ_CLIP_SWEEPS = 3  /* over the steps, to cut them apart */
};

/* Cuts of a group's range that are tried. */
static inline int awq_clip_trials(awq_clip_shape shape)
{
    return shape == AWQ_CLIP_ASYMMETRIC ? AWQ_CLIP_SWEEPS * AWQ_CLIP_STEPS : AWQ_CLIP_STEPS;
}

#endif
