/* SPDX-License-Identifier: MIT
 * layers/scratch.h - inside awq_scratch: the activations of one tile. */
#ifndef AWQ_LAYERS_SCRATCH_H
#define AWQ_LAYERS_SCRATCH_H

#include "layers/decoder.h"

struct awq_scratch {
    awq_device *device;
    int64_t rows, length, trial_rows;
    void *normed; /* [rows, max(hidden, heads * head_dim)]: a norm's output, then attention's */
    void *q, *k, *v;
    void *gate, *up;  /* gate becomes down's input */
    float *trial;     /* [trial_rows, hidden]: hidden states of the folding self-check */
    float *cos, *sin; /* [length, head_dim / 2] */
    void *arena;
};

#endif
