/* SPDX-License-Identifier: MIT */
#include "io/checkpoint/expected.h"

#include <string.h>

typedef struct visitor {
    const awq_model *model;
    void (*visit)(const awq_expected *expected, void *context);
    void *context;
} visitor;

/* A weight [rows, cols], or [rows] where cols is 0. */
static void visit_weight(const visitor *v, const char *name, int64_t rows, int64_t cols)
{
    awq_expected expected = {.type = AWQ_PART_WEIGHT,
                             .tensor = {.name = name, .dims = cols ? 2 : 1, .shape = {rows, cols}}};
    v->visit(&expected, v->context);
}

static void visit_linear(const visitor *v, int64_t layer, int linear)
{
    char name[AWQ_NAME_BYTES];
    awq_part parts[AWQ_MAX_PARTS];
    const awq_linear_spec *spec = &awq_model_layer(v->model, layer)->linear[linear];
    int count = 0;
    if (awq_model_packs(v->model, layer, linear))
        count = awq_format_parts(&v->model->quantization, spec->out, spec->in, parts);
    else
        visit_weight(v, awq_linear_tensor_name(name, v->model, layer, linear, "weight"), spec->out,
                     spec->in);
    for (int i = 0; i < count; i++) {
        awq_linear_tensor_name(name, v->model, layer, linear, parts[i].suffix);
        awq_expected expected = {.type = parts[i].type,
                                 .tensor = {.name = name,
                                            .dtype = parts[i].dtype,
                                            .dims = parts[i].dims,
                                            .shape = {parts[i].shape[0], parts[i].shape[1]}}};
        v->visit(&expected, v->context);
    }
    if (spec->bias)
        visit_weight(v, awq_linear_tensor_name(name, v->model, layer, linear, "bias"), spec->out,
                     0);
}

void awq_expected_visit(const awq_model *model,
                        void (*visit)(const awq_expected *expected, void *context), void *context)
{
    const visitor v = {model, visit, context};
    char name[AWQ_NAME_BYTES];
    visit_weight(&v, awq_embedding_tensor_name(name, model), model->vocab, model->hidden);
    for (int64_t layer = 0; layer < model->layers; layer++) {
        const awq_layer_spec *spec = awq_model_layer(model, layer);
        for (int linear = 0; linear < spec->linears; linear++) visit_linear(&v, layer, linear);
        for (int norm = 0; norm < spec->norms; norm++)
            visit_weight(&v, awq_norm_tensor_name(name, model, layer, norm), spec->norm[norm].width,
                         0);
    }
    visit_weight(&v, awq_final_norm_tensor_name(name, model), model->hidden, 0);
    if (awq_model_stores_head(model))
        visit_weight(&v, awq_head_tensor_name(name, model), model->vocab, model->hidden);
}

/* A name, until it is found. */
static void forget_found(const awq_expected *expected, void *context)
{
    const char **name = context;
    if (*name && !strcmp(*name, expected->tensor.name)) *name = NULL;
}

bool awq_expected_has(const awq_model *model, const char *name)
{
    const char *sought = name;
    awq_expected_visit(model, forget_found, &sought);
    return !sought;
}

bool awq_expected_dtype_fits(const awq_expected *expected, awq_dtype dtype)
{
    switch (expected->type) {
    case AWQ_PART_EXACT:
        return dtype == expected->tensor.dtype;
    case AWQ_PART_WEIGHT:
        return awq_dtype_is_weight(dtype);
    case AWQ_PART_SHAPE:
        return dtype == AWQ_I64 || dtype == AWQ_I32;
    }
    return false;
}

const char *awq_expected_dtype_text(const awq_expected *expected)
{
    switch (expected->type) {
    case AWQ_PART_EXACT:
        return awq_dtype_name(expected->tensor.dtype);
    case AWQ_PART_WEIGHT:
        return "F32, F16 or BF16";
    case AWQ_PART_SHAPE:
        return "I64 or I32";
    }
    return "?";
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

bool awq_expected_ignores(const awq_model *model, const char *name)
{
    char head[AWQ_NAME_BYTES];
    if (model->tied && !strcmp(name, awq_head_tensor_name(head, model))) return true;
    if (strncmp(name, model->root->decoder, strlen(model->root->decoder)) != 0) return false;
    return ends_with(name, "rotary_emb.inv_freq") || ends_with(name, ".rotary_emb.cos_cached") ||
           ends_with(name, ".rotary_emb.sin_cached");
}
