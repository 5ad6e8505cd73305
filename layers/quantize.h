/* SPDX-License-Identifier: MIT
 * layers/quantize.h - AWQ of one decoder layer: search the scale groups, fold the scales, clip,
 * quantize, prove the folding (docs/awq.md 2). Pure computation: no files, no MPI. */
#ifndef AWQ_LAYERS_QUANTIZE_H
#define AWQ_LAYERS_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/layer_record.h"
#include "layers/candidates.h"
#include "layers/decoder.h"
#include "layers/result_memory.h"
#include "layers/statistics.h"

/* When the range of a group of weights is cut: never; once the scales are chosen; for each
 * candidate of the search, and then again. */
typedef enum awq_clip_mode { AWQ_CLIP_OFF, AWQ_CLIP_AFTER, AWQ_CLIP_JOINT } awq_clip_mode;

/* What a candidate is scored by (A 2.5): the exact error of each linear's output; or, for q, k, v
 * and for gate, up, the error of the attention's or MLP's output on the kept tokens. */
typedef enum awq_objective { AWQ_OBJECTIVE_LINEAR, AWQ_OBJECTIVE_MODULE } awq_objective;

/* docs/awq.md 2.9: each weight to the nearest value, or columns in turn, so that errors make up for
 * one another. */
typedef enum awq_rounding { AWQ_ROUNDING_NEAREST, AWQ_ROUNDING_FEEDBACK } awq_rounding;

typedef struct awq_quantize_options {
    awq_objective objective; /* default linear */
    awq_grid grid;           /* group_size -1: one group a row */
    int alpha_steps;         /* 0..1000, default 20; 0: the identity only, plain rounding */
    awq_duo duo;             /* default on */
    int refine; /* 0..100, default 0: alphas tried between the best of the grid and its neighbour */
    double smooth;      /* 0..1, default 0: m = (1 - smooth) m + smooth mean(m) */
    bool o_proj_tied;   /* default true; false: o is not smoothed under grouped-query attention */
    awq_clip_mode clip; /* default after */
    awq_clip_shape clip_shape; /* default symmetric */
    awq_rounding rounding;     /* default feedback */
} awq_quantize_options;

awq_quantize_options awq_quantize_options_default(void);

/* One linear's result, in host memory. */
typedef struct awq_quantized_linear {
    uint8_t *codes;   /* [out, in], like the next two a part of the layer's memory */
    uint16_t *scales; /* [out, groups], float16 bits */
    uint8_t *zeros;   /* [out, groups] */
    float *bias;      /* [out], owned; NULL: none */
    float *weight;    /* [out, in] of a skipped linear, folded, owned; the first three are NULL */
} awq_quantized_linear;

typedef struct awq_quantized_layer {
    awq_linear linears;
    awq_quantized_linear *linear; /* [linears] by awq_linear, owned */
    void *memory;                 /* owned, or `from`'s if that is not NULL */
    awq_result_memory *from;
    float *norm[AWQ_NORMS]; /* exact in the model's dtype; NULL: the model has none */
    awq_layer_record record;
} awq_quantized_layer;

void awq_quantized_layer_init(awq_quantized_layer *layer);
void awq_quantized_layer_release(awq_quantized_layer *layer);

/* The layer's input on the first calibration sequences, kept for the folding check, which looks at
 * a few, and the module objective, which looks at all that are here: device, float32 [sequences *
 * length, hidden]; owned by the caller. */
typedef struct awq_kept_tokens {
    const float *input;
    int64_t sequences;
    int64_t length;
    const uint8_t *mask; /* host, [sequences * length]; NULL: all count in the objective */
} awq_kept_tokens;

/* How many of a tile's sequences the folding check looks at, the first ones: 512 tokens of them,
 * and one at least. Callers need to keep no more. */
int64_t awq_fold_check_sequences(int64_t sequences, int64_t length);

/* What a quantization reports while it runs; may be NULL. flops is what was executed since the
 * last call. Returning false asks to stop: the result is AWQ_ERR_INTERRUPTED. */
typedef struct awq_quantize_watch {
    bool (*step)(void *context, awq_phase phase, double flops);
    void *context;
} awq_quantize_watch;

/* Device bytes beyond weights, statistics and scratch: one linear thrice over, and small change;
 * for error feedback a matrix as large as the largest Gram matrix; for the module objective a
 * module's weights, twice the hidden states of `kept` tokens and once those of a tile of `rows`. */
uint64_t awq_quantize_bytes(const awq_model *model, const awq_quantize_options *options,
                            int64_t kept, int64_t rows, size_t compute_bytes);

/* Host bytes of a layer's codes, group scales and zero points, the most of the model's layers: a
 * piece of result memory. A grid that does not fit a linear counts as it is; quantizing refuses it.
 */
awq_status awq_quantized_codes_bytes(const awq_model *model, awq_grid grid, size_t *bytes,
                                     awq_error *err);

/* Quantizes a layer that has seen all tiles; what the model says shall be left in full precision is
 * (awq_model_leave). Changes what decoder holds (fold_proof.c) and statistics (finished); both are
 * of no further use. Codes are in a piece of `memory`, NULL: of the heap. The record lacks
 * tensors_bytes and tensors_crc. Errors name the linear
 * ("up_proj") or scale group, not the layer: callers add that. */
awq_status awq_quantize_layer(awq_device *device, const awq_model *model, awq_decoder *decoder,
                              awq_statistics *statistics, awq_scratch *scratch,
                              awq_result_memory *memory, const awq_kept_tokens *kept,
                              const awq_quantize_options *options, const awq_quantize_watch *watch,
                              awq_quantized_layer *out, awq_error *err);

#endif
