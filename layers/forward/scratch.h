/* SPDX-License-Identifier: MIT
 * layers/forward/scratch.h - inside awq_scratch: the activations of one tile. */
#ifndef AWQ_LAYERS_FORWARD_SCRATCH_H
#define AWQ_LAYERS_FORWARD_SCRATCH_H

#include "layers/forward/decoder.h"

/* The host's side of a tile's routing; [choices] = rows times experts a row. */
typedef struct awq_routing_lists {
    int32_t *expert;      /* [rows, active] */
    float *weight;        /* [rows, active] */
    uint8_t *mask;        /* [rows] */
    int64_t *first;       /* [experts + 1]: an expert's first in what follows */
    int64_t *next;        /* [experts] */
    int32_t *row;         /* [choices], by expert, then row */
    float *sorted_weight; /* [choices], likewise */
    uint8_t *sorted_mask; /* [choices], likewise */
    void *x;              /* [rows, hidden], compute type: on its way from or to the device */
} awq_routing_lists;

/* Which rows of a tile go to which expert; device arrays, none in a dense model. */
typedef struct awq_routing {
    float *logits;        /* [rows, experts] */
    int32_t *expert;      /* [rows, active] */
    float *weight;        /* [rows, active] */
    int32_t *row;         /* [choices], by expert, then row */
    float *sorted_weight; /* [choices], likewise */
    uint8_t *mask;        /* [choices], likewise */
    void *x;              /* [rows, hidden]: an expert's input */
    float *out;           /* [rows, hidden]: its output */
    float *shared_weight; /* [rows] */
    const int32_t *held;  /* host: the choice to take instead of the logits', [rows, active]; NULL:
                             theirs. Set by the folding check, while it runs */
    awq_routing_lists *host; /* owned */
} awq_routing;

struct awq_scratch {
    awq_device *device;
    awq_tile_size size;
    void *normed;  /* [rows, the widest]: a norm's output, then attention's */
    float *branch; /* [rows, hidden]: what a half puts out, if it is normalized before it is added;
                      or what parallel halves read; NULL: in no layer */
    float *apart;  /* [rows, hidden]: what some of the MLPs put out, likewise; NULL: in no layer */
    void *q, *k, *v;
    void *gates; /* [rows, heads * value_dim]: of the attention's outputs; NULL: in no layer */
    void *latent, *shared_k; /* of latent attention: [rows, rank]; [rows, channels that turn] */
    void *beta, *a;          /* of a gated delta net: [rows, heads] */
    void *whole; /* [rows, out]: all of a linear whose parts are interleaved; NULL: in no layer */
    void *gate, *up;  /* gate becomes down's input */
    float *trial;     /* [checked, residual]: hidden states of the folding check, after it .. */
    float *untouched; /* .. and before it */
    float *cos[AWQ_MAX_ROPES], *sin[AWQ_MAX_ROPES]; /* of each [length, dim / 2] */
    awq_routing routing;
    void *arena;
};

#endif
