/* SPDX-License-Identifier: MIT
 * layers/quantize/quantize.h - AWQ of one decoder layer: search the scale groups, fold the scales,
 * clip, quantize, prove the folding (docs/awq.md 2). Pure computation: no files, no MPI. */
#ifndef AWQ_LAYERS_QUANTIZE_QUANTIZE_H
#define AWQ_LAYERS_QUANTIZE_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/model/recipe.h"
#include "layers/forward/decoder.h"
#include "layers/forward/statistics.h"
#include "layers/search/exchange.h"
#include "layers/search/result.h"

/* Device bytes beyond weights, statistics and scratch: one linear thrice over, its packed codes,
 * and small change; for error feedback a matrix as large as the largest Gram matrix; for the module
 * objective a module's weights, twice the hidden states of `kept` tokens and once those of a tile
 * of `rows`. */
uint64_t awq_quantize_bytes(const awq_model *model, const awq_recipe *recipe, int64_t kept,
                            int64_t rows, size_t compute_bytes);

/* Host bytes of the packed codes, group scales and zero points of a part of a layer, and of what is
 * counted of its clips. A group size that
 * does not fit a linear counts as it is; quantizing refuses it. */
size_t awq_quantized_codes_bytes(const awq_model *model, int64_t layer, awq_layer_part part,
                                 const awq_recipe *recipe);

/* A layer, or a part of one, that has seen all tiles. */
typedef struct awq_layer_input {
    awq_device *device;
    const awq_model *model;     /* says what shall be kept in full precision (awq_model_keep) */
    awq_decoder *decoder;       /* changed (fold_proof.c), and of no further use, as are .. */
    awq_statistics *statistics; /* .. these */
    awq_scratch *scratch;
    awq_result_memory *memory; /* a piece of it has the codes; NULL: the heap has */
    const awq_kept_tokens *kept;
    const awq_recipe *recipe;
    const awq_quantize_watch *watch; /* NULL: nobody watches */
    const awq_exchange *exchange;    /* of a part, with the others; NULL: the layer is whole */
} awq_layer_input;

/* Quantizes it; of a part, what it has: the rest of the result is empty. The record lacks
 * tensors_bytes and tensors_crc. Errors name the linear ("up_proj") or scale group, not the layer:
 * callers add that. */
awq_status awq_quantize_layer(const awq_layer_input *input, awq_quantized_layer *out,
                              awq_error *err);

#endif
