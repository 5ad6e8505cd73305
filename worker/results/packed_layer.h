/* SPDX-License-Identifier: MIT
 * worker/results/packed_layer.h - a quantized layer as the tensors of its record: words of the
 * output format, biases and norms in the types of the source.
 *
 * Of a layer in parts each packs what it owns, and the last one, which has room for all, is given
 * what the others own. Norms are the first one's, which all of them have absorbed their scales in.
 */
#ifndef AWQ_WORKER_RESULTS_PACKED_LAYER_H
#define AWQ_WORKER_RESULTS_PACKED_LAYER_H

#include "io/checkpoint/checkpoint.h"
#include "layers/quantize/quantize.h"

/* Arrays are owned, and have room for the layer's most: each linear's parts and bias, and the
 * norms. Tensors come by linear, then the norms. */
typedef struct awq_packed_layer {
    awq_tensor *tensor;
    char (*name)[AWQ_NAME_BYTES];
    void **data; /* owned, each */
    size_t count;
    size_t *first; /* by linear: its first tensor */
} awq_packed_layer;

/* On as many threads as there are linears for, `threads` at most; bytes do not depend on them.
 * Release `out` also after a failure. */
awq_status awq_pack_layer(const awq_checkpoint *checkpoint, const awq_quantization *quantization,
                          const awq_quantized_layer *result, int threads, awq_packed_layer *out,
                          awq_error *err);

/* The tensors of a part that is not the last, one after the other; returns their bytes. to NULL:
 * only measures. */
uint64_t awq_packed_layer_copy(const awq_packed_layer *packed, unsigned char *to);
/* Puts them into those of the last part. */
awq_status awq_packed_layer_fill(awq_packed_layer *packed, const awq_layer_spec *layer,
                                 awq_layer_part part, const unsigned char *from, uint64_t bytes,
                                 awq_error *err);
void awq_packed_layer_release(awq_packed_layer *packed);

#endif
