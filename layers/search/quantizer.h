/* SPDX-License-Identifier: MIT
 * layers/search/quantizer.h - what the steps of quantizing a layer share (layers/quantize/steps.h
 * lists them): the layer, its statistics, device work space, and what was decided so far. Internal.
 */
#ifndef AWQ_LAYERS_SEARCH_QUANTIZER_H
#define AWQ_LAYERS_SEARCH_QUANTIZER_H

#include "layers/forward/expert_statistics.h"
#include "layers/forward/scratch.h"
#include "layers/search/exchange.h"
#include "layers/search/result.h"

/* The module objective's (layers/search/module_loss.h). */
enum { AWQ_NORM_VECTORS = 2 }; /* its weight, its bias */

typedef struct awq_module_loss {
    void *arena;   /* the one device array that the next six point into; NULL: closed */
    void *weights; /* compute type: those of the largest module's consumers */
    float *norm[AWQ_NORM_VECTORS]; /* [hidden] */
    float *input;                  /* [kept tokens, hidden]: what the MLP reads */
    float *output;                 /* [kept tokens, hidden]: what the module puts out unquantized */
    float *trial;                  /* [tile's rows, hidden]: the same on trial */
    uint8_t *mask;                 /* [kept tokens], device; NULL: all count */
    int64_t tokens;                /* that count */
    float *original[AWQ_NORM_VECTORS]; /* [hidden], host, owned: the norm's; NULL: none */
    awq_decoder decoder; /* the layer, with weights and norm of its own where it is on trial */
    void **weight;       /* [linears], owned: decoder.weight */
} awq_module_loss;

enum { AWQ_NOBODY = -1 };

/* Vectors of scales, and gathered rows, that are on trial at a time. */
enum { AWQ_TRIALS = 32, AWQ_PANEL_ROWS = 8192 };

/* What a linear is measured by: the input of its group, of all tokens that see the group, or, where
 * an expert reads what is of all tokens, of those that went to it. */
typedef struct awq_measure {
    int group, expert; /* AWQ_NOBODY: nothing; all tokens of the layer */
} awq_measure;

typedef struct awq_quantizer {
    awq_device *device;
    const awq_backend *be;
    const awq_model *model;
    const awq_layer_spec *spec; /* the decoder's */
    awq_decoder *decoder;
    awq_statistics *statistics;
    awq_scratch *scratch;
    const awq_kept_tokens *kept;
    const awq_recipe *recipe;
    const awq_quantize_watch *watch;
    const awq_exchange *exchange; /* with the other parts; NULL: the layer is whole */
    awq_quantized_layer *out;     /* its record's scales are what consumers are multiplied by */

    /* Device work space, for the largest linear. */
    void *arena;
    void *d;            /* compute type [out, in] of the largest, or more rows of smaller ones .. */
    int64_t d_elements; /* .. as many as this is */
    void *panel;        /* rows gathered from linears: compute type, panel_elements, of .. */
    int64_t panel_elements;
    int32_t *picked; /* .. these [AWQ_PANEL_ROWS] */
    float *scales;   /* [AWQ_TRIALS, in]: of candidates on trial */
    double *forms;   /* [forms_room]: losses of rows */
    int64_t forms_room;
    void *form;           /* what quadratic_form takes beside the Gram matrix of .. */
    awq_measure formed;   /* .. this */
    float *folded;        /* [out, in] */
    uint8_t *codes;       /* [out, in] */
    uint32_t *words;      /* [out, awq_words_count(in, bits)]: codes, packed */
    uint8_t *zeros;       /* [out, groups] */
    uint16_t *steps;      /* group scales, float16 bits [out, groups] */
    awq_clip clip;        /* steps [AWQ_CLIP_SHAPES, out, groups] */
    int64_t *clip_counts; /* [linears, AWQ_CLIP_COUNTS] */
    double *outcome;      /* [2, outcome_rows]: what each row of all linears puts out, and loses */
    int64_t outcome_rows;
    int64_t *host_clip_counts;           /* the same in the result's memory; NULL: there is none */
    float *columns;                      /* [in]: the scales on trial, or a linear's own */
    float *rows;                         /* [out]: what its rows are divided by */
    float *excess_columns, *excess_rows; /* likewise, of the folding's proof */
    double *sums;                        /* [in] */
    float *factor;                       /* error feedback: [in, in], of `factored`; NULL without */
    int32_t *order;                      /* likewise: [in] */

    float *passed; /* of a part: [2, checked, residual], the folding check's input and middle, which
                      come from part to part; owned, device */

    awq_expert_statistics own; /* of expert `held`, finished; nothing in a dense model */
    int held;                  /* AWQ_NOBODY: none yet */

    awq_measure factored; /* what factor and order are of */
    double damp;          /* that the factor took; 0: there is none of it */

    double planned; /* flops of the running group's search that the watch has yet to hear of */

    awq_module_loss module; /* closed without the module objective */

    /* Host, owned: of each linear, what its rows are divided by [out]; NULL: ones. */
    float **row_divisors;
    float **original_bias; /* of each linear, before folding [out]; NULL: none */
    float *router_logits;  /* of the rows that the folding check looks at, before anything is folded
                              [rows, experts]; NULL: no experts */
    /* Of a vector that absorbs scales what it multiplies by or adds, before and after [width]. */
    float *original_vector[AWQ_MAX_VECTORS], *folded_vector[AWQ_MAX_VECTORS];
} awq_quantizer;

