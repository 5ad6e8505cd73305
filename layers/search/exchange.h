/* SPDX-License-Identifier: MIT
 * layers/search/exchange.h - what the parts of a layer (io/model/part.h) tell each other while it
 * is quantized. Each part is quantized by a caller of its own, at the same time, and all make the
 * same calls in the same order; each waits for those that it needs.
 *
 * What parts decide together follows from the same numbers in each, so nobody tells a choice; that
 * it was the same is checked. */
#ifndef AWQ_LAYERS_SEARCH_EXCHANGE_H
#define AWQ_LAYERS_SEARCH_EXCHANGE_H

#include <stddef.h>

#include "io/core/error.h"

typedef struct awq_exchange {
    /* From part to part, in their order: what the one before this gives; the first part's stays as
     * it is. Then to the one after this; the last part's goes nowhere. A take, then a give. */
    awq_status (*take)(void *context, void *bytes, size_t count, awq_error *err);
    awq_status (*give)(void *context, const void *bytes, size_t count, awq_error *err);
    /* values = the sum of all parts' values, added in their order, in each. */
    awq_status (*add_up)(void *context, double *values, size_t count, awq_error *err);
    void *context;
} awq_exchange;

/* Some columns of a matrix. */
typedef struct awq_columns {
    double *of; /* [rows, stride] */
    size_t rows, stride;
    size_t first, count;
} awq_columns;

/* Each element is one part's, and 0 in the others: all parts get all. */
awq_status awq_exchange_columns(const awq_exchange *exchange, const awq_columns *columns,
                                awq_error *err);
/* AWQ_ERR_NUMERIC unless all `parts` have the same values. */
awq_status awq_exchange_agree(const awq_exchange *exchange, int parts, const float *values,
                              size_t count, awq_error *err);

#endif
