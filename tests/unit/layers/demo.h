/* SPDX-License-Identifier: MIT
 * tests/unit/layers/demo.h - the demo model of tests/data on the CPU, calibrated and ready to be
 * quantized in process. Functions fail the running test when they cannot do it. */
#ifndef AWQ_TESTS_LAYERS_DEMO_H
#define AWQ_TESTS_LAYERS_DEMO_H

#include <jansson.h>

#include "io/text/tokens.h"
#include "layers/forward/head.h"
#include "layers/forward/states.h"
#include "layers/quantize/quantize.h"

enum { DEMO_LAYERS = 4, DEMO_TILE = 8, DEMO_EVAL = 64, DEMO_CALIBRATION = 128 };

typedef struct demo {
    awq_device *device;
    const awq_backend *be;
    awq_checkpoint *checkpoint;
    const awq_model *model;
    awq_scratch *scratch;
    awq_head *head, *other; /* the same weights; a score needs two */
    awq_tokens eval;
    float *original; /* [DEMO_EVAL * length, hidden]: after the last layer, full precision */
    int64_t length;
} demo;

/* What quantizing needs, from the first DEMO_CALIBRATION sequences. */
typedef struct demo_calibration {
    awq_statistics statistics[DEMO_LAYERS];
    float *boundary[DEMO_LAYERS + 1]; /* the first tile's hidden states entering each layer */
} demo_calibration;

void demo_open(demo *d, int threads);
void demo_close(demo *d);

/* golden.json's number at a path like "reference_awq.g64.rounding.kl". */
double demo_golden(const char *path);

/* The first DEMO_EVAL eval sequences through four layers; caller releases. */
float *demo_forward(demo *d, const awq_decoder *layers);
void demo_load(demo *d, awq_decoder *layers);
void demo_release(demo *d, awq_decoder *layers);

void demo_calibrate(demo *d, demo_calibration *c);
void demo_calibration_release(demo *d, demo_calibration *c);

/* Quantizes a layer (decoder: folded after) and returns the result. */
void demo_quantize(demo *d, demo_calibration *c, awq_decoder *layer, const awq_recipe *recipe,
                   awq_quantized_layer *out);
/* The decoder's weights become what the codes stand for, norms and biases the folded ones. */
void demo_dequantize(demo *d, awq_decoder *layer, const awq_quantized_layer *quantized,
                     const awq_recipe *recipe);

/* KL and nll of hidden states against the original model. */
awq_score_part demo_score(demo *d, const float *hidden);

#endif
