/* SPDX-License-Identifier: MIT
 * layers/search/measure.h - the exact output error of some rows at the scales of some candidates
 * (docs/awq.md 2.5): of each row r, d_r G d_r^T, d = W - Q(W s) / s. Internal. */
#ifndef AWQ_LAYERS_SEARCH_MEASURE_H
#define AWQ_LAYERS_SEARCH_MEASURE_H

#include "layers/search/quantizer.h"

/* Readers of a group's input that are measured by one Gram matrix, and are to be quantized: their
 * rows one after the other. */
typedef struct awq_batch {
    awq_quantizer *quantizer;
    int count;
    int *linear;    /* [count], owned */
    int64_t *first; /* [count + 1]: where the rows of each begin, and the end; owned */
    int64_t rows, in;
} awq_batch;

awq_status awq_batch_open(awq_batch *batch, awq_quantizer *quantizer, int most, awq_error *err);
void awq_batch_close(awq_batch *batch);
void awq_batch_add(awq_batch *batch, int linear);

/* What is to be measured. */
typedef struct awq_trials {
    const float *scales;  /* of all candidates [.., in], host */
    const int *candidate; /* [count]: which of them */
    int count;
    const int64_t *row; /* [rows], ascending; NULL: all of the batch */
    int64_t rows;
    bool clipped; /* linears that are to be clipped are, for each candidate */
    /* Called once, when the device has work to do: for what this thread has to. NULL: nothing. */
    void (*meanwhile)(void *context);
    void *context;
} awq_trials;

/* loss[candidate * batch->rows + row] of each. */
awq_status awq_measure_rows(const awq_batch *batch, const awq_trials *trials, double *loss,
                            awq_error *err);

#endif
