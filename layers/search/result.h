/* SPDX-License-Identifier: MIT
 * layers/search/result.h - what goes into quantizing a layer beside its weights and statistics, and
 * what comes out of it. */
#ifndef AWQ_LAYERS_SEARCH_RESULT_H
#define AWQ_LAYERS_SEARCH_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "io/model/part.h"
#include "io/records/layer_record.h"
#include "layers/search/result_memory.h"

/* One linear's result, in host memory. */
typedef struct awq_quantized_linear {
    uint32_t *words;  /* [out, awq_words_count(in, bits)] (io/core/words.h): codes; like the next
                         two a part of the layer's memory */
    uint16_t *scales; /* [out, groups], float16 bits */
    uint8_t *zeros;   /* [out, groups] */
    float *bias;      /* [out], owned; NULL: none */
    float *weight; /* [out, in] of a linear that is kept, folded, owned; the first three are NULL */
} awq_quantized_linear;

typedef struct awq_quantized_layer {
    awq_layer_part part; /* of the layer that this is: what others have is empty */
    int linears;
    awq_quantized_linear *linear; /* [linears], in the layer's order, owned */
    void *memory;                 /* owned, or `from`'s if that is not NULL */
    awq_result_memory *from;
    float *vector[AWQ_MAX_VECTORS]; /* those that absorbed scales, exact in their stored type
                                       [width], owned; NULL: as in the checkpoint */
    awq_layer_record record;
} awq_quantized_layer;

void awq_quantized_layer_init(awq_quantized_layer *layer);
void awq_quantized_layer_release(awq_quantized_layer *layer);

/* The layer's input on the first calibration sequences, kept for the folding check, which looks at
 * a few, and the module objective, which looks at all that are here: device, float32 [sequences *
 * length, residual], tile after tile, each as states.h has it; owned by the caller. */
typedef struct awq_kept_tokens {
    const float *input;
    int64_t sequences;
    int64_t length;
    int64_t tile_sequences; /* of a tile: as many as the scratch is for; 0: all are one */
    const uint8_t *mask;    /* host, [sequences * length]; NULL: all count in the objective */
} awq_kept_tokens;

/* What a quantization reports while it runs; may be NULL. flops is what was executed since the
 * last call. Returning false asks to stop: the result is AWQ_ERR_INTERRUPTED. */
typedef struct awq_quantize_watch {
    bool (*step)(void *context, awq_phase phase, double flops);
    void *context;
} awq_quantize_watch;

#endif