/* Chooses the scales of one group, on the original weights (search.c), to its record. */
awq_status awq_search_group(awq_quantizer *quantizer, int group, awq_error *err);

/* ---- what the steps share ---- */

/* Books time and flops since the last call on a phase; AWQ_ERR_INTERRUPTED when asked to stop.
 * Waits for nothing: the time is there after the next sync. */
awq_status awq_quantizer_step(awq_quantizer *quantizer, awq_phase phase, double flops,
                              awq_error *err);
/* The same of the search: of flops that were planned. What a race saves is told at
 * its end, so that the plan is kept. */
awq_status awq_quantizer_spend(awq_quantizer *quantizer, double flops, awq_error *err);
/* The grid of a linear: group size -1 resolved. */
awq_grid awq_quantizer_grid(const awq_quantizer *quantizer, int linear);
awq_measure awq_quantizer_measure(const awq_quantizer *quantizer, int linear);
/* Makes the statistics of an expert (AWQ_NOBODY: nothing to do), until those of another are asked
 * for: from the layer's weights, so before any of the expert's own is changed. */
awq_status awq_quantizer_hold(awq_quantizer *quantizer, int expert, awq_error *err);
/* The Gram matrix that a linear is measured by, and a group's sum|x|: an expert's is held. */
const float *awq_quantizer_gram(const awq_quantizer *quantizer, int linear);
/* What quadratic_form takes beside it, until that of another is asked for. */
const void *awq_quantizer_form(awq_quantizer *quantizer, int linear);
const double *awq_quantizer_abs_sum(const awq_quantizer *quantizer, int group);
/* Whether a clip is searched for this linear. */
bool awq_is_clipped(const awq_quantizer *quantizer, int linear);
/* Floating-point operations of a clip search. */
double awq_clip_flops(awq_clip_shape shape, awq_extent extent, const awq_grid *grid);
/* Whether a linear is kept in full precision; whether all that read a group's input are. */
bool awq_quantizer_keeps(const awq_quantizer *quantizer, int linear);
bool awq_quantizer_keeps_group(const awq_quantizer *quantizer, int group);
/* Whether readers of a group's input are in several parts, which search it together. */
bool awq_quantizer_shares(const awq_quantizer *quantizer, int group);
/* The squared error of plain rounding or of a folding is not finite: says why. `d` still holds
 * the linear's error. */
awq_status awq_blame_nonfinite(awq_quantizer *quantizer, int linear, awq_error *err);
/* The same of a linear whose result is here. */
awq_status awq_blame_scales(const awq_quantizer *quantizer, int linear, awq_error *err);

/* A copy of a device vector on the heap; NULL and *err set: failed. */
float *awq_vector_download(awq_device *device, const float *from, int64_t count, awq_error *err);
/* Heap memory; NULL and *err, which names `what`: there is none. */
void *awq_allocate(size_t bytes, const char *what, awq_error *err);

/* quantizer->folded, codes, steps and zeros of Q(W s), rounded to the nearest, of a linear or some
 * of its rows; weight and scales on the device. `clipped`: of the ranges that a clip search leaves
 * (docs/awq.md 2.8), whose flops are added to *flops. */
void awq_trial_codes(awq_quantizer *quantizer, int linear, const void *weight, awq_extent extent,
                     const float *scales, bool clipped, double *flops);

#endif
