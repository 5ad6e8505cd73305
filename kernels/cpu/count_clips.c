/* SPDX-License-Identifier: MIT
 * kernels/cpu/count_clips.c - how many groups a clip cuts by how much. */
#include <string.h>

#include "kernels/cpu/verbs.h"

void count_clips_cpu(awq_device *device, int64_t *count, const awq_clip *clip, int64_t groups)
{
    bool asymmetric = clip->shape == AWQ_CLIP_ASYMMETRIC;
    if (atomic_load(&((cpu_device *)device)->failed)) return;
    memset(count, 0, AWQ_CLIP_COUNTS * sizeof *count);
    for (int64_t i = 0; i < groups; i++) {
        uint8_t above = clip->steps[i], below = asymmetric ? clip->steps[groups + i] : 0;
        count[above]++;
        count[AWQ_CLIP_STEPS + below] += asymmetric;
        count[AWQ_CLIP_COUNTS - 1] += above || below;
    }
}
