/* SPDX-License-Identifier: MIT
 * layers/forward/decoder.h - one decoder layer on a device: weights and forward pass (docs/awq.md
 * 4).
 *
 * Hidden states are float32 [rows, hidden] on the device, rows = sequences * length, and stay
 * float32 from layer to layer; behind them are a model's planes, if it has any (states.h). */
#ifndef AWQ_LAYERS_FORWARD_DECODER_H
#define AWQ_LAYERS_FORWARD_DECODER_H

#include <stdint.h>

#include "io/checkpoint/checkpoint.h"
#include "io/model/part.h"
#include "kernels/backend.h"
#include "layers/forward/statistics.h"

typedef struct awq_decoder {
    int64_t index;
    awq_layer_part part;        /* of the layer that is here */
    const awq_layer_spec *spec; /* the model's, of the whole layer */
    void **weight; /* [linears], the list is owned: compute type [out, in]; NULL: another part's */
    float **bias;  /* [linears], likewise: [out]; NULL: none */
    float *vector[AWQ_MAX_VECTORS]; /* [width], what is multiplied by: 1 + weight with an offset */
    float scalar;                   /* host: of what the layer puts out */
    awq_dtype vector_dtype[AWQ_MAX_VECTORS]; /* as the checkpoint stores them */
    void *arena;                             /* the one device array that all of these point into */
} awq_decoder;

/* Device bytes of the weights of the layer that takes the most. */
uint64_t awq_decoder_bytes(const awq_model *model, size_t compute_bytes);

/* An empty, whole layer: host arrays, nothing on the device. Release it. */
awq_status awq_decoder_init(awq_decoder *decoder, const awq_model *model, int64_t index,
                            awq_error *err);
/* Loads a part of layer `index`. Quantized checkpoints are dequantized. A weight that is NaN or
 * infinite is AWQ_ERR_NUMERIC and named by tensor, row and column. Release the result. */
awq_status awq_decoder_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t index,
                            awq_layer_part part, awq_decoder *out, awq_error *err);
void awq_decoder_release(awq_device *device, awq_decoder *decoder);

/* Device memory for the activations of one tile, and the RoPE table: shared by all layers. */
typedef struct awq_scratch awq_scratch;

/* The tiles that scratch is for. */
typedef struct awq_tile_size {
    int64_t rows;    /* tokens of a tile, at most */
    int64_t length;  /* of its sequences */
    int64_t checked; /* rows that the folding check looks at (awq_fold_check_rows); 0: none */
} awq_tile_size;

uint64_t awq_scratch_bytes(const awq_model *model, const awq_tile_size *size, size_t compute_bytes);
awq_status awq_scratch_create(awq_device *device, const awq_model *model, const awq_tile_size *size,
                              awq_scratch **out, awq_error *err);
void awq_scratch_free(awq_scratch *scratch);

/* A layer and the tile that goes through it. */
typedef struct awq_forward {
    awq_device *device;
    const awq_model *model;
    const awq_decoder *decoder;
    awq_scratch *scratch;
    int64_t sequences;          /* of the tile */
    awq_statistics *statistics; /* gathers each linear input; NULL: none */
    const uint8_t *mask;        /* device, [rows]: which rows count there; NULL: all */
    float *middle;   /* of a part of a layer, device, [rows, hidden]: what the MLPs' norm reads; set
                        by   the first part, read by the others, whose hidden states are the sum so
                        far;   NULL: the layer is whole */
    double *seconds; /* has AWQ_PHASE_FORWARD and AWQ_PHASE_GRAM added to by the next sync, and
                        lives until then; NULL: not measured */
} awq_forward;

/* sum += what one half of the layer puts out for `hidden`; both float32 [rows, hidden], and may be
 * the same. Nothing is gathered or measured, nor given to later layers; what earlier ones gave is
 * behind `hidden`. */
awq_status awq_decoder_half(const awq_forward *what, awq_half half, const float *hidden, float *sum,
                            awq_error *err);

/* hidden = layer(hidden), in place; of a part, what it adds. The device may still be at work when
 * this returns: its failures are the next sync's to report. */
awq_status awq_decoder_forward(const awq_forward *what, float *hidden, awq_error *err);

#endif
