/* SPDX-License-Identifier: MIT
 * io/checkpoint/storage.c - what a checkpoint's linears are stored in, for plan, log and
 * report. */
#include <stdio.h>
#include <string.h>

#include "io/checkpoint/checkpoint.h"

enum { KINDS = 8, KIND_BYTES = 64 };

/* The kinds that there are, with how many weights are stored so. */
typedef struct tally {
    char name[KINDS][KIND_BYTES];
    int64_t weights[KINDS];
    int count;
    bool stacked, small, coarse;
} tally;

static void name_kind(const awq_weight *weight, char out[KIND_BYTES])
{
    bool row = weight->block_cols == weight->cols;
    switch (weight->stored) {
    case AWQ_STORED_PLAIN:
        snprintf(out, KIND_BYTES, "%s", awq_dtype_name(weight->dtype));
        return;
    case AWQ_STORED_FLOAT4:
        snprintf(out, KIND_BYTES, "MXFP4");
        return;
    case AWQ_STORED_FLOAT8:
        if (row && weight->block_rows == 1)
            snprintf(out, KIND_BYTES, "FP8 with a scale a row");
        else if (row && weight->block_rows == weight->tensor_rows)
            snprintf(out, KIND_BYTES, "FP8 with one scale a tensor");
        else
            snprintf(out, KIND_BYTES, "FP8 in blocks of %lld x %lld", (long long)weight->block_rows,
                     (long long)weight->block_cols);
        return;
    case AWQ_STORED_INTEGERS:
        if (row)
            snprintf(out, KIND_BYTES, "INT%d with a scale a row", weight->integers->bits);
        else
            snprintf(out, KIND_BYTES, "INT%d in groups of %lld", weight->integers->bits,
                     (long long)weight->block_cols);
        return;
    }
}

static void count_weight(tally *all, const awq_weight *weight)
{
    char name[KIND_BYTES] = "";
    int at = 0;
    name_kind(weight, name);
    while (at < all->count && strcmp(all->name[at], name) != 0) at++;
    if (at == KINDS) return;
    if (at == all->count) memcpy(all->name[all->count++], name, sizeof name);
    all->weights[at] += weight->rows * weight->cols;
    all->stacked = all->stacked || weight->experts;
    all->small = all->small || weight->stored != AWQ_STORED_PLAIN;
    all->coarse =
        all->coarse || weight->stored == AWQ_STORED_FLOAT4 || weight->stored == AWQ_STORED_INTEGERS;
}

static tally count_all(const awq_checkpoint *checkpoint)
{
    tally all = {.count = 0};
    const awq_model *model = awq_checkpoint_model(checkpoint);
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const awq_layer_spec *spec = awq_model_layer(model, layer);
        awq_weight weight;
        for (int i = 0; i < spec->linears; i++)
            if (!spec->linear[i].exempt && awq_checkpoint_weight(checkpoint, layer, i, &weight))
                count_weight(&all, &weight);
    }
    return all;
}

awq_storage awq_checkpoint_storage(const awq_checkpoint *checkpoint)
{
    tally all = count_all(checkpoint);
    awq_storage source = {.plain = !all.small && !all.stacked, .coarse = all.coarse};
    size_t used = 0, room = sizeof source.text;
    for (int i = 0; i < all.count && used < room; i++) { /* the most first */
        int most = 0;
        for (int j = 1; j < all.count; j++)
            if (all.weights[j] > all.weights[most]) most = j;
        all.weights[most] = -1;
        used += (size_t)snprintf(source.text + used, room - used, "%s%s", i ? " and " : "",
                                 all.name[most]);
    }
    if (all.stacked && used < room) snprintf(source.text + used, room - used, ", fused experts");
    return source;
}
