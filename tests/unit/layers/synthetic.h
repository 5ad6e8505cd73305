/* SPDX-License-Identifier: MIT
 * tests/unit/layers/synthetic.h - one random decoder layer with outlier channels, seen by one tile
 * of random hidden states: small enough to be checked by brute force. */
#ifndef AWQ_TESTS_LAYERS_SYNTHETIC_H
#define AWQ_TESTS_LAYERS_SYNTHETIC_H

#include "layers/quantize/quantize.h"
#include "layers/quantize/steps.h"
#include "tests/unit/io/model_of.h"

enum { SYNTHETIC_SEQUENCES = 3, SYNTHETIC_LENGTH = 24, SYNTHETIC_EXPERTS = 5 };
/* Attention's, those of the experts and the shared one, and what weighs them. */
enum { SYNTHETIC_LINEARS = 4 + 3 * (SYNTHETIC_EXPERTS + 1) + 2 };
/* The layer is one of several that are alike, to look at more than the first. */
enum { SYNTHETIC_LAYER = 5, SYNTHETIC_LAYERS };

typedef struct synthetic {
    awq_device *device;
    const awq_backend *be;
    awq_model model;
    const awq_layer_spec *spec; /* the layer's */
    awq_decoder decoder;
    awq_scratch *scratch;
    awq_statistics statistics;
    float *input, *output;
    float *original[SYNTHETIC_LINEARS]; /* host copies of the weights, as the device has them */
    awq_recipe recipe;                  /* default, but groups of 16, plain scales, nearest */
    awq_kept_tokens check;
} synthetic;

/* kv_heads 0: as many as heads. Opens, makes the layer, runs and measures the tile. */
typedef struct synthetic_shape {
    int64_t kv_heads;
    bool qkv_bias, all_bias, qk_norm;
    bool sparse, normalized; /* five experts, two a token, and a shared one, as qwen2_moe's */
    bool fused;              /* phi3's: q, k, v are one linear, and gate, up */
    bool out_norms;          /* gemma2's: of what halves put out, norms that add 1, a window */
    const char *family;      /* any other's layer, all of one kind; NULL: by the above */
    const char *keys;        /* that its config.json has, too (from the comma on); NULL: none */
    awq_dtype dtype;
    int threads;
    const awq_backend *backend; /* NULL: the CPU's */
    awq_dtype compute;          /* of a backend of 16 bits */
} synthetic_shape;

void synthetic_open(synthetic *s, synthetic_shape shape);
void synthetic_close(synthetic *s);
/* Runs the tile again, after a test has changed weights: statistics, output. */
void synthetic_measure(synthetic *s);

/* awq_quantize_layer by the synthetic's recipe. */
awq_status synthetic_quantize(synthetic *s, awq_quantized_layer *out, awq_error *err);
/* The same, watched. */
awq_status synthetic_watched(synthetic *s, const awq_quantize_watch *watch,
                             awq_quantized_layer *out, awq_error *err);

/* A code of a result of 4 bits, whose rows have `in`. */
int synthetic_code(const awq_quantized_linear *linear, int64_t in, int64_t row, int64_t column);

/* Calls `test` with each backend and compute type that opens here in the shape; opens nothing that
 * it leaves open. */
void synthetic_on_each(void (*test)(synthetic_shape shape));

#endif
