/* SPDX-License-Identifier: MIT
 * layers/quantizer.h - the work of awq_quantize_layer, in the steps that it takes them:
 *
 *   awq_quantizer_open        device work space, statistics finished
 *   awq_fold_check_begin      what the layer gives as it is, for the proof at the end
 *   awq_search_group          each scale group, on the original weights (search.c)
 *   awq_fold_plan             norms that absorb the scales, row divisors of v and up (fold.c)
 *   awq_quantize_linear       each linear: fold, clip, quantize, measure (quantize_linear.c,
 *                             feedback.c)
 *   awq_fold_check_layer      the layer with folded weights gives the old output (fold_check.c)
 *   awq_quantizer_close
 *
 * Internal: tests take the steps one by one to spoil something in between. */
#ifndef AWQ_LAYERS_QUANTIZER_H
#define AWQ_LAYERS_QUANTIZER_H

#include "layers/module_loss.h"
#include "layers/quantize.h"

typedef struct awq_quantizer {
    awq_device *device;
    const awq_backend *be;
    const awq_model *model;
    awq_decoder *decoder;
    awq_statistics *statistics;
    awq_scratch *scratch;
    const awq_kept_tokens *kept;
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
    awq_clip clip;   /* steps [AWQ_CLIP_SHAPES, out, groups] */
    float *columns;  /* [in] */
    float *rows;     /* [out] */
    float *factor;   /* error feedback: [in, in], of `factored`; NULL without */
    int32_t *order;  /* likewise: [in] */

    const float *factored; /* the Gram matrix that factor and order are of; NULL: none yet */
    double damp;           /* that the factor took; 0: there is none of it */

    awq_module_loss module; /* closed without the module objective */

    /* Host, owned: by awq_linear, what its rows are divided by [out]; NULL: ones. */
    float **row_divisors;
    float *original_norm[AWQ_NORMS]; /* before folding */
    float **original_bias;           /* by awq_linear */
} awq_quantizer;

/* The caller has set device .. out; `out` is initialised. Close it also after a failure. */
awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err);
void awq_quantizer_close(awq_quantizer *quantizer);

awq_status awq_fold_check_begin(awq_quantizer *quantizer, const awq_kept_tokens *check,
                                awq_error *err);
awq_status awq_search_group(awq_quantizer *quantizer, awq_group group, awq_error *err);
awq_status awq_fold_plan(awq_quantizer *quantizer, awq_error *err);
awq_status awq_quantize_linear(awq_quantizer *quantizer, awq_linear linear, awq_error *err);
awq_status awq_fold_check_layer(awq_quantizer *quantizer, const awq_kept_tokens *check,
                                awq_error *err);

/* The folded layer's routing (fold_check_routing.c). The first `rows` rows go to the experts that
 * statistics saw them go to, until scratch->routing.held is NULL again; nothing of a dense layer.
 */
void awq_routing_hold(const awq_quantizer *quantizer, int64_t rows);
/* Whether the router's logits of the run before ask for these experts; else an error that names the
 * scale group. */
awq_status awq_routing_check(const awq_quantizer *quantizer, int64_t rows, double tolerance,
                             awq_error *err);

/* The layer that the folding check runs (fold_proof.c). decoder->weight of a linear, from `folded`;
 * uses columns and rows. Then the norms and biases, from those in `out`. And all of a group's
 * scales taken back: weights, norm or bias are the original ones. */
awq_status awq_fold_proof_linear(awq_quantizer *quantizer, awq_linear linear, awq_error *err);
awq_status awq_fold_proof_vectors(awq_quantizer *quantizer, awq_error *err);
awq_status awq_fold_proof_unfold(awq_quantizer *quantizer, awq_group group, awq_error *err);

/* Codes of a folded, quantized linear once more, with error feedback (feedback.c): `columns` are
 * its input's scales, and the group's other linears follow at once or not at all. record->damp
 * says whether it could be done. */
awq_status awq_feedback_linear(awq_quantizer *quantizer, awq_linear linear, awq_error *err);

/* ---- what the steps share ---- */

/* Books time and flops since the last call on a phase; AWQ_ERR_INTERRUPTED when asked to stop. */
awq_status awq_quantizer_step(awq_quantizer *quantizer, awq_phase phase, double flops,
                              awq_error *err);
/* The grid of a linear: group size -1 resolved. */
awq_grid awq_quantizer_grid(const awq_quantizer *quantizer, awq_linear linear);
/* Whether a clip is searched for this linear: not for q and k. */
bool awq_is_clipped(const awq_quantizer *quantizer, awq_linear linear);
/* Floating-point operations of a clip search. */
double awq_clip_flops(awq_clip_shape shape, awq_extent extent, const awq_grid *grid);
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
