/* SPDX-License-Identifier: MIT
 * layers/quantizer.h - the work of awq_quantize_layer, in the steps that it takes them:
 *
 *   awq_quantizer_open        device work space, statistics finished
 *   awq_search_group          each scale group, on the original weights (search.c)
 *   awq_fold_plan             norms that absorb the scales, row divisors of v and up (fold.c)
 *   awq_quantize_linear       each linear: fold, clip, quantize, measure (quantize_linear.c)
 *   awq_fold_check            the layer with folded weights gives the old output (fold_check.c)
 *   awq_quantizer_close
 *
 * Internal: tests take the steps one by one to spoil something in between. */
#ifndef AWQ_LAYERS_QUANTIZER_H
#define AWQ_LAYERS_QUANTIZER_H

#include "layers/quantize.h"

typedef struct awq_quantizer {
    awq_device *device;
    const awq_backend *be;
    const awq_model *model;
    awq_decoder *decoder;
    awq_statistics *statistics;
    awq_scratch *scratch;
    const awq_quantize_options *options;
    const awq_quantize_watch *watch;
    awq_quantized_layer *out; /* its record's scales are what consumers are multiplied by */
    double mark;              /* when the running phase began */

    /* Device work space, for the largest linear. */
    void *arena;
    void *d;         /* compute type [out, in] */
    float *folded;   /* [out, in] */
    uint8_t *codes;  /* [out, in] */
    uint8_t *zeros;  /* [out, groups] */
    uint16_t *steps; /* group scales, float16 bits [out, groups] */
    float *limit;    /* [out, groups] */
    float *columns;  /* [in] */
    float *rows;     /* [out] */

    /* Host, owned: what a linear's rows are divided by [out]; NULL: ones. */
    float *row_divisors[AWQ_LINEARS];
    float *original_norm[AWQ_NORMS]; /* before folding */
    float *original_bias[AWQ_LINEARS];
} awq_quantizer;

/* The caller has set device .. out; `out` is initialised. Close it also after a failure. */
awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err);
void awq_quantizer_close(awq_quantizer *quantizer);

awq_status awq_search_group(awq_quantizer *quantizer, awq_group group, awq_error *err);
awq_status awq_fold_plan(awq_quantizer *quantizer, awq_error *err);
awq_status awq_quantize_linear(awq_quantizer *quantizer, awq_linear linear, awq_error *err);
awq_status awq_fold_check_layer(awq_quantizer *quantizer, const awq_fold_check *check,
                                awq_error *err);

/* ---- what the steps share ---- */

/* Books time and flops since the last call on a phase; AWQ_ERR_INTERRUPTED when asked to stop. */
awq_status awq_quantizer_step(awq_quantizer *quantizer, awq_phase phase, double flops,
                              awq_error *err);
/* The grid of a linear: group size -1 resolved. */
awq_grid awq_quantizer_grid(const awq_quantizer *quantizer, awq_linear linear);
/* Whether a linear is left in full precision; whether all that read a group's input are. */
bool awq_quantizer_skips(const awq_quantizer *quantizer, awq_linear linear);
bool awq_quantizer_skips_group(const awq_quantizer *quantizer, awq_group group);
/* The squared error of plain rounding or of a folding is not finite: says why. `d` still holds
 * the linear's error. */
awq_status awq_blame_nonfinite(awq_quantizer *quantizer, awq_linear linear, awq_error *err);

/* A copy of a device vector on the heap; NULL and *err set: failed. */
float *awq_vector_download(awq_device *device, const float *from, int64_t count, awq_error *err);
/* Heap memory; NULL and *err, which names `what`: there is none. */
void *awq_allocate(size_t bytes, const char *what, awq_error *err);

#endif
