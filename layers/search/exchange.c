/* SPDX-License-Identifier: MIT */
#include "layers/search/exchange.h"

#include <stdlib.h>
#include <string.h>

awq_status awq_exchange_columns(const awq_exchange *exchange, const awq_columns *columns,
                                awq_error *err)
{
    size_t bytes = columns->count * sizeof(double);
    double *all = malloc(columns->rows * bytes + 1);
    if (!all) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for what parts of a layer share");
    for (size_t i = 0; i < columns->rows; i++)
        memcpy(all + i * columns->count, columns->of + i * columns->stride + columns->first, bytes);
    awq_status status =
        exchange->add_up(exchange->context, all, columns->rows * columns->count, err);
    for (size_t i = 0; !status && i < columns->rows; i++)
        memcpy(columns->of + i * columns->stride + columns->first, all + i * columns->count, bytes);
    free(all);
    return status;
}

/* A float times the number of parts is exact in double, and no other sum of floats near it is. */
awq_status awq_exchange_agree(const awq_exchange *exchange, int parts, const float *values,
                              size_t count, awq_error *err)
{
    double *sum = malloc(count * sizeof *sum + 1);
    if (!sum) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for what parts of a layer share");
    for (size_t i = 0; i < count; i++) sum[i] = (double)values[i];
    awq_status status = exchange->add_up(exchange->context, sum, count, err);
    for (size_t i = 0; !status && i < count; i++)
        if (sum[i] != (double)parts * (double)values[i])
            status = awq_fail(err, AWQ_ERR_NUMERIC,
                              "the parts of a layer chose different scales: their nodes do not "
                              "compute alike; take nodes of one kind, or --expert-parts 1");
    free(sum);
    return status;
}
